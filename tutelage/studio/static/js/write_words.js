// @ts-check
/** Pairs in plain words: states, first words, counts. Shared by the pages for writing and reviewing. */

import { $, $$, el } from "./dom.js";
import { keyHint, keyOf } from "./keys.js";

/** @typedef {{role: "system" | "user" | "assistant", content: string}} Message */
/** @typedef {{id: string, state: string, revision: number, messages: Message[], author: string, author_id: string, editor: string, source: string, licence: string, tags: string[], created_ms: number, changed_ms: number, withdrawn_ms: number | null, said: string, said_by: string}} Pair */
/** @typedef {{turn: number, op: "equal" | "insert" | "delete", text: string, role: string}} Change */

/** @type {Record<string, {text: string, kind: string}>} */
export const STATES = {
  draft: { text: "draft", kind: "" },
  returned: { text: "sent back", kind: "warn" },
  submitted: { text: "waiting for review", kind: "accent" },
  accepted: { text: "accepted", kind: "good" },
  rejected: { text: "turned down", kind: "bad" },
};

/** Who speaks, in words for people. @type {Record<string, string>} */
export const ROLES = { system: "Setting", user: "Question", assistant: "Answer" };

/** @param {string} state */
export function stateBadge(state) {
  const known = STATES[state] ?? { text: state, kind: "" };
  return el("span", { class: `badge ${known.kind}` }, known.text);
}

/** Who looks at the page. */
export function viewer() {
  const { person = "", personId = "", reviewer = "", pair = "" } = $("#page").dataset;
  return { name: person, id: personId, mayReview: reviewer === "yes", pair };
}

/** The first question and the last answer. @param {Message[]} messages */
export function gist(messages) {
  const question = messages.find((each) => each.role === "user")?.content.trim() ?? "";
  const answers = messages.filter((each) => each.role === "assistant" && each.content.trim());
  return { question, answer: answers.length ? answers[answers.length - 1].content.trim() : "", turns: messages.filter((each) => each.role === "user").length };
}

/** "1 word", "20 words". @param {number} count @param {string} one @param {string} [many] */
export function counted(count, one, many = `${one}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

/** @param {string} text */
export function measure(text) {
  const words = text.trim() ? text.trim().split(/\s+/).length : 0;
  return `${counted(words, "word")} · ${counted([...text].length, "character")}`;
}

/** @param {Message[]} messages */
export const isBlank = (messages) => messages.every((each) => !each.content.trim());

/** @param {Message[]} one @param {Message[]} other */
export const sameWords = (one, other) => one.length === other.length && one.every((turn, at) => turn.role === other[at].role && turn.content === other[at].content);

/** The beginning of a text in one line. @param {string} text @param {number} [most] */
export function start(text, most = 160) {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > most ? `${line.slice(0, most - 1)}…` : line;
}

/** What the `kbd` of buttons show, as the person has set it; nothing while single keys are off. @param {ParentNode} [root] */
export function showKeyHints(root = document) {
  for (const place of $$("kbd[data-key]", root)) {
    const name = place.dataset.key;
    place.textContent = keyHint(name) || (keyOf(name) === "mod+enter" ? "Ctrl ⏎" : "");
    place.hidden = !place.textContent;
  }
}
document.addEventListener("keys-changed", () => showKeyHints());
