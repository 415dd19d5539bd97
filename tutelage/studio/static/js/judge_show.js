// @ts-check
/** What is to be judged, on the page: the prompt with its turns, and answers. All of it is text of models and people. */

import { el, fill, setRendered } from "./dom.js";

export const LETTERS = "ABCDEFGHI";
const WHO = { system: "Instructions to the model", user: "Person", assistant: "Model" };
const SHORT_CHARS = 1200;

/**
 * @typedef {{assignment_id: string, item_id: string, project: string, kind: string, question: string, reasons: string[],
 *   attributes: {name: string, low: number, high: number, help: string}[], messages: {role: string, content: string}[],
 *   answers: [string, string][], guideline_version: number | null, guideline: string, expires_ms: number,
 *   lease_seconds: number, draft: any}} Task
 * @typedef {{messages: string[], answers: string[]}} Html safe HTML of the same texts
 */

/** @param {HTMLElement} place @param {Task["messages"]} messages @param {string[]} html */
export function showPrompt(place, messages, html) {
  const turns = messages.map((each, index) => turn(each, html[index]));
  const last = turns.pop();
  const before = messages.slice(0, -1);
  const isShort = before.reduce((sum, each) => sum + each.content.length, 0) < SHORT_CHARS;
  const earlier = before.length
    ? el("details", { class: "earlier", open: isShort }, el("summary", {}, before.length === 1 ? "Before that: 1 turn" : `Before that: ${before.length} turns`), el("div", { class: "stack" }, turns))
    : null;
  fill(place, el("div", { class: "card sunk prompt stack" }, earlier, last));
  clamp(/** @type {HTMLElement} */ (last), 22);
}

/** @param {{role: string, content: string}} message @param {string} html */
function turn(message, html) {
  const text = el("div", { class: "wrap" });
  setRendered(text, html);
  return el("div", { class: `turn ${message.role}` }, el("div", { class: "who" }, WHO[/** @type {keyof typeof WHO} */ (message.role)] ?? message.role), text);
}

/** An answer's text in its own box. @param {string} html */
export function answerText(html) {
  const text = el("div", { class: "answer-text" });
  if (html.trim()) setRendered(text, html);
  else text.append(el("p", { class: "dim" }, "The answer is empty."));
  return text;
}

/** Cut a text that is higher than so many rem, with a button that shows all. @param {HTMLElement} node @param {number} rem */
export function clamp(node, rem) {
  requestAnimationFrame(() => {
    if (node.scrollHeight < rem * 16 * 1.3) return;
    node.classList.add("clamped");
    node.style.setProperty("--clamp", `${rem}rem`);
    const button = el("button", { type: "button", class: "button small quiet clamp-button", "aria-expanded": "false" }, "Show all of it");
    button.addEventListener("click", () => {
      const isOpen = !node.classList.toggle("clamped");
      button.setAttribute("aria-expanded", String(isOpen));
      button.textContent = isOpen ? "Show less" : "Show all of it";
    });
    node.after(button);
  });
}
