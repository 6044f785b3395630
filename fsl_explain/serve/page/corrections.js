/** Corrections of labels that are not written yet: listed, taken back, and written together. */

import { announce, button, el, plural } from "./elements.js";
import { post } from "./server.js";

export class Corrections {
  /** `onwritten` is called after the bank was changed, `onstale` to reload where it was changed by others. */
  constructor(bankOf, { onchange, onwritten, onstale }) {
    Object.assign(this, { bankOf, onchange, onwritten, onstale });
    this.pending = new Map();
    this.told = el("div", { role: "status" });
    this.list = el("ul", { class: "pending-list" });
    this.write = button("Write corrections", () => this.send(), { class: "primary" });
    this.element = el("section", { class: "pending", "aria-label": "Corrections to write" }, el("h3", {}, "Corrections to write"), this.list, el("div", { class: "row" }, this.write), this.told);
    window.addEventListener("beforeunload", (event) => { if (this.pending.size) event.preventDefault(); });
    this.draw();
  }

  set(image, label) {
    this.pending.set(image.id, { image, label });
    announce(`Image ${image.id}: ${label}. ${plural(this.pending.size, "correction")} to write.`);
    this.draw();
  }

  drop(id) {
    this.pending.delete(id);
    this.draw();
  }

  draw() {
    const rows = [...this.pending.values()];
    this.write.disabled = !rows.length;
    this.write.textContent = rows.length ? `Write ${plural(rows.length, "correction")}` : "Nothing to write";
    this.list.replaceChildren(...rows.map(({ image, label }) => el("li", {},
      el("span", { class: "grow" }, `Image ${image.id}: `, el("s", { text: image.label ?? "no class" }), " → ", el("strong", { text: label })),
      button("Take back", () => this.drop(image.id), { class: "small", "aria-label": `Take back the correction of image ${image.id}` }))));
    this.onchange(this.pending);
  }

  async send() {
    const { index, version } = this.bankOf();
    const changes = [...this.pending.values()].map(({ image, label }) => ({ id: image.id, label }));
    this.write.disabled = true;
    this.told.replaceChildren(el("p", { class: "busy" }, el("span", { class: "spinner", "aria-hidden": "true" }), "Writing …"));
    try {
      const answer = await post(`/api/banks/${index}/labels`, { version, changes });
      this.pending.clear();
      this.told.replaceChildren(el("p", { class: "good", text: answer.sentence }));
      announce(answer.sentence);
      this.draw();
      await this.onwritten();
    } catch (error) {
      const reload = error.status === 409 && button("Reload the bank", () => this.reload());
      this.told.replaceChildren(el("div", { class: "refusal", role: "alert" }, el("p", { text: error.message }), reload || ""));
      announce(error.message);
      this.write.disabled = false;
    }
  }

  async reload() {
    await this.onstale();
    this.told.replaceChildren(el("p", { class: "note" }, "The bank was read again. The corrections above still wait to be written."));
  }
}
