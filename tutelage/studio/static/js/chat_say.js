// @ts-check
/** Sending what a person says about answers: a moment after the last change, by the outbox, so that neither a reload nor
 * a lost network loses it. A change of mind names the request that it corrects. */

import { newKey } from "./api.js";
import { messagesBefore } from "./chat_store.js";
import { send, waiting } from "./outbox.js";

/** @typedef {import("./chat_store.js").Answer} Answer @typedef {import("./chat_store.js").Conversation} Conversation @typedef {import("./chat_store.js").Reply} Reply */

const QUIET_MS = 500;

export class Sayer {
  /** @param {(chat: Conversation) => boolean} keep @param {(turn: Answer) => void} changed */
  constructor(keep, changed) {
    this.keep = keep;
    this.changed = changed;
    /** @type {Map<Answer, {chat: Conversation, timer: number}>} */
    this.timers = new Map();
    this.isOffline = false;
    document.addEventListener("outbox", (event) => {
      this.isOffline = /** @type {CustomEvent} */ (event).detail.offline;
    });
    window.addEventListener("pagehide", () => this.sendAll());
  }

  /** Something about an answer was changed: keep it, and send it soon. @param {Conversation} chat @param {Answer} turn */
  later(chat, turn) {
    turn.opinion.dirty = true;
    turn.opinion.error = "";
    this.keep(chat);
    this.changed(turn);
    window.clearTimeout(this.timers.get(turn)?.timer);
    this.timers.set(turn, { chat, timer: window.setTimeout(() => this.now(chat, turn), QUIET_MS) });
  }

  /** What waits for its moment goes now. */
  sendAll() {
    for (const [turn, { chat }] of [...this.timers]) this.now(chat, turn);
  }

  /** What was changed, or not sent yet, before the page was left. @param {Conversation} chat */
  resume(chat) {
    const left = waiting();
    for (const turn of chat.turns) {
      if (turn.role !== "assistant") continue;
      const unsent = left.find((entry) => entry.id === turn.opinion.key);
      if (turn.opinion.dirty) this.now(chat, turn);
      else if (unsent) this.follow(chat, turn, send(unsent), unsent.body.corrects);
    }
  }

  /** @param {Conversation} chat @param {Answer} turn */
  now(chat, turn) {
    window.clearTimeout(this.timers.get(turn)?.timer);
    this.timers.delete(turn);
    const { opinion } = turn;
    const before = opinion.key;
    const key = newKey();
    const { path, body } = asked(chat, turn, key);
    opinion.key = key;
    opinion.dirty = false;
    this.keep(chat);
    this.follow(chat, turn, send({ id: key, method: "POST", path, body }), before);
    this.changed(turn);
  }

  /** Note what becomes of a request. @param {Conversation} chat @param {Answer} turn @param {Promise<any>} done @param {string | null} before the request that it corrects */
  follow(chat, turn, done, before) {
    const { opinion } = turn;
    const { key } = opinion;
    done.then(
      (written) => {
        opinion.pair = written.pair_id;
      },
      (error) => {
        opinion.error = error.message;
        if (opinion.key === key) opinion.key = before;
      },
    ).finally(() => {
      this.keep(chat);
      this.changed(turn);
    });
  }

  /** In plain words whether it is kept. @param {Answer} turn */
  state(turn) {
    const { opinion } = turn;
    if (opinion.error) return { kind: "bad", text: `Not kept: ${opinion.error}` };
    if (opinion.dirty) return { kind: "", text: "saving…" };
    if (!opinion.key) return { kind: "", text: "" };
    if (waiting().some((entry) => entry.id === opinion.key)) return { kind: "", text: this.isOffline || !navigator.onLine ? "not sent yet" : "saving…" };
    return { kind: "good", text: "saved" };
  }
}

/** @param {Conversation} chat @param {Answer} turn @param {string} key */
function asked(chat, turn, key) {
  const { opinion } = turn;
  const body = {
    request_key: key, messages: messagesBefore(chat, chat.turns.indexOf(turn), turn.system), reasons: opinion.reasons,
    rewrite: opinion.rewrite, corrects: opinion.key,
  };
  const answers = turn.replies.map((reply) => ({ text: reply.text, model: reply.model, sampling: madeWith(reply) }));
  return turn.replies.length === 1
    ? { path: "/api/chat/feedback", body: { ...body, answer: answers[0], good: opinion.verdict.good } }
    : { path: "/api/chat/vote", body: { ...body, answers, verdict: opinion.verdict, blind: turn.blind, after_reveal: opinion.afterReveal } };
}

/** @param {Reply} reply */
function madeWith(reply) {
  const stopped = reply.state === "stopped" ? { stopped_by_person: true } : { num_tokens: reply.numTokens, stopped: reply.ended };
  return { ...reply.sampling, ...stopped };
}
