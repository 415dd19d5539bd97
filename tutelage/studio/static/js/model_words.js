// @ts-check
/** Sizes, dates, shares with their intervals, and verdicts in plain words; shared by the pages about models. */

import { ago, el } from "./dom.js";

/** @typedef {{estimate: number, low: number, high: number}} Interval */

const MINUS = "−";

/** "152 kB", "536 MB", "1.2 GB". @param {number} bytes */
export function size(bytes) {
  if (bytes < 1e6) return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** "268 M", "1.1 B": how many of something. @param {number} number */
export function many(number) {
  if (number < 10_000) return number.toLocaleString("en");
  if (number < 1e6) return `${Math.round(number / 1e3)} k`;
  return number < 1e9 ? `${(number / 1e6).toFixed(number < 1e7 ? 1 : 0)} M` : `${(number / 1e9).toFixed(1)} B`;
}

/** "1 prompt", "25 prompts". @param {number} number @param {string} one @param {string} [more] */
export const counted = (number, one, more = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : more}`;

/** A date that tells the exact one when pointed at. @param {number} ms */
export function when(ms) {
  const date = new Date(ms);
  const exact = date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
  return el("time", { datetime: date.toISOString(), title: exact, class: "nowrap" }, Date.now() - ms < 14 * 86_400_000 ? ago(ms) : date.toLocaleDateString("en-GB", { dateStyle: "medium" }));
}

/** "61 % [55, 67]". @param {Interval} rate */
export const share = (rate) => `${Math.round(100 * rate.estimate)} % [${Math.round(100 * rate.low)}, ${Math.round(100 * rate.high)}]`;

/** A share and its interval as a bar from 0 to 100 %, with a line at one half; the words stand beside it.
 * @param {Interval} rate @param {string} [kind] better, worse or undecided */
export function plot(rate, kind = "undecided") {
  const bar = el("span", { class: "range" });
  bar.style.left = `${100 * rate.low}%`;
  bar.style.width = `${Math.max(0.5, 100 * (rate.high - rate.low))}%`;
  const dot = el("span", { class: "point" });
  dot.style.left = `${100 * rate.estimate}%`;
  return el("span", { class: `plot ${kind}`, "aria-hidden": "true" }, el("span", { class: "half" }), bar, dot);
}

/** What an interval says against a model. @param {string} verdict @param {string} base */
export function against(verdict, base) {
  if (verdict === "better") return el("span", { class: "badge good wrap" }, `better than ${base}`);
  if (verdict === "worse") return el("span", { class: "badge bad wrap" }, `worse than ${base}`);
  return el("span", { class: "badge" }, "no difference shown");
}

/** The same where it is plain against which. @param {string} verdict */
export function verdict(verdict) {
  if (verdict === "undecided") return el("span", { class: "badge" }, "no difference shown");
  return el("span", { class: `badge ${verdict === "better" ? "good" : "bad"}` }, verdict);
}

/** @type {Record<string, {text: string, kind: string}>} */
const STATES = {
  running: { text: "running", kind: "accent" },
  finished: { text: "finished", kind: "good" },
  stopped: { text: "stopped", kind: "warn" },
  failed: { text: "failed", kind: "bad" },
};

/** @param {string} state */
export function stateBadge(state) {
  const known = STATES[state] ?? { text: state, kind: "" };
  return el("span", { class: `badge ${known.kind}` }, known.text);
}

/** "sealed prompts (25), judged by the scripted rater". @param {any} evaluation */
export function terms(evaluation) {
  const number = evaluation.numbers.prompts?.number;
  const judged = evaluation.rater ? `, judged by the ${evaluation.rater} (a script)` : ", not judged";
  return `${evaluation.prompts}${number ? `, ${counted(number, "prompt")}` : ""}${judged}`;
}

/** A measure's value in its unit. @param {any} measure @param {number} value @param {boolean} [signed] */
export function value(measure, value, signed = false) {
  const scaled = measure.unit === "%" ? 100 * value : value;
  const digits = measure.unit === "%" ? 0 : measure.unit === "words" ? 1 : 2;
  const text = Math.abs(scaled).toFixed(digits);
  const sign = !Number(text) ? "" : scaled < 0 ? MINUS : signed ? "+" : "";
  return sign + text;
}

/** "12 [9, 15] %". @param {any} measure @param {Interval | null} interval @param {boolean} [signed] */
export function measured(measure, interval, signed = false) {
  if (!interval) return "–";
  const unit = measure.unit === "%" && signed ? "points" : measure.unit;
  return `${value(measure, interval.estimate, signed)}${unit ? ` ${unit}` : ""} [${value(measure, interval.low, signed)}, ${value(measure, interval.high, signed)}]`;
}
