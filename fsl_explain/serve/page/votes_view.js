/** Votes: how similar and how many, who carries the vote, and what it would be without each. */

import { announce, bar, el, fixed, places, pythonCall, signed, thumbnail } from "./elements.js";
import { searchOf } from "./filters.js";
import { nameOf } from "./neighbor_cards.js";
import { Panel } from "./panel.js";
import { voteBars } from "./search_view.js";
import { address, get } from "./server.js";
import { whyPanel } from "./why_panel.js";

/** The two parts of a vote's score as bars that add up. */
function splitBars(split) {
  const rows = [["How similar", split.how_similar], ["How many", split.how_many]];
  let sum = 0;
  const ends = rows.map(([, value]) => [sum, (sum += value)]);
  const all = [0, split.score, ...ends.flat()];
  const [low, high] = [Math.min(...all), Math.max(...all)];
  const figures = places([split.how_similar, split.how_many]);
  const row = (name, from, to, value) => el("tr", {}, el("th", { scope: "row" }, el("span", { class: "name" }, name), bar(from, to, low, high)), el("td", {}, signed(value, figures)));
  return el("table", { class: "split" }, el("caption", {}, "How similar the voters are, and how many"),
    el("tbody", {}, ...rows.map(([name, value], place) => row(name, ...ends[place], value))),
    el("tfoot", {}, row("Score", 0, split.score, split.score)));
}

function voterTable(voters) {
  const amounts = voters.map((one) => one.amount);
  const [low, high] = [Math.min(0, ...amounts), Math.max(0, ...amounts)];
  const figures = places(amounts);
  const known = (name) => voters.some((one) => Number.isFinite(one[name]));
  const head = ["Voter", known("similarity") && "Similarity", known("weight") && "Weight", "Adds", "Lead without"].filter(Boolean);
  return el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Voters" }, el("table", { class: "voters" }, el("caption", { class: "visually-hidden" }, "Voters, and the lead without each"),
    el("thead", {}, el("tr", {}, ...head.map((word) => el("th", { scope: "col" }, word)))),
    el("tbody", {}, ...voters.map((one) => el("tr", { class: one.flips ? "flips" : "", data: { id: one.id } },
      el("th", { scope: "row" }, el("span", { class: "row tight" }, thumbnail(one.picture, nameOf(one)), el("span", {}, el("span", { class: "rank" }, `${one.rank}`), " ", el("span", { class: "name", text: one.label ?? `image ${one.id}` })))),
      known("similarity") && el("td", {}, fixed(one.similarity)), known("weight") && el("td", {}, fixed(one.weight)),
      el("td", { class: "with-bar" }, signed(one.amount, figures), bar(0, one.amount, low, high)),
      el("td", {}, signed(one.lead_without), one.flips && el("span", { class: "badge no", text: `then ${one.label_without}` })))))));
}

export class VotesView {
  constructor() {
    this.panel = new Panel(el("div", { class: "votes" }));
    this.element = this.panel.element;
  }

  update(now, [bank]) {
    if (!now.query || now.query.startsWith("text:") || !bank.votes.length) {
      const words = bank.votes.length ? "Choose an image as the query first." : "The images of this bank have no classes to vote for.";
      this.panel.rest(el("h2", {}, "Votes"), el("p", { class: "note" }, words));
      return;
    }
    const path = address(`/api/banks/${bank.index}/votes`, searchOf(now, { rule: now.rule, temperature: now.temperature }));
    this.panel.load(path, (signal) => get(path, signal), (found) => this.draw(found, bank), "Counting votes");
  }

  draw(found, bank) {
    announce(found.sentence);
    const flips = found.voters.filter((one) => one.flips).length;
    const words = bank.votes.find((one) => one.name === found.rule)?.words;
    return [
      el("h2", {}, "Votes"), el("p", { class: "lead", text: found.sentence }), words && el("p", { class: "note", text: words }),
      el("div", { class: "beside" }, el("section", {}, el("h3", {}, "Shares"), voteBars(found.classes, found.winner)),
        found.split && el("section", {}, el("h3", {}, `${found.winner}${found.runner_up ? ` rather than ${found.runner_up}` : ""}`), splitBars(found.split), el("p", { class: "note", text: found.split.words }))),
      el("section", {}, el("h3", {}, "Voters, each left out in turn"),
        el("p", { class: "note" }, flips ? `Without ${flips === 1 ? "one of them" : `any one of ${flips}`} another class would win.` : "No single voter decides the vote."), voterTable(found.voters)),
      found.why && whyPanel(found.why, { title: "The regions behind the vote" }),
      found.call && pythonCall(found.call),
    ].filter(Boolean);
  }
}
