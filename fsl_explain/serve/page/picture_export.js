/** What is seen as a PNG, composed here from the photographs and the maps. */

const SIDE = 360;
const GAP = 20;
const LINE = 20;
const FONT = "14px system-ui, sans-serif";

function wrapped(context, text, width) {
  const lines = [""];
  for (const word of text.split(/(?<=[\s_./-])/)) {
    const longer = lines.at(-1) + word;
    if (context.measureText(longer).width <= width || !lines.at(-1)) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** One photograph with what lies over it now; `side` is a side of the two-sided view, or an image alone. */
function drawSide(context, side, x, y) {
  const photo = side.photo ?? (side instanceof HTMLImageElement ? side : null);
  if (photo?.naturalWidth) context.drawImage(photo, x, y, SIDE, SIDE);
  const lit = side.stage?.classList.contains("pv-lit");
  const over = lit ? side.partners : side.map;
  if (!over) return;
  context.imageSmoothingEnabled = !lit;
  context.drawImage(over.canvas, x, y, SIDE, SIDE);
  context.imageSmoothingEnabled = true;
}

/** Lay titled pictures out, at most four a row, under a heading and over a note; returns a PNG blob. */
export async function compose(heading, items, note) {
  const columns = Math.min(4, Math.max(1, items.length));
  const width = GAP + columns * (SIDE + GAP);
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  context.font = FONT;
  const titles = items.map((item) => wrapped(context, item.title, SIDE).slice(0, 3));
  const head = wrapped(context, heading, width - 2 * GAP);
  const foot = wrapped(context, note, width - 2 * GAP);
  const rows = Math.ceil(items.length / columns);
  const tall = SIDE + LINE * Math.max(1, ...titles.map((lines) => lines.length)) + GAP;
  canvas.width = width;
  canvas.height = GAP + LINE * head.length + GAP + rows * tall + LINE * foot.length + GAP;
  context.font = FONT;
  context.fillStyle = "#ffffff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.fillStyle = "#1f2933";
  head.forEach((line, row) => context.fillText(line, GAP, GAP + LINE * (row + 0.7)));
  items.forEach((item, place) => {
    const x = GAP + (place % columns) * (SIDE + GAP);
    const y = 2 * GAP + LINE * head.length + Math.floor(place / columns) * tall;
    drawSide(context, item.side, x, y);
    titles[place].forEach((line, row) => context.fillText(line, x, y + SIDE + LINE * (row + 0.8)));
  });
  foot.forEach((line, row) => context.fillText(line, GAP, canvas.height - GAP - LINE * (foot.length - row - 0.7)));
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** The pictures of what a view shows: its two-sided views, or else its gallery. */
export function itemsOf(view) {
  const panels = [...view.querySelectorAll(".why")];
  if (panels.length) {
    return panels.flatMap(({ view: pair, parts }) => [{ title: "Query", side: pair.query }, ...pair.sides.map((side, place) => ({ title: parts.supports[place].title, side }))]);
  }
  return [...view.querySelectorAll(".gallery .card")].map((card) => ({ title: card.querySelector(".figures").innerText + " " + card.querySelector(".label").innerText, side: card.querySelector("img") ?? {} }));
}
