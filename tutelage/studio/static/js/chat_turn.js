// @ts-check
/** The turns of a conversation as nodes: what a person wrote, with "edit and send again", and the answers with what can be
 * said about them. */

import { el, fill } from "./dom.js";
import { Opinions } from "./chat_opinion.js";
import { ReplyView } from "./chat_reply.js";
import { hint } from "./judge_keys.js";

/** @typedef {import("./chat_store.js").Answer} Answer @typedef {import("./chat_store.js").Question} Question @typedef {import("./keys.js").Action} Action */
/** @typedef {import("./chat_opinion.js").Acts} Acts */

/** Whether the models' names may be shown. @param {Answer} turn */
export const isOpen = (turn) => !turn.blind || turn.opinion.verdict !== null;

export class AnswerView {
  /** @param {Answer} turn @param {boolean} isLast @param {Acts} acts */
  constructor(turn, isLast, acts) {
    this.turn = turn;
    this.isLast = isLast;
    this.acts = acts;
    this.views = turn.replies.map((reply, place) => new ReplyView(reply, this.nameOf(place), turn.replies.length === 2 ? "ab"[place] : ""));
    this.place = el("div", {});
    /** @type {Opinions | null} */
    this.opinions = null;
    this.node = el("div", { class: "turn answer-turn" }, el("div", { class: turn.replies.length === 2 ? "split answers" : "" }, this.views.map((view) => view.node)), this.place);
    this.show();
  }

  /** @param {number} place */
  nameOf(place) {
    const { model } = this.turn.replies[place];
    if (this.turn.replies.length === 1) return model;
    return isOpen(this.turn) ? `Answer ${"AB"[place]} · ${model}` : `Answer ${"AB"[place]}`;
  }

  /** After an answer has ended, or something was said. */
  show() {
    this.views.forEach((view, place) => {
      view.show();
      view.rename(this.nameOf(place));
      view.node.classList.toggle("chosen-answer", this.turn.replies.length === 2 && this.turn.chosen === place);
    });
    const { replies } = this.turn;
    const isWritten = replies.every((reply) => reply.state !== "writing");
    const canJudge = isWritten && replies.every((reply) => reply.state !== "failed" && reply.text);
    if (canJudge && !this.opinions) {
      this.opinions = new Opinions(this.turn, this.isLast, this.acts);
      fill(this.place, this.opinions.node);
    } else if (isWritten && !canJudge && this.isLast) {
      fill(this.place, el("p", {}, el("button", { type: "button", class: "button small", onclick: () => this.acts.again() }, "Ask again", hint("chat-again"))));
    }
  }

  /** What is kept of what was said, and the names once they may be known. */
  told() {
    this.views.forEach((view, place) => view.rename(this.nameOf(place)));
    this.views.forEach((view, place) => view.node.classList.toggle("chosen-answer", this.turn.replies.length === 2 && this.turn.chosen === place));
    this.opinions?.drawState();
  }

  /** The keys of the newest answer. @returns {Record<string, Action>} */
  get keys() {
    if (this.opinions) return this.opinions.keys;
    return this.isLast && this.turn.replies.every((reply) => reply.state !== "writing") ? { "chat-again": { key: "r", label: "Ask the same again", run: () => this.acts.again() } } : {};
  }
}

export class QuestionView {
  /** @param {Question} turn @param {boolean} isLast @param {(text: string) => void} send */
  constructor(turn, isLast, send) {
    this.turn = turn;
    this.send = send;
    this.isLast = isLast;
    this.node = el("div", { class: "turn question-turn" });
    this.show();
  }

  show() {
    this.button = el("button", { type: "button", class: "button small quiet", onclick: () => this.edit() }, "Edit", this.isLast ? hint("chat-edit") : null);
    fill(this.node, el("span", { class: "who" }, "You"), el("div", { class: "bubble wrap", dir: "auto" }, this.turn.text), el("div", {}, this.button));
  }

  edit() {
    const text = el("textarea", { rows: "3", maxlength: "100000", "aria-label": "Change your message" });
    text.value = this.turn.text;
    const send = () => {
      if (text.value.trim()) this.send(text.value);
      else text.focus();
    };
    const leave = () => {
      this.show();
      this.button?.focus();
    };
    text.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.isComposing || !((event.key === "Enter" && !event.shiftKey) || event.key === "Escape")) return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Escape") leave();
      else send();
    });
    fill(this.node, el("span", { class: "who" }, "You"), text, el("div", { class: "row" }, el("button", { type: "button", class: "button small primary", onclick: send }, "Send again ", el("kbd", { "aria-hidden": "true" }, "Enter")), el("button", { type: "button", class: "button small quiet", onclick: leave }, "Leave it ", el("kbd", { "aria-hidden": "true" }, "Esc"))));
    text.focus();
    text.setSelectionRange(text.value.length, text.value.length);
  }
}
