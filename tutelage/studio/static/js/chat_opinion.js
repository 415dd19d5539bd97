// @ts-check
/** What a person says about an answer, or about two: thumbs or a vote, tags, and what should have been said instead. */

import { el, fill } from "./dom.js";
import { compare } from "./judge_compare.js";
import { diffNodes } from "./judge_diff.js";
import { hint, refreshHints } from "./judge_keys.js";

/** @typedef {import("./chat_store.js").Answer} Answer @typedef {import("./keys.js").Action} Action */
/** @typedef {{changed: () => void, kept: () => void, state: () => {kind: string, text: string}, again: () => void, go: (place: number) => void}} Acts
 * `changed` after something was said, `kept` after something was only typed. */

const TAGS = {
  good: ["correct", "clear", "kind", "right length"],
  bad: ["wrong", "made up", "unclear", "too long", "too short", "not what I asked", "unsafe"],
};
const ALL_TAGS = ["correct", "clear", "wrong", "made up", "too long", "too short", "off the point", "unsafe"];

export class Opinions {
  /** @param {Answer} turn @param {boolean} isLast @param {Acts} acts */
  constructor(turn, isLast, acts) {
    this.turn = turn;
    this.isLast = isLast;
    this.acts = acts;
    /** @type {Record<string, Action>} */
    this.keys = {};
    this.state = el("span", { class: "small state", role: "status" });
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "Why?" });
    this.box = el("div", { class: "stack rewrite", hidden: true });
    this.node = el("div", { class: "stack opinions" });
    if (turn.replies.length === 1) this.thumbs();
    else this.vote();
    this.drawTags();
    this.drawState();
    if (turn.opinion.draft !== null) this.openBox(false);
  }

  thumbs() {
    const { opinion } = this.turn;
    const made = [[true, "1", "Good"], [false, "0", "Not good"]].map(([good, key, label]) => {
      const name = good ? "chat-good" : "chat-bad";
      const run = () => {
        if (opinion.verdict && opinion.verdict.good !== good) opinion.reasons = [];
        opinion.verdict = { good };
        draw();
        this.drawTags();
        this.acts.changed();
      };
      if (this.isLast) this.keys[name] = { key: String(key), label: `This answer is ${good ? "good" : "not good"}`, run };
      return { good, node: el("button", { type: "button", class: `button small thumb-${good ? "good" : "bad"}`, "aria-pressed": "false", onclick: run }, String(label), this.hint(name)) };
    });
    const draw = () => made.forEach(({ good, node }) => node.setAttribute("aria-pressed", String(opinion.verdict?.good === good)));
    draw();
    fill(this.node, el("div", { class: "row" }, made.map(({ node }) => node), this.rewriteButton(), this.againButton(), this.state), this.chips, this.box);
  }

  vote() {
    const { opinion } = this.turn;
    const panel = el("div", { class: "panel" });
    const task = /** @type {any} */ ({ answers: this.turn.replies.map((reply, side) => [String(side), reply.text]) });
    const verdict = compare({ answers: el("div"), panel }, task, /** @type {any} */ ({ answers: [] }), () => {
      if (this.turn.blind && opinion.verdict) opinion.afterReveal = true;
      opinion.verdict = verdict.get();
      const best = verdict.best();
      if (best !== null && this.isLast) this.acts.go(best);
      this.drawTags();
      this.acts.changed();
      this.drawGo();
    });
    verdict.set(opinion.verdict);
    if (this.isLast) {
      delete verdict.keys["judge-view"];
      Object.assign(this.keys, verdict.keys);
    } else for (const node of panel.querySelectorAll("kbd")) node.remove();
    this.goRow = el("div", { class: "row", role: "group", "aria-label": "Go on from" });
    fill(this.node, panel, this.isLast ? this.goRow : null, el("div", { class: "row" }, this.rewriteButton(), this.againButton(), this.state), this.chips, this.box);
    this.drawGo();
  }

  drawGo() {
    if (!this.goRow) return;
    const buttons = [0, 1].map((place) => {
      const name = `chat-go-${"ab"[place]}`;
      const run = () => {
        this.acts.go(place);
        this.drawGo();
      };
      if (this.isLast) this.keys[name] = { key: "ab"[place], label: `Go on from answer ${"AB"[place]}`, run };
      return el("button", { type: "button", class: "button small", "aria-pressed": String(this.turn.chosen === place), onclick: run }, `Go on from ${"AB"[place]}`, this.hint(name));
    });
    const held = this.goRow.contains(document.activeElement) ? [...this.goRow.querySelectorAll("button")].indexOf(/** @type {any} */ (document.activeElement)) : -1;
    fill(this.goRow, buttons);
    if (held >= 0) buttons[held].focus();
    refreshHints(this.goRow);
  }

  /** @param {string} name */
  hint(name) {
    return this.isLast ? hint(name) : null;
  }

  againButton() {
    if (!this.isLast) return null;
    this.keys["chat-again"] = { key: "r", label: "Ask the same again", run: () => this.acts.again() };
    return el("button", { type: "button", class: "button small quiet", onclick: () => this.acts.again() }, "Ask again", hint("chat-again"));
  }

  drawTags() {
    const { opinion, replies } = this.turn;
    const isSaid = opinion.verdict !== null;
    this.chips.hidden = !isSaid;
    if (!isSaid) return;
    const offered = replies.length === 2 ? ALL_TAGS : opinion.verdict.good ? TAGS.good : TAGS.bad;
    fill(this.chips, offered.map((tag) => {
      const chip = el("button", { type: "button", class: "chip", "aria-pressed": String(opinion.reasons.includes(tag)) }, tag);
      chip.addEventListener("click", () => {
        opinion.reasons = opinion.reasons.includes(tag) ? opinion.reasons.filter((each) => each !== tag) : [...opinion.reasons, tag];
        chip.setAttribute("aria-pressed", String(opinion.reasons.includes(tag)));
        this.acts.changed();
      });
      return chip;
    }));
  }

  drawState() {
    const { kind, text } = this.acts.state();
    const { pair } = this.turn.opinion;
    this.state.className = `small state ${kind || "dim"}`;
    fill(this.state, text, text === "saved" && pair ? [" · ", el("a", { href: `/write/${pair}` }, "your draft")] : null);
  }

  // What should have been said ---------------------------------------------------------------------------------------

  rewriteButton() {
    this.open = el("button", { type: "button", class: "button small", onclick: () => this.openBox(true) }, this.turn.opinion.rewrite ? "Change what it should have said" : "Write what it should have said", this.hint("chat-rewrite"));
    if (this.isLast) this.keys["chat-rewrite"] = { key: "w", label: "Write what it should have said", run: () => this.openBox(true) };
    return this.open;
  }

  /** The text that a rewrite begins with: one's own from before, or the better answer. */
  begin() {
    const { replies, chosen, opinion } = this.turn;
    return opinion.draft ?? (opinion.rewrite || replies[chosen ?? 0].text);
  }

  /** @param {boolean} focus */
  openBox(focus) {
    const { turn } = this;
    const original = turn.replies[turn.chosen ?? 0].text;
    const text = el("textarea", { rows: "6", maxlength: "100000" });
    text.value = this.begin();
    const diff = el("div", { class: "diff wrap card sunk", "aria-label": "What you changed" });
    const error = el("p", { class: "error", role: "alert", hidden: true });
    const isVote = turn.replies.length === 2;
    const draw = () => fill(diff, text.value === original ? el("span", { class: "dim" }, "Nothing is changed yet.") : diffNodes(original, text.value));
    text.addEventListener("input", () => {
      turn.opinion.draft = text.value;
      draw();
      this.acts.kept();
    });
    const save = () => {
      const problem = !text.value.trim() ? "Write what it should have said first." : isVote && !turn.opinion.verdict ? "Say first which answer is better, or that both are bad." : "";
      error.textContent = problem;
      error.hidden = !problem;
      if (problem) return;
      turn.opinion.rewrite = text.value;
      turn.opinion.draft = null;
      if (!isVote && !turn.opinion.verdict) turn.opinion.verdict = { good: false };
      this.closeBox();
      this.acts.changed();
    };
    text.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      event.stopPropagation();
      save();
    });
    const drop = () => {
      turn.opinion.draft = null;
      this.acts.kept();
      this.closeBox();
    };
    draw();
    fill(this.box,
      el("label", { class: "field" }, el("span", {}, "What it should have said ", el("small", { class: "dim" }, isVote ? "begins with the answer you go on from" : "begins with its answer (rewrite)")), text),
      el("p", { class: "small dim" }, "What you changed"), diff, error,
      el("p", { class: "row" }, el("button", { type: "button", class: "button small primary", onclick: save }, "Save as a draft pair ", el("kbd", { "aria-hidden": "true" }, "Ctrl ⏎")), el("button", { type: "button", class: "button small quiet", onclick: drop }, "Leave it"), isVote || turn.opinion.verdict ? null : el("span", { class: "small dim" }, "Saving marks the answer as not good, unless you say otherwise.")));
    this.box.hidden = false;
    this.open.hidden = true;
    if (focus) {
      text.focus({ preventScroll: true });
      text.setSelectionRange(0, 0);
      this.box.scrollIntoView({ block: "nearest" }); // all of it, above the message box
    }
  }

  closeBox() {
    const hadFocus = this.box.contains(document.activeElement);
    this.box.hidden = true;
    this.open.hidden = false;
    const first = this.open.firstChild;
    if (this.turn.opinion.rewrite && first) first.textContent = "Change what it should have said";
    if (this.turn.replies.length === 1) for (const good of [true, false]) this.node.querySelector(`.thumb-${good ? "good" : "bad"}`)?.setAttribute("aria-pressed", String(this.turn.opinion.verdict?.good === good));
    this.drawTags();
    if (hadFocus) this.open.focus();
  }
}
