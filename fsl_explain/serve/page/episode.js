/** The supports of an episode as the page has them, and what is asked of the server for them. */

import { state } from "./location.js";

/** All supports: [{image, label, file, picture}]; those of the folder unless the address lists others. */
export function supportsOf(episode, now = state()) {
  const given = episode.classes.flatMap((one) => one.images.map((image) => ({ ...image, label: one.name })));
  if (!now.support.length) return given;
  const known = new Map(given.map((one) => [one.image, one]));
  return now.support.map((text) => {
    const cut = text.indexOf("=");
    const image = text.slice(0, cut);
    const upload = image.startsWith("upload:") ? { picture: `/api/uploads/${image.slice(7)}?width=320`, file: "given here" } : {};
    return { image, ...upload, ...known.get(image), label: text.slice(cut + 1) };
  });
}

/** How supports are written into the address; empty where they are those of the folder. */
export function written(episode, supports) {
  const texts = supports.map((one) => `${one.image}=${one.label}`);
  const given = supportsOf(episode, { support: [] }).map((one) => `${one.image}=${one.label}`);
  return texts.length === given.length && texts.every((text, place) => text === given[place]) ? [] : texts;
}

/** The names of the classes, in the order of the columns. */
export const classesOf = (supports) => [...new Set(supports.map((one) => one.label))];

/** The rule and the similarity that are meant where none is chosen. */
export const usual = ({ rule, rules, similarity, similarities }) => ({ rule: rule ?? rules[0], similarity: similarity ?? similarities[0] });

/** What is posted to have the episode decided and explained; null while it cannot be. */
export function question(session, now = state()) {
  const supports = supportsOf(session.episode, now);
  if (!now.query || !supports.length) return null;
  const classes = classesOf(supports);
  const name = (value) => (classes.includes(value) ? value : null);
  return {
    query: now.query, box: now.box, supports: supports.map(({ image, label }) => ({ image, label })),
    rule: now.rule || usual(session.episode).rule, similarity: now.similarity || usual(session.episode).similarity,
    method: session.methods.some((one) => one.name === now.method) ? now.method : session.methods[0].name,
    target: name(now.target), against: name(now.against), detail: Number(now.detail), biases: now.biases,
  };
}

