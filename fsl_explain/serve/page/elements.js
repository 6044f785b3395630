/** Making elements and writing names and numbers. All text goes in as text, never as markup. */

/** Make an element. `properties`: class, text, on: {event: handler}, data: {…}, style: {…}, or any attribute or property. */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "class") element.className = value;
    else if (name === "text") element.append(breakable(value));
    else if (name === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "style") Object.assign(element.style, value);
    else if (name in element && typeof value !== "string" && name !== "list") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A button that does something on this page. */
export const button = (text, onclick, properties = {}) => el("button", { type: "button", on: { click: onclick }, ...properties }, el("span", { text }));

/** A labeled choice. `options`: [value, words] pairs. */
export function choice(label, options, value, onchange, properties = {}) {
  const select = el("select", { on: { change: () => onchange(select.value) }, ...properties });
  for (const [key, words] of options) select.append(el("option", { value: String(key), selected: String(key) === String(value) }, words));
  return el("label", { class: "field" }, el("span", { text: label }), select);
}

/** Text that may be broken after _ . / and -, and nowhere else before it must. */
export function breakable(text) {
  const fragment = document.createDocumentFragment();
  String(text).split(/(?<=[_/])(?=[^_/\s])|(?<=[.-])(?=[^_./\s\d-])/).forEach((piece, place) => {
    if (place) fragment.append(document.createElement("wbr"));
    fragment.append(piece);
  });
  return fragment;
}

export const fixed = (value, places = 3) => (Number.isFinite(value) ? value.toFixed(places).replace("-", "−") : "–");
export const signed = (value, places = 3) => (Number.isFinite(value) ? (value < 0 ? "−" : "+") + Math.abs(value).toFixed(places) : "–");
export const percent = (value, places = 0) => (Number.isFinite(value) ? `${(100 * value).toFixed(places).replace("-", "−")} %` : "–");
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** How many decimals show three figures of the largest of these values. */
export function places(values) {
  const largest = Math.max(0, ...values.map(Math.abs).filter(Number.isFinite));
  return largest > 0 ? Math.min(8, Math.max(2, 3 - Math.floor(Math.log10(largest)) - 1 + (largest < 1 ? 1 : 0))) : 3;
}

/** The photograph of an image, or words where there is no file. */
export function thumbnail(url, words, properties = {}) {
  if (!url) return el("span", { class: "missing", role: "img", "aria-label": `${words}; no picture`, text: "no picture" });
  const source = url.endsWith("/picture") ? `${url}?width=320` : url;
  const image = el("img", { src: source, alt: words, loading: "lazy", decoding: "async", ...properties });
  image.addEventListener("error", () => image.replaceWith(thumbnail(null, words)), { once: true });
  return image;
}

/** A horizontal bar from `from` to `to` on a scale of `low` to `high`; `kind` plain for amounts that speak for nothing. */
export function bar(from, to, low, high, kind = to < from ? "against" : "for") {
  const place = (value) => (100 * (value - low)) / (high - low || 1);
  const fill = el("span", { class: `fill ${kind}` });
  fill.style.left = `${place(Math.min(from, to))}%`;
  fill.style.width = `${Math.max(0.4, Math.abs(place(to) - place(from)))}%`;
  const track = el("span", { class: "track", "aria-hidden": "true" }, fill);
  if (low < 0 && high > 0) {
    const zero = el("span", { class: "zero" });
    zero.style.left = `${place(0)}%`;
    track.append(zero);
  }
  return track;
}

/** Say something to those who listen to the page, and show it. */
export function announce(sentence) {
  document.getElementById("status").textContent = sentence;
}

/** Copy text; says whether it worked. */
export async function copy(text, control) {
  const before = control.textContent;
  try {
    await navigator.clipboard.writeText(text);
    control.textContent = "Copied";
  } catch {
    control.textContent = "Could not copy";
  }
  announce(control.textContent);
  setTimeout(() => { control.textContent = before; }, 1500);
}

/** Python code with a button that copies it. */
export function pythonCall(code) {
  const control = button("Copy", () => copy(code, control), { class: "small" });
  return el("details", { class: "python" }, el("summary", {}, "The same in Python"), el("div", { class: "code" }, control, el("pre", { tabindex: "0", "aria-label": "Python code" }, el("code", {}, code))));
}
