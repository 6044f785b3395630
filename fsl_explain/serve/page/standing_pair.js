/**
 * The two-sided view where no server answers: in a notebook, and in a page that is a file.
 *
 * Stands behind pair_view.js in one module, and uses its `pairView`.
 */

const decoded = (array) => {
  if (!array) return null;
  const bytes = Uint8Array.from(atob(array.data), (letter) => letter.charCodeAt(0));
  return { shape: array.shape, values: new Float32Array(bytes.buffer) };
};

const signedText = (value) => `${value < 0 ? "−" : "+"}${Math.abs(value).toPrecision(3)}`;

/** Draw the view into an element; `said` has query, supports and signed as the server's answers do. */
export function standing(element, said) {
  const supports = said.supports.map((support) => ({
    ...support,
    cells: decoded(support.cells),
    pairs: support.pairs && {
      grid: support.pairs.grid,
      supportGrid: support.pairs.support_grid,
      table: decoded(support.pairs.table).values,
    },
  }));
  const line = document.createElement("p");
  line.className = "note pv-said";
  line.setAttribute("aria-live", "polite");
  const still = "Point at a cell, or move with the arrow keys, to see what it met on the other side; a click holds it.";
  const onlight = (lit) => {
    line.textContent = still;
    if (!lit) return;
    const width = lit.grid[1];
    const image = lit.side < 0 ? said.query.title : supports[lit.side].title;
    const place = `Row ${Math.floor(lit.cell / width) + 1}, column ${(lit.cell % width) + 1} of ${image}`;
    const biases = lit.bias === 0 ? "" : `, ${signedText(lit.bias)} of it with the biases`;
    line.textContent = `${place}: ${signedText(lit.total)} of the score${biases}.`;
  };
  const view = pairView({ query: { ...said.query, cells: decoded(said.query.cells) }, supports, signed: said.signed, onlight });
  line.textContent = supports.some((support) => support.pairs) ? still : "";
  element.replaceChildren(view.element, line);
  return view;
}
