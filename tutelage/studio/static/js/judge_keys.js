// @ts-check
/** The keys that stand on buttons: they follow what a person has set, and go away where single keys are off. */

import { el } from "./dom.js";
import { keyHint } from "./keys.js";

/** The key of an action, for a button; filled in by `refreshHints`. @param {string} name */
export function hint(name) {
  return el("kbd", { dataset: { key: name }, "aria-hidden": "true", hidden: true });
}

/** Write the keys that now hold on every button. @param {ParentNode} [root] */
export function refreshHints(root = document) {
  for (const node of /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("kbd[data-key]"))) {
    const key = keyHint(node.dataset.key ?? "");
    node.textContent = key;
    node.hidden = !key;
    const button = node.closest("button");
    if (key) button?.setAttribute("aria-keyshortcuts", key === "Ctrl ⏎" ? "Control+Enter" : key);
    else button?.removeAttribute("aria-keyshortcuts");
  }
}

document.addEventListener("keys-changed", () => refreshHints());
