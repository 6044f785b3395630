/** The query: dropped, pasted, chosen, picked from the bank, or a text; with a box drawn on it. */

import { button, el } from "./elements.js";
import { droppable, fileButton, pasteable, send } from "./given_images.js";
import { go, NEW_QUERY, state } from "./location.js";
import { photograph } from "./photograph.js";
import { pick } from "./picker.js";

/** Where the whole picture of a query lies; null for a text. */
export function pictureOf(query) {
  const [kind, first, second] = query.split(":");
  if (kind === "upload") return `/api/uploads/${first}`;
  if (kind === "image") return `/api/banks/${first}/images/${second}/picture?width=1600`;
  if (kind === "support") return `/api/supports/${first}/picture?width=1600`;
  return null;
}

/** Build the panel; `bankOf()` gives the bank that is looked at, or null for episodes. */
export class QueryPanel {
  constructor(session, bankOf, { takes = () => false } = {}) {
    this.bankOf = bankOf;
    this.limit = session.limits.upload_bytes;
    this.shown = el("div", { class: "query-picture" });
    this.told = el("div", {});
    this.words = el("input", { type: "text", maxlength: "1000", placeholder: "words", autocomplete: "off" });
    this.text = el("form", { class: "row text-query", on: { submit: (event) => { event.preventDefault(); this.ask(this.words.value); } } },
      el("label", { class: "field grow" }, el("span", {}, "Search by text"), this.words), el("button", { type: "submit" }, "Search"));
    const picks = bankOf() ? button("Pick from bank", () => this.pickImage()) : null;
    const give = (files) => this.give(files);
    this.element = el("section", { class: "query-panel", "aria-label": "Query" },
      el("h2", {}, "Query"), this.shown, this.told,
      el("div", { class: "row ways" }, fileButton("Choose a file", give), picks),
      el("p", { class: "note" }, "Or drop or paste one."), this.text);
    droppable(this.element, give);
    pasteable((files, focused) => { if (!takes(files, focused)) give(files); });
  }

  async give(files) {
    const [sent] = await send(files.slice(0, 1), this.told, this.limit);
    if (sent) go({ ...NEW_QUERY, query: sent.query });
  }

  async pickImage() {
    const bank = this.bankOf();
    const image = await pick(bank, { title: "Pick a query" });
    if (image) go({ ...NEW_QUERY, query: `image:${bank.index}:${image.id}` });
  }

  ask(words) {
    if (words.trim()) go({ ...NEW_QUERY, query: `text:${words.trim()}`, view: "search" });
  }

  update() {
    const { query, box } = state();
    this.text.hidden = !this.bankOf()?.text;
    const key = [query, box].join("|");
    if (key === this.key) return;
    this.key = key;
    this.element.classList.toggle("empty", !query);
    if (query.startsWith("text:")) this.words.value = query.slice(5);
    const url = pictureOf(query);
    if (url) photograph(this.shown, url, { box, onbox: (drawn) => go({ ...NEW_QUERY, box: drawn }) });
    else this.shown.replaceChildren(el("p", { class: "drop-here" }, query ? `“${query.slice(5)}”` : "Drop a photograph here"));
  }
}
