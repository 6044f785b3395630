/** The whole photograph of a query, on which a box can be drawn: with the pointer, or by numbers. */

import { button, el } from "./elements.js";

const SMALLEST = 8; // pixels on the screen; less is a click

/** Fetch a photograph with its size in pixels, which the picture itself may be smaller than. */
async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(String(response.status));
  const picture = el("img", { alt: "Query", draggable: "false" });
  picture.src = URL.createObjectURL(await response.blob());
  await picture.decode();
  const [width, height] = [response.headers.get("X-Width"), response.headers.get("X-Height")].map(Number);
  return { picture, width: width || picture.naturalWidth, height: height || picture.naturalHeight };
}

/** Draw the photograph into `element`; `onbox` gets "x1,y1,x2,y2" in pixels of the upright photograph, or "". */
export async function photograph(element, url, { box, onbox }) {
  let known;
  try {
    known = await fetched(url);
  } catch {
    element.replaceChildren(el("p", { class: "note" }, "There is no picture of this query."));
    return;
  }
  const { picture, width, height } = known;
  const frame = el("span", { class: "box", hidden: true });
  const stage = el("div", { class: "photograph" }, picture, frame);
  stage.style.setProperty("--aspect", picture.naturalWidth / picture.naturalHeight);
  let drawn = box ? box.split(",").map(Number) : null;

  const show = () => {
    frame.hidden = !drawn;
    if (!drawn) return;
    const [left, top, right, bottom] = drawn;
    frame.style.left = `${(100 * left) / width}%`;
    frame.style.top = `${(100 * top) / height}%`;
    frame.style.width = `${(100 * (right - left)) / width}%`;
    frame.style.height = `${(100 * (bottom - top)) / height}%`;
  };
  const done = () => onbox(drawn ? drawn.map(Math.round).join(",") : "");

  let start = null;
  const at = (event) => {
    const place = stage.getBoundingClientRect();
    const clamp = (value) => Math.min(1, Math.max(0, value));
    return [clamp((event.clientX - place.left) / place.width) * width, clamp((event.clientY - place.top) / place.height) * height];
  };
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    start = { point: at(event), x: event.clientX, y: event.clientY, before: drawn };
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!start) return;
    const [x, y] = at(event);
    const [x0, y0] = start.point;
    drawn = [Math.min(x, x0), Math.min(y, y0), Math.max(x, x0), Math.max(y, y0)];
    show();
  });
  const end = (event) => {
    if (!start) return;
    const far = Math.min(Math.abs(event.clientX - start.x), Math.abs(event.clientY - start.y)) >= SMALLEST;
    if (!far || event.type === "pointercancel") drawn = start.before;
    start = null;
    show();
    if (far && event.type === "pointerup") done();
  };
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);

  const bounds = [["left", width], ["top", height], ["right", width], ["bottom", height]];
  const whole = [0, 0, width, height];
  const inputs = bounds.map(([name, most], place) => el("input", { type: "number", min: "0", max: String(most), step: "1", value: String(Math.round((drawn ?? whole)[place])), "aria-label": `Box, ${name}` }));
  const form = el("form", { class: "box-numbers", on: { submit: (event) => {
    event.preventDefault();
    const [left, top, right, bottom] = inputs.map((input) => Number(input.value));
    drawn = [Math.min(left, right), Math.min(top, bottom), Math.max(left, right), Math.max(top, bottom)];
    show();
    done();
  } } }, ...inputs, el("button", { type: "submit", class: "small" }, "Set"));
  const clear = button("Whole picture", () => { drawn = null; show(); done(); }, { class: "small", hidden: !drawn });
  show();
  element.replaceChildren(stage,
    el("div", { class: "row" }, el("p", { class: "note" }, drawn ? "Searching by the part in the box." : "Draw a box to search by a part."), clear),
    el("details", { class: "quiet" }, el("summary", {}, "Box by numbers"), form));
}
