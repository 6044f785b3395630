/** The views of an episode: the decision over its supports, why, and the audit of the supports. */

import { announce, bar, choice, el, fixed, places, pythonCall, signed, thumbnail } from "./elements.js";
import { classesOf, question, supportsOf } from "./episode.js";
import { go, state } from "./location.js";
import { Panel } from "./panel.js";
import { ask } from "./server.js";
import { SupportColumns } from "./support_columns.js";
import { lookControls, methodControls, methodOf, replaceControls, whyPanel } from "./why_panel.js";

/** Ask for the decision, if it can be asked for, and draw it. */
function load(panel, session, now, draw, onanswer = () => {}) {
  const body = question(session, now);
  if (!body) return panel.rest(el("p", { class: "note" }, now.query ? "Add supports to decide by." : "Choose a query: drop, paste or choose a photograph."));
  panel.load(JSON.stringify(body), (signal) => ask("/api/episode", body, signal).then((found) => { onanswer(found); return found; }), draw, "Deciding");
}

function scoreBars({ name, scores }) {
  const values = scores.map((one) => one.score);
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  const figures = places(values);
  return el("table", { class: "vote" }, el("caption", { class: "visually-hidden" }, "Score of every class"),
    el("thead", { class: "visually-hidden" }, el("tr", {}, el("th", { scope: "col" }, "Class"), el("th", { scope: "col" }, "Score"))),
    el("tbody", {}, ...scores.map((one) => el("tr", { class: one.name === name ? "wins" : "" },
      el("th", { scope: "row" }, el("span", { class: "name", text: one.name }), bar(0, one.score, low, high, "plain")), el("td", {}, fixed(one.score, figures))))));
}

export class DecisionView {
  constructor(session) {
    this.session = session;
    this.panel = new Panel(el("div", { class: "decision" }));
    this.columns = new SupportColumns(session);
    this.element = el("div", {}, this.panel.element, this.columns.element);
  }

  update(now) {
    this.columns.update(now, this.found);
    load(this.panel, this.session, now, (found) => {
      announce(found.sentence);
      return [el("h2", { text: found.decision.name }), el("p", { class: "lead", text: found.sentence }), scoreBars(found.decision),
        found.counterfactual && el("p", { text: found.counterfactual }), ...found.notes.map((note) => el("p", { class: "note", text: note })), found.call && pythonCall(found.call)].filter(Boolean);
    }, (found) => { this.found = found; this.columns.update(state(), found); });
  }
}

export class EpisodeWhyView {
  constructor(session) {
    this.session = session;
    this.controls = el("div", {});
    this.panel = new Panel(el("div", {}));
    this.element = el("div", { class: "stack" }, this.controls, this.panel.element);
  }

  update(now) {
    const classes = classesOf(supportsOf(this.session.episode, now));
    const names = classes.map((name) => [name, name]);
    const row = methodControls(this.session);
    row.append(
      choice("Why", [["", "what was decided"], ...names], now.target, (target) => go({ target })), choice("Rather than", [["", "the usual"], ...names], now.against, (against) => go({ against })), ...lookControls(methodOf(this.session.methods).signed));
    replaceControls(this.controls, row);
    load(this.panel, this.session, now, (found) => { announce(found.sentence); return whyPanel(found.why, { look: false }); });
  }
}

export class SupportAuditView {
  constructor(session) {
    this.session = session;
    this.panel = new Panel(el("div", {}));
    this.element = el("div", { class: "stack" }, el("h2", {}, "Audit of the supports"), el("p", { class: "lead" }, "What each support adds, and what would be decided without it."), this.panel.element);
  }

  update(now) {
    load(this.panel, this.session, now, (found) => this.draw(found.audit));
  }

  draw(audit) {
    const known = new Map(supportsOf(this.session.episode).map((one) => [one.image, one]));
    const addends = audit.map((one) => one.addend);
    const [low, high] = [Math.min(0, ...addends), Math.max(0, ...addends)];
    const figures = places(addends);
    const flips = audit.filter((one) => one.flips).length;
    const rows = audit.map((one) => {
      const support = known.get(one.image) ?? {};
      return el("tr", { class: one.flips ? "flips" : "", data: { image: one.image } },
        el("th", { scope: "row" }, el("span", { class: "row tight" }, thumbnail(support.picture, support.file ?? one.image), el("span", {}, el("span", { class: "name", text: one.label }), el("span", { class: "path", text: support.file ?? one.image })))),
        el("td", { class: "with-bar" }, signed(one.addend, figures), bar(0, one.addend, low, high)),
        el("td", {}, signed(one.lead_without, figures), one.flips && el("span", { class: "badge no", text: `then ${one.label_without}` })));
    });
    return [el("p", { text: flips ? `Without ${flips === 1 ? "one support" : `any one of ${flips} supports`} another class would be decided.` : "No single support decides." }),
      el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Supports" }, el("table", { class: "voters" }, el("caption", { class: "visually-hidden" }, "Supports, and the lead without each"),
        el("thead", {}, el("tr", {}, ...["Support", "Adds", "Lead without"].map((word) => el("th", { scope: "col" }, word)))), el("tbody", {}, ...rows)))];
  }
}
