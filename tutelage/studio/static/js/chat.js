// @ts-check
/** The chat: turns of one conversation, the one line that writes, and the list of those before. Conversations are kept in
 * this browser; what is said about answers goes to the workspace. */

import { ApiError, get } from "./api.js";
import { talk } from "./chat_stream.js";
import { Sayer } from "./chat_say.js";
import { SetupForm, size } from "./chat_setup.js";
import { Chats, messagesBefore, newConversation, noOpinion, titleOf } from "./chat_store.js";
import { AnswerView, QuestionView } from "./chat_turn.js";
import { $, ago, el, fill } from "./dom.js";
import { refreshHints } from "./judge_keys.js";
import { bindKeys } from "./keys.js";

/** @typedef {import("./chat_store.js").Answer} Answer @typedef {import("./chat_store.js").Conversation} Conversation @typedef {import("./chat_store.js").Question} Question */

const EXAMPLES = [
  "How do I get burnt milk off the bottom of a pan?",
  "Explain to a ten-year-old why the sky is blue, in three sentences.",
  "Write a friendly note to a neighbour whose music is too loud at night.",
];
const SHOWN_CHATS = 30;
const KEEP_MS = 500;

class Page {
  /** @param {import("./chat_setup.js").Models} models */
  constructor(models) {
    const { person, role } = $("#chat").dataset;
    this.role = role;
    this.models = models;
    this.chats = new Chats(person);
    this.setup = new SetupForm(models, this.chats.setup(), () => this.chats.keepSetup(this.setup.setup));
    this.sayer = new Sayer((chat) => this.keep(chat), (turn) => this.views.get(turn)?.told());
    /** @type {Map<Answer, AnswerView>} */
    this.views = new Map();
    /** @type {QuestionView | null} */
    this.lastQuestion = null;
    /** @type {AbortController | null} */
    this.running = null;
    this.unbind = () => {};
    this.keptAt = 0;
    this.chat = this.chats.recall(location.hash.slice(1)) ?? newConversation();
    this.listen();
    this.open(this.chat);
  }

  listen() {
    const message = $("#message");
    $("#composer").addEventListener("submit", (/** @type {Event} */ event) => (event.preventDefault(), this.submit()));
    $("#stop").addEventListener("click", () => this.stop());
    $("#new-chat").addEventListener("click", () => this.begin());
    message.addEventListener("input", () => {
      grow(message);
      $("#ask-error").hidden = true;
      this.chat.typed = message.value;
      this.keep(this.chat);
    });
    message.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.submit();
    });
    document.addEventListener("keydown", (event) => this.escape(event));
    window.addEventListener("hashchange", () => this.goTo(location.hash.slice(1)));
    window.addEventListener("storage", () => this.drawList());
    document.addEventListener("outbox", () => this.views.forEach((view) => view.told()));
    bindKeys({
      "chat-new": { key: "n", label: "Begin a new chat", run: () => this.begin() },
      "chat-type": { key: "/", label: "Go to the message box", run: () => $("#message").focus() },
      "chat-edit": { key: "e", label: "Edit your last message and send it again", run: () => this.running || this.lastQuestion?.edit() },
    });
  }

  /** @param {KeyboardEvent} event */
  escape(event) {
    if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
    if (this.running) this.stop();
    else if (event.target instanceof HTMLTextAreaElement) {
      const last = $("#thread").querySelector(".answer-turn:last-of-type .answer") ?? $("#main");
      last.focus();
    }
  }

  // Conversations ------------------------------------------------------------------------------------------------------

  /** @param {Conversation} chat */
  keep(chat) {
    const kept = this.chats.keep(chat);
    if (chat === this.chat && (chat.turns.length || chat.typed) && location.hash !== `#${chat.id}`) history.replaceState(null, "", `#${chat.id}`);
    const problem = $("#problem");
    problem.hidden = kept;
    if (!kept) problem.textContent = "This browser has no room left to keep the chat. Delete some of your chats; until then a reload loses what is new.";
    return kept;
  }

  begin() {
    this.stop();
    this.open(newConversation());
    history.pushState(null, "", "/chat");
    $("#recent").open = matchMedia("(min-width: 901px)").matches;
    if (!$("#composer").hidden) $("#message").focus();
  }

  /** @param {string} id */
  goTo(id) {
    if (id === this.chat.id) return;
    this.stop();
    this.open(this.chats.recall(id) ?? newConversation());
  }

  /** @param {Conversation} chat */
  open(chat) {
    this.chat = chat;
    $("#composer").hidden = !this.models.models.length;
    $("#message").value = chat.typed;
    grow($("#message"));
    this.draw();
    this.sayer.resume(chat);
    this.drawList();
    if (chat.turns.length) window.scrollTo(0, document.body.scrollHeight);
  }

  drawList() {
    const all = this.chats.all();
    $("#num-chats").textContent = all.length ? String(all.length) : "";
    const shown = all.slice(0, SHOWN_CHATS);
    fill($("#chat-list"), shown.map((chat) => this.listed(chat)), all.length > shown.length ? el("li", { class: "dim small" }, `and ${all.length - shown.length} older`) : null,
      all.length ? null : el("li", { class: "dim small" }, "None yet."));
  }

  /** @param {Conversation} chat */
  listed(chat) {
    const title = titleOf(chat);
    const remove = el("button", { type: "button", class: "button quiet small icon", "aria-label": `Delete the chat: ${title}`, title: "Delete" }, "×");
    const item = el("li", {}, el("a", { href: `#${chat.id}`, "aria-current": chat.id === this.chat.id ? "page" : false }, el("span", { class: "wrap", dir: "auto" }, title), el("small", { class: "dim" }, ago(chat.at))), remove);
    remove.addEventListener("click", () => fill(item, el("span", { class: "small" }, "Delete it for good?"), el("span", { class: "row" },
      focused(el("button", { type: "button", class: "button small danger", onclick: () => this.remove(chat) }, "Delete")), el("button", { type: "button", class: "button small quiet", onclick: () => this.drawList() }, "Keep"))));
    return item;
  }

  /** @param {Conversation} chat */
  remove(chat) {
    this.chats.forget(chat.id);
    if (chat.id === this.chat.id) this.begin();
    else this.drawList();
    $("#new-chat").focus();
  }

  // The thread ---------------------------------------------------------------------------------------------------------

  draw() {
    this.views = new Map();
    this.lastQuestion = null;
    const { turns } = this.chat;
    const last = turns.length - 1;
    const nodes = turns.map((turn, index) => (turn.role === "user" ? this.questionView(turn, index, index >= last - 1) : this.answerView(turn, index === last)));
    fill($("#thread"), turns.length ? nodes : this.empty(), this.putBack());
    this.bind();
  }

  /** @param {Question} turn @param {number} index @param {boolean} isLast */
  questionView(turn, index, isLast) {
    const view = new QuestionView(turn, isLast, (text) => this.resend(index, text));
    if (isLast) this.lastQuestion = view;
    return view.node;
  }

  /** @param {Answer} turn @param {boolean} isLast */
  answerView(turn, isLast) {
    const { chat } = this;
    const view = new AnswerView(turn, isLast, {
      changed: () => this.sayer.later(chat, turn),
      kept: () => this.keep(chat),
      state: () => this.sayer.state(turn),
      again: () => this.again(),
      go: (place) => {
        turn.chosen = place;
        $("#ask-error").hidden = true;
        this.keep(chat);
        view.told();
      },
    });
    this.views.set(turn, view);
    return view.node;
  }

  bind() {
    this.unbind();
    const last = this.chat.turns[this.chat.turns.length - 1];
    const view = last?.role === "assistant" ? this.views.get(last) : null;
    this.unbind = view ? bindKeys(view.keys) : () => {};
    refreshHints();
  }

  empty() {
    const { models, missing } = this.models;
    if (!models.length) {
      const start = missing.length ? el("pre", { class: "command", tabindex: "0" }, el("code", {}, `tutelage models --path ${missing[missing.length - 1]}`)) : null;
      return el("div", { class: "empty" }, el("h2", {}, "There is no model to talk to yet"),
        this.role === "rater" ? el("p", {}, "Whoever looks after this workspace can train one, or fetch a small one to begin with.") : [el("p", {}, "Train one, or fetch a small one to begin with, once, at the terminal:"), start, el("p", {}, el("a", { class: "button", href: "/runs/new" }, "Start a run"))]);
    }
    const newest = models.find((model) => model.name === this.models.after);
    return el("div", { class: "empty" }, el("h2", {}, "Ask a model something"),
      el("p", {}, "Say whether its answer is good, and write what it should have said: that becomes a verdict and a draft pair, from which the next model learns."),
      newest ? el("p", { class: "small" }, newest.name.startsWith("starter-") ? `${newest.name} comes with Tutelage; nothing here has taught it yet` : `The newest is ${newest.name}`, newest.words && newest.words !== newest.name ? `: ${newest.words}` : "", newest.num_parameters ? `, ${size(newest.num_parameters)}` : "", ".") : null,
      el("div", { class: "examples" }, EXAMPLES.map((text) => el("button", { type: "button", class: "button", onclick: () => this.type(text) }, text))),
      models.length > 1 ? el("p", {}, el("button", { type: "button", class: "link", onclick: () => $("#two").click() }, this.setup.setup.two ? "Talk to one model only" : "See before and after: ask two models at once")) : null);
  }

  /** @param {string} text */
  type(text) {
    const message = $("#message");
    message.value = text;
    message.dispatchEvent(new Event("input"));
    message.focus();
  }

  /** What was taken away by editing or asking again can be put back. */
  putBack() {
    const { aside } = this.chat;
    if (!aside) return null;
    return el("p", { class: "small dim row put-back" }, "You went on differently from here.", el("button", { type: "button", class: "button small quiet", onclick: () => {
      if (this.running) return;
      this.chat.aside = this.chat.turns;
      this.chat.turns = aside;
      this.keep(this.chat);
      this.draw();
    } }, "Go back to the earlier version"));
  }

  // Asking -------------------------------------------------------------------------------------------------------------

  submit() {
    const message = $("#message");
    const text = message.value;
    if (!text.trim() || this.running) return;
    const last = this.chat.turns[this.chat.turns.length - 1];
    if (last?.role === "assistant" && !this.mayGoOn(last)) return;
    message.value = this.chat.typed = "";
    grow(message);
    void this.ask(text);
  }

  /** @param {Answer} last */
  mayGoOn(last) {
    const reply = last.replies[last.chosen ?? 0];
    const problem = last.chosen === null ? "Say first which answer is better, or choose which one to go on from."
      : !reply.text ? "There is no answer to go on from. Ask again, or edit your message." : "";
    if (problem) this.refuse(problem);
    return !problem;
  }

  /** @param {string} problem */
  refuse(problem) {
    $("#ask-error").textContent = problem;
    $("#ask-error").hidden = false;
  }

  /** Drop a turn and all after it, and ask differently. @param {number} index @param {string} text */
  resend(index, text) {
    if (this.running) return;
    this.sayer.sendAll();
    this.chat.aside = this.chat.turns;
    this.chat.turns = this.chat.turns.slice(0, index);
    void this.ask(text);
  }

  again() {
    const index = this.chat.turns.length - 2;
    const turn = this.chat.turns[index];
    if (turn?.role === "user") this.resend(index, turn.text);
  }

  /** @param {string} text */
  async ask(text) {
    const { chat } = this;
    const { setup } = this.setup;
    const names = this.setup.asked();
    /** @type {Answer} */
    const turn = {
      role: "assistant", system: setup.system, chosen: names.length === 1 ? 0 : null, blind: setup.two && setup.blind, opinion: noOpinion(),
      replies: names.map((model) => ({ model, text: "", state: "writing", error: "", sampling: { temperature: setup.temperature, max_new_tokens: setup.maxTokens }, numTokens: 0, seconds: 0, ended: false })),
    };
    chat.turns.push({ role: "user", text }, turn);
    chat.at = Date.now();
    this.keep(chat);
    this.drawList();
    this.draw();
    window.scrollTo(0, document.body.scrollHeight);
    const body = { models: names, messages: messagesBefore(chat, chat.turns.length - 1, setup.system), sampling: { temperature: setup.temperature, max_new_tokens: setup.maxTokens } };
    await this.write(chat, turn, body);
  }

  /** @param {Conversation} chat @param {Answer} turn @param {any} body */
  async write(chat, turn, body) {
    const running = new AbortController();
    this.running = running;
    this.showRunning(`${turn.blind ? "The models are" : `${turn.replies.map((reply) => reply.model).join(" and ")} ${turn.replies.length > 1 ? "are" : "is"}`} writing`);
    let problem = null;
    try {
      await talk(body, (kind, told) => this.hear(chat, turn, kind, told), running.signal);
    } catch (error) {
      problem = error;
    }
    const isStopped = problem instanceof DOMException;
    for (const reply of turn.replies) {
      if (reply.state !== "writing") continue;
      reply.state = isStopped ? "stopped" : "failed";
      if (!isStopped) reply.error = problem instanceof Error ? problem.message : "The answer did not come. Try again.";
    }
    if (problem && !isStopped && !(problem instanceof ApiError)) console.error(problem);
    if (this.running === running) this.running = null;
    this.keep(chat);
    if (this.chat !== chat) return;
    this.views.get(turn)?.show();
    this.bind();
    this.showRunning(isStopped ? "Stopped" : problem || turn.replies.some((reply) => reply.state === "failed") ? "There is no answer" : "The answer is there");
  }

  /** @param {Conversation} chat @param {Answer} turn @param {string} kind @param {any} told */
  hear(chat, turn, kind, told) {
    const reply = turn.replies[told.side];
    const view = this.views.get(turn)?.views[told.side];
    const wasAtEnd = isAtEnd();
    if (kind === "loading" || kind === "waiting") view?.waits({ ...told, kind });
    else if (kind === "text" && view) view.add(told.text);
    else if (kind === "text") reply.text += told.text;
    else if (kind === "done") Object.assign(reply, { text: told.text, state: "done", sampling: told.sampling, numTokens: told.num_tokens, seconds: told.seconds, ended: told.stopped });
    else if (kind === "error") Object.assign(reply, { state: "failed", error: told.error });
    if (kind === "done" || kind === "error") view?.show();
    if (wasAtEnd) window.scrollTo(0, document.body.scrollHeight);
    if (performance.now() - this.keptAt < KEEP_MS) return;
    this.keptAt = performance.now();
    this.keep(chat);
  }

  stop() {
    this.running?.abort();
    this.running = null;
  }

  /** @param {string} words */
  showRunning(words) {
    $("#told").textContent = words;
    const stop = $("#stop");
    const hadFocus = document.activeElement === stop;
    stop.hidden = !this.running;
    $("#send").hidden = this.running !== null;
    if (hadFocus) $("#message").focus();
  }
}

/** @param {HTMLElement} node */
function focused(node) {
  queueMicrotask(() => node.focus());
  return node;
}

/** As high as its text, up to a third of the window. @param {HTMLTextAreaElement} box */
function grow(box) {
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight + 2, window.innerHeight / 3)}px`;
}

function isAtEnd() {
  return window.innerHeight + window.scrollY >= document.body.scrollHeight - 60;
}

$("#recent").open = matchMedia("(min-width: 901px)").matches;
try {
  new Page(await get("/api/chat/models"));
} catch (error) {
  $("#problem").textContent = `The models could not be listed: ${/** @type {Error} */ (error).message}. Load the page again.`;
  $("#problem").hidden = false;
}
