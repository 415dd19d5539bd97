// @ts-check
/** States, times, curves and warnings of training runs in plain words; shared by the pages about runs. */

import { el } from "./dom.js";

/** @type {Record<string, {text: string, kind: string}>} */
const STATES = {
  starting: { text: "getting ready", kind: "accent" },
  running: { text: "training", kind: "accent" },
  finished: { text: "finished", kind: "good" },
  interrupted: { text: "interrupted", kind: "warn" },
  failed: { text: "failed", kind: "bad" },
};

/** @param {{state: string, stopping: boolean}} run */
export function badge(run) {
  const known = run.stopping ? { text: "stopping after this step", kind: "warn" } : (STATES[run.state] ?? { text: run.state, kind: "" });
  return el("span", { class: `badge ${known.kind}` }, known.text);
}

/** @param {{state: string}} run */
export const isAlive = (run) => run.state === "starting" || run.state === "running";

/** "3 min", "1 h 20 min". @param {number | null} seconds */
export function duration(seconds) {
  if (seconds === null) return "";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60 ? `${minutes % 60} min` : ""}`.trim();
}

/** How far a run is. @param {any} run */
export function progress(run) {
  if (!run.num_steps) return run.state === "starting" ? "loading the model and the data" : "";
  const left = run.seconds_left !== null ? ` · about ${duration(run.seconds_left)} left` : "";
  return `step ${run.step.toLocaleString("en")} of ${run.num_steps.toLocaleString("en")}${left}`;
}

/** @typedef {{id: string, title: string, term: string, unit?: string, help?: string, curves: [string, string][], band?: boolean,
 *   practice?: {title: string, help: string}}} Plot `practice` is what is said of it where a model practises against a reward */

/** The charts that are shown first, each with the metrics that it is made of. @type {Plot[]} */
export const PLOTS = [
  { id: "reward", title: "How well its answers score", term: "reward", help: "Should rise. Look at the answers too: a model may learn to please the reward instead of people.", curves: [["reward", "reward"]] },
  { id: "loss", title: "How wrong it still is", term: "loss", help: "Should fall. When the held-back curve rises again, the model begins to learn by heart.", curves: [["loss", "while training"], ["val_loss", "held back"]],
    practice: { title: "What each step works against", help: "Need not fall, and says little by itself: look at the score, and at how far the answers drifted." } },
  { id: "accuracy", title: "How often it prefers the better answer", term: "accuracy", help: "0.5 is guessing, 1 is always.", curves: [["accuracy", "while training"], ["val_accuracy", "held back"]] },
  { id: "kl", title: "How far the answers drifted", term: "KL, nats an answer", help: "From the model it started as. The band is the 95 % interval.", curves: [["kl", "drift"]], band: true },
  { id: "length", title: "How long its answers are", term: "length", unit: "tokens", curves: [["length", "length"]] },
  { id: "stop_rate", title: "Answers that end by themselves", term: "stop rate", help: "The others were cut off at the longest length.", curves: [["stop_rate", "share"]] },
  { id: "margin", title: "How clearly it prefers the better answer", term: "margin", curves: [["margin", "while training"], ["val_margin", "held back"]] },
  { id: "learning_rate", title: "Size of each correction", term: "learning rate", curves: [["learning_rate", "size"]] },
  { id: "tokens_per_second", title: "Speed", term: "throughput", unit: "tokens a second", curves: [["tokens_per_second", "speed"]] },
];

/** Metrics that count or measure time, which nobody reads as a curve. */
export const NOT_DRAWN = ["num_tokens", "seconds", "step_seconds", "kl_low", "kl_high"];

/** What warnings mean, in a sentence; the page of warnings says more. @type {Record<string, string>} */
export const WARNINGS = {
  "kl-runaway": "The answers are drifting fast from what the model used to say.",
  "length-explains-reward": "It scores better mostly by answering at greater length.",
  "ensemble-disagreement": "The reward models no longer agree about its answers, so their score means little.",
  "variety-collapse": "It says more and more of the same.",
  "stop-rate-falling": "More and more answers run on until they are cut off.",
  "answers-unscored": "Many answers cannot be scored, so it learns from a selection.",
};
