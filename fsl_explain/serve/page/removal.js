/** Removing a region of the query with the brush, and how the ranking changes. */

import { Brush, decode, encode, listed } from "./brush.js";
import { announce, button, choice, el, fixed, signed, thumbnail } from "./elements.js";
import { searchOf } from "./filters.js";
import { go, state } from "./location.js";
import { move, nameOf } from "./neighbor_cards.js";
import { Panel } from "./panel.js";
import { address, post } from "./server.js";

export class Removal {
  constructor(bank, session) {
    this.bank = bank;
    this.grid = session.limits.brush;
    this.holder = el("div", { class: "brush-holder" });
    this.result = new Panel(el("div", { class: "removal-result", "aria-live": "polite" }));
    const size = choice("Brush size", [[1, "1 cell"], [3, "3 cells"], [5, "5 cells"]], 3, (value) => { this.brush.size = Number(value); });
    const mode = choice("Brush mode", [["remove", "remove"], ["restore", "restore"]], "remove", (value) => { this.brush.erase = value === "restore"; });
    this.controls = el("div", { class: "controls" }, size, mode, button("Restore all", () => go({ removed: "" })));
    this.element = el("section", { class: "removal" }, el("h2", {}, "Remove a region"),
      el("p", { class: "lead" }, "Paint over a part of the query: the network looks again without it, and the ranking follows."),
      el("div", { class: "beside" }, el("div", {}, this.holder, this.controls), this.result.element));
  }

  update(now, watched) {
    const seen = address(`/api/banks/${this.bank.index}/seen`, { query: now.query, box: now.box });
    const count = this.grid[0] * this.grid[1];
    if (seen !== this.seen) {
      this.seen = seen;
      const { size = 3, erase = false } = this.brush ?? {};
      this.brush = Object.assign(new Brush(seen, this.grid, (cells) => go({ removed: encode([...cells]) })), { size, erase });
      this.holder.replaceChildren(this.brush.element);
    }
    const cells = decode(now.removed, count);
    this.brush.set(cells);
    const chosen = listed(cells, this.grid[1]);
    if (!chosen.length) return this.result.rest(el("p", { class: "note" }, "Nothing is removed."));
    const { class: classes, ...search } = searchOf(now);
    const watch = watched === null || watched === undefined ? [] : [watched];
    const body = { ...search, k: Number(now.k) || this.bank.k, class: classes, leave_self_out: !now.kept, grid: this.grid, cells: chosen, watch };
    const path = `/api/banks/${this.bank.index}/removed`;
    this.result.load(JSON.stringify(body), (signal) => post(path, body, signal), (found) => this.draw(found), "Looking again");
  }

  draw(found) {
    announce(found.sentence);
    const rows = found.neighbors.map((one) => el("tr", { data: { id: one.id } },
      el("td", { class: "rank" }, String(one.rank)), el("th", { scope: "row" }, el("span", { class: "row tight" }, thumbnail(one.picture, nameOf(one)), el("span", { class: "name", text: one.label ?? `image ${one.id}` }))),
      el("td", {}, fixed(one.similarity)), el("td", {}, move(one.rank_before, one.rank))));
    const watched = found.watched.map((one) => el("p", { class: "watched" }, `Image ${one.id}: `, move(one.rank_before, one.rank),
      ` similarity ${fixed(one.similarity_before)} → ${fixed(one.similarity)} (${signed(one.similarity - one.similarity_before)})`));
    return [
      el("p", { class: "lead", text: found.sentence }), ...watched,
      found.vote && el("p", { text: found.vote.sentence }),
      el("div", { class: "row top" },
        el("figure", { class: "edited" }, el("img", { src: found.picture, alt: "The query with the region removed" }), el("figcaption", {}, "As looked at now")),
        el("table", { class: "ranking grow" }, el("caption", { class: "visually-hidden" }, "Ranking without the region"),
          el("thead", {}, el("tr", {}, ...["Rank", "Image", "Similarity", "Change"].map((word) => el("th", { scope: "col" }, word)))), el("tbody", {}, ...rows))),
    ].filter(Boolean);
  }
}
