// @ts-check
/** The guidelines beside the task: open or closed as one left them, and marked where they changed since one last looked. */

import { get, path, render } from "./api.js";
import { $, el, fill, setRendered } from "./dom.js";
import { diffNodes } from "./judge_diff.js";
import { hint, refreshHints } from "./judge_keys.js";

const OPEN = "tutelage.judge.guide-open";

export class Guide {
  /** @param {string} project */
  constructor(project) {
    this.project = project;
    this.store = `tutelage.judge.guide.${project}`;
    this.version = 0;
    this.shown = -1;
    this.text = "";
    this.panel = $("#guide");
    this.button = $("#guide-button");
    fill(this.button, el("span", { class: "guide-label" }, "Guidelines"), hint("judge-guide"));
    this.button.addEventListener("click", () => this.toggle());
  }

  get lastSeen() {
    return Number(localStorage.getItem(this.store) ?? 0);
  }

  /** The guidelines of the task that is shown now. @param {{guideline_version: number | null, guideline: string}} task */
  async hold(task) {
    if (task.guideline_version === null || task.guideline_version === this.version) return;
    this.version = task.guideline_version;
    this.text = task.guideline;
    this.button.hidden = false;
    const isFirst = this.lastSeen === 0;
    if (isFirst || localStorage.getItem(OPEN) === "yes") await this.open(false);
    else this.mark();
  }

  get isChanged() {
    return this.lastSeen > 0 && this.lastSeen < this.version;
  }

  mark() {
    $(".guide-label", this.button).textContent = this.isChanged ? "Guidelines: changed" : "Guidelines";
    this.button.classList.toggle("chosen", this.isChanged);
  }

  toggle() {
    if (this.panel.hidden) void this.open(true);
    else this.close();
  }

  close() {
    this.panel.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
    localStorage.setItem(OPEN, "no");
    this.button.focus();
  }

  /** @param {boolean} isAsked whether the person opened it */
  async open(isAsked) {
    this.panel.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    if (isAsked) localStorage.setItem(OPEN, "yes");
    if (this.shown !== this.version) await this.draw();
    localStorage.setItem(this.store, String(this.version));
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
