// @ts-check
/** One answer: a thumb, or a number for each of several qualities. */

import { el, fill } from "./dom.js";
import { hint, refreshHints } from "./judge_keys.js";
import { answerText } from "./judge_show.js";

/** @typedef {import("./judge_compare.js").Verdict} Verdict */
/** @typedef {{name: string, low: number, high: number, help: string}} Attribute */

const MOST_STEPS = 11;

/** @param {HTMLElement} place @param {string} html */
function showOne(place, html) {
  fill(place, el("article", { class: "card answer", "aria-labelledby": "answer-0" }, el("h2", { id: "answer-0", class: "answer-name" }, "The answer"), answerText(html)));
}

/** @param {{answers: HTMLElement, panel: HTMLElement}} place @param {any} _ @param {import("./judge_show.js").Html} html @param {() => void} changed @returns {Verdict} */
export function thumbs(place, _, html, changed) {
  /** @type {boolean | null} */
  let good = null;
  const both = [[true, "1", "Good"], [false, "0", "Not good"]].map(([value, key, label]) => {
    const name = value ? "judge-good" : "judge-bad";
    const run = () => {
      good = /** @type {boolean} */ (value);
      draw();
      changed();
    };
    const button = el("button", { type: "button", class: "button verdict thumb", "aria-label": label, "aria-pressed": "false", onclick: run }, el("span", {}, label), hint(name));
    return { value, name, button, action: { key: String(key), label: String(label), run } };
  });
  const draw = () => both.forEach((each) => each.button.setAttribute("aria-pressed", String(each.value === good)));
  showOne(place.answers, html.answers[0]);
  fill(place.panel, el("div", { class: "row", role: "group", "aria-label": "Good or not" }, both.map((each) => each.button)));
  return {
    get: () => (good === null ? null : { good }),
    set: (given) => {
      good = typeof given?.good === "boolean" ? given.good : null;
      draw();
    },
    missing: () => (good === null ? "Say first whether it is a good answer; where you cannot say, skip it." : ""),
    warning: () => "",
    best: () => 0,
    keys: Object.fromEntries(both.map((each) => [each.name, each.action])),
    isOneKey: true,
  };
}

/** @param {Attribute} each @returns {number[] | null} the steps of its scale, where these are few and whole */
function steps({ low, high }) {
  if (!Number.isInteger(low) || !Number.isInteger(high) || high - low >= MOST_STEPS) return null;
  return Array.from({ length: high - low + 1 }, (_, index) => low + index);
}

/** The key of a step: its own digit, or where that is none its place. @param {number[]} all @param {number} value */
function stepKey(all, value) {
  const fits = all[0] >= 0 && all[all.length - 1] <= 9;
  const key = fits ? value : all.indexOf(value) + 1;
  return key <= 9 ? String(key) : "";
}

/** @param {{answers: HTMLElement, panel: HTMLElement}} place @param {{attributes: Attribute[]}} task @param {import("./judge_show.js").Html} html @param {() => void} changed @returns {Verdict} */
export function rate(place, task, html, changed) {
  /** @type {Record<string, number>} */
  let scores = {};
  let active = 0;
  const rows = task.attributes.map((attribute, index) => row(attribute, index));
  showOne(place.answers, html.answers[0]);
  fill(place.panel, el("div", { class: "stack qualities" }, rows.map((each) => each.node)));

  /** @param {Attribute} attribute @param {number} index */
  function row(attribute, index) {
    const { name, low, high, help } = attribute;
    const all = steps(attribute);
    const helpId = help ? `help-${index}` : null;
    const words = el("div", { class: "quality-name" }, el("span", { id: `quality-${index}` }, name), help ? el("small", { class: "dim", id: helpId }, help) : null);
    /** @type {Map<number, any>} */
    const buttons = new Map();
    let input = null;
    let scale;
    if (all) {
      for (const value of all) {
        const button = el("button", { type: "button", class: "button small step", "aria-pressed": "false", "aria-label": `${name}: ${value}`, onclick: () => give(index, value) }, el("span", {}, String(value)), el("kbd", { class: "step-key", "aria-hidden": "true", hidden: true }));
        buttons.set(value, button);
      }
      scale = el("div", { class: "row steps", role: "group", "aria-labelledby": `quality-${index}`, "aria-describedby": helpId }, [...buttons.values()]);
    } else {
      input = el("input", { type: "number", min: low, max: high, step: "any", "aria-labelledby": `quality-${index}`, "aria-describedby": helpId, oninput: () => typed(index) });
      scale = el("div", { class: "row steps" }, input, el("span", { class: "dim small" }, `${low} to ${high}`));
    }
    return { node: el("div", { class: "quality", onfocusin: () => { active = index; draw(); } }, words, scale), all, buttons, input };
  }

  /** @param {number} index @param {number} value */
  function give(index, value) {
    scores[task.attributes[index].name] = value;
    const next = task.attributes.findIndex((each) => !(each.name in scores));
    active = next < 0 ? index : next;
    draw();
    changed();
  }

  /** @param {number} index */
  function typed(index) {
    const { value } = rows[index].input;
    if (value === "" || !Number.isFinite(Number(value))) delete scores[task.attributes[index].name];
    else scores[task.attributes[index].name] = Number(value);
    changed();
  }

  function draw() {
    rows.forEach(({ node, all, buttons, input }, index) => {
      const given = scores[task.attributes[index].name];
      node.classList.toggle("active", index === active && rows.length > 1);
      for (const [value, button] of buttons) {
        button.setAttribute("aria-pressed", String(value === given));
        const key = button.querySelector("kbd");
        const held = index === active && all ? stepKey(all, value) : "";
        key.dataset.key = held ? `judge-step${held}` : "";
      }
      if (input && document.activeElement !== input) input.value = given ?? "";
    });
    refreshHints(place.panel);
    for (const { buttons } of rows) {
      for (const [value, button] of buttons) {
        const key = button.querySelector("kbd"); // a number that is its own key is printed once, as the key
        button.querySelector("span").hidden = !key.hidden && key.textContent === String(value);
      }
    }
  }

  /** @param {number} by */
  function turnTo(by) {
    active = Math.max(0, Math.min(rows.length - 1, active + by));
    draw();
    if (rows[active].input) rows[active].input.focus();
  }

  /** @type {Verdict["keys"]} */
  const keys = {};
  for (let digit = 0; digit <= 9; digit += 1) {
    keys[`judge-step${digit}`] = {
      key: String(digit),
      label: `Give the marked quality ${digit}`,
      run: () => {
        const { all } = rows[active];
        const value = all?.find((each) => stepKey(all, each) === String(digit));
        if (value !== undefined) give(active, value);
      },
    };
  }
  if (rows.length > 1) {
    keys["judge-next-quality"] = { key: "j", label: "The next quality", run: () => turnTo(1) };
    keys["judge-last-quality"] = { key: "k", label: "The quality before", run: () => turnTo(-1) };
    place.panel.append(el("p", { class: "dim small rank-help" }, hint("judge-next-quality"), hint("judge-last-quality"), " the next quality, the one before"));
  }
  draw();
  return {
    get: () => (Object.keys(scores).length ? { scores: { ...scores } } : null),
    set: (given) => {
      scores = given?.scores && typeof given.scores === "object" ? { ...given.scores } : {};
      active = Math.max(0, task.attributes.findIndex((each) => !(each.name in scores)));
      draw();
    },
    missing: () => {
      const missing = task.attributes.filter((each) => !(each.name in scores)).map((each) => each.name);
      return missing.length ? `Still without a number: ${missing.join(", ")}. Where you cannot say, skip it.` : "";
    },
    warning: () => "",
    best: () => 0,
    keys,
    isOneKey: false,
  };
}
