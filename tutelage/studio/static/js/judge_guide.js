// @ts-check
/** The guidelines: beside the task, open or closed as one left them, and marked where they changed since one last looked.
 * Where there is no room beside it they are folded, unless they are new to this person or have changed. */

import { get, path, render } from "./api.js";
import { $, el, fill, setRendered } from "./dom.js";
import { diffNodes } from "./judge_diff.js";
import { hint, refreshHints } from "./judge_keys.js";
import { mine } from "./me.js";

const OPEN = mine("judge.guide-open");
const NARROW = matchMedia("(max-width: 1000px)"); // as judge.css has it

export class Guide {
  /** @param {string} project */
  constructor(project) {
    this.project = project;
    this.store = `${mine("judge.guide")}.${project}`;
    this.version = 0;
    this.shown = -1;
    this.text = "";
    this.panel = $("#guide");
    this.button = $("#guide-button");
    fill(this.button, el("span", { class: "guide-label" }, "Guidelines"), hint("judge-guide"));
    this.button.addEventListener("click", () => this.toggle());
  }

  /** The newest version that this person has seen in this browser. */
  get lastSeen() {
    return Number(localStorage.getItem(this.store) ?? 0);
  }

  /** The version they judged by last, wherever that was, where this browser has not shown them any. */
  async recall() {
    if (this.lastSeen) return;
    try {
      const { records } = await get(path`/api/projects/${this.project}/mine?limit=1`);
      const version = records[0]?.task.guideline_version;
      if (version) localStorage.setItem(this.store, String(version));
    } catch {
      // then they are shown once more
    }
  }

  /** The guidelines of the task that is shown now. @param {{guideline_version: number | null, guideline: string}} task */
  async hold(task) {
    const isNew = task.guideline_version !== null && task.guideline_version !== this.version;
    if (!isNew) {
      if (NARROW.matches) this.fold(); // the task comes first
      return;
    }
    this.version = Number(task.guideline_version);
    this.text = task.guideline;
    this.button.hidden = false;
    await this.recall();
    const isUnread = this.lastSeen < this.version;
    if (NARROW.matches ? isUnread : this.lastSeen === 0 || localStorage.getItem(OPEN) !== "no") await this.open(false);
    else {
      this.fold();
      this.mark();
    }
  }

  get isChanged() {
    return this.lastSeen > 0 && this.lastSeen < this.version;
  }

  mark() {
    $(".guide-label", this.button).textContent = this.isChanged ? "Guidelines: changed" : `Guidelines v${this.version}`;
    this.button.classList.toggle("chosen", this.isChanged);
  }

  toggle() {
    if (this.panel.hidden) void this.open(true);
    else this.close();
  }

  fold() {
    this.panel.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
  }

  close() {
    this.fold();
    if (!NARROW.matches) localStorage.setItem(OPEN, "no");
    this.button.focus();
  }

  /** @param {boolean} isAsked whether the person opened it */
  async open(isAsked) {
    this.panel.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    if (isAsked && !NARROW.matches) localStorage.setItem(OPEN, "yes");
    if (this.shown !== this.version) await this.draw();
    localStorage.setItem(this.store, String(Math.max(this.lastSeen, this.version)));
    this.mark();
    if (isAsked) this.panel.focus();
  }

  async draw() {
    const before = this.isChanged ? this.lastSeen : 0;
    this.shown = this.version;
    const text = el("div", { class: "small" });
    fill(this.panel,
      el("div", { class: "row between" }, el("h2", {}, "Guidelines"), el("button", { type: "button", class: "button small quiet", onclick: () => this.close() }, "Close", hint("judge-guide"))),
      el("p", { class: "dim small" }, `Version ${this.version}. Each verdict carries the version you saw.`),
      before ? el("p", { class: "caution small" }, "They have changed since you last looked. ", el("button", { type: "button", class: "link", onclick: (/** @type {any} */ event) => this.showChange(before, event.currentTarget) }, "What changed?")) : null,
      text);
    refreshHints(this.panel);
    try {
      setRendered(text, (await render([this.text]))[0]);
    } catch {
      text.textContent = this.text;
    }
  }

  /** @param {number} before @param {HTMLElement} button */
  async showChange(before, button) {
    const old = await get(path`/api/projects/${this.project}/guidelines/${before}`);
    const place = /** @type {HTMLElement} */ (button.parentElement);
    place.after(el("div", { class: "diff small wrap", "aria-label": "What changed in the guidelines" }, diffNodes(old.text, this.text)));
    button.remove();
  }
}
