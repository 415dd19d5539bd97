// @ts-check
/** The fields of the form that starts a run, by the kind of an option, and what they say. */

import { $$, el, fill } from "./dom.js";

/** @typedef {{name: string, label: string, term: string, help: string, kind: string, default: any, choices: string[], unit: string, basic: boolean, required: boolean, own: boolean}} Field */
/** @typedef {{value: string, text: string, argument: string}} Choice */
/** @typedef {{models: Choice[], data: Choice[], prompts: Choice[], rewards: Choice[], checks: Choice[], stop_on: string[]}} Form */

/** Texts with `code` in them as nodes. @param {string} text */
export function worded(text) {
  return text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
}

/** @param {any} value */
const told = (value) => (value === null || value === undefined || value === "" || (Array.isArray(value) && !value.length) ? "" : typeof value === "number" && value && Math.abs(value) < 0.001 ? value.toExponential() : String(value));

/**
 * A field with its label, help and place for an error. @param {Field} about @param {Form} form @param {any} value what
 * was filled in before @param {(name: string) => void} changed
 */
export function field(about, form, value, changed) {
  const id = `field-${about.name}`;
  const help = el("small", { class: "dim", id: `help-${about.name}` }, worded(about.help));
  const error = el("p", { class: "error field-error", id: `error-${about.name}`, hidden: true, role: "alert" });
  const common = { id, name: about.name, "aria-describedby": `help-${about.name} error-${about.name}` };
  const label = [about.label, about.term ? el("small", { class: "dim" }, ` (${about.term})`) : null];
  const on = () => changed(about.name);
  if (about.kind === "yes") {
    const checked = value ?? about.default;
    return el("div", { class: "field" }, el("label", { class: "check" }, el("input", { ...common, type: "checkbox", checked: Boolean(checked), onchange: on }), el("span", {}, label)), help, error);
  }
  if (about.kind === "reward") return rewards(about, form, value, on, label, help, error);
  if (about.kind === "names") return several(about, form, value, on, label, help, error);
  return el("div", { class: "field" }, el("label", { for: id }, el("span", {}, label)), input(about, form, value, common, on), help, error);
}

/** @param {Field} about @param {Form} form @param {any} value @param {Record<string, any>} common @param {() => void} on */
function input(about, form, value, common, on) {
  const usual = told(about.default);
  if (about.kind === "model" || about.kind === "choice") {
    const choices = about.kind === "model" ? form.models.map((each) => ({ value: each.value, text: `${each.value} – ${each.text}` })) : about.choices.map((each) => ({ value: each, text: each }));
    const empty = about.kind === "model" ? [{ value: "", text: about.required ? "Choose a model…" : "as usual" }] : [];
    const now = told(value) || usual;
    return el("select", { ...common, onchange: on }, [...empty, ...choices].map((each) => el("option", { value: each.value, selected: each.value === now }, each.text)));
  }
  if (about.kind === "data" || about.kind === "prompts") {
    const list = `list-${about.name}`;
    const choices = about.kind === "data" ? form.data : form.prompts;
    return el("div", {}, el("input", { ...common, list, autocomplete: "off", value: told(value), placeholder: about.required ? "e.g. starter" : "none", oninput: on }), el("datalist", { id: list }, choices.map((each) => el("option", { value: each.value }, each.text))));
  }
  const mode = about.kind === "whole" ? "numeric" : about.kind === "number" ? "decimal" : "text";
  const box = el("input", { ...common, type: "text", inputmode: mode, autocomplete: "off", spellcheck: "false", maxlength: 500, value: told(value), placeholder: usual || (about.kind === "name" ? "" : "as usual"), oninput: on });
  return about.unit ? el("div", { class: "with-unit" }, box, el("span", { class: "small dim" }, about.unit)) : box;
}

/** Ticks for several names. @param {Field} about @param {Form} form @param {any} value @param {() => void} on @param {any[]} label @param {any} help @param {any} error */
function several(about, form, value, on, label, help, error) {
  const boxes = form.stop_on.map((each) => el("label", { class: "check small" }, el("input", { type: "checkbox", name: about.name, value: each, checked: (value ?? []).includes(each), onchange: on }), each));
  return el("fieldset", { class: "field methods wide" }, el("legend", {}, label), el("div", { class: "row" }, boxes), help, error);
}

/** @param {Field} about @param {Form} form @param {any} value @param {() => void} on @param {any[]} label @param {any} help @param {any} error */
function rewards(about, form, value, on, label, help, error) {
  const lines = el("div", { class: "stack" });
  const add = (/** @type {string} */ text) => {
    lines.append(rewardLine(form, text, on, () => on()));
  };
  for (const text of value?.length ? value : [""]) add(text);
  const more = el("button", { type: "button", class: "button small", onclick: () => { add(""); on(); } }, "Add another");
  fill(help, "Reward models that you have trained, and checks that need none. Several are added up, each times its weight.");
  return el("fieldset", { class: "field methods wide", id: `field-${about.name}`, tabindex: "-1", dataset: { rewards: about.name } }, el("legend", {}, label), lines, el("p", {}, more), help, error);
}

/** One reward: what, with what, how much. @param {Form} form @param {string} text @param {() => void} on @param {() => void} gone */
function rewardLine(form, text, on, gone) {
  const match = /^\s*(?:([-+]?[\d.]+(?:e[-+]?\d+)?)\s*\*\s*)?([^:]*)(?::(.*))?$/i.exec(text);
  const [weight, name, argument] = [match?.[1] ?? "", match?.[2]?.trim() ?? "", match?.[3] ?? ""];
  const option = (/** @type {Choice} */ each) => el("option", { value: each.value, selected: each.value === name }, `${each.value} – ${each.text}`);
  const extra = el("input", { class: "argument", "aria-label": "With", value: argument, maxlength: 200, autocomplete: "off", oninput: on });
  const what = el("select", { class: "what", "aria-label": "Reward", onchange: () => { fit(); on(); } }, el("option", { value: "" }, form.rewards.length ? "Choose…" : "Choose a check…"),
    form.rewards.length ? el("optgroup", { label: "Reward models" }, form.rewards.map(option)) : null, el("optgroup", { label: "Checks" }, form.checks.map(option)));
  const fit = () => {
    const check = form.checks.find((each) => each.value === what.value);
    extra.disabled = !check?.argument;
    extra.placeholder = check?.argument ?? "";
  };
  fit();
  const line = el("div", { class: "reward-line" },
    el("label", {}, el("small", {}, "Reward"), what), el("label", {}, el("small", {}, "With"), extra),
    el("label", {}, el("small", {}, "Weight"), el("input", { class: "weight", "aria-label": "Weight", value: weight, placeholder: "1", inputmode: "decimal", autocomplete: "off", oninput: on })),
    el("button", { type: "button", class: "button small quiet", "aria-label": "Remove this reward", onclick: () => { line.remove(); gone(); } }, "✕"));
  return line;
}

/** What a field says; undefined where it says nothing that would not hold anyway. @param {Field} about @param {HTMLElement} form */
export function given(about, form) {
  if (about.kind === "reward") {
    const texts = $$(".reward-line", form).map((line) => {
      const [name, argument, weight] = [".what", ".argument", ".weight"].map((each) => line.querySelector(each)?.value.trim() ?? "");
      return name ? `${weight ? `${weight}*` : ""}${name}${argument && !line.querySelector(".argument").disabled ? `:${argument}` : ""}` : "";
    });
    const found = texts.filter(Boolean);
    return found.length ? found : undefined;
  }
  const inputs = $$("[name]", form).filter((each) => each.name === about.name);
  if (about.kind === "names") {
    const found = inputs.filter((each) => each.checked).map((each) => each.value);
    return found.length ? found : undefined;
  }
  const box = inputs[0];
  if (!box) return undefined;
  if (about.kind === "yes") return box.checked === Boolean(about.default) ? undefined : box.checked;
  const text = box.value.trim();
  if (text === "" || text === told(about.default)) return undefined;
  if (about.kind !== "whole" && about.kind !== "number") return text;
  const number = Number(text.replace(",", "."));
  return Number.isFinite(number) ? number : text;
}
