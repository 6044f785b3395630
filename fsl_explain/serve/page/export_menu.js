/** The export menu: picture, page, JSON, arrays, and the Python call. */

import { announce, button, copy, el } from "./elements.js";
import { compose, itemsOf } from "./picture_export.js";
import { download, save } from "./server.js";

/**
 * Build the menu. `sources(kind)` gives {path, body?} of a download for the kinds page, json and arrays, or a sentence
 * that says why there is none; `view()` is the element of the view that is shown.
 */
export function exportMenu(view, sources) {
  const told = el("p", { class: "note told", role: "status" });
  const say = (sentence) => { told.textContent = sentence; announce(sentence); };
  const names = { page: "explanation.html", json: "explanation.json", arrays: "explanation.npz" };
  const fetchFile = async (kind) => {
    const source = sources(kind);
    if (typeof source === "string") return say(source);
    say("Preparing the file …");
    try {
      await download(source.path, names[kind], source.body);
      say("The file was handed to the browser.");
    } catch (error) {
      say(error.message);
    }
  };
  const picture = async () => {
    const items = itemsOf(view());
    if (!items.length) return say("This view has no picture to keep.");
    const why = view().querySelector(".why")?.why;
    const note = why ? `${why.method}; red: ${why.color_meanings[1]}, blue: ${why.color_meanings[0]}` : window.location.hash.slice(0, 120);
    save(await compose(why?.sentence || why?.title || view().querySelector(".lead")?.innerText || "", items, note), "explanation.png");
    say("The picture was handed to the browser.");
  };
  const call = button("Copy the Python call", () => {
    const code = view().querySelector(".python code")?.textContent;
    if (code) copy(code, call);
    else say("This view has no Python call.");
  });
  const items = [button("Picture (PNG)", picture), button("Page (HTML, self-contained)", () => fetchFile("page")), button("JSON", () => fetchFile("json")), button("NumPy arrays (npz)", () => fetchFile("arrays")), call];
  const menu = el("details", { class: "menu" }, el("summary", {}, "Export"), el("div", { class: "menu-items" }, ...items, told));
  menu.addEventListener("keydown", (event) => { if (event.key === "Escape") { menu.open = false; menu.querySelector("summary").focus(); } });
  document.addEventListener("pointerdown", (event) => { if (!menu.contains(event.target)) menu.open = false; });
  menu.addEventListener("toggle", () => { told.textContent = ""; });
  return menu;
}
