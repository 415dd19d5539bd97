// @ts-check
/** The turns of a pair as text fields: a setting if wanted, then questions with their answers, which are added, moved
 * and taken away together, since a conversation goes by turns. What is taken away can be brought back. */

import { $$, el, fill } from "./dom.js";
import { measure } from "./write_words.js";

/** @typedef {import("./write_words.js").Message} Message */
/** @typedef {{question: string, answer: string}} Exchange */
/** @typedef {{changed: () => void, answerTools?: (at: number) => Node | null}} Hooks */

/** @param {Message[]} messages @returns {{system: string | null, exchanges: Exchange[]}} */
function split(messages) {
  const [first, ...others] = messages;
  const hasSystem = first?.role === "system";
  /** @type {Exchange[]} */
  const exchanges = [];
  for (const { role, content } of hasSystem ? others : messages) {
    const last = exchanges[exchanges.length - 1];
    if (role === "assistant" && last) last.answer += last.answer ? `\n\n${content}` : content;
    else exchanges.push(role === "assistant" ? { question: "", answer: content } : { question: content, answer: "" });
  }
  return { system: hasSystem ? first.content : null, exchanges: exchanges.length ? exchanges : [{ question: "", answer: "" }] };
}

/** @param {HTMLElement} root @param {Hooks} hooks */
export function turnsEditor(root, hooks) {
  let { system, exchanges } = split([]);
  /** The setting that was taken away, for when it is wanted again. */
  let setting = "";
  /** @type {{at: number, exchange: Exchange} | null} */
  let removed = null;

  /** Each message with the name of its field. @returns {[string, Message][]} */
  function named() {
    /** @type {[string, Message][]} */
    const all = system?.trim() ? [["system", { role: "system", content: system }]] : [];
    let end = exchanges.length;
    while (end > 1 && !exchanges[end - 1].question.trim() && !exchanges[end - 1].answer.trim()) end--;
    exchanges.slice(0, end).forEach(({ question, answer }, at) => {
      all.push([`question-${at}`, { role: "user", content: question }]);
      if (at < end - 1 || answer.trim()) all.push([`answer-${at}`, { role: "assistant", content: answer }]);
    });
    return all;
  }

  /** @param {string} name @param {string} label @param {string} text @param {string} help @param {(text: string) => void} put @param {Node | null} [tools] */
  function field(name, label, text, help, put, tools = null) {
    const size = el("small", { class: "dim num" }, measure(text));
    const area = el("textarea", { id: name, name, rows: name === "system" ? 2 : 3, maxlength: 200000, dir: "auto", "aria-describedby": `${name}-error`, placeholder: help });
    area.value = text;
    area.addEventListener("input", () => {
      put(area.value);
      size.textContent = measure(area.value);
      grow(area);
      clearError(area);
      hooks.changed();
    });
    return el("div", { class: "field" },
      el("div", { class: "row between" }, el("label", { for: name }, el("strong", {}, label)), el("span", { class: "row" }, tools, size)),
      area, el("p", { class: "error", id: `${name}-error`, hidden: true }));
  }

  function draw() {
    const many = exchanges.length > 1;
    fill(root,
      system === null
        ? el("p", {}, el("button", { type: "button", class: "link small", onclick: () => { system = setting; redraw("system"); } }, "Add a setting"), el("span", { class: "small dim" }, " what the model is told before the first question (system prompt)"))
        : el("section", { class: "card exchange", "aria-label": "Setting" },
          field("system", "Setting", system, "For example: You are a patient cook who answers beginners.", (text) => { system = text; }, tool("Take the setting away", "✕", dropSystem))),
      exchanges.map((exchange, at) => exchangeNode(exchange, at, many)),
      removed ? el("p", { class: "note row between" }, "A question and its answer were taken away.", el("button", { type: "button", class: "button small", onclick: restore }, "Bring them back")) : null,
      el("p", {}, el("button", { type: "button", class: "button", onclick: () => add(exchanges.length) }, "Add another question and answer ", el("kbd", {}, "Alt ⏎"))));
    for (const area of $$("textarea", root)) grow(area);
  }

  /** @param {Exchange} exchange @param {number} at @param {boolean} many */
  function exchangeNode(exchange, at, many) {
    const number = many ? ` ${at + 1}` : "";
    const order = many ? el("span", { class: "order" },
      tool(`Move question ${at + 1} up`, "↑", () => move(at, -1), at === 0, "Alt ↑"),
      tool(`Move question ${at + 1} down`, "↓", () => move(at, 1), at === exchanges.length - 1, "Alt ↓"),
      tool(`Take question ${at + 1} and its answer away`, "✕", () => drop(at), false, "Alt Del")) : null;
    const node = el("section", { class: "card exchange stack", "aria-label": `Question${number} and answer`, dataset: { at } },
      field(`question-${at}`, `Question${number}`, exchange.question, "What somebody would ask, in their words", (text) => { exchange.question = text; }, order),
      field(`answer-${at}`, `Answer${number}`, exchange.answer, "The answer you would be glad to get. Markdown works.", (text) => { exchange.answer = text; }, hooks.answerTools?.(at) ?? null));
    node.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => shortcut(event, at));
    return node;
  }

  /** @param {string} label @param {string} sign @param {() => void} run @param {boolean} [off] @param {string} [key] */
  function tool(label, sign, run, off = false, key = "") {
    return el("button", { type: "button", class: "button quiet small icon", "aria-label": label, title: key ? `${label} (${key})` : label, onclick: run, disabled: off }, sign);
  }

  /** @param {KeyboardEvent} event @param {number} at */
  function shortcut(event, at) {
    if (!event.altKey || event.ctrlKey || event.metaKey || event.isComposing) return;
    const runs = { ArrowUp: () => move(at, -1), ArrowDown: () => move(at, 1), Delete: () => drop(at), Enter: () => add(at + 1) };
    const run = runs[/** @type {keyof typeof runs} */ (event.key)];
    if (!run) return;
    event.preventDefault();
    run();
  }

  /** @param {number} at */
  function add(at) {
    exchanges.splice(at, 0, { question: "", answer: "" });
    redraw(`question-${at}`);
  }

  /** @param {number} at @param {number} by */
  function move(at, by) {
    const to = at + by;
    if (to < 0 || to >= exchanges.length) return;
    [exchanges[at], exchanges[to]] = [exchanges[to], exchanges[at]];
    const name = document.activeElement instanceof HTMLTextAreaElement ? document.activeElement.name.replace(/\d+$/, String(to)) : `question-${to}`;
    redraw(name);
  }

  /** @param {number} at */
  function drop(at) {
    if (exchanges.length === 1) return;
    const [exchange] = exchanges.splice(at, 1);
    removed = exchange.question.trim() || exchange.answer.trim() ? { at, exchange } : null;
    redraw(`question-${Math.min(at, exchanges.length - 1)}`);
  }

  function restore() {
    if (!removed) return;
    const { at, exchange } = removed;
    removed = null;
    exchanges.splice(Math.min(at, exchanges.length), 0, exchange);
    redraw(`question-${Math.min(at, exchanges.length - 1)}`);
  }

  function dropSystem() {
    setting = system ?? "";
    system = null;
    redraw("question-0");
  }

  /** @param {string} name */
  function redraw(name) {
    draw();
    focusOn(name);
    hooks.changed();
  }

  /** @param {string} name */
  function focusOn(name) {
    /** @type {HTMLElement | null} */ (root.querySelector(`[name="${name}"]`))?.focus();
  }

  /** @param {any} area */
  function clearError(area) {
    area.removeAttribute("aria-invalid");
    const line = root.querySelector(`#${area.id}-error`);
    if (line) /** @type {HTMLElement} */ (line).hidden = true;
  }

  draw();
  return {
    /** @returns {Message[]} */
    read: () => named().map(([, message]) => message),
    /** @param {Message[]} messages */
    show(messages) {
      ({ system, exchanges } = split(messages));
      removed = null;
      draw();
    },
    focus: () => focusOn("question-0"),
    /** @param {number} at */
    answer: (at) => exchanges[at]?.answer ?? "",
    /** What a model needs to answer the question at this place. @param {number} at @returns {Message[]} */
    before: (at) => named().map(([, message]) => message).slice(0, named().findIndex(([name]) => name === `question-${at}`) + 1),
    /** @param {number} at @param {string} text */
    setAnswer(at, text) {
      const area = root.querySelector(`[name="answer-${at}"]`);
      if (!(area instanceof HTMLTextAreaElement)) return;
      area.value = text;
      area.dispatchEvent(new Event("input", { bubbles: true }));
    },
    /** Shows an error of the API beside its field; false when it is about none of them.
     * @param {string} place "messages[1].content" or "messages.1.content" @param {string} text */
    complain(place, text) {
      const number = /^messages[[.](\d+)/.exec(place)?.[1];
      const name = number === undefined ? (place === "messages" ? "question-0" : "") : nameAt(Number(number));
      const area = name ? root.querySelector(`[name="${name}"]`) : null;
      if (!(area instanceof HTMLTextAreaElement)) return false;
      area.setAttribute("aria-invalid", "true");
      const line = /** @type {HTMLElement} */ (root.querySelector(`#${name}-error`));
      line.textContent = text;
      line.hidden = false;
      area.focus();
      return true;
    },
  };

  /** The field of a message; what the API says of a last question that is there is about the answer that is missing.
   * @param {number} number */
  function nameAt(number) {
    const all = named();
    const [name, { content }] = all[Math.min(number, all.length - 1)];
    return number === all.length - 1 && name.startsWith("question") && content.trim() ? name.replace("question", "answer") : name;
  }
}

/** As tall as its text. @param {any} area */
function grow(area) {
  if (CSS.supports("field-sizing", "content")) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
}
