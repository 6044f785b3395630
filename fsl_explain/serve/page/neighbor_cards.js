/** Neighbors as pictures: a gallery of cards, and a strip to choose one from. */

import { button, el, fixed, thumbnail } from "./elements.js";
import { go, hash, NEW_QUERY } from "./location.js";

export const nameOf = (neighbor) => `image ${neighbor.id}${neighbor.label ? `, ${neighbor.label}` : ""}`;

/** A path without the folder that only says the class again. */
export const shortPath = (path, label) => (label && path.startsWith(`${label}/`) ? path.slice(label.length + 1) : path);

/** How a rank changed, with an arrow; words for those who do not see it. */
export function move(before, after) {
  if (before === null || before === undefined || before === after) return el("span", { class: "move same" }, "stays");
  const up = after < before;
  return el("span", { class: `move ${up ? "up" : "down"}` }, `${up ? "▲" : "▼"} ${before} → ${after}`);
}

/** A gallery of neighbors. `why` and `whyNot` give the changes of the address that a card's links make. */
export function gallery(bank, neighbors, { why, whyNot, asQuery = true } = {}) {
  const similarities = neighbors.map((one) => one.similarity);
  const low = Math.min(0, ...similarities);
  const high = Math.max(...similarities, low + 1e-9);
  return el("ol", { class: "gallery" }, ...neighbors.map((one) => {
    const words = nameOf(one);
    const level = el("span", { class: "level", "aria-hidden": "true" });
    level.style.setProperty("--share", (one.similarity - low) / (high - low));
    const picture = thumbnail(one.picture, words);
    const actions = el("span", { class: "row actions" },
      why && el("a", { href: hash(why(one)), class: "small", "aria-label": `Why ${words}` }, "Why"),
      whyNot && el("a", { href: hash(whyNot(one)), class: "small", "aria-label": `Why not ${words}` }, "Why not"),
      asQuery && button("Search", () => go({ ...NEW_QUERY, query: `image:${bank.index}:${one.id}`, view: "search" }), { class: "small", "aria-label": `Search by ${words}` }));
    return el("li", { class: `card${one.wins ? " wins" : ""}`, data: { id: one.id } },
      why ? el("a", { class: "picture", href: hash(why(one)), tabindex: "-1", "aria-hidden": "true" }, picture) : picture,
      level,
      el("p", { class: "figures" }, el("span", { class: "rank" }, `${one.rank}`), el("span", { class: "number" }, fixed(one.similarity)), "rank_before" in one && move(one.rank_before, one.rank), one.own && el("span", { class: "badge" }, "the query")),
      el("p", { class: "label", text: one.label ?? "no class" }),
      one.path && el("p", { class: "path", title: one.path, text: shortPath(one.path, one.label) }),
      one.fault && el("p", { class: "fault", text: one.fault }),
      actions);
  }));
}

/** A strip of small neighbors, one of them chosen; a click chooses another. */
export function strip(neighbors, chosen, onchoose, words = "Neighbors") {
  return el("ul", { class: "strip", "aria-label": words }, ...neighbors.map((one) => {
    const picture = thumbnail(one.picture, nameOf(one));
    return el("li", {}, el("button", { type: "button", class: "pick", data: { id: one.id }, "aria-pressed": String(String(one.id) === String(chosen)), on: { click: () => onchoose(one) } },
      picture, el("span", { class: "figures" }, el("span", { class: "rank" }, String(one.rank)), ` ${fixed(one.similarity)}`)));
  }));
}

/** Show another neighbor of a strip as the chosen one. */
export function markChosen(element, chosen) {
  for (const one of element.querySelectorAll(".strip [data-id]")) one.setAttribute("aria-pressed", String(one.dataset.id === String(chosen)));
}
