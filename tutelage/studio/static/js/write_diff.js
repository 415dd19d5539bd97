// @ts-check
/** What changed between two versions of a conversation, as the API tells it: turns with what came and what went. */

import { el } from "./dom.js";
import { ROLES } from "./write_words.js";

/** @typedef {import("./write_words.js").Change} Change */

/** Blocks, one a turn; turns in which nothing changed are folded. @param {Change[]} changes @returns {HTMLElement} */
export function diffNodes(changes) {
  /** @type {Change[][]} */
  const turns = [];
  for (const change of changes) {
    const last = turns[turns.length - 1];
    if (last && last[0].turn === change.turn && last[0].role === change.role) last.push(change);
    else turns.push([change]);
  }
  if (changes.every((each) => each.op === "equal")) return el("p", { class: "dim" }, "The words are the same.");
  return el("div", { class: "stack diff" }, turns.map(turnNode));
}

/** @param {Change[]} turn */
function turnNode(turn) {
  const who = el("span", { class: "who" }, ROLES[turn[0].role] ?? turn[0].role);
  const text = el("p", { class: "words", dir: "auto" }, turn.map(stretch));
  if (turn.some((each) => each.op !== "equal")) return el("div", { class: "turn" }, who, text);
  return el("details", { class: "turn same" }, el("summary", { class: "small dim" }, `${ROLES[turn[0].role] ?? turn[0].role}: the same`), text);
}

/** @param {Change} change */
function stretch(change) {
  if (change.op === "equal") return change.text;
  return el(change.op === "insert" ? "ins" : "del", {}, change.text);
}

/** What the colours mean. @param {string} came @param {string} went */
export function legend(came, went) {
  return el("p", { class: "small dim row" }, el("ins", {}, came), el("del", {}, went));
}
