/** What is seen, kept in the address: a link shows the same, and back and forward work. */

const DEFAULTS = {
  view: "", bank: "0", compare: "", query: "", box: "", k: "", class: [], kept: "", rule: "", temperature: "",
  id: "", other: "", against: "", method: "", detail: "0", biases: "drawn", sign: "both", opacity: "75", expected: "",
  removed: "", support: [], similarity: "", target: "", audit: "", audit_k: "", top: "20", cell: "",
};
const listeners = new Set();
let current = read();

function read() {
  const search = new URLSearchParams(window.location.hash.slice(1));
  const state = {};
  for (const [name, value] of Object.entries(DEFAULTS)) {
    state[name] = Array.isArray(value) ? search.getAll(name) : search.get(name) ?? value;
  }
  return Object.freeze(state);
}

/** The state as seen now; frozen. */
export const state = () => current;

/** The address of a state that differs by `changes` from the present one. */
export function hash(changes = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...current, ...changes })) {
    const standard = DEFAULTS[name];
    if (Array.isArray(standard)) value.forEach((one) => search.append(name, one));
    else if (String(value) !== standard) search.set(name, value);
  }
  return `#${search.toString().replaceAll("%3A", ":").replaceAll("%2C", ",").replaceAll("%2F", "/")}`;
}

/** Go to a state that differs by `changes`; `replace` for what should not be a step of its own, as a slider. */
export function go(changes, { replace = false } = {}) {
  const next = hash(changes);
  if (next === hash()) return;
  window.history[replace ? "replaceState" : "pushState"](null, "", next);
  changed();
}

/** Call `listener(state, before)` after each change, whoever made it. */
export const onchange = (listener) => listeners.add(listener);

function changed() {
  const before = current;
  current = read();
  listeners.forEach((listener) => listener(current, before));
}

window.addEventListener("popstate", changed);

/** What a changed query makes void: all that was chosen for the old one. */
export const NEW_QUERY = Object.freeze({ box: "", id: "", other: "", against: "", expected: "", removed: "", target: "", cell: "" });
