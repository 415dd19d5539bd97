// @ts-check
/** A verdict in words. */

import { LETTERS } from "./judge_show.js";

const STRENGTHS = ["", "hardly better", "slightly better", "better", "much better"];
const OUTCOMES = { tie: "about the same", both_bad: "both are bad", cannot_judge: "can’t judge" };

/** @param {any} verdict @returns {string} */
export function inWords(verdict) {
  if (!verdict) return "";
  if ("winner" in verdict) return `${LETTERS[verdict.winner]} is ${STRENGTHS[verdict.strength]}`;
  if ("outcome" in verdict) return OUTCOMES[/** @type {keyof typeof OUTCOMES} */ (verdict.outcome)];
  if ("good" in verdict) return verdict.good ? "good" : "not good";
  if ("scores" in verdict) return Object.entries(verdict.scores).map(([name, score]) => `${name} ${score}`).join(", ");
  if (verdict.cannot_judge) return OUTCOMES.cannot_judge;
  return verdict.order.map((/** @type {any} */ each) => [each].flat().map((/** @type {number} */ place) => LETTERS[place]).join(" = ")).join(" › ");
}
