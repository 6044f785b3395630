/** How an episode is decided: the rule and the similarity. */

import { choice, el } from "./elements.js";
import { go, state } from "./location.js";

/** Build the choices: {element, refresh()}. */
export function episodeChoices(session) {
  const { rules, similarities, encoder } = session.episode;
  const rule = choice("Rule", rules.map((name) => [name, name]), state().rule, (value) => go({ rule: value === rules[0] ? "" : value }));
  const similarity = choice("Similarity", similarities.map((name) => [name, name]), state().similarity, (value) => go({ similarity: value === similarities[0] ? "" : value }));
  const element = el("section", { class: "filters", "aria-label": "Decide by" }, el("h2", {}, "Decide by"), el("p", { class: "note", text: encoder }), rule, similarity);
  const refresh = () => {
    rule.querySelector("select").value = state().rule || rules[0];
    similarity.querySelector("select").value = state().similarity || similarities[0];
  };
  return { element, refresh };
}
