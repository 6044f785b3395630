/** One explanation: controls, the two-sided view, what the pointed cell adds, receipt, channels, and the call. */

import { channelList } from "./channel_list.js";
import { announce, choice, el, fixed, percent, places, pythonCall, signed } from "./elements.js";
import { go, state } from "./location.js";
import { gradient, pairView } from "./pair_view.js";
import { receiptBars, regionName } from "./receipt_bars.js";
import { array } from "./server.js";

const SHOWN_SUPPORTS = 12;

/** Decode a Why for the two-sided view: the supports with a say, largest first; `hidden` says how many are left out. */
function decoded(why) {
  const say = why.supports.filter((support) => support.amount);
  const taking = say.length ? say.sort((one, other) => Math.abs(other.amount) - Math.abs(one.amount)) : why.supports;
  const lines = [...(why.receipt?.lines ?? []).entries()];
  const supports = taking.slice(0, SHOWN_SUPPORTS).map((support) => ({
    ...support,
    line: lineOf(support, lines),
    cells: array(support.cells),
    pairs: support.pairs && { grid: support.pairs.grid, supportGrid: support.pairs.support_grid, table: array(support.pairs.table).values },
  }));
  const query = { title: "Query", picture: why.query.picture, cells: array(why.query.cells) };
  return { query, supports, hidden: taking.length - supports.length, complete: taking.every((support) => support.pairs) };
}

/** The receipt's line of a support, which has its weight and similarity; each line is taken once. */
function lineOf({ weight, similarity }, lines) {
  const near = (one, other) => Math.abs(one - other) <= 1e-6 * Math.max(1e-3, Math.abs(other));
  const place = lines.findIndex(([, line]) => near(line.weight, weight) && near(line.similarity, similarity));
  return place < 0 ? -1 : lines.splice(place, 1)[0][0];
}

/** What each cell of a grid adds: by its pairs where all are known, else by the map, whose finer cells are summed. */
function amountsOf(view, { query, complete }) {
  const grid = view.query.grid ?? (query.cells && query.cells.values.length <= 400 ? query.cells.shape : null);
  if (!grid) return { amounts: null, grid };
  const amounts = new Float32Array(grid[0] * grid[1]);
  if (view.query.grid && complete) {
    return { amounts: amounts.map((_, cell) => view.rowsOf(cell).reduce((sum, one) => sum + one, 0)), grid };
  }
  const [height, width] = query.cells.shape;
  query.cells.values.forEach((value, cell) => {
    const row = Math.floor((Math.floor(cell / width) * grid[0]) / height);
    amounts[row * grid[1] + Math.floor(((cell % width) * grid[1]) / width)] += value;
  });
  return { amounts, grid };
}

const SIGNS = [["both", "for and against"], ["for", "only for"], ["against", "only against"]];

/** The controls of how maps are drawn: they change the address, and what is shown follows it. */
export function lookControls(isSigned) {
  const now = state();
  const opacity = el("input", { type: "range", min: "0", max: "100", step: "5", value: now.opacity });
  opacity.addEventListener("input", () => go({ opacity: opacity.value }, { replace: true }));
  return [el("label", { class: "field" }, el("span", {}, "Opacity"), opacity),
    choice("Sign", SIGNS, now.sign, (value) => go({ sign: value }, { replace: true }), { disabled: !isSigned })];
}

/** The method that the address names, or else the first that is offered. */
export const methodOf = (methods) => methods.find((one) => one.name === state().method) ?? methods[0];

/** Choices that ask the server anew: method, detail, biases. */
export function methodControls({ methods, details, biases = ["drawn", "apart"] }) {
  const now = state();
  const method = methodOf(methods);
  const row = el("div", { class: "controls" });
  row.append(choice("Method", methods.map((one) => [one.name, one.slow ? `${one.name} (slow)` : one.name]), method.name, (name) => go({ method: name })));
  if (details.length > 1 && method.finer !== false) {
    row.append(choice("Detail", details.map((one) => [one, one === 0 ? "last maps" : `${2 ** one} times finer`]), now.detail, (detail) => go({ detail })));
    if (now.detail !== "0") row.append(choice("Biases", biases.map((one) => [one, one]), now.biases, (chosen) => go({ biases: chosen })));
  }
  return row;
}

/** Put anew made controls in place of the old ones, unless one is in use that says the same; the focus stays. */
export function replaceControls(holder, row) {
  const inputs = (element) => [...element.querySelectorAll("select, input")];
  const focused = inputs(holder).indexOf(document.activeElement);
  if (document.activeElement?.type === "range" && focused >= 0) return;
  holder.replaceChildren(row);
  if (focused >= 0) inputs(holder)[focused]?.focus();
}

function legend(isSigned, [low, high]) {
  const scale = el("span", { class: "scale" });
  scale.style.backgroundImage = gradient(isSigned);
  return el("div", { class: "legend" }, scale, el("span", { class: "ends" }, el("span", { text: low }), el("span", { text: high })));
}

/** Say in a line what a lit cell adds. */
function sentence(lit, view, parts, why, figures) {
  const isQuery = lit.side < 0;
  const side = isQuery ? view.query : view.sides[lit.side];
  const where = isQuery ? "Query" : parts.supports[lit.side].title;
  const share = why.adds_up && why.score ? ` (${percent(lit.total / why.score, 1)} of the score)` : "";
  const partners = isQuery ? view.sides.filter((one, place) => parts.supports[place].pairs) : [view.query];
  let top = 0;
  lit.best.forEach((cell, place) => {
    if (cell >= 0 && Math.abs(partners[place].lit[cell]) > Math.abs(partners[top].lit[lit.best[top]] ?? 0)) top = place;
  });
  const cell = lit.best[top];
  const partner = cell >= 0 ? `; strongest partner ${regionName(cell, partners[top].grid[1])}, ${signed(partners[top].lit[cell], figures)}` : "";
  const amount = why.signed ? signed(lit.total, figures) : fixed(lit.total, figures);
  const rest = lit.bias ? `; biases ${signed(lit.bias, figures)}` : "";
  return `${where}, ${regionName(lit.cell, side.pointed[1])}: ${amount}${share}${partner}${rest}.`;
}

/** A cell as the address has it: query:0.5,0.5, or 0:0.1,0.3 of the first support; the middle of it, as shares. */
function cellWords(view, { side, cell }) {
  const [height, width] = (side < 0 ? view.query : view.sides[side]).pointed;
  const shares = [((cell % width) + 0.5) / width, (Math.floor(cell / width) + 0.5) / height];
  return `${side < 0 ? "query" : side}:${shares.map((share) => share.toFixed(4)).join()}`;
}

/** The cell that such words name, in the grid of this view; null where there is none. */
function cellOf(view, words) {
  const [name, place = ""] = words.split(":");
  const side = name === "query" ? -1 : Number(name);
  const grid = (side < 0 ? view.query : view.sides[side])?.pointed;
  const shares = place.split(",").map(Number);
  if (!grid || shares.length !== 2 || !shares.every((share) => share >= 0 && share < 1)) return null;
  return { side, cell: Math.floor(shares[1] * grid[0]) * grid[1] + Math.floor(shares[0] * grid[1]) };
}

/** Light the cell whose bar is pointed at, unless another is held. */
function pointed(view, cell) {
  if (view.isHeld() || !view.query.pointed) return;
  if (cell === null) view.clear();
  else view.light(-1, cell);
}

/** Draw a Why. Returns an element whose `view` is the two-sided view, and whose `refresh` draws what the address says. */
export function whyPanel(why, { heading = "h2", title = why.title, look = true, isFirst = true } = {}) {
  const parts = decoded(why);
  const paired = parts.supports.some((support) => support.pairs);
  const resting = paired
    ? "Point at a cell, or focus a picture and use the arrow keys: its partners light up on the other side. A click holds it."
    : "Point at a cell, or focus a picture and use the arrow keys, to see its amount. These maps have no pairs of cells.";
  const readout = el("p", { class: "readout" }, resting);
  let receipt = null;
  let figures = 4;
  const element = el("div", { class: "why" });
  let following = false;
  const quietly = (change) => { following = true; change(); following = false; };
  const tell = (lit) => {
    if (following || (lit && lit.side >= 0)) return;
    element.dispatchEvent(new CustomEvent("cell", { bubbles: true, detail: lit && cellWords(view, lit) }));
  };
  let amounts = null;
  const view = pairView({
    ...parts,
    signed: why.signed,
    onlight: (lit) => {
      tell(lit);
      if (!lit) {
        readout.textContent = resting;
        receipt?.clear();
        return;
      }
      if (lit.side < 0 && amounts) lit.total = amounts[lit.cell];
      const words = sentence(lit, view, parts, why, figures);
      readout.textContent = words;
      receipt?.light(lit);
      if (lit.byKeyboard) announce(words);
    },
    onhold: (at) => go({ cell: at ? cellWords(view, at) : "" }, { replace: true }),
  });
  parts.supports.forEach((support, place) => {
    const words = [support.side === "against" ? "against" : "for", Number.isFinite(support.similarity) ? `similarity ${signed(support.similarity)}` : "", Number.isFinite(support.amount) ? `adds ${signed(support.amount)}` : ""];
    view.sides[place].caption.replaceChildren(el("span", { text: support.title }), el("span", { class: "note" }, ` ${words.filter(Boolean).join(" · ")}`));
  });
  const known = amountsOf(view, parts);
  amounts = known.amounts;
  if (amounts) figures = places(amounts) + 1;
  receipt = receiptBars(why, parts.supports, known, (cell) => pointed(view, cell));
  element.append(...[el(heading, { text: title }), why.sentence && el("p", { class: "lead", text: why.sentence }),
    look && el("div", { class: "controls" }, ...lookControls(why.signed)),
    view.element, readout, legend(why.signed, why.color_meanings),
    parts.hidden > 0 && el("p", { class: "note" }, `${parts.hidden} more images take part; the receipt has them.`),
    el("div", { class: "beside" }, receipt.element, channelList(why.channels)),
    ...why.notes.map((note) => el("p", { class: "note", text: note })),
    why.call && pythonCall(why.call)].filter(Boolean));
  const refresh = (now) => {
    view.draw({ opacity: now.opacity / 100, sign: now.sign });
    const wanted = isFirst || now.cell.startsWith("query") ? now.cell : "";
    if (wanted === (view.isHeld() ? cellWords(view, view.at) : "")) return;
    const at = cellOf(view, wanted);
    quietly(() => (at ? view.hold(at.side, at.cell) : view.clear()));
  };
  /** Light a place of the query that is pointed at elsewhere. */
  const follow = (words) => {
    const at = words && cellOf(view, words);
    if (!view.isHeld()) quietly(() => (at ? view.light(at.side, at.cell) : view.clear()));
  };
  refresh(state());
  return Object.assign(element, { view, parts, why, refresh, follow });
}
