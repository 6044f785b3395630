/** Why not: what holds an expected image or class back, what would have to change, and the brush. */

import { announce, button, el, fixed, plural, pythonCall, signed, thumbnail } from "./elements.js";
import { searchOf } from "./filters.js";
import { go, state } from "./location.js";
import { markChosen, nameOf, shortPath, strip } from "./neighbor_cards.js";
import { Panel } from "./panel.js";
import { pick } from "./picker.js";
import { Removal } from "./removal.js";
import { searchPath } from "./search_view.js";
import { address, get } from "./server.js";
import { whyPanel } from "./why_panel.js";

export class WhyNotView {
  constructor(session) {
    this.session = session;
    this.chooser = new Panel(el("div", { class: "stack" }));
    this.answer = new Panel(el("div", { class: "why-not" }));
    this.removed = el("div", {});
    this.expected = el("strong", { class: "expected" });
    this.element = el("div", { class: "stack" }, el("h2", {}, "Why not …?"), this.chooser.element, this.answer.element, this.removed);
  }

  update(now, [bank]) {
    this.bank = bank;
    if (!now.query || now.query.startsWith("text:")) {
      this.chooser.rest(el("p", { class: "note" }, now.query ? "Search by an image to ask why another did not come back." : "Choose a query first."));
      this.answer.rest();
      this.removed.replaceChildren();
      this.removal = null;
      return;
    }
    this.choose(now);
    if (this.removal?.bank !== bank) {
      this.removal = new Removal(bank, this.session);
      this.removed.replaceChildren(this.removal.element);
    }
    const watched = now.expected.startsWith("id:") ? Number(now.expected.slice(3)) : this.expectedOf(now);
    this.removal.update(now, watched);
    if (!now.expected) return this.answer.rest();
    const { k, ...search } = searchOf(now);
    const path = address(`/api/banks/${bank.index}/why-not`, { ...search, k, expected: now.expected });
    this.answer.load(path, (signal) => get(path, signal), (found) => this.draw(path, found), "Comparing, and looking at changed images");
  }

  /** The image that the last answer took for the class that is asked for. */
  expectedOf(now) {
    return this.known?.asked === now.expected ? this.known.id : null;
  }

  choose(now) {
    const path = searchPath(this.bank, now);
    this.expected.textContent = !now.expected ? "" : `Expected: ${now.expected.startsWith("class:") ? now.expected.slice(6) : `image ${now.expected.slice(3)}`}`;
    this.chooser.load(path, (signal) => get(path, signal), (found) => [
      el("div", { class: "row" }, button("Name an image or a class", () => this.pick(), { class: "primary" }), button("Remove a region", () => this.toBrush()), this.expected),
      el("p", { class: "note" }, "Or one of the neighbors:"),
      strip(found.neighbors.slice(1), now.expected.replace("id:", ""), (one) => go({ expected: `id:${one.id}` })),
    ], "Searching").then(() => markChosen(this.chooser.element, now.expected.replace("id:", "")));
  }

  toBrush() {
    this.removed.scrollIntoView({ block: "start" });
    this.removed.querySelector(".brush")?.focus({ preventScroll: true });
  }

  async pick() {
    const chosen = await pick(this.bank, { title: "Which image or class did you expect?", classes: true });
    if (chosen) go({ expected: "class" in chosen ? `class:${chosen.class}` : `id:${chosen.id}` });
  }

  draw(path, found) {
    this.known = { asked: state().expected, id: found.expected.id };
    announce(found.sentences.join(" "));
    const side = (title, one) => el("figure", { class: "contender" }, thumbnail(one.picture, nameOf(one)),
      el("figcaption", {}, el("strong", {}, title), el("span", { class: "label", text: one.label ?? "no class" }),
        el("span", { class: "figures" }, `rank ${one.rank} · similarity ${fixed(one.similarity)}`), one.path && el("span", { class: "path", title: one.path, text: shortPath(one.path, one.label) })));
    return [
      el("section", { class: "verdict" }, ...found.sentences.map((sentence) => el("p", { class: "lead", text: sentence })),
        el("div", { class: "row contenders" }, side("Came first", found.first),
          el("p", { class: "margin" }, el("span", { class: "big" }, signed(found.margin)), el("span", { class: "note" }, `margin, among ${plural(found.among, "image")}`)),
          side("Expected", found.expected))),
      found.why && whyPanel(found.why, { title: "What holds it back" }),
      found.changes.length > 0 && this.changes(found.changes),
      found.call && pythonCall(found.call),
    ].filter(Boolean);
  }

  changes(changes) {
    return el("section", { class: "changes" }, el("h2", {}, "The fewest cells that would have to change"),
      el("ul", { class: "change-list" }, ...changes.map((change) => el("li", {},
        change.picture && el("img", { src: change.picture, alt: `The query with ${plural(change.cells.length, "cell")} changed` }),
        el("div", {}, el("p", {}, el("span", { class: `badge ${change.confirmed ? "yes" : "no"}` }, change.confirmed ? "confirmed by a forward pass" : change.found ? "not confirmed" : "not found"), " ", el("strong", { text: Number.isFinite(change.goal) ? `to rank ${change.goal}${change.goal > 1 ? " or better" : ""}` : change.goal })),
          el("p", { text: change.sentence }), this.steps(change))))));
  }

  /** The rank before, as predicted from the features, and as the network says. */
  steps(change) {
    const known = [["before", change.rank_before], ["from features", change.rank_at_features], ["by the network", change.rank_at_pixels]].filter(([, rank]) => rank !== null && rank !== undefined);
    return known.length ? el("dl", { class: "steps" }, ...known.map(([words, rank]) => el("div", {}, el("dt", {}, `Rank ${words}`), el("dd", {}, String(rank))))) : null;
  }
}
