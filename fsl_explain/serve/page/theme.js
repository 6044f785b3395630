/** Light or dark: as the system says, or as was chosen and is remembered. */

import { el } from "./elements.js";

const KEY = "workbench-theme";
const WORDS = { "": "as the system", light: "light", dark: "dark" };

function remembered() {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

function apply(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

/** Apply what is remembered and build the switch. */
export function themeSwitch() {
  const select = el("select", {});
  for (const [value, words] of Object.entries(WORDS)) select.append(el("option", { value, selected: value === remembered() }, words));
  select.addEventListener("change", () => {
    apply(select.value);
    try {
      localStorage.setItem(KEY, select.value);
    } catch { /* a browser that keeps nothing still shows it */ }
  });
  apply(remembered());
  return el("label", { class: "field inline" }, el("span", {}, "Colors"), select);
}
