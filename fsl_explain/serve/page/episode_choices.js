/** How an episode is decided: the rule and the similarity. */

import { choice, el } from "./elements.js";
import { usual } from "./episode.js";
import { go, state } from "./location.js";

/** Build the choices: {element, refresh()}. */
export function episodeChoices(session) {
  const { rules, similarities, encoder } = session.episode;
  const standard = usual(session.episode);
  const rule = choice("Rule", rules.map((name) => [name, name]), state().rule, (value) => go({ rule: value === standard.rule ? "" : value }));
  const similarity = choice("Similarity", similarities.map((name) => [name, name]), state().similarity, (value) => go({ similarity: value === standard.similarity ? "" : value }));
  const element = el("section", { class: "filters", "aria-label": "Decide by" }, el("h2", {}, "Decide by"), el("p", { class: "note", text: encoder }), rule, similarity);
  const refresh = () => {
    rule.querySelector("select").value = state().rule || standard.rule;
    similarity.querySelector("select").value = state().similarity || standard.similarity;
  };
  return { element, refresh };
}
