/**
 * The two-sided view: maps over the query and over what it was compared with, and which cells make a pair.
 *
 * Imports nothing, so that notebooks and static pages can use it. Red speaks for, blue against; an unsigned map runs
 * from dark to bright. A cell of the query lights its partners: row p of a table; a cell of the other side lights
 * column r. Amounts are those of the tables, in the unit of the score. Without a table a cell is only framed.
 */

const RED = [195, 59, 59];
const BLUE = [49, 124, 183];
const DARK_TO_BRIGHT = [
  [0, 0, 4], [33, 12, 74], [87, 16, 110], [138, 34, 106], [188, 55, 84], [228, 90, 49], [249, 142, 9], [249, 203, 53], [252, 255, 164],
];

/** The three colors of a scale, low to high, as CSS. */
export function gradient(signed) {
  const css = (color, alpha = 1) => `rgb(${color.join(" ")} / ${alpha})`;
  const stops = signed ? [css(BLUE), css(BLUE, 0), css(RED)] : DARK_TO_BRIGHT.map((color) => css(color));
  return signed ? `linear-gradient(to right, ${stops[0]}, transparent, ${stops[2]})` : `linear-gradient(to right, ${stops.join(", ")})`;
}

/** The largest absolute value; NaN counts as zero. */
export function largest(values) {
  let most = 0;
  for (let place = 0; place < values.length; place++) {
    const size = Math.abs(values[place]);
    if (size > most) most = size;
  }
  return most;
}

/** Fill pixels (RGBA) with the colors of values; `limit` is the strongest color, `opacity` that of it. */
export function paint(pixels, values, { signed, limit, opacity, sign = "both", low = 0 }) {
  for (let place = 0, byte = 0; place < values.length; place++, byte += 4) {
    const value = Number.isNaN(values[place]) ? 0 : values[place];
    const position = limit > low ? Math.min(1, ((signed ? Math.abs(value) : value) - low) / (limit - low)) : 0;
    const shown = !signed || sign === "both" || (sign === "for") === value > 0;
    let color = value > 0 ? RED : BLUE;
    if (!signed) {
      const exact = position * (DARK_TO_BRIGHT.length - 1);
      const below = Math.min(DARK_TO_BRIGHT.length - 2, Math.floor(exact));
      color = DARK_TO_BRIGHT[below].map((part, rgb) => part + (exact - below) * (DARK_TO_BRIGHT[below + 1][rgb] - part));
    }
    pixels[byte] = color[0];
    pixels[byte + 1] = color[1];
    pixels[byte + 2] = color[2];
    pixels[byte + 3] = shown ? 255 * opacity * (signed ? position ** 0.7 : position) : 0;
  }
}

const made = (tag, name, parent) => {
  const element = document.createElement(tag);
  element.className = name;
  parent?.append(element);
  return element;
};

/** A canvas of one pixel per cell that the browser enlarges. */
class Cells {
  constructor(stage, name, [height, width]) {
    this.canvas = made("canvas", name, stage);
    this.canvas.width = width;
    this.canvas.height = height;
    this.canvas.setAttribute("aria-hidden", "true");
    this.context = this.canvas.getContext("2d");
    this.image = this.context.createImageData(width, height);
  }

  draw(values, look) {
    paint(this.image.data, values, look);
    this.context.putImageData(this.image, 0, 0);
  }
}

/** One photograph with its map: the query, or one support. */
class Side {
  constructor(parent, { title, picture, cells }, grid) {
    this.cells = cells;
    this.grid = grid; // of its pairs, or null
    this.pointed = grid ?? cells?.shape ?? null; // what can be pointed at: without pairs the cells of its map
    this.figure = made("figure", "pv-side", parent);
    this.stage = made("div", "pv-stage", this.figure);
    this.photo = picture ? made("img", "pv-photo", this.stage) : null;
    if (this.photo) Object.assign(this.photo, { src: picture, alt: title, draggable: false });
    else this.stage.classList.add("pv-bare");
    this.map = cells ? new Cells(this.stage, "pv-map", cells.shape) : null;
    this.partners = grid ? new Cells(this.stage, "pv-partners", grid) : null;
    this.frame = made("span", "pv-frame", this.stage);
    this.strongest = made("span", "pv-strongest", this.stage);
    this.caption = made("figcaption", "pv-caption", this.figure);
    this.caption.textContent = title;
    this.lit = grid ? new Float32Array(grid[0] * grid[1]) : new Float32Array(0);
    if (!this.pointed) return;
    this.stage.tabIndex = 0;
    this.stage.setAttribute("role", "application");
    this.stage.setAttribute("aria-roledescription", "map of cells");
    this.stage.setAttribute("aria-label", `${title}: ${this.pointed[0]} by ${this.pointed[1]} cells. Arrow keys move over the cells, Enter holds one, Escape lets go.`);
  }

  frameAt(mark, cell) {
    const [height, width] = this.pointed;
    mark.style.width = `${100 / width}%`;
    mark.style.height = `${100 / height}%`;
    mark.style.transform = `translate(${100 * (cell % width)}%, ${100 * Math.floor(cell / width)}%)`;
    mark.style.opacity = 1;
  }

  /** Draw `lit` in place of the map; `source` is the cell pointed at, or -1. */
  light(source, look) {
    this.partners.draw(this.lit, look);
    this.stage.classList.add("pv-lit");
    let best = -1;
    for (let cell = 0; cell < this.lit.length; cell++) {
      if (this.lit[cell] !== 0 && (best < 0 || Math.abs(this.lit[cell]) > Math.abs(this.lit[best]))) best = cell;
    }
    this.frame.style.opacity = 0;
    this.strongest.style.opacity = 0;
    if (source >= 0) this.frameAt(this.frame, source);
    else if (best >= 0) this.frameAt(this.strongest, best);
    return best;
  }

  rest() {
    this.lit.fill(0);
    this.stage.classList.remove("pv-lit");
    this.frame.style.opacity = 0;
    this.strongest.style.opacity = 0;
  }
}

/**
 * Build the view of one explanation.
 *
 * @param query {title, picture, cells} with cells {shape: [h, w], values: Float32Array} or null
 * @param supports a list of {title, picture, cells, pairs}; pairs {grid, supportGrid, table: Float32Array} or null, the
 *   table of (h·w + 1) × (h2·w2 + 1) entries with what the biases make in its last row and column
 * @param onlight called with {side, cell, grid, total, bias, best, byKeyboard} for a lit cell, with null when it goes dark;
 *   side -1 is the query, others count the supports; `best` per side is the strongest partner
 * @param onhold called with {side, cell} when a click or Enter holds a cell lit, with null when it is let go
 */
export function pairView({ query, supports, signed, onlight = () => {}, onhold = () => {} }) {
  const element = made("div", "pair-view");
  const paired = supports.find((support) => support.pairs);
  const querySide = new Side(element, query, paired ? paired.pairs.grid : null);
  const others = made("div", "pv-others", element);
  if (supports.length > 1) element.classList.add(supports.length > 2 ? "pv-many" : "pv-three");
  const sides = supports.map((support) => new Side(others, support, support.pairs ? support.pairs.supportGrid : null));
  const limits = scales(query.cells, supports.map((support) => support.cells), signed);
  const overall = Math.max(...supports.map((support) => (support.pairs ? largest(inner(support.pairs)) : 0)), 0);
  const look = { opacity: 0.75, sign: "both" };
  const times = []; // milliseconds from each event to the end of its drawing
  let held = false;
  let at = null;

  function draw(changes = {}) {
    Object.assign(look, changes);
    [querySide, ...sides].forEach((side, place) => {
      side.map?.draw(side.cells.values, { signed, ...look, ...limits[place] });
    });
    if (at) light(at.side, at.cell);
  }

  /** The amounts of a cell's pairs; returns what biases make of it. */
  function gather(side, cell) {
    let bias = 0;
    if (side < 0) {
      supports.forEach(({ pairs }, place) => {
        if (!pairs) return;
        const width = sides[place].lit.length + 1;
        sides[place].lit.set(pairs.table.subarray(cell * width, cell * width + width - 1));
        bias += pairs.table[cell * width + width - 1];
      });
      return bias;
    }
    const { table } = supports[side].pairs;
    const width = sides[side].lit.length + 1;
    const height = querySide.lit.length;
    for (let row = 0; row < height; row++) querySide.lit[row] = table[row * width + cell];
    return table[height * width + cell];
  }

  function light(side, cell, byKeyboard = false) {
    [querySide, ...sides].forEach((other) => other.rest());
    at = { side, cell };
    const one = side < 0 ? querySide : sides[side];
    if (!one.grid) { // the map stays, and only the cell is framed
      one.frameAt(one.frame, cell);
      onlight({ side, cell, grid: one.pointed, total: one.cells.values[cell], bias: 0, best: [], lines: [], byKeyboard });
      return;
    }
    const bias = gather(side, cell);
    const partners = side < 0 ? sides.filter((one, place) => supports[place].pairs) : [querySide];
    const most = Math.max(...partners.map((partner) => largest(partner.lit)));
    const limit = Math.sqrt(most * overall); // a cell that carries little stays fainter
    const drawn = { signed: true, limit, opacity: Math.min(0.9, look.opacity + 0.15), sign: look.sign };
    const best = partners.map((partner) => partner.light(-1, drawn));
    one.light(cell, { ...drawn, opacity: 0 });
    let total = bias;
    for (const { lit } of partners) for (let place = 0; place < lit.length; place++) total += lit[place];
    onlight({ side, cell, grid: one.pointed, total, bias, best, lines: side < 0 ? rowsOf(cell) : [], byKeyboard });
  }

  /** What a cell of the query gets through each support, biases with it. */
  const rowsOf = (cell) => supports.map(({ pairs }) => {
    if (!pairs) return 0;
    const width = pairs.supportGrid[0] * pairs.supportGrid[1] + 1;
    let sum = 0;
    for (let place = cell * width; place < (cell + 1) * width; place++) sum += pairs.table[place];
    return sum;
  });

  function clear() {
    if (!at) return;
    const was = held;
    at = null;
    held = false;
    [querySide, ...sides].forEach((one) => one.rest());
    onlight(null);
    if (was) onhold(null);
  }

  /** Keep a cell lit whatever is pointed at, until it is clicked again. */
  function hold(side, cell) {
    held = true;
    light(side, cell);
  }

  /** Hold a cell, or let it go if it is the one that is held. */
  function toggle(side, cell) {
    held = !(held && at && at.side === side && at.cell === cell);
    light(side, cell);
    onhold(held ? at : null);
  }

  function listen(side, number) {
    if (!side.pointed) return;
    const [height, width] = side.pointed;
    const cellOf = (event) => {
      const column = Math.floor((event.offsetX / side.wide) * width);
      const row = Math.floor((event.offsetY / side.high) * height);
      return Math.min(height - 1, Math.max(0, row)) * width + Math.min(width - 1, Math.max(0, column));
    };
    const measure = () => { side.wide = side.stage.clientWidth; side.high = side.stage.clientHeight; };
    new ResizeObserver(measure).observe(side.stage);
    side.stage.addEventListener("pointerenter", measure);
    side.stage.addEventListener("pointermove", (event) => {
      const begin = performance.now();
      const cell = cellOf(event);
      if (held || (at && at.side === number && at.cell === cell)) return;
      light(number, cell);
      times.push(performance.now() - begin);
    });
    side.stage.addEventListener("pointerdown", (event) => {
      measure();
      toggle(number, cellOf(event));
    });
    side.stage.addEventListener("pointerleave", () => { if (!held && document.activeElement !== side.stage) clear(); });
    side.stage.addEventListener("blur", () => { if (!held) clear(); });
    side.stage.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (event.key === "Escape") clear();
      if (event.key === "Enter" && at) toggle(at.side, at.cell);
      if (!step) return;
      event.preventDefault();
      const from = at && at.side === number ? at.cell : Math.floor(height / 2) * width + Math.floor(width / 2);
      const row = Math.min(height - 1, Math.max(0, Math.floor(from / width) + step[0]));
      const column = Math.min(width - 1, Math.max(0, (from % width) + step[1]));
      const begin = performance.now();
      light(number, row * width + column, true);
      times.push(performance.now() - begin);
    });
  }

  listen(querySide, -1);
  sides.forEach(listen);
  draw();
  return { element, draw, light, clear, hold, isHeld: () => held, times, rowsOf, query: querySide, sides, get at() { return at; } };
}

/** The table without its last row and column. */
function inner({ grid, supportGrid, table }) {
  const height = grid[0] * grid[1];
  const width = supportGrid[0] * supportGrid[1];
  const values = new Float32Array(height * width);
  for (let row = 0; row < height; row++) values.set(table.subarray(row * (width + 1), row * (width + 1) + width), row * width);
  return values;
}

/** One scale for the query and one for all supports if signed; otherwise each map has its own. */
function scales(query, supports, signed) {
  if (signed) {
    const shared = Math.max(0, ...supports.map((cells) => (cells ? largest(cells.values) : 0)));
    return [{ limit: query ? largest(query.values) : 0 }, ...supports.map(() => ({ limit: shared }))];
  }
  const own = (cells) => (cells ? { low: Math.min(...cells.values), limit: Math.max(...cells.values) } : {});
  return [own(query), ...supports.map(own)];
}
