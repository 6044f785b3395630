/** Asking the server: addresses, answers, refusals, streams, arrays. */

/** The server said no; `message` is its sentence. */
export class Refusal extends Error {
  constructor(sentence, status, after) {
    super(sentence);
    this.status = status;
    this.after = after;
  }
}

/** An address with parameters; lists repeat the name, empty values are left out. */
export function address(path, parameters = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== "" && one !== undefined && one !== null && one !== false) search.append(name, one === true ? "1" : one);
    }
  }
  const text = search.toString();
  return text ? `${path}?${text}` : path;
}

async function answer(path, options) {
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server does not answer. Is it still running?", 0);
  }
  if (response.ok) return response;
  let sentence = `The server answered ${response.status}.`;
  try {
    sentence = (await response.json()).error ?? sentence;
  } catch { /* not JSON: the status says it */ }
  throw new Refusal(sentence, response.status, Number(response.headers.get("Retry-After")) || 0);
}

const KEPT = 40;
const answers = new Map();

/** Forget what was asked before, as after labels were written. */
export const forget = () => answers.clear();

/** GET an answer; the last ones are kept, so that going back asks nothing. */
export async function get(path, signal) {
  if (answers.has(path)) return answers.get(path);
  const value = await (await answer(path, { signal })).json();
  return keep(path, value);
}

function keep(key, value) {
  answers.set(key, value);
  if (answers.size > KEPT) answers.delete(answers.keys().next().value);
  return value;
}

/** POST JSON and return the JSON of the answer. */
export async function post(path, body, signal) {
  return (await answer(path, posting(body, signal))).json();
}

/** As `post`, for questions that change nothing: the last answers are kept. */
export async function ask(path, body, signal) {
  const key = `${path} ${JSON.stringify(body)}`;
  if (!answers.has(key)) keep(key, await post(path, body, signal));
  return answers.get(key);
}

const posting = (body, signal) => ({ method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });

/** Send an image file; returns its query reference and size. */
export async function upload(file) {
  const headers = { "Content-Type": "application/octet-stream", "X-Name": encodeURIComponent(file.name || "pasted image") };
  return (await answer("/api/uploads", { method: "POST", headers, body: file })).json();
}

/** Fetch what the browser saves as a file: GET, or POST where there is a body. */
export async function download(path, name, body) {
  const response = await answer(path, body ? posting(body) : {});
  const said = /filename="?([^";]+)"?/.exec(response.headers.get("Content-Disposition") ?? "");
  save(await response.blob(), said ? said[1] : name);
}

/** Let the browser save a blob. */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Read a stream of JSON lines; `onprogress` sees each step, the result is returned. */
export async function stream(path, onprogress, signal) {
  const reader = (await answer(path, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let result = null;
  for (let rest = "", done = false; !done; ) {
    const part = await reader.read();
    done = part.done;
    const lines = (rest + (part.value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    for (const line of lines.filter(Boolean)) {
      const told = JSON.parse(line);
      if (told.error) throw new Refusal(told.error, 500);
      result = told.result ?? result;
      if (told.progress) onprogress(told.progress);
    }
  }
  if (result) return result;
  throw new Refusal("The answer broke off. Ask again.", 500);
}

/** {"shape", "data": base64} → {shape, values: Float32Array}; null stays null. */
export function array(sent) {
  if (!sent) return null;
  const bytes = Uint8Array.from(atob(sent.data), (letter) => letter.charCodeAt(0));
  return { shape: sent.shape, values: new Float32Array(bytes.buffer) };
}
