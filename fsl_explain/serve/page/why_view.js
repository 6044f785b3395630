/** Why: one neighbor explained against the query; in one bank or in two beside each other. */

import { choice, el } from "./elements.js";
import { go, state } from "./location.js";
import { markChosen, nameOf, strip } from "./neighbor_cards.js";
import { Panel } from "./panel.js";
import { searchPath } from "./search_view.js";
import { address, get } from "./server.js";
import { lookControls, methodControls, methodOf, replaceControls, whyPanel } from "./why_panel.js";

/** The address of an explanation, as `now` says; `kind` why, export/json or export/arrays. */
export function whyPath(bank, now, id, kind = "why") {
  const detail = bank.details.includes(Number(now.detail)) ? now.detail : "0";
  return address(`/api/banks/${bank.index}/${kind}`, { query: now.query, box: now.box, id, against: now.against, method: methodOf(bank.methods).name, detail, biases: now.biases });
}

/** The bank's neighbor that is looked at: the chosen one, or else the first. */
export const chosenIn = (bank, now) => (String(bank.index) === now.bank ? now.id : now.other);

/** A rival is asked about with a contrast; a method that draws none gives way to one that does. */
function methodFor(bank, against) {
  if (Boolean(against) === Boolean(methodOf(bank.methods).contrast)) return state().method;
  return bank.methods.find((one) => Boolean(one.contrast) === Boolean(against))?.name ?? state().method;
}

class Column {
  constructor(bank, session, isFirst) {
    Object.assign(this, { bank, session, isFirst });
    this.neighbors = new Panel(el("div", { class: "strip-frame" }));
    this.why = new Panel(el("div", {}));
    this.element = el("section", { class: "column", "aria-label": `Bank ${bank.name}` }, this.neighbors.element, this.why.element);
  }

  async update(now, onfound) {
    const path = searchPath(this.bank, now);
    await this.neighbors.load(path, (signal) => get(path, signal), (found) => {
      this.found = found.neighbors;
      return this.drawNeighbors();
    }, "Searching");
    if (!this.found || this.neighbors.key !== path) return;
    const id = this.id();
    markChosen(this.neighbors.element, id);
    onfound(this);
    if (id === null) return this.why.rest(el("p", { class: "note" }, "There is no neighbor to explain."));
    const asked = whyPath(this.bank, now, id);
    this.why.load(asked, (signal) => get(asked, signal), (why) => whyPanel(why, { look: false, isFirst: this.isFirst }), "Explaining");
  }

  id() {
    return chosenIn(this.bank, state()) || (this.found?.length ? String(this.found[0].id) : null);
  }

  drawNeighbors() {
    const change = (one) => go(this.isFirst ? { id: String(one.id), against: "", method: methodFor(this.bank, ""), cell: "" } : { other: String(one.id), cell: "" });
    const title = this.session.banks.length > 1 ? [el("h2", { class: "quiet-title", text: this.bank.name })] : [];
    return [...title, strip(this.found, this.id(), change)];
  }
}

export class WhyView {
  constructor(session) {
    this.session = session;
    this.controls = el("div", {});
    this.frame = el("div", { class: "columns" });
    this.element = el("div", { class: "stack" });
    this.columns = [];
    this.frame.addEventListener("cell", (event) => this.follow(event));
  }

  update(now, banks) {
    if (!now.query || now.query.startsWith("text:")) {
      this.key = null;
      this.element.replaceChildren(el("p", { class: "note" }, now.query ? "A text has no regions to explain. Search by an image to see why." : "Choose a query first."));
      return;
    }
    const key = banks.map((bank) => bank.index).join();
    if (key !== this.key) {
      this.key = key;
      this.columns = banks.map((bank, place) => new Column(bank, this.session, place === 0));
      this.frame.classList.toggle("two", banks.length > 1);
      this.frame.replaceChildren(...this.columns.map((column) => column.element));
      this.element.replaceChildren(this.controls, this.frame);
    }
    this.columns.forEach((column) => column.update(now, (found) => { if (found.isFirst) this.drawControls(found); }));
  }

  /** How the first column is explained; the second follows as far as its bank can. */
  drawControls({ bank, found }) {
    const id = chosenIn(bank, state()) || (found.length ? String(found[0].id) : "");
    const row = methodControls({ ...this.session, ...bank, biases: this.session.biases });
    const rivals = [["", "nothing: its similarity"], ...found.filter((one) => String(one.id) !== id).map((one) => [one.id, `${one.rank}. ${nameOf(one)}`])];
    row.append(choice("Rather than", rivals, state().against, (against) => go({ against, method: methodFor(bank, against) })), ...lookControls(methodOf(bank.methods).signed));
    replaceControls(this.controls, row);
  }

  /** Light the same place of the query in the other column. */
  follow({ target, detail }) {
    for (const panel of this.frame.querySelectorAll(".why")) if (panel !== target) panel.follow(detail);
  }
}
