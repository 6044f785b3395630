/** Audit: the likeliest mislabeled images with the neighbors that say so, and their correction. */

import { Corrections } from "./corrections.js";
import { announce, button, el, fixed, percent, plural, thumbnail } from "./elements.js";
import { go, state } from "./location.js";
import { Panel } from "./panel.js";
import { address, stream } from "./server.js";

export class AuditView {
  constructor(session, { reload }) {
    this.panel = new Panel(el("div", {}));
    this.progress = el("progress", { max: "1", value: "0", "aria-label": "Progress of the audit" });
    this.stage = el("p", { class: "note" });
    this.meter = el("div", { class: "meter", hidden: true }, this.progress, this.stage);
    this.k = el("input", { type: "number", min: "1", placeholder: "usual" });
    this.top = el("input", { type: "number", min: "1", max: "500" });
    this.start = el("button", { type: "submit", class: "primary" }, "Look for mislabeled images");
    const form = el("form", { class: "controls", on: { submit: (event) => { event.preventDefault(); this.ask(); } } },
      el("label", { class: "field short" }, el("span", {}, "Neighbors, k"), this.k), el("label", { class: "field short" }, el("span", {}, "Show"), this.top), this.start);
    this.corrections = new Corrections(() => this.bank, {
      onchange: (pending) => this.mark(pending),
      onwritten: async () => { await reload(); this.panel.key = null; this.update(state(), [this.bank]); },
      onstale: reload,
    });
    this.names = el("datalist", { id: "class-names" });
    this.suspects = [];
    this.element = el("div", { class: "audit" }, el("h2", {}, "Audit of the labels"),
      el("p", { class: "lead" }, "Images whose neighbors belong to another class, the likeliest mislabeled first."),
      form, this.meter, this.names, el("div", { class: "audit-columns" }, this.panel.element, this.corrections.element));
  }

  ask() {
    this.panel.key = null;
    const changes = { audit: "1", audit_k: this.k.value, top: this.top.value || "20" };
    go(changes);
    this.update(state(), [this.bank]);
  }

  update(now, [bank]) {
    this.bank = bank;
    this.k.value = now.audit_k;
    this.top.value = now.top;
    this.names.replaceChildren(...bank.classes.map((one) => el("option", { value: one.name })));
    this.corrections.element.hidden = !bank.writable;
    if (!bank.classes.length) return this.panel.rest(el("p", { class: "note" }, "The images of this bank have no classes to audit."));
    if (!now.audit) return this.panel.rest();
    const path = address(`/api/banks/${bank.index}/audit`, { k: now.audit_k, top: now.top });
    this.panel.load(path, (signal) => this.follow(path, signal), (result) => this.draw(result), "Comparing every image with its neighbors");
  }

  async follow(path, signal) {
    this.meter.hidden = false;
    this.progress.removeAttribute("value");
    this.stage.textContent = "";
    try {
      return await stream(path, ({ stage, done, total }) => {
        if (total) this.progress.value = done / total;
        this.stage.textContent = total ? `${stage}: ${done.toLocaleString("en")} of ${total.toLocaleString("en")}` : stage;
      }, signal);
    } finally {
      this.meter.hidden = true;
    }
  }

  draw(result) {
    announce(`${plural(result.suspects.length, "suspect")} among ${plural(result.images, "image")}.`);
    this.suspects = result.suspects.map((one) => this.card(one));
    this.mark(this.corrections.pending);
    if (!result.suspects.length) return el("p", {}, "No image stands out from its neighbors.");
    return [el("p", { class: "note", role: "status" }, `${plural(result.suspects.length, "image")} of ${result.images.toLocaleString("en")}, by ${result.k} neighbors each.`),
      el("ol", { class: "suspects" }, ...this.suspects.map((one) => one.element))];
  }

  card(suspect) {
    const other = el("input", { type: "text", list: "class-names", "aria-label": `Class of image ${suspect.id}`, placeholder: "another class" });
    const fix = el("form", { class: "row", on: { submit: (event) => { event.preventDefault(); if (other.value.trim()) this.corrections.set(suspect, other.value.trim()); } } },
      button(`Accept ${suspect.suggested}`, () => this.corrections.set(suspect, suspect.suggested), { class: "primary small accept" }), other, el("button", { type: "submit", class: "small" }, "Set"));
    const words = `image ${suspect.id}, labeled ${suspect.label}`;
    const state = el("p", { class: "chosen", hidden: true });
    const element = el("li", { class: "suspect", data: { id: suspect.id } },
      el("a", { href: `#view=why&bank=${this.bank.index}&query=image:${this.bank.index}:${suspect.id}`, title: suspect.path ?? "" }, thumbnail(suspect.picture, words)),
      el("div", { class: "grow" },
        el("p", { class: "claim" }, el("span", { class: "rank" }, `${suspect.rank}`), " labeled ", el("strong", { text: suspect.label }), ", its neighbors say ", el("strong", { text: suspect.suggested })),
        el("p", { class: "note", text: `${percent(suspect.support)} of its neighbors are ${suspect.suggested}, ${percent(suspect.agreement)} ${suspect.label} · worth of the label ${fixed(suspect.worth)}` }),
        el("ul", { class: "thumbnails", "aria-label": `Neighbors of image ${suspect.id}` }, ...suspect.neighbors.map((one) => el("li", { class: one.label === suspect.label ? "same" : "other" },
          thumbnail(one.picture, `neighbor ${one.id}, ${one.label}`, { title: `${one.id}: ${one.label}` })))),
        this.bank.writable && fix, state));
    return { id: suspect.id, element, state };
  }

  /** Show on the cards what is chosen for them. */
  mark(pending) {
    for (const { id, element, state } of this.suspects ?? []) {
      const chosen = pending.get(id);
      element.classList.toggle("decided", Boolean(chosen));
      state.hidden = !chosen;
      state.textContent = chosen ? `To be written: ${chosen.label}` : "";
    }
  }
}
