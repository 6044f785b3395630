/** A part of the page that waits for the server: busy at once, then the answer, or the refusal with a way to ask again. */

import { announce, button, el } from "./elements.js";

const COMING = 60; // milliseconds before a busy sign is drawn over what is still shown

export class Panel {
  /** @param {HTMLElement} element what the answer is drawn into */
  constructor(element) {
    this.element = element;
    this.key = null;
    this.control = null;
  }

  /** Ask and draw, unless the same was asked last. `asked(signal)` gives a promise, `draw(answer)` an element or several. */
  async load(key, asked, draw, words = "Asking the server") {
    if (key === this.key) return;
    this.key = key;
    this.control?.abort();
    const control = new AbortController();
    this.control = control;
    this.busy(words);
    try {
      const answer = await asked(control.signal);
      if (control.signal.aborted) return;
      this.show(...[draw(answer)].flat());
    } catch (error) {
      if (control.signal.aborted || error.name === "AbortError") return;
      if (!("status" in error)) console.error(error);
      this.refused(error, () => { this.key = null; this.load(key, asked, draw, words); });
    }
  }

  /** Draw what needs no server, and drop what is on its way. */
  show(...content) {
    clearTimeout(this.timer);
    this.element.removeAttribute("aria-busy");
    this.element.classList.remove("waiting");
    this.element.replaceChildren(...content.filter(Boolean));
  }

  /** Show that nothing is asked. */
  rest(...content) {
    this.control?.abort();
    this.key = null;
    this.show(...content);
  }

  busy(words) {
    this.element.setAttribute("aria-busy", "true");
    const sign = el("p", { class: "busy" }, el("span", { class: "spinner", "aria-hidden": "true" }), el("span", {}, `${words} …`));
    if (!this.element.children.length || this.element.querySelector(":scope > .refusal, :scope > .busy")) this.element.replaceChildren(sign);
    else {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => { this.element.classList.add("waiting"); this.element.prepend(sign); }, COMING);
    }
  }

  refused(error, again) {
    const sentence = error.message;
    const wait = error.after ? ` It can be asked again in ${error.after} seconds.` : "";
    this.show(el("div", { class: "refusal", role: "alert" }, el("p", { text: sentence + wait }), button("Ask again", again)));
    announce(sentence);
  }
}
