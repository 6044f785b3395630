/** A brush that marks cells of a grid on a picture: with mouse, finger or keyboard. Imports nothing. */

/** Marked cells as a short text for an address; "" for none. */
export function encode(cells) {
  if (!cells.some(Boolean)) return "";
  const bytes = new Uint8Array(Math.ceil(cells.length / 8));
  cells.forEach((marked, place) => { if (marked) bytes[place >> 3] |= 1 << (place & 7); });
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replace(/A+=*$|=+$/, "");
}

/** The opposite of `encode`; a text that is none marks nothing. */
export function decode(text, count) {
  const cells = new Uint8Array(count);
  try {
    const bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/").padEnd(Math.ceil(text.length / 4) * 4, "A"));
    for (let place = 0; place < count; place++) cells[place] = (bytes.charCodeAt(place >> 3) >> (place & 7)) & 1;
  } catch { /* not ours: nothing is marked */ }
  return cells;
}

/** Rows and columns of the marked cells. */
export const listed = (cells, width) => [...cells.keys()].filter((cell) => cells[cell]).map((cell) => [Math.floor(cell / width), cell % width]);

const WAIT = 500; // milliseconds after the last key before the ranking is asked for

/**
 * Build the brush. `onchange(cells)` is called when a stroke ends: as the pointer is released, or a while after a key.
 * Returns {element, set(cells), size, erase}: `size` is the side of the brush in cells, `erase` restores instead.
 */
export class Brush {
  constructor(picture, [height, width], onchange) {
    this.grid = [height, width];
    this.cells = new Uint8Array(height * width);
    this.onchange = onchange;
    this.size = 3;
    this.erase = false;
    this.cursor = [Math.floor(height / 2), Math.floor(width / 2)];
    this.element = document.createElement("div");
    this.element.className = "brush";
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "application");
    this.element.setAttribute("aria-roledescription", "brush");
    this.element.setAttribute("aria-label", `Brush over the query, ${height} by ${width} cells. Arrow keys move it, Space marks what is to be removed.`);
    const image = document.createElement("img");
    Object.assign(image, { src: picture, alt: "The query as the network sees it", draggable: false });
    this.canvas = document.createElement("canvas");
    Object.assign(this.canvas, { width, height });
    this.canvas.setAttribute("aria-hidden", "true");
    this.context = this.canvas.getContext("2d");
    this.mark = document.createElement("span");
    this.mark.className = "brush-mark";
    this.element.append(image, this.canvas, this.mark);
    this.listen();
    this.draw();
  }

  set(cells) {
    this.cells.set(cells);
    this.draw();
  }

  draw() {
    const image = this.context.createImageData(this.grid[1], this.grid[0]);
    this.cells.forEach((marked, place) => image.data.set([20, 20, 24, marked ? 225 : 0], 4 * place));
    this.context.putImageData(image, 0, 0);
  }

  /** First row and column of the brush with its middle at a cell, kept on the picture. */
  corner([row, column]) {
    const within = (value, most) => Math.min(most - this.size, Math.max(0, value - Math.floor(this.size / 2)));
    return [within(row, this.grid[0]), within(column, this.grid[1])];
  }

  showMark() {
    const [row, column] = this.corner(this.cursor);
    this.mark.style.left = `${(100 * column) / this.grid[1]}%`;
    this.mark.style.top = `${(100 * row) / this.grid[0]}%`;
    this.mark.style.width = `${(100 * this.size) / this.grid[1]}%`;
    this.mark.style.height = `${(100 * this.size) / this.grid[0]}%`;
  }

  dab() {
    const [top, left] = this.corner(this.cursor);
    for (let row = top; row < top + this.size; row++) this.cells.fill(this.erase ? 0 : 1, row * this.grid[1] + left, row * this.grid[1] + left + this.size);
    this.draw();
  }

  /** Dab along the line from the last cell to this one, so that a quick stroke has no holes. */
  stroke(to) {
    const from = this.cursor;
    const steps = Math.max(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1]), 1);
    for (let step = 1; step <= steps; step++) {
      this.cursor = from.map((value, axis) => Math.round(value + ((to[axis] - value) * step) / steps));
      this.dab();
    }
  }

  listen() {
    let painting = false;
    let timer = 0;
    const cellOf = (event) => {
      const place = this.element.getBoundingClientRect();
      const cell = [(event.clientY - place.top) / place.height, (event.clientX - place.left) / place.width];
      return cell.map((share, axis) => Math.min(this.grid[axis] - 1, Math.max(0, Math.floor(share * this.grid[axis]))));
    };
    this.element.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      painting = true;
      this.element.setPointerCapture(event.pointerId);
      this.cursor = cellOf(event);
      this.dab();
      this.showMark();
    });
    this.element.addEventListener("pointermove", (event) => {
      if (painting) this.stroke(cellOf(event));
      else this.cursor = cellOf(event);
      this.showMark();
    });
    const end = () => { if (painting) { painting = false; this.onchange(this.cells); } };
    this.element.addEventListener("pointerup", end);
    this.element.addEventListener("pointercancel", end);
    this.element.addEventListener("focus", () => this.showMark());
    this.element.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], " ": [0, 0] }[event.key];
      if (!step) return;
      event.preventDefault();
      this.cursor = this.cursor.map((value, axis) => Math.min(this.grid[axis] - 1, Math.max(0, value + step[axis])));
      this.showMark();
      if (event.key !== " ") return;
      this.dab();
      clearTimeout(timer);
      timer = setTimeout(() => this.onchange(this.cells), WAIT);
    });
  }
}
