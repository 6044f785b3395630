/** The workbench: begins with what the server says it has, and shows the view that the address names. */

import { AuditView } from "./audit_view.js";
import { button, el } from "./elements.js";
import { question } from "./episode.js";
import { DecisionView, EpisodeWhyView, SupportAuditView } from "./episode_views.js";
import { episodeChoices } from "./episode_choices.js";
import { exportMenu } from "./export_menu.js";
import { filters, searchOf } from "./filters.js";
import { hash, onchange, state } from "./location.js";
import { QueryPanel } from "./query_panel.js";
import { SearchView } from "./search_view.js";
import { address, forget, get } from "./server.js";
import { themeSwitch } from "./theme.js";
import { VotesView } from "./votes_view.js";
import { WhyNotView } from "./why_not_view.js";
import { chosenIn, whyPath, WhyView } from "./why_view.js";

const place = (name) => document.getElementById(name);
const EXPLAINED = 3; // neighbors that an exported page explains
const WIDE = "(min-width: 60rem)";

/** What is shown and exported for banks. */
class BankWorkbench {
  constructor(session, reload) {
    this.session = session;
    this.names = { search: "Search", why: "Why", "why-not": "Why not", votes: "Votes", audit: "Audit" };
    this.views = { search: new SearchView(session), why: new WhyView(session), "why-not": new WhyNotView(session), votes: new VotesView(session), audit: new AuditView(session, { reload }) };
    this.query = new QueryPanel(session, () => this.bank());
    this.folded = el("details", { class: "fold", open: window.matchMedia(WIDE).matches }, el("summary", {}, "Search among"));
    this.aside = [this.query.element, this.folded];
  }

  bank() {
    return this.session.banks.find((one) => String(one.index) === state().bank) ?? this.session.banks[0];
  }

  /** The bank that is looked at and, in views that show two, the one beside it. */
  banks(now) {
    const second = ["search", "why"].includes(now.view || "search") ? this.session.banks.find((one) => String(one.index) === now.compare) : null;
    return second && second !== this.bank() ? [this.bank(), second] : [this.bank()];
  }

  update(now) {
    if (this.filtered !== this.bank()) {
      this.filtered = this.bank();
      this.filters = filters(this.session, this.filtered);
      this.folded.replaceChildren(this.folded.firstElementChild, this.filters.element);
    }
    this.filters.refresh();
  }

  sources(kind) {
    const now = state();
    const bank = this.bank();
    if (!now.query) return "Choose a query first.";
    if (kind === "page") return { path: address(`/api/banks/${bank.index}/export/page`, searchOf(now, { rule: now.rule, explained: EXPLAINED })) };
    const id = chosenIn(bank, now) || this.views.why.columns[0]?.id();
    return id ? { path: whyPath(bank, now, id, `export/${kind}`) } : "Choose a neighbor under Why first.";
  }
}

/** What is shown and exported for an episode. */
class EpisodeWorkbench {
  constructor(session) {
    this.session = session;
    session.methods.sort((one, other) => Number(Boolean(other.contrast)) - Number(Boolean(one.contrast))); // why this and not that
    this.names = { decide: "Decision", why: "Why", supports: "Supports" };
    const decision = new DecisionView(session);
    this.views = { decide: decision, why: new EpisodeWhyView(session), supports: new SupportAuditView(session) };
    this.query = new QueryPanel(session, () => null, { takes: (files, focused) => decision.columns.takes(files, focused) });
    this.choices = episodeChoices(session);
    this.aside = [this.query.element, this.choices.element];
  }

  banks() {
    return [];
  }

  update() {
    this.choices.refresh();
  }

  sources(kind) {
    const body = question(this.session);
    return body ? { path: `/api/episode/${kind}`, body } : "Choose a query first.";
  }
}

function navigation(workbench, shown) {
  return Object.entries(workbench.names).map(([name, words]) => {
    const link = el("a", { href: hash({ view: name }) }, words);
    if (name === shown) link.setAttribute("aria-current", "page");
    return link;
  });
}

function start(session) {
  const reload = async () => {
    forget();
    const fresh = await get("/api/session");
    fresh.banks?.forEach((bank, index) => Object.assign(session.banks[index], bank));
    if (fresh.banks) workbench.filtered = null;
    update(state(), state());
  };
  const workbench = session.kind === "banks" ? new BankWorkbench(session, reload) : new EpisodeWorkbench(session);
  document.title = session.title;
  place("title").textContent = session.title;
  place("aside").replaceChildren(...workbench.aside);
  place("tools").replaceChildren(exportMenu(() => place("view"), (kind) => workbench.sources(kind)), themeSwitch());
  place("skip").addEventListener("click", () => place("main").focus());
  const first = Object.keys(workbench.names)[0];

  function update(now, before) {
    const name = now.view in workbench.views ? now.view : first;
    const focused = place("views").contains(document.activeElement);
    place("views").replaceChildren(...navigation(workbench, name));
    if (focused) place("views").querySelector("[aria-current]")?.focus();
    const view = workbench.views[name];
    if (place("view").firstElementChild !== view.element) place("view").replaceChildren(view.element);
    workbench.update(now);
    workbench.query.update();
    view.update(now, workbench.banks(now));
    for (const panel of view.element.querySelectorAll(".why")) panel.refresh(now);
    if (now.view !== before.view) {
      window.scrollTo(0, 0);
      if (document.activeElement === document.body) place("main").focus({ preventScroll: true });
    }
  }
  onchange(update);
  update(state(), state());
}

async function begin() {
  try {
    start(await get("/api/session"));
  } catch (error) {
    if (!("status" in error)) throw error;
    place("view").replaceChildren(el("div", { class: "refusal", role: "alert" }, el("p", { text: error.message }), button("Ask again", begin)));
  }
}

begin();
