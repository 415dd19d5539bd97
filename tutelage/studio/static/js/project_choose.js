// @ts-check
/** The form that puts some items first. By chance it is done at once, by a model it is a job. */

import { newKey, path, post } from "./api.js";
import { $, $$, el, fill } from "./dom.js";
import { counted, RULES } from "./project_words.js";
import { toast } from "./shell.js";

export class ChooseForm {
  /** @param {string} project @param {(job: any) => void} begun @param {() => void} changed */
  constructor(project, begun, changed) {
    this.project = project;
    this.begun = begun;
    this.changed = changed;
    this.form = $("#choose");
    this.isBusy = false;
    this.readers = "";
    this.form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.submit();
    });
    this.form.addEventListener("change", () => this.show());
  }

  /** @param {any} told */
  set(told) {
    this.told = told;
    const readers = JSON.stringify(told.readers);
    if (readers !== this.readers) {
      this.readers = readers;
      this.draw();
    }
    $("#free").textContent = told.num_free
      ? `${counted(told.num_free, "item")} can be chosen: nobody has judged them, and no earlier choice took them.`
      : "No item can be chosen now: each was judged, is being judged, or was chosen before. Sample more answers first.";
    $("#choose-button").setAttribute("aria-disabled", String(!told.num_free));
    $("#choose-number").placeholder = String(Math.max(1, Math.min(50, told.num_free)));
  }

  draw() {
    const { readers } = this.told;
    const rules = Object.entries(RULES).filter(([rule]) => rule === "random" || readers.length);
    fill(this.form,
      el("p", { class: "dim" }, "People's time is what there is least of. Items are judged in the order they came, unless some are put first here; the others stay behind them."),
      el("fieldset", { class: "plain" },
        el("legend", {}, "By what"),
        el("div", { class: "rules" }, rules.map(([rule, words]) => el("label", { class: "choice" },
          el("input", { type: "radio", name: "rule", value: rule, checked: rule === "random" }),
          el("span", {}, el("strong", {}, words.title), " ", el("span", { class: "small dim" }, `(${rule})`), el("small", { class: "dim" }, words.text)))))),
      el("p", { class: "error", "data-error": "rule", hidden: true }),
      el("div", { class: "fields" },
        el("label", { class: "field" }, el("span", {}, "How many"), el("input", { name: "number", id: "choose-number", type: "number", min: "1", max: "100000", inputmode: "numeric" })),
        el("label", { class: "field", id: "reward-field", hidden: true }, el("span", {}, "By whose eyes ", el("small", { class: "dim" }, "a reward model; or a language model while there is none")),
          el("select", { name: "reward" }, readers.map((/** @type {any} */ each) => el("option", { value: each.name }, `${each.name} – ${each.kind}`))))),
      ...["number", "reward"].map((field) => el("p", { class: "error", "data-error": field, hidden: true })),
      el("p", { class: "small dim", id: "share-help", hidden: true }, "A quarter of them is drawn by chance and mixed in, so that agreement and models can be measured on them without bias. Each item keeps by which rule and with what probability it was chosen."),
      el("p", { class: "error", role: "alert", "data-error": "", hidden: true }),
      el("div", { class: "row between" }, el("p", { class: "dim small", id: "free", role: "status" }), el("button", { class: "button", id: "choose-button" }, "Put them first")));
    this.show();
  }

  get rule() {
    return $("input[name=rule]:checked", this.form).value;
  }

  show() {
    const isModel = this.rule !== "random";
    $("#reward-field").hidden = !isModel;
    $("#share-help").hidden = !isModel;
  }

  async submit() {
    if (this.isBusy) return;
    this.complain(null);
    if (!this.told.num_free) {
      toast("No item can be chosen now. Sample more answers first.", "bad");
      return;
    }
    this.isBusy = true;
    const { number, reward } = this.form.elements;
    const asked = { rule: this.rule, number: Number(number.value || number.placeholder), seed: Math.floor(Math.random() * 2 ** 31) };
    try {
      if (asked.rule === "random") {
        const made = await post(path`/api/projects/${this.project}/choose`, asked, { key: newKey() });
        toast(`${counted(made.items.length, "item")} of ${made.num_open} come first now, drawn by chance`, "good");
        this.changed();
      } else this.begun(await post(path`/api/projects/${this.project}/choices`, { ...asked, reward: reward.value }));
    } catch (error) {
      this.complain(error);
    } finally {
      this.isBusy = false;
    }
  }

  /** @param {any} error */
  complain(error) {
    const places = $$("[data-error]", this.form);
    for (const place of places) place.hidden = true;
    if (!error) return;
    const field = String(error.field ?? "").replace(/^body\./, "");
    const place = places.find((each) => each.dataset.error === field) ?? places.find((each) => each.dataset.error === "");
    place.textContent = error.message;
    place.hidden = false;
  }
}
