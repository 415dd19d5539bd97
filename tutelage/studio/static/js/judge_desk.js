// @ts-check
/** One thing to judge, on the page: prompt, answers, verdict, words. It knows what was entered and what is missing.
 * Leaves out the queue: where tasks come from and verdicts go (`judge.js`, `judge_decide.js`). */

import { $ } from "./dom.js";
import { compare } from "./judge_compare.js";
import { refreshHints } from "./judge_keys.js";
import { rank } from "./judge_rank.js";
import { rate, thumbs } from "./judge_rate.js";
import { showPrompt } from "./judge_show.js";
import { Words, clearRefusals } from "./judge_words.js";
import { bindKeys } from "./keys.js";

/** @typedef {import("./judge_show.js").Task} Task */
/** @typedef {import("./judge_show.js").Html} Html */

const KINDS = { comparison: compare, ranking: rank, thumbs, rating: rate };

/** Tell whoever cannot see the page. @param {string} text */
export function announce(text) {
  $("#live").textContent = text;
}

export class Desk {
  /** @param {Task} task @param {Html} html @param {{changed: () => void, picked: () => void}} on */
  constructor(task, html, on) {
    this.form = $("#task");
    this.task = task;
    this.isLocked = false;
    this.warned = "";
    this.secondsBefore = 0;
    this.seenMs = 0;
    this.sinceMs = performance.now();
    this.onVisibility = () => this.look();
    document.addEventListener("visibilitychange", this.onVisibility);
    const place = { answers: $("#answers"), panel: $("#panel") };
    const picked = () => {
      this.warned = "";
      clearRefusals(this.form);
      this.words.bestChanged();
      on.changed();
      on.picked();
    };
    showPrompt($("#prompt"), task.messages, html.messages);
    this.words = new Words($("#words"), task.reasons, () => this.bestText(), on.changed);
    const kind = KINDS[/** @type {keyof typeof KINDS} */ (task.kind)];
    this.verdict = kind(place, task, html, () => !this.isLocked && picked(), announce);
    this.unbind = bindKeys({ ...this.guarded(this.verdict.keys), ...this.guarded(this.words.keys) });
    $("#problem").hidden = true;
    this.lock(false);
    refreshHints();
  }

  /** Keys that do nothing while the verdict is on its way. @param {Record<string, import("./keys.js").Action>} keys */
  guarded(keys) {
    return Object.fromEntries(Object.entries(keys).map(([name, action]) => [name, { ...action, run: (/** @type {KeyboardEvent} */ event) => { if (!this.isLocked) action.run(event); } }]));
  }

  bestText() {
    const best = this.verdict.best();
    return best === null ? null : this.task.answers[best][1];
  }

  look() {
    if (document.hidden) this.seenMs += performance.now() - this.sinceMs;
    this.sinceMs = performance.now();
  }

  /** For how long it has been looked at. */
  get seconds() {
    const now = document.hidden ? 0 : performance.now() - this.sinceMs;
    return Math.round(100 * this.secondsBefore + (this.seenMs + now) / 10) / 100;
  }

  /** Everything entered so far, to keep. */
  get entered() {
    return { verdict: this.verdict.get(), said: this.words.get(), seconds: this.seconds };
  }

  /** @param {import("./judge_draft.js").Entered | null} entered */
  restore(entered) {
    if (!entered) return;
    this.verdict.set(entered.verdict ?? null);
    this.words.set(entered.said ?? {});
    this.secondsBefore = Number(entered.seconds) || 0;
  }

  /** The verdict to send, or null where something is missing or to be looked at again, which is said on the page. */
  ready() {
    clearRefusals(this.form);
    const missing = this.verdict.missing();
    if (missing) return this.complain(missing, "error");
    const warning = this.verdict.warning();
    if (warning && this.warned !== warning) {
      this.warned = warning;
      return this.complain(warning, "caution");
    }
    this.verdict.confirm?.();
    return { verdict: this.verdict.get(), ...this.words.get(), seconds: this.seconds };
  }

  /** @param {string} text @param {"error" | "caution"} look @returns {null} */
  complain(text, look) {
    const place = $("#problem");
    place.className = look;
    place.textContent = text;
    place.hidden = false;
    return null;
  }

  /** The server says no. @param {any} error */
  refuse(error) {
    this.lock(false);
    if (!this.words.refuse(String(error.field ?? "").replace(/^body\./, ""), error.message)) this.complain(error.message, "error");
  }

  /** @param {boolean} on */
  lock(on) {
    this.isLocked = on;
    this.form.classList.toggle("sent", on);
    this.form.setAttribute("aria-busy", String(on));
    $("#submit").setAttribute("aria-disabled", String(on));
    for (const part of ["#panel", "#words"]) $(part).inert = on;
  }

  close() {
    document.removeEventListener("visibilitychange", this.onVisibility);
    this.unbind();
  }
}
