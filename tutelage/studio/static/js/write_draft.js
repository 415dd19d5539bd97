// @ts-check
/** The model's draft on request: streamed into the answer, marked as the model's until somebody has changed it. */

import { chatModels, streamAnswer } from "./write_stream.js";
import { el, fill } from "./dom.js";

/** @typedef {import("./write_words.js").Message} Message */
/** @typedef {{before: (at: number) => Message[], answer: (at: number) => string, setAnswer: (at: number, text: string) => void, complain: (text: string) => void}} Hooks */

const STORE = "tutelage.drafted";
const CHOSEN = "tutelage.draft-model";
const MOST_KEPT = 20;

/** Texts that a model wrote, so that they are known again after a reload. @returns {[string, string][]} */
function remembered() {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "[]");
  } catch {
    return [];
  }
}

/** @param {Hooks} hooks */
export function modelDrafts(hooks) {
  const made = new Map(remembered());
  /** @type {Map<number, any>} */
  const badges = new Map();
  /** What stood where a model wrote, by what it wrote. @type {Map<string, string>} */
  const aside = new Map();
  /** @type {{at: number, node: any} | null} */
  let running = null;
  let warned = "";

  /** Whose words an answer still is, unchanged. @param {number} at */
  const modelOf = (at) => made.get(hooks.answer(at).trim()) ?? "";

  function mark() {
    for (const [at, badge] of badges) {
      if (running?.at === at) continue;
      const model = modelOf(at);
      badge.hidden = !model;
      badge.textContent = model ? `${model}’s words, not yet yours` : "";
    }
  }

  /** @param {string} text @param {string} model */
  function remember(text, model) {
    if (!text.trim()) return;
    made.set(text.trim(), model);
    try {
      localStorage.setItem(STORE, JSON.stringify([...made].slice(-MOST_KEPT)));
    } catch {
      // a full store: the mark lasts as long as the page
    }
  }

  /** @param {number} at */
  function tools(at) {
    if (running?.at === at) return running.node; // the turns are drawn anew while a model writes
    const badge = el("span", { class: "badge warn", hidden: true });
    badges.set(at, badge);
    badge.setAttribute("role", "status");
    const back = el("button", { type: "button", class: "button small", hidden: true }, "Put my words back");
    const body = el("div", { class: "menu-items drafting" });
    const menu = el("details", { class: "menu" }, el("summary", { class: "button small" }, "Let a model draft it"), body);
    menu.addEventListener("toggle", () => { if (menu.open) void offer(body, at, menu, back); });
    body.addEventListener("click", (/** @type {Event} */ event) => event.stopPropagation()); // what is filled anew is not outside
    queueMicrotask(() => {
      mark();
      const mine = aside.get(hooks.answer(at).trim());
      if (mine) offerBack(back, at, mine);
    });
    return el("span", { class: "row end" }, badge, back, menu);
  }

  /** @param {any} back @param {number} at @param {string} mine */
  function offerBack(back, at, mine) {
    back.hidden = false;
    back.onclick = () => {
      hooks.setAnswer(at, mine);
      back.hidden = true;
    };
  }

  /** @param {Element} body @param {number} at @param {any} menu @param {any} back */
  async function offer(body, at, menu, back) {
    if (running) return;
    fill(body, el("p", { class: "dim" }, "Looking which models there are…"));
    try {
      const { models, first } = await chatModels();
      if (!models.length) {
        fill(body, el("p", {}, "No model is here yet. Train one, or bring one in; then it can draft answers."), el("a", { href: "/models" }, "Models"));
        return;
      }
      const last = localStorage.getItem(CHOSEN) ?? "";
      const asked = models.some((each) => each.name === last) ? last : first;
      const select = el("select", { id: `model-${at}` }, models.map(({ name, words }) => el("option", { value: name, selected: name === asked }, words ? `${name}: ${words}` : name)));
      const told = el("p", { class: "small dim" }, "It answers the question as it stands. Read the draft and make it yours: a model learns nothing from its own words.");
      fill(body, el("div", { class: "field" }, el("label", { for: `model-${at}` }, "Which model"), select), told,
        el("button", { type: "button", class: "button primary small", onclick: () => { localStorage.setItem(CHOSEN, select.value); void write(body, at, select.value, menu, back); } }, "Draft the answer"));
      select.focus();
    } catch (error) {
      fill(body, el("p", { class: "error" }, /** @type {Error} */ (error).message));
    }
  }

  /** @param {Element} body @param {number} at @param {string} model @param {any} menu @param {any} back */
  async function write(body, at, model, menu, back) {
    const before = hooks.before(at);
    if (!before.length || !before[before.length - 1].content.trim()) {
      fill(body, el("p", {}, "Write the question first."));
      return;
    }
    const mine = hooks.answer(at);
    const stop = new AbortController();
    const button = el("button", { type: "button", class: "button small", onclick: () => stop.abort() }, "Stop");
    const badge = badges.get(at);
    const tell = (/** @type {string} */ text) => { badge.textContent = `${model}: ${text}`; };
    running = { at, node: menu.parentElement };
    hooks.complain("");
    menu.replaceWith(button);
    button.focus();
    badge.hidden = false;
    back.hidden = true;
    tell("writing…");
    let text = "";
    try {
      await streamAnswer(model, before, {
        text(piece) {
          if (!text) tell("writing…");
          text += piece;
          hooks.setAnswer(at, text);
        },
        waits: tell,
      }, stop.signal);
      if (!text.trim()) hooks.complain(`${model} had nothing to say to that.`);
    } catch (error) {
      if (!stop.signal.aborted) hooks.complain(/** @type {Error} */ (error).message);
    }
    running = null;
    text = text.replace(/\r\n?/g, "\n"); // as a text field holds it
    remember(text, model);
    button.replaceWith(menu);
    menu.open = false;
    mark();
    if (text && mine.trim() && !made.has(mine.trim())) {
      aside.set(text.trim(), mine);
      offerBack(back, at, mine);
    }
    if (document.activeElement === document.body) menu.querySelector("summary")?.focus();
  }

  return {
    tools,
    typed: mark,
    /** What is noted with a revision that a model had a part in. */
    note() {
      const models = [...new Set([...badges.keys()].map(modelOf).filter(Boolean))];
      return models.length ? `drafted by ${models.join(", ")}, as it came` : "";
    },
    /** False the first time that an answer is handed in as a model wrote it. */
    mayHandIn() {
      const models = [...new Set([...badges.keys()].map(modelOf).filter(Boolean))];
      if (!models.length || warned === models.join()) return true;
      warned = models.join();
      hooks.complain(`An answer is still what ${models.join(" and ")} wrote, word for word. A model learns nothing from its own words: read it, and change what you would say otherwise. Hand it in once more if it should stay as it is.`);
      return false;
    },
  };
}
