// @ts-check
/** The history of a pair: who did what, when, what was said, and what changed word by word. Saves that came one after
 * the other from one person, while a draft was typed, are one step. */

import { get, path } from "./api.js";
import { ago, el, fill } from "./dom.js";
import { diffNodes, legend } from "./write_diff.js";
import { counted } from "./write_words.js";

/** @typedef {{number: number, messages: import("./write_words.js").Message[], editor: string, note: string, created_ms: number}} Revision */
/** @typedef {{action: string, revision: number, person: string, comment: string, at_ms: number}} Event */
/** @typedef {{kind: "event", event: Event} | {kind: "words", from: number, to: number, editor: string, notes: string[], at: number, saves: number}} Step */

/** @type {Record<string, string>} */
const ACTIONS = {
  drafted: "began to write", imported: "brought it in from a file", edited: "changed the words", submitted: "handed it in", accepted: "accepted it",
  returned: "sent it back", rejected: "turned it down", withdrawn: "withdrew it",
};

/** Events in order, the edits between two others drawn together. @param {{revisions: Revision[], events: Event[]}} history @returns {Step[]} */
export function steps({ revisions, events }) {
  /** @type {Step[]} */
  const all = [];
  for (const event of events) {
    const last = all[all.length - 1];
    if (event.action !== "edited") all.push({ kind: "event", event });
    else if (last?.kind === "words" && last.editor === event.person) Object.assign(last, { to: event.revision, at: event.at_ms, saves: last.saves + 1, notes: noted(last.notes, event.comment) });
    else all.push({ kind: "words", from: event.revision - 1, to: event.revision, editor: event.person, notes: noted([], event.comment), at: event.at_ms, saves: 1 });
  }
  const numbers = new Set(revisions.map((each) => each.number));
  return all.filter((step) => step.kind === "event" || (numbers.has(step.from) && numbers.has(step.to)));
}

/** @param {string[]} notes @param {string} note */
const noted = (notes, note) => (note && !notes.includes(note) ? [...notes, note] : notes);

/** @param {Element} place @param {string} pairId */
export async function showHistory(place, pairId) {
  fill(place, el("p", { class: "dim" }, "Looking…"));
  try {
    const history = await get(path`/api/pairs/${pairId}/history`);
    fill(place, el("ol", { class: "history", reversed: true }, steps(history).reverse().map((step) => stepNode(step, pairId))));
  } catch (error) {
    fill(place, el("p", { class: "error" }, /** @type {Error} */ (error).message));
  }
}

/** @param {Step} step @param {string} pairId */
function stepNode(step, pairId) {
  if (step.kind === "event") {
    const { event } = step;
    return el("li", {}, line(event.person, ACTIONS[event.action] ?? event.action, event.at_ms),
      event.comment ? el("p", { class: "quote wrap" }, event.comment) : null);
  }
  const place = el("div", {});
  const details = el("details", {}, el("summary", { class: "small" }, "What changed"), place);
  details.addEventListener("toggle", () => void open(details, place, pairId, step.from, step.to), { once: true });
  return el("li", {}, line(step.editor, ACTIONS.edited, step.at),
    step.notes.map((note) => el("p", { class: "quote wrap" }, note)),
    step.saves > 1 ? el("p", { class: "small dim" }, `${counted(step.saves, "save")} one after the other`) : null, details);
}

/** @param {string} who @param {string} what @param {number} at */
function line(who, what, at) {
  return el("p", { class: "wrap" }, el("strong", {}, who), ` ${what} `, el("time", { class: "small dim", datetime: new Date(at).toISOString(), title: new Date(at).toLocaleString() }, ago(at)));
}

/** @param {any} details @param {Element} place @param {string} pairId @param {number} from @param {number} to */
async function open(details, place, pairId, from, to) {
  if (!details.open) return;
  try {
    fill(place, diffNodes(await get(path`/api/pairs/${pairId}/diff?old=${from}&new=${to}`)), legend("came", "went"));
  } catch (error) {
    fill(place, el("p", { class: "error" }, /** @type {Error} */ (error).message));
  }
}

