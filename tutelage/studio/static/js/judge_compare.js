// @ts-check
/** Two answers side by side and a verdict from "A is much better" to "B is much better", with honest exits. Nothing is
 * chosen beforehand. */

import { el, fill } from "./dom.js";
import { hint } from "./judge_keys.js";
import { answerText } from "./judge_show.js";

/** @typedef {import("./judge_show.js").Task} Task */
/** @typedef {import("./judge_show.js").Html} Html */
/**
 * @typedef {{get: () => any, set: (verdict: any) => void, missing: () => string, warning: () => string,
 *   confirm?: () => void, best: () => number | null, keys: Record<string, import("./keys.js").Action>, isOneKey: boolean}} Verdict
 * `missing` says what is not said yet, `warning` what should be looked at once more before `confirm`, `best` the place of
 * the best answer.
 */

const GRADES = [[4, "much better"], [3, "better"], [2, "slightly better"], [1, "hardly better"]];
const EXITS = [["tie", "=", "About the same"], ["both_bad", "x", "Both are bad"], ["cannot_judge", "0", "Can’t judge"]];

/** @param {{answers: HTMLElement, panel: HTMLElement}} place @param {Task} task @param {Html} html @param {() => void} changed @returns {Verdict} */
export function compare(place, task, html, changed) {
  /** @type {any} */
  let verdict = null;
  /** @type {Map<string, HTMLElement>} */
  const buttons = new Map();
  /** @type {Verdict["keys"]} */
  const keys = {};

  /** @param {any} given */
  const nameOf = (given) => (given && "winner" in given ? `judge-${"ab"[given.winner]}${given.strength}` : `judge-${given?.outcome}`);
  const draw = () => {
    for (const [name, button] of buttons) button.setAttribute("aria-pressed", String(verdict !== null && name === nameOf(verdict)));
  };
  /** @param {any} given */
  const choose = (given) => {
    verdict = given;
    draw();
    changed();
  };
  /** @param {any} given @param {string} key @param {string} label @param {string} shown @param {string} kind */
  const button = (given, key, label, shown, kind) => {
    const name = nameOf(given);
    keys[name] = { key, label, run: () => choose(given) };
    const made = el("button", { type: "button", class: `button verdict ${kind}`, "aria-label": label, "aria-pressed": "false", onclick: () => choose(given) }, el("span", {}, shown), hint(name));
    buttons.set(name, made);
    return made;
  };

  const sides = [0, 1].map((winner) => {
    const letter = "AB"[winner];
    const grades = winner === 0 ? GRADES : [...GRADES].reverse();
    const made = grades.map(([strength, words], index) => button({ winner, strength }, String(4 * winner + index + 1), `${letter} is ${words}`, String(words), letter.toLowerCase()));
    return el("div", { class: `side ${letter.toLowerCase()}`, role: "group", "aria-label": `${letter} is better` }, el("div", { class: "side-name", "aria-hidden": "true" }, `${letter} is …`), el("div", { class: "side-buttons" }, made));
  });
  const exits = EXITS.map(([outcome, key, label]) => button({ outcome }, key, label, label, "exit"));
  const isSame = new Set(task.answers.map(([, text]) => text.replace(/\s+/g, " ").trim())).size === 1;
  const note = isSame ? el("p", { class: "note small" }, "Both answers say the same, word for word; they differ in spaces or line breaks only.") : null;
  fill(place.panel, note, el("div", { class: "strengths" }, sides), el("div", { class: "exits row", role: "group", "aria-label": "Neither" }, exits));
  showTwo(place.answers, html.answers, keys);
  return {
    get: () => verdict,
    set: (given) => {
      verdict = given ?? null;
      draw();
    },
    missing: () => (verdict ? "" : "Say first which is better; if you cannot, there are “About the same”, “Both are bad” and “Can’t judge”."),
    warning: () => "",
    best: () => (verdict && "winner" in verdict ? verdict.winner : verdict?.outcome === "tie" ? 0 : null),
    keys,
    isOneKey: true,
  };
}

/** Both answers; where they stand under each other a switch shows one alone. @param {HTMLElement} place @param {string[]} html @param {Verdict["keys"]} keys */
export function showTwo(place, html, keys) {
  const cards = html.map((each, index) => el("article", { class: `card answer ${"ab"[index]}`, "aria-labelledby": `answer-${index}` }, el("h2", { id: `answer-${index}`, class: "answer-name" }, `Answer ${"AB"[index]}`), answerText(each)));
  const views = ["both", "a", "b"];
  const split = el("div", { class: "split answers", dataset: { view: "both" } }, cards);
  /** @param {string} view */
  const look = (view) => {
    split.dataset.view = view;
    for (const each of tabs) each.setAttribute("aria-pressed", String(each.dataset.view === view));
  };
  const tabs = views.map((view) => el("button", { type: "button", class: "button small", dataset: { view }, "aria-pressed": String(view === "both"), onclick: () => look(view) }, { both: "Both", a: "Only A", b: "Only B" }[view]));
  keys["judge-view"] = { key: "v", label: "On a narrow screen: both answers, only A, only B", run: () => look(views[(views.indexOf(split.dataset.view) + 1) % 3]) };
  fill(place, el("div", { class: "view-switch row", role: "group", "aria-label": "Which answers to show" }, tabs, hint("judge-view")), split);
}
