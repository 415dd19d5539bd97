// @ts-check
/** Several answers put in order: dragged by their handle, or by keys. An answer keeps its letter wherever it stands. */

import { el, fill } from "./dom.js";
import { hint } from "./judge_keys.js";
import { LETTERS, answerText, clamp } from "./judge_show.js";

/** @typedef {import("./judge_compare.js").Verdict} Verdict */

const PLACES = ["1st", "2nd", "3rd", "4th", "5th", "6th", "7th", "8th", "9th"];

/** The order, ties among them: `list` are places on the screen at first, `tied[i]` says that it is equal to the one above. */
export class Order {
  /** @param {number} size */
  constructor(size) {
    this.list = Array.from({ length: size }, (_, index) => index);
    this.tied = this.list.map(() => false);
  }

  /** @returns {number[][]} */
  get groups() {
    /** @type {number[][]} */
    const groups = [];
    this.list.forEach((each, index) => (this.tied[index] && index ? groups[groups.length - 1].push(each) : groups.push([each])));
    return groups;
  }

  /** @param {(number | number[])[]} groups */
  set groups(groups) {
    const given = groups.map((each) => (Array.isArray(each) ? each : [each])).filter((each) => each.length);
    this.list = given.flat();
    this.tied = given.flatMap((each) => each.map((_, index) => index > 0));
  }

  /** Put an answer at another place; it leaves its tie. @param {number} answer @param {number} to */
  move(answer, to) {
    const from = this.list.indexOf(answer);
    const target = Math.max(0, Math.min(this.list.length - 1, to));
    if (from === target && !this.tied[from]) return false;
    const tied = new Map(this.list.map((each, index) => [each, this.tied[index]]));
    const after = this.list[from + 1];
    if (after !== undefined && !this.tied[from] && tied.get(after)) tied.set(after, false); // the next one heads the tie now
    tied.set(answer, false);
    this.list.splice(from, 1);
    const pushed = this.list[target]; // in the middle of a tie: what follows heads the rest of it
    if (pushed !== undefined && tied.get(pushed)) tied.set(pushed, false);
    this.list.splice(target, 0, answer);
    this.tied = this.list.map((each, index) => index > 0 && tied.get(each) === true);
    return true;
  }

  /** Make an answer equal to the one above it, or not any more. @param {number} answer */
  tie(answer) {
    const at = this.list.indexOf(answer);
    if (at < 1) return false;
    this.tied[at] = !this.tied[at];
    return true;
  }

  /** Its rank, counted from 0. @param {number} answer */
  rank(answer) {
    return this.groups.findIndex((group) => group.includes(answer));
  }
}

/**
 * @param {{answers: HTMLElement, panel: HTMLElement}} place @param {import("./judge_show.js").Task} task @param {import("./judge_show.js").Html} html
 * @param {() => void} changed @param {(text: string) => void} announce @returns {Verdict}
 */
export function rank(place, task, html, changed, announce) {
  const size = task.answers.length;
  const order = new Order(size);
  let touched = false;
  let unsure = false;
  let selected = -1;
  const cards = task.answers.map((_, answer) => card(answer));
  const list = el("ol", { class: "ranking" }, cards.map((each) => each.node));
  const exit = el("button", { type: "button", class: "button verdict exit", "aria-pressed": "false", onclick: () => cannot() }, "Can’t judge", hint("judge-cannot"));

  /** @param {number} answer */
  function card(answer) {
    const letter = LETTERS[answer];
    const where = el("span", { class: "badge accent where" });
    const text = answerText(html.answers[answer]);
    const handle = el("span", { class: "handle", "aria-hidden": "true", title: "Drag to move" }, "⠿");
    const tools = [["Up", "↑", () => move(answer, -1)], ["Down", "↓", () => move(answer, 1)], ["Equal to the one above", "=", () => tie(answer)]].map(
      ([label, sign, run]) => el("button", { type: "button", class: "button small icon", "aria-label": `${letter}: ${label}`, title: label, onclick: () => { select(answer, false); run(); } }, sign),
    );
    const head = el("div", { class: "rank-head row" }, handle, el("button", { type: "button", class: "button quiet small rank-name", "aria-label": `Choose answer ${letter}`, onclick: () => select(answer, true) }, `Answer ${letter}`, hint(`judge-pick${answer + 1}`)), where, el("span", { class: "row rank-tools" }, tools));
    const node = el("li", { class: "card answer rank-card", tabindex: "-1", "aria-label": `Answer ${letter}` }, head, text);
    handle.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => drag(event, answer, node));
    requestAnimationFrame(() => clamp(text, 14));
    return { node, where };
  }

  function draw() {
    list.replaceChildren(...order.list.map((answer) => cards[answer].node));
    order.list.forEach((answer, index) => {
      const { node, where } = cards[answer];
      const isTied = order.tied[index] || order.tied[index + 1];
      where.textContent = unsure ? "not judged" : `${PLACES[order.rank(answer)]}${isTied ? ", tied" : ""}`;
      node.classList.toggle("tied", order.tied[index]);
      node.classList.toggle("selected", answer === selected);
    });
    exit.setAttribute("aria-pressed", String(unsure));
  }

  /** @param {number} answer */
  function say(answer) {
    const group = order.groups[order.rank(answer)].filter((each) => each !== answer).map((each) => LETTERS[each]);
    announce(`Answer ${LETTERS[answer]}, now ${PLACES[order.rank(answer)]} of ${size}${group.length ? `, tied with ${group.join(" and ")}` : ""}`);
  }

  /** @param {number} answer */
  function done(answer) {
    touched = true;
    unsure = false;
    draw();
    if (answer === selected) cards[answer].node.focus({ preventScroll: false });
    say(answer);
    changed();
  }

  /** @param {number} answer @param {boolean} tell */
  function select(answer, tell) {
    selected = answer;
    draw();
    cards[answer].node.focus();
    if (tell) say(answer);
  }

  /** @param {number} answer @param {number} by */
  function move(answer, by) {
    if (answer < 0) return select(order.list[0], true);
    if (order.move(answer, order.list.indexOf(answer) + by)) done(answer);
    else announce(`Answer ${LETTERS[answer]} is ${by < 0 ? "first" : "last"} already`);
    return undefined;
  }

  /** @param {number} answer */
  function tie(answer) {
    if (answer < 0) return select(order.list[0], true);
    if (order.tie(answer)) done(answer);
    else announce("Nothing stands above it");
    return undefined;
  }

  function cannot() {
    unsure = !unsure;
    draw();
    announce(unsure ? "Can’t judge" : "The order counts again");
    changed();
  }

  /** Follow the pointer: the card goes where its middle passes others'. @param {PointerEvent} event @param {number} answer @param {HTMLElement} node */
  function drag(event, answer, node) {
    event.preventDefault();
    selected = answer;
    node.classList.add("dragged");
    const handle = /** @type {HTMLElement} */ (event.currentTarget);
    handle.setPointerCapture(event.pointerId);
    const before = order.list.join();
    /** @param {PointerEvent} at */
    const follow = (at) => {
      const others = order.list.filter((each) => each !== answer);
      const to = others.filter((each) => middle(cards[each].node) < at.clientY).length;
      if (to !== order.list.indexOf(answer) && order.move(answer, to)) {
        draw();
        handle.setPointerCapture(event.pointerId); // moving it in the page let it go
      }
    };
    const end = () => {
      handle.removeEventListener("pointermove", follow);
      node.classList.remove("dragged");
      if (order.list.join() !== before) done(answer);
    };
    handle.addEventListener("pointermove", follow);
    handle.addEventListener("pointerup", end, { once: true });
    handle.addEventListener("pointercancel", end, { once: true });
  }

  /** @type {Verdict["keys"]} */
  const keys = {
    "judge-up": { key: "arrowup", label: "Move the chosen answer up", run: () => move(selected, -1) },
    "judge-down": { key: "arrowdown", label: "Move the chosen answer down", run: () => move(selected, 1) },
    "judge-up-k": { key: "k", label: "Move it up, too", run: () => move(selected, -1) },
    "judge-down-j": { key: "j", label: "Move it down, too", run: () => move(selected, 1) },
    "judge-tie": { key: "=", label: "Equal to the one above, or not", run: () => tie(selected) },
    "judge-cannot": { key: "0", label: "Can’t judge", run: cannot },
  };
  task.answers.forEach((_, answer) => {
    keys[`judge-pick${answer + 1}`] = { key: String(answer + 1), label: `Choose answer ${LETTERS[answer]}`, run: () => select(answer, true) };
  });
  fill(place.answers, list);
  fill(place.panel, el("div", { class: "row between" }, el("p", { class: "dim small rank-help" }, "Best on top. ", "Choose ", hint("judge-pick1"), "–", hint(`judge-pick${size}`), ", move ", hint("judge-up"), hint("judge-down"), " or ", hint("judge-down-j"), hint("judge-up-k"), ", equal ", hint("judge-tie"), "; or drag ⠿."), exit));
  draw();
  return {
    get: () => (unsure ? { cannot_judge: true } : touched ? { order: order.groups } : null),
    set: (given) => {
      unsure = given?.cannot_judge === true;
      if (Array.isArray(given?.order) && given.order.flat().length === size) {
        order.groups = given.order;
        touched = true;
      }
      draw();
    },
    missing: () => "",
    warning: () => (touched || unsure ? "" : "You have not moved anything: the answers stand in the order drawn by chance. Submit again if this is the order you mean."),
    confirm: () => {
      touched = true;
    },
    best: () => (unsure ? null : order.list[0]),
    keys,
    isOneKey: false,
  };
}

/** @param {HTMLElement} node */
function middle(node) {
  const { top, height } = node.getBoundingClientRect();
  return top + height / 2;
}
