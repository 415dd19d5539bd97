// @ts-check
/** Whom to talk to and how: one model or two, hidden or not, and the settings behind their button. */

import { $, el, fill } from "./dom.js";

/** @typedef {import("./chat_store.js").Setup} Setup */
/** @typedef {{name: string, words: string, num_parameters: number | null, is_starter: boolean, is_loaded: boolean}} Model */
/** @typedef {{models: Model[], before: string, after: string, missing: string[], most_tokens: number}} Models */

/** @param {number | null} number */
export function size(number) {
  if (!number) return "";
  return number >= 1e9 ? `${(number / 1e9).toFixed(1)} billion parameters` : number >= 1e6 ? `${Math.round(number / 1e6)} million parameters` : `${number.toLocaleString("en")} parameters`;
}

/** @param {Model} model */
function option(model) {
  return el("option", { value: model.name }, model.words && model.words !== model.name ? `${model.name} (${model.words})` : model.name);
}

export class SetupForm {
  /** @param {Models} models @param {Setup} setup @param {() => void} changed */
  constructor(models, setup, changed) {
    this.setup = setup;
    this.most = models.most_tokens;
    const names = models.models.map((model) => model.name);
    const wanted = new URLSearchParams(location.search).get("model") ?? ""; // from a model's page
    if (names.includes(wanted)) [setup.a, setup.two] = [wanted, false];
    if (!names.includes(setup.a)) setup.a = models.after;
    if (!names.includes(setup.b)) setup.b = setup.a === models.before ? models.after : models.before;
    fill($("#model-a"), models.models.map(option));
    fill($("#model-b"), models.models.map(option));
    $("#two").disabled = names.length === 0;
    $("#max-tokens").max = String(this.most);
    $("#setup").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
    $("#setup").addEventListener("input", (/** @type {any} */ event) => this.read(event.target, models, changed));
    document.addEventListener("click", (event) => {
      const box = $("#settings");
      if (box.open && !box.contains(/** @type {Node} */ (event.target))) box.open = false;
    });
    $("#settings").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape" || !$("#settings").open) return;
      event.stopPropagation();
      $("#settings").open = false;
      $("#settings summary").focus();
    });
    this.show();
  }

  /** @param {HTMLElement} target @param {Models} models @param {() => void} changed */
  read(target, models, changed) {
    const { setup } = this;
    setup.a = $("#model-a").value;
    setup.b = $("#model-b").value;
    setup.blind = $("#blind").checked;
    setup.system = $("#system").value;
    setup.temperature = Number($("#temperature").value);
    const most = Number($("#max-tokens").value);
    if (Number.isInteger(most) && most >= 1) setup.maxTokens = Math.min(most, this.most);
    if (target.id === "two") this.turnTwo($("#two").checked, models);
    this.show(target.id === "max-tokens");
    changed();
  }

  /** Two at once begin with the oldest and the newest: before and after. @param {boolean} two @param {Models} models */
  turnTwo(two, models) {
    const { setup } = this;
    setup.two = two;
    if (two && setup.a === models.after && setup.b === models.before) [setup.a, setup.b] = [setup.b, setup.a];
    if (two && setup.a === setup.b) setup.a = models.before;
    if (two && setup.a === setup.b) setup.b = models.after;
  }

  /** @param {boolean} [isTyped] whether the number is being typed just now, and so is left alone */
  show(isTyped = false) {
    const { setup } = this;
    $("#model-a").value = setup.a;
    $("#model-b").value = setup.b;
    $("#two").checked = setup.two;
    $("#blind").checked = setup.blind;
    $("#second").hidden = $("#blind-label").hidden = !setup.two;
    $("#system").value = setup.system;
    $("#temperature").value = String(setup.temperature);
    $("#temperature-said").textContent = setup.temperature.toFixed(1);
    if (!isTyped) $("#max-tokens").value = String(setup.maxTokens);
    $("#settings summary").textContent = setup.system.trim() ? "Settings · told something first" : "Settings";
  }

  /** The models to ask now, in the order they are shown. */
  asked() {
    const { setup } = this;
    const names = setup.two ? [setup.a, setup.b] : [setup.a];
    return setup.two && setup.blind && Math.random() < 0.5 ? names.reverse() : names;
  }
}
