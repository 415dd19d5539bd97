// @ts-check
/** What goes with a verdict: reasons to tick, a critique in words, and a better answer written from the best one, with what
 * was changed marked while it is typed. */

import { $, el, fill } from "./dom.js";
import { diffNodes } from "./judge_diff.js";
import { hint } from "./judge_keys.js";

const REASON_KEYS = "qertyiopadfhznbl";

/** @typedef {{reasons: string[], critique: string, rewrite: string}} Said */

export class Words {
  /** @param {HTMLElement} place @param {string[]} offered @param {() => string | null} best the text that a rewrite begins with @param {() => void} changed */
  constructor(place, offered, best, changed) {
    this.best = best;
    this.changed = changed;
    /** @type {Set<string>} */
    this.chosen = new Set();
    /** @type {Record<string, import("./keys.js").Action>} */
    this.keys = {};
    /** What the rewrite began with. */
    this.original = "";
    this.chips = offered.map((reason, index) => this.chip(reason, index));
    this.critique = el("textarea", { rows: "2", class: "short", dir: "auto", maxlength: "100000", oninput: () => changed() });
    this.rewrite = el("textarea", { rows: "6", dir: "auto", maxlength: "100000", "aria-describedby": "rewrite-diff", oninput: () => this.typed() });
    this.diff = el("div", { class: "diff wrap", id: "rewrite-diff", dir: "auto" });
    this.open = el("button", { type: "button", class: "button small", onclick: () => this.begin(true) }, "Write a better answer", hint("judge-rewrite"));
    this.box = el("div", { class: "stack", hidden: true },
      el("label", { class: "field" }, el("span", {}, "A better answer ", el("small", { class: "dim" }, "begins with the best one; change what should change (rewrite)")), this.rewrite),
      el("p", { class: "small dim diff-title" }, "What you changed"), this.diff,
      el("p", {}, el("button", { type: "button", class: "button small quiet", onclick: () => this.drop() }, "Leave it out")));
    this.keys["judge-critique"] = { key: "c", label: "Write a critique", run: () => this.critique.focus() };
    this.keys["judge-rewrite"] = { key: "w", label: "Write a better answer", run: () => this.begin(true) };
    fill(place,
      offered.length ? el("div", {}, el("p", { class: "words-title", id: "reasons-title" }, "Why? ", el("small", { class: "dim" }, "as many as hold")), el("div", { class: "chips", role: "group", "aria-labelledby": "reasons-title" }, this.chips.map((each) => each.node))) : null,
      el("label", { class: "field" }, el("span", {}, "In your own words ", el("small", { class: "dim" }, "if you like (critique)"), " ", hint("judge-critique")), this.critique),
      el("p", {}, this.open), this.box);
  }

  /** @param {string} reason @param {number} index */
  chip(reason, index) {
    const name = `judge-reason${index + 1}`;
    const run = () => {
      if (!this.chosen.delete(reason)) this.chosen.add(reason);
      this.draw();
      this.changed();
    };
    if (index < REASON_KEYS.length) this.keys[name] = { key: REASON_KEYS[index], label: `Reason: ${reason}`, run };
    return { reason, node: el("button", { type: "button", class: "chip", "aria-pressed": "false", onclick: run }, reason, " ", index < REASON_KEYS.length ? hint(name) : null) };
  }

  draw() {
    for (const { reason, node } of this.chips) node.setAttribute("aria-pressed", String(this.chosen.has(reason)));
  }

  /** Open the rewrite with the best answer in it. @param {boolean} focus */
  begin(focus) {
    if (this.box.hidden) {
      this.original = this.best() ?? "";
      this.rewrite.value = this.original;
      this.box.hidden = false;
      this.open.hidden = true;
      this.showDiff();
    }
    if (focus) this.rewrite.focus();
  }

  /** Another answer is the best now: begin with that, unless something was written. */
  bestChanged() {
    if (this.box.hidden || this.rewrite.value !== this.original) return;
    this.original = this.best() ?? "";
    this.rewrite.value = this.original;
    this.showDiff();
  }

  typed() {
    this.showDiff();
    this.changed();
  }

  showDiff() {
    const isSame = this.rewrite.value === this.original;
    fill(this.diff, isSame ? el("span", { class: "dim" }, "nothing yet") : diffNodes(this.original, this.rewrite.value));
  }

  drop() {
    this.box.hidden = true;
    this.open.hidden = false;
    this.rewrite.value = this.original = "";
    this.open.focus();
    this.changed();
  }

  /** @returns {Said} */
  get() {
    const written = this.box.hidden || this.rewrite.value === this.original ? "" : this.rewrite.value;
    return { reasons: this.chips.map((each) => each.reason).filter((each) => this.chosen.has(each)), critique: this.critique.value.trim(), rewrite: written.trim() ? written : "" };
  }

  /** @param {Partial<Said>} said */
  set(said) {
    this.chosen = new Set(said.reasons ?? []);
    this.critique.value = said.critique ?? "";
    if (said.rewrite) {
      this.begin(false);
      this.rewrite.value = said.rewrite;
      this.showDiff();
    }
    this.draw();
  }

  /** Show what the server refuses beside its field. @param {string} field @param {string} message */
  refuse(field, message) {
    const fields = { critique: this.critique, rewrite: this.rewrite };
    const node = fields[/** @type {keyof typeof fields} */ (field)];
    if (!node) return false;
    node.setAttribute("aria-invalid", "true");
    node.after(el("p", { class: "error", role: "alert" }, message));
    node.focus();
    return true;
  }
}

/** @param {ParentNode} root */
export function clearRefusals(root) {
  for (const each of root.querySelectorAll("[aria-invalid]")) {
    each.removeAttribute("aria-invalid");
    const next = each.nextElementSibling;
    if (next?.classList.contains("error")) next.remove();
  }
  $("#problem").hidden = true;
}
