/** The receipt as bars that add up: each starts where the one before it ended. */

import { bar, el, percent, places, signed } from "./elements.js";

const REGIONS = 12; // cells with a bar of their own; the others share one

/** One table of addends. `rows`: {name, amount, cell?, line?}; `total` is what they must come to. */
function addition(title, rows, total, onrow) {
  let sum = 0;
  const ends = rows.map((row) => [sum, (sum += row.amount)]);
  const all = [0, total, ...ends.flat()];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const cells = rows.filter((row) => row.cell !== undefined);
  const figures = places((cells.length ? cells : rows).map((row) => row.amount));
  const crops = rows.some((row) => row.crop);
  const body = el("tbody");
  const shown = rows.map((row, place) => {
    const track = bar(...ends[place], low, high);
    const part = el("span", { class: "part" });
    track.append(part);
    const tr = el("tr", { data: { row: place } },
      el("th", { scope: "row" }, el("div", { class: "what" }, row.crop ?? (crops && el("span", { class: "crop empty" })), el("div", {}, el("span", { class: "name", text: row.name }), track))),
      el("td", {}, signed(row.amount, figures)), el("td", { class: "sum" }, signed(ends[place][1], figures)));
    body.append(tr);
    return { ...row, tr, part, from: ends[place][0] };
  });
  const foot = el("tfoot", {}, el("tr", {}, el("th", { scope: "row" }, el("div", { class: "what" }, crops && el("span", { class: "crop empty" }), el("div", {}, el("span", { class: "name" }, "Score"), bar(0, total, low, high)))),
    el("td", {}, signed(total, figures)), el("td", {})));
  const head = el("thead", {}, el("tr", {}, ...["What", "Adds", "Sum so far"].map((word) => el("th", { scope: "col" }, word))));
  const table = el("table", { class: "addition" }, el("caption", {}, title), head, body, foot);
  const frame = el("div", { class: "addition-frame", tabindex: "0", role: "group", "aria-label": `${title}. Up and down arrows move over the bars.` }, table);
  let current = -1;
  const move = (to) => {
    if (to === current) return;
    current = to;
    frame.classList.toggle("moving", to >= 0);
    shown.forEach((row, place) => { row.tr.className = place === to ? "here" : place < to ? "before" : ""; });
    onrow(to < 0 ? null : shown[to]);
  };
  table.addEventListener("pointerover", (event) => { const tr = event.target.closest("tbody tr"); move(tr ? Number(tr.dataset.row) : -1); });
  table.addEventListener("pointerleave", () => move(-1));
  frame.addEventListener("blur", () => move(-1));
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    move(Math.min(shown.length - 1, Math.max(0, current + step)));
  });
  return { element: frame, rows: shown, span: high - low || 1, low };
}

/** The addends that stand for images, and the constants. */
function byImage({ receipt }, supports) {
  const rows = receipt.lines.map((line, place) => {
    const support = supports.find((one) => one.line === place);
    const named = support ? { name: support.title, crop: crop(support.picture, 0, 1, 1) } : { name: line.name };
    return { ...named, amount: line.amount, line: place };
  });
  for (const constant of receipt.constants) rows.push({ name: constant.name, amount: constant.value });
  const rest = receipt.total - rows.reduce((sum, row) => sum + row.amount, 0);
  if (Math.abs(rest) > 1e-5 * (receipt.absolute_sum || 1)) rows.push({ name: "left by integration", amount: rest });
  return rows;
}

/** The addends that stand for cells of the query: strongest first, the rest together, then what no cell holds. */
function byRegion(why, amounts, [height, width]) {
  const order = [...amounts.keys()].sort((one, other) => Math.abs(amounts[other]) - Math.abs(amounts[one]));
  const rows = order.slice(0, REGIONS).map((cell) => ({ name: regionName(cell, width), amount: amounts[cell], cell, crop: crop(why.query.picture, cell, height, width) }));
  const others = order.slice(REGIONS);
  if (others.length) rows.push({ name: `the other ${others.length} cells`, amount: others.reduce((sum, cell) => sum + amounts[cell], 0), others: true });
  const held = rows.reduce((sum, row) => sum + row.amount, 0);
  const constants = why.receipt.constants.reduce((sum, constant) => sum + constant.value, 0);
  const beside = why.receipt.total - constants - held;
  if (Math.abs(beside) > 1e-6 * (why.receipt.absolute_sum || 1)) rows.push({ name: "in no cell: biases and norms", amount: beside });
  for (const constant of why.receipt.constants) rows.push({ name: constant.name, amount: constant.value });
  return rows;
}

/** The part of a picture that a cell covers. */
function crop(picture, cell, height, width) {
  if (!picture) return null;
  const element = el("span", { class: "crop", "aria-hidden": "true" });
  const place = (index, count) => `${count > 1 ? (100 * index) / (count - 1) : 0}%`;
  element.style.backgroundImage = `url("${picture.replaceAll('"', "%22")}")`;
  element.style.backgroundSize = `${100 * width}% ${100 * height}%`;
  element.style.backgroundPosition = `${place(cell % width, width)} ${place(Math.floor(cell / width), height)}`;
  return element;
}

export const regionName = (cell, width) => `row ${Math.floor(cell / width) + 1}, column ${(cell % width) + 1}`;

/**
 * Draw the receipt of a Why, of which `supports` are drawn; `amounts` of the query's cells in a `grid`. `oncell(cell)` is called as a region's bar is pointed at (null as it is left).
 * Returns {element, light(lit), clear()}: `light` shows in the bars what the lit cell adds.
 */
export function receiptBars(why, supports, { amounts, grid }, oncell) {
  const { receipt } = why;
  const element = el("section", { class: "receipt" }, el("h3", {}, "Receipt"));
  if (!receipt) {
    element.append(el("p", { class: "note", text: `${why.method} does not split the score, so there is nothing to add up.` }));
    return { element, light: () => {}, clear: () => {} };
  }
  if (!why.adds_up) {
    element.append(el("p", { class: "note", text: `The maps of ${why.method} rank; they do not add up to the score of ${signed(why.score, 4)}.` }));
  }
  const images = addition("By image", byImage(why, supports), receipt.total, () => {});
  const regions = amounts && why.adds_up ? addition("By region of the query", byRegion(why, amounts, grid), receipt.total, (row) => oncell(row && row.cell !== undefined ? row.cell : null)) : null;
  if (images.rows.length > 1 || !regions) element.append(images.element);
  if (regions) element.append(regions.element);
  const share = receipt.share_of_cells;
  element.append(el("p", { class: "note" },
    `Score ${signed(receipt.score, 6)}, sum ${signed(receipt.total, 6)}, residual ${receipt.residual.toExponential(1)}`,
    share === null || share === undefined ? "." : `; the cells hold ${percent(share)} of all absolute amounts.`));
  if (receipt.text) element.append(el("details", {}, el("summary", {}, "As printed"), el("pre", { tabindex: "0", "aria-label": "The receipt as text", text: receipt.text })));

  const part = (table, row, amount) => {
    const from = row.amount < 0 ? row.from + Math.min(amount, 0) : row.from + Math.min(amount, 0);
    row.part.style.transform = `translateX(${(100 * (from - table.low)) / table.span}%) scaleX(${Math.abs(amount) / table.span})`;
    row.part.style.opacity = 1;
    row.tr.classList.add("holds");
  };
  const clear = () => {
    for (const table of [images, regions]) {
      for (const row of table?.rows ?? []) {
        row.part.style.opacity = 0;
        row.tr.classList.remove("holds");
      }
    }
  };
  const light = ({ side, cell, total, lines }) => {
    clear();
    if (side >= 0) {
      const row = images.rows.find((one) => one.line === supports[side].line);
      if (row) part(images, row, total);
      return;
    }
    lines.forEach((amount, place) => {
      const row = images.rows.find((one) => one.line === supports[place].line);
      if (row && amount) part(images, row, amount);
    });
    const row = regions?.rows.find((one) => one.cell === cell) ?? regions?.rows.find((one) => one.others);
    if (row) part(regions, row, row.cell === cell ? row.amount : total);
  };
  return { element, light, clear };
}
