/** Search: the neighbors of the query as a gallery, and what they vote for; in one bank or in two beside each other. */

import { announce, bar, button, el, percent, plural, pythonCall } from "./elements.js";
import { searchOf } from "./filters.js";
import { go, NEW_QUERY, state } from "./location.js";
import { gallery } from "./neighbor_cards.js";
import { Panel } from "./panel.js";
import { imageButton } from "./picker.js";
import { address, get } from "./server.js";

const OFFERED = 48;

/** The address of the search in a bank, as `now` says. */
export function searchPath(bank, now) {
  const isFirst = String(bank.index) === now.bank;
  const classes = isFirst ? now.class : now.class.filter((name) => bank.classes.some((one) => one.name === name));
  return address(`/api/banks/${bank.index}/search`, searchOf(now, { class: classes, rule: now.rule, temperature: now.temperature }));
}

/** The bars of a vote: one class a row. */
export function voteBars(classes, winner) {
  return el("table", { class: "vote" }, el("caption", { class: "visually-hidden" }, "Shares of the vote"),
    el("thead", { class: "visually-hidden" }, el("tr", {}, ...["Class", "Share", "Voters"].map((word) => el("th", { scope: "col" }, word)))),
    el("tbody", {}, ...classes.map((one) => el("tr", { class: one.name === winner ? "wins" : "" },
      el("th", { scope: "row" }, el("span", { class: "name", text: one.name }), bar(0, one.share, 0, 1, "plain")),
      el("td", {}, percent(one.share)), el("td", { class: "note" }, plural(one.voters, "voter"))))));
}

export class SearchView {
  constructor(session) {
    this.session = session;
    this.element = el("div", { class: "columns" });
    this.columns = new Map();
  }

  update(now, banks) {
    const key = banks.map((bank) => bank.index).join();
    if (key !== this.key) {
      this.key = key;
      this.columns = new Map(banks.map((bank) => [bank, new Panel(el("section", { class: "column", "aria-label": `Bank ${bank.name}` }))]));
      this.element.classList.toggle("two", banks.length > 1);
      this.element.replaceChildren(...[...this.columns.values()].map((panel) => panel.element));
    }
    for (const [bank, panel] of this.columns) {
      if (now.query) this.search(bank, panel, now);
      else this.offer(bank, panel);
    }
  }

  search(bank, panel, now) {
    const path = searchPath(bank, now);
    panel.load(path, (signal) => get(path, signal), (found) => {
      announce(`${plural(found.neighbors.length, "neighbor")} in ${bank.name}.`);
      return this.draw(bank, found);
    }, "Searching");
  }

  draw(bank, found) {
    const isFirst = String(bank.index) === state().bank;
    const isText = state().query.startsWith("text:");
    const links = isText ? {} : {
      why: (one) => ({ view: "why", ...(isFirst ? { id: String(one.id) } : { other: String(one.id) }) }),
      whyNot: isFirst ? (one) => ({ view: "why-not", expected: `id:${one.id}`, removed: "" }) : undefined,
    };
    const { seconds } = found;
    return [
      el("div", { class: "row between" }, el("h2", { text: this.session.banks.length > 1 ? bank.name : "Neighbors" }),
        Number.isFinite(seconds) && el("p", { class: "note" }, `${(1000 * seconds).toFixed(0)} ms`)),
      el("p", { class: "lead", text: found.words }),
      ...found.notes.map((note) => el("p", { class: "note", text: note })),
      found.vote && el("section", { class: "vote-section", "aria-label": "Vote" }, el("p", { text: found.vote.sentence }), voteBars(found.vote.classes.slice(0, 5), found.vote.winner)),
      gallery(bank, found.neighbors, links),
      found.call && pythonCall(found.call),
    ].filter(Boolean);
  }

  /** Without a query: images of the bank to take as one. */
  offer(bank, panel) {
    const path = address(`/api/banks/${bank.index}/images`, { limit: OFFERED });
    panel.load(path, (signal) => get(path, signal), (answer) => [
      el("h2", {}, "Begin with a query"),
      el("p", { class: "lead" }, "Drop, paste or choose a photograph, or take an image of the bank:"),
      el("ul", { class: "gallery small-gallery" }, ...answer.images.map((image) => el("li", {},
        imageButton(bank, image, () => go({ ...NEW_QUERY, query: `image:${bank.index}:${image.id}` }))))),
      answer.total > OFFERED && button(`All ${answer.total.toLocaleString("en")} images`, () => document.querySelector(".query-panel .ways button")?.click()),
    ].filter(Boolean), "Looking at the bank");
  }
}
