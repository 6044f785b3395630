/** Images that are dropped, pasted or chosen, and their way to the server. */

import { announce, el } from "./elements.js";
import { upload } from "./server.js";

/** Let files be dropped on an element; it has the class `dropping` meanwhile. */
export function droppable(element, onfiles) {
  let depth = 0;
  const mark = (change) => { depth = Math.max(0, depth + change); element.classList.toggle("dropping", depth > 0); };
  const holds = (event) => [...event.dataTransfer.types].includes("Files");
  element.addEventListener("dragenter", (event) => { if (holds(event)) { event.preventDefault(); mark(1); } });
  element.addEventListener("dragover", (event) => { if (holds(event)) { event.preventDefault(); event.dataTransfer.dropEffect = "copy"; } });
  element.addEventListener("dragleave", (event) => { if (holds(event)) mark(-1); });
  element.addEventListener("drop", (event) => {
    if (!holds(event)) return;
    event.preventDefault();
    event.stopPropagation();
    mark(-depth);
    onfiles([...event.dataTransfer.files]);
  });
}

/** Take images that are pasted anywhere but in a text field. `target(element)` may take them by where the focus is. */
export function pasteable(onfiles) {
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])].filter((file) => file.type.startsWith("image/"));
    if (!files.length) return;
    event.preventDefault();
    onfiles(files, document.activeElement);
  });
  // A file dropped beside every target would otherwise replace the page.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, (event) => event.preventDefault());
}

/** A button that lets files be chosen. */
export function fileButton(words, onfiles, { multiple = false } = {}) {
  const input = el("input", { type: "file", accept: "image/*", multiple, class: "visually-hidden" });
  input.addEventListener("change", () => { onfiles([...input.files]); input.value = ""; });
  return el("label", { class: "button" }, el("span", {}, words), input);
}

/** Send files one after the other; returns what came of each. A refusal is told in `element` and ends it. */
export async function send(files, element, limit) {
  const sent = [];
  element.replaceChildren();
  for (const file of files) {
    if (limit && file.size > limit) {
      tell(element, `${file.name} has ${(file.size / 1e6).toFixed(1)} MB; this page takes at most ${(limit / 1e6).toFixed(0)} MB.`);
      break;
    }
    element.replaceChildren(el("p", { class: "busy" }, el("span", { class: "spinner", "aria-hidden": "true" }), `Sending ${file.name || "the image"} …`));
    try {
      sent.push(await upload(file));
      element.replaceChildren();
    } catch (error) {
      tell(element, error.message);
      break;
    }
  }
  return sent;
}

function tell(element, sentence) {
  element.replaceChildren(el("p", { class: "refusal", role: "alert", text: sentence }));
  announce(sentence);
}
