/** What is searched among: bank, second bank, number of neighbors, classes, the rule of the vote. */

import { choice, el, plural } from "./elements.js";
import { go, state } from "./location.js";

/** The parameters of a search in one bank, as the server takes them. */
export function searchOf(now, more = {}) {
  return { query: now.query, box: now.box, k: now.k, class: now.class, leave_self_out: now.kept ? "" : "1", ...more };
}

/** Build the filters of one bank: {element, refresh()}; `refresh` shows what the address says. */
export function filters(session, bank) {
  const now = state();
  const element = el("section", { class: "filters", "aria-label": "Search among" }, el("h2", {}, "Search among"));
  const names = session.banks.map((one) => [one.index, one.name]);
  const refreshers = [];
  const show = (field, value) => { refreshers.push(() => { field.querySelector("select").value = value(state()); }); return field; };
  if (session.banks.length > 1) {
    const change = (chosen) => go({ bank: chosen, compare: chosen === state().compare ? "" : state().compare, class: [], id: "", against: "", expected: "" });
    const others = [["", "no other bank"], ...names.filter(([index]) => index !== bank.index)];
    element.append(choice("Bank", names, bank.index, change),
      show(choice("Compare with bank", others, now.compare, (compare) => go({ compare, other: "" })), (is) => is.compare));
  } else element.append(el("p", { class: "name", text: bank.name }));
  element.append(el("p", { class: "note", text: `${plural(bank.images, "image")}, ${bank.classes.length ? `${bank.classes.length} classes, ` : ""}${bank.encoder}, ${bank.similarity}` }));

  const usual = String(bank.k);
  const k = el("input", { type: "number", min: "1", max: String(bank.most_k), on: { change: () => go({ k: k.value === usual ? "" : k.value, id: "" }) } });
  const own = el("input", { type: "checkbox", on: { change: () => go({ kept: own.checked ? "" : "1", id: "" }) } });
  refreshers.push(() => { k.value = state().k || usual; own.checked = !state().kept; });
  element.append(el("label", { class: "field short" }, el("span", {}, "Neighbors, k"), k),
    el("label", { class: "check" }, own, el("span", {}, "Leave the query itself out")));
  if (bank.votes.length > 1) {
    const first = bank.votes[0].name;
    element.append(show(choice("Vote", bank.votes.map((one) => [one.name, one.name]), first, (rule) => go({ rule: rule === first ? "" : rule })), (is) => is.rule || first));
  }
  if (bank.classes.length) {
    const classes = classFilter(bank);
    refreshers.push(classes.refresh);
    element.append(classes.element);
  }
  const refresh = () => refreshers.forEach((one) => one());
  refresh();
  return { element, refresh };
}

function classFilter(bank) {
  const list = el("ul", { class: "checks" });
  const boxes = bank.classes.map((one) => {
    const input = el("input", { type: "checkbox", value: one.name });
    const item = el("li", {}, el("label", { class: "check" }, input, el("span", {}, el("span", { text: one.name }), el("span", { class: "note" }, ` ${one.images}`))));
    list.append(item);
    return { input, item, name: one.name.toLowerCase() };
  });
  list.addEventListener("change", () => go({ class: boxes.filter((one) => one.input.checked).map((one) => one.input.value), id: "" }));
  const find = el("input", { type: "search", "aria-label": "Find a class", placeholder: "find a class" });
  find.addEventListener("input", () => boxes.forEach((one) => { one.item.hidden = !one.name.includes(find.value.toLowerCase()); }));
  const clear = el("button", { type: "button", class: "small", on: { click: () => go({ class: [], id: "" }) } }, "All classes");
  const summary = el("summary", {});
  const element = el("details", { class: "class-filter", open: state().class.length > 0 }, summary, el("div", { class: "row" }, bank.classes.length > 8 && find, clear), list);
  const refresh = () => {
    const chosen = new Set(state().class);
    boxes.forEach((one) => { one.input.checked = chosen.has(one.input.value); });
    summary.textContent = chosen.size ? `Classes: ${chosen.size} of ${bank.classes.length}` : `Classes: all ${bank.classes.length}`;
    clear.hidden = !chosen.size;
  };
  return { element, refresh };
}
