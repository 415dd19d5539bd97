// @ts-check
/** What the model answers to the same prompt at two steps of a run, side by side. */

import { render } from "./api.js";
import { el, fill, setRendered } from "./dom.js";

/** @typedef {{step: number, answer: string, stopped: boolean}} Answer */
/** @typedef {{prompt: string, answers: Answer[]}} Prompt */

export class Samples {
  /** @param {HTMLElement} section @param {HTMLElement} place */
  constructor(section, place) {
    this.section = section;
    this.place = place;
    /** @type {Prompt[]} */
    this.prompts = [];
    this.number = 0;
    /** Steps chosen on each side; null follows the newest. @type {[number | null, number | null]} */
    this.steps = [0, null];
    this.built = "";
  }

  /** @param {Prompt[]} prompts */
  set(prompts) {
    this.prompts = prompts;
    this.draw();
  }

  /** @param {(Answer & {prompt: string})[]} found */
  add(found) {
    for (const { prompt, ...answer } of found) {
      let known = this.prompts.find((each) => each.prompt === prompt);
      if (!known) this.prompts.push((known = { prompt, answers: [] }));
      if (!known.answers.some((each) => each.step === answer.step && each.answer === answer.answer)) known.answers.push(answer);
    }
    if (found.length) this.draw();
  }

  /** @param {number} by */
  next(by) {
    if (!this.prompts.length) return;
    this.number = (this.number + by + this.prompts.length) % this.prompts.length;
    this.built = "";
    this.draw();
  }

  draw() {
    this.section.hidden = !this.prompts.length;
    const prompt = this.prompts[this.number];
    if (!prompt) return;
    const key = `${this.number}/${this.prompts.length}/${prompt.answers.length}`;
    if (this.built === key) return;
    const focused = document.activeElement?.id;
    this.built = key;
    const choose = el("select", { id: "sample-prompt", onchange: (/** @type {any} */ event) => { this.number = Number(event.target.value); this.draw(); } },
      this.prompts.map((each, index) => el("option", { value: index, selected: index === this.number }, each.prompt.length > 90 ? `${each.prompt.slice(0, 90)}…` : each.prompt)));
    fill(this.place,
      el("div", { class: "row between" }, el("label", { class: "field", for: "sample-prompt" }, el("span", {}, "Prompt"), choose),
        el("button", { type: "button", class: "button small", onclick: () => this.next(1) }, "Next prompt ", el("kbd", {}, "P"))),
      prompt.prompt.length > 90 ? el("p", { class: "note wrap", id: "sample-text" }, prompt.prompt) : null,
      el("div", { class: "split" }, this.side(prompt, 0, "Earlier"), this.side(prompt, 1, "Later")));
    if (focused) document.getElementById(focused)?.focus();
  }

  /** @param {Prompt} prompt @param {0 | 1} which @param {string} title */
  side(prompt, which, title) {
    const last = prompt.answers.length - 1;
    const at = () => Math.min(this.steps[which] ?? last, last);
    const label = el("span", { class: "small" });
    const text = el("div", { class: "answer" });
    const note = el("p", { class: "small dim" });
    const slider = el("input", { type: "range", id: `sample-${which}`, min: 0, max: last, value: at(), disabled: last < 1, "aria-label": `${title}: step` });
    const show = () => {
      const answer = /** @type {Answer} */ (prompt.answers[at()]);
      label.textContent = `${title}: after step ${answer.step.toLocaleString("en")}`;
      slider.setAttribute("aria-valuetext", `step ${answer.step}`);
      note.textContent = answer.stopped ? "" : "cut off at the longest length";
      text.textContent = answer.answer || "(nothing)";
      void render([answer.answer]).then(([html]) => { if (html && prompt.answers[at()] === answer) setRendered(text, html); }, () => {});
    };
    slider.addEventListener("input", () => {
      const chosen = Number(slider.value);
      this.steps[which] = which === 1 && chosen === last ? null : chosen;
      show();
    });
    show();
    return el("div", { class: "side" }, el("label", { class: "field", for: `sample-${which}` }, label, slider), text, note);
  }
}
