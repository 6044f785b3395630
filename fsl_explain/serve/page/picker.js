/** A dialog to find an image or a class of a bank by its path and name. */

import { button, el, plural, thumbnail } from "./elements.js";
import { Panel } from "./panel.js";
import { address, get } from "./server.js";

const PER_PAGE = 60;
const PAUSE = 200; // milliseconds of no typing before it is searched

/**
 * Open the picker. Resolves with {id, label, path}, with {class: name} where `classes` is true and one was chosen, or
 * with null.
 */
export function pick(bank, { title, classes = false }) {
  return new Promise((resolve) => {
    const find = el("input", { type: "search", placeholder: "part of a path or class", autocomplete: "off" });
    const label = el("select", {}, el("option", { value: "" }, "all classes"));
    for (const one of bank.classes) label.append(el("option", { value: one.name }, `${one.name} (${one.images})`));
    const named = el("ul", { class: "named", "aria-label": "Classes" });
    const found = el("div", { class: "found" });
    const panel = new Panel(found);
    const dialog = el("dialog", { class: "picker", "aria-label": title },
      el("form", { method: "dialog", class: "row between" }, el("h2", { text: title }), el("button", { class: "small", value: "" }, "Close")),
      el("div", { class: "controls" }, el("label", { class: "field grow" }, el("span", {}, "Find"), find), el("label", { class: "field" }, el("span", {}, "Class"), label)),
      classes && named, found);
    const choose = (chosen) => { result = chosen; dialog.close(); };
    let result = null;
    let offset = 0;
    let timer = 0;

    const list = () => {
      const path = address(`/api/banks/${bank.index}/images`, { class: label.value, find: find.value, offset, limit: PER_PAGE });
      panel.load(path, (signal) => get(path, signal), (answer) => {
        const turn = (change, words, can) => button(words, () => { offset += change; list(); }, { class: "small", disabled: !can });
        const last = Math.min(answer.total, offset + PER_PAGE);
        return [
          el("div", { class: "row between" },
            el("p", { class: "note", role: "status" }, answer.total ? `${offset + 1} to ${last} of ${plural(answer.total, "image")}` : "No image of this bank has such a path or class."),
            el("span", { class: "row" }, turn(-PER_PAGE, "Earlier", offset > 0), turn(PER_PAGE, "Later", last < answer.total))),
          el("ul", { class: "gallery small-gallery" }, ...answer.images.map((image) => el("li", {}, imageButton(bank, image, choose)))),
        ];
      }, "Looking");
      const wanted = find.value.toLowerCase();
      const fitting = bank.classes.filter((one) => one.name.toLowerCase().includes(wanted)).slice(0, 12);
      named.replaceChildren(...fitting.map((one) => el("li", {}, button(one.name, () => choose({ class: one.name }), { class: "chip" }))));
    };
    const again = () => { clearTimeout(timer); timer = setTimeout(() => { offset = 0; list(); }, PAUSE); };
    find.addEventListener("input", again);
    label.addEventListener("change", () => { offset = 0; list(); });
    dialog.addEventListener("close", () => { dialog.remove(); panel.rest(); resolve(result); });
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    document.body.append(dialog);
    dialog.showModal();
    list();
    find.focus();
  });
}

/** An image of the bank that can be chosen. */
export function imageButton(bank, image, onchoose) {
  const words = `image ${image.id}${image.label ? `, ${image.label}` : ""}`;
  const picture = thumbnail(`/api/banks/${bank.index}/images/${image.id}/picture?width=320`, words);
  return el("button", { type: "button", class: "pick", title: image.path ?? "", on: { click: () => onchoose(image) } }, picture, el("span", { class: "name", text: image.label ?? `image ${image.id}` }));
}
