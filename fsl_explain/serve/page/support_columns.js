/** The supports of an episode by class, in columns: added, removed and relabeled by hand. */

import { button, el, plural, thumbnail } from "./elements.js";
import { classesOf, supportsOf, written } from "./episode.js";
import { droppable, fileButton, send } from "./given_images.js";
import { go, NEW_QUERY } from "./location.js";

const DRAGGED = "application/x-support";

export class SupportColumns {
  constructor(session) {
    this.session = session;
    this.added = []; // classes that have no support yet
    this.told = el("div", {});
    this.columns = el("div", { class: "support-columns" });
    this.name = el("input", { type: "text", maxlength: "100", placeholder: "name" });
    const form = el("form", { class: "controls", on: { submit: (event) => { event.preventDefault(); this.addClass(this.name.value.trim()); } } },
      el("label", { class: "field" }, el("span", {}, "New class"), this.name), el("button", { type: "submit" }, "Add class"),
      button("Supports of the folder", () => { this.added = []; go({ support: [] }); }, { class: "restore" }));
    this.element = el("section", { class: "supports" }, el("h2", {}, "Supports"), el("p", { class: "note" }, "Drop, paste or choose images into a class; drag a support to another class, or choose its class below it."), this.told, this.columns, form);
  }

  addClass(name) {
    if (!name) return;
    this.added.push(name);
    this.name.value = "";
    this.draw(true);
    this.columns.querySelector(`[data-class="${CSS.escape(name)}"] input`)?.focus();
  }

  change(supports) {
    go({ support: written(this.session.episode, supports) });
  }

  async give(files, label) {
    const sent = await send(files, this.told, this.session.limits.upload_bytes);
    if (sent.length) this.change([...this.supports, ...sent.map((one) => ({ image: one.query, label })).filter((one) => !this.supports.some((other) => other.image === one.image))]);
  }

  /** Take pasted files where the focus is in a column; says whether it did. */
  takes(files, focused) {
    const column = focused?.closest?.(".support-column");
    if (!column) return false;
    this.give(files, column.dataset.class);
    return true;
  }

  update(now, results) {
    this.results = results;
    const supports = supportsOf(this.session.episode, now);
    const key = JSON.stringify(supports.map(({ image, label }) => [image, label]));
    this.supports = supports;
    this.draw(key !== this.key);
    this.key = key;
  }

  draw(anew) {
    const names = [...new Set([...this.session.episode.classes.map((one) => one.name), ...classesOf(this.supports), ...this.added])];
    if (anew) {
      const focused = document.activeElement?.dataset?.support;
      this.columns.replaceChildren(...names.map((name) => this.column(name, names)));
      if (focused) this.columns.querySelector(`select[data-support="${CSS.escape(focused)}"]`)?.focus();
    }
    for (const column of this.columns.children) column.classList.toggle("wins", column.dataset.class === this.results?.decision.name);
  }

  column(name, names) {
    const members = this.supports.filter((one) => one.label === name);
    const column = el("section", { class: "support-column", "aria-label": `Class ${name}`, data: { class: name } },
      el("h3", { text: name }), el("p", { class: "note" }, plural(members.length, "support")),
      el("ul", {}, ...members.map((one) => this.card(one, names))), fileButton("Add images", (files) => this.give(files, name), { multiple: true }));
    droppable(column, (files) => this.give(files, name));
    column.addEventListener("dragover", (event) => { if (event.dataTransfer.types.includes(DRAGGED)) { event.preventDefault(); column.classList.add("dropping"); } });
    column.addEventListener("dragleave", () => column.classList.remove("dropping"));
    column.addEventListener("drop", (event) => {
      column.classList.remove("dropping");
      const image = event.dataTransfer.getData(DRAGGED);
      if (image) this.relabel(image, name);
    });
    return column;
  }

  card(support, names) {
    const words = support.file || support.image;
    const select = el("select", { "aria-label": `Class of ${words}`, data: { support: support.image }, on: { change: () => this.relabel(support.image, select.value) } });
    for (const name of names) select.append(el("option", { value: name, selected: name === support.label }, name));
    const card = el("li", { class: "support-card", draggable: "true", data: { image: support.image } }, thumbnail(support.picture, `${words}, ${support.label}`, { draggable: "false" }),
      el("p", { class: "path", title: words, text: words }), select, el("div", { class: "row" },
        button("Query", () => go({ ...NEW_QUERY, query: support.image }), { class: "small", "aria-label": `Take ${words} as the query` }),
        button("Remove", () => this.change(this.supports.filter((one) => one.image !== support.image)), { class: "small", "aria-label": `Remove ${words}` })));
    card.addEventListener("dragstart", (event) => { event.dataTransfer.setData(DRAGGED, support.image); event.dataTransfer.effectAllowed = "move"; });
    return card;
  }

  relabel(image, label) {
    this.added = this.added.filter((name) => name !== label);
    this.change(this.supports.map((one) => (one.image === image ? { ...one, label } : one)));
  }
}
