// @ts-check
/** The dialog that starts an evaluation, and the list of those that are under way. */

import { get, path, post } from "./api.js";
import { $, $$, el, fill } from "./dom.js";
import { stateBadge, terms } from "./model_words.js";
import { toast } from "./shell.js";

/** @typedef {{before?: string, after?: string}} Chosen */

/** Wires the dialog; gives what opens it.
 * @param {() => any[]} models those that can be asked @param {(evaluation: any) => void} begun
 * @returns {(chosen?: Chosen) => Promise<void>} */
export function evaluateDialog(models, begun) {
  const dialog = $("#evaluate");
  const form = $("#evaluate-form");
  const fields = form.elements;
  $("[data-close]", form).addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    const button = $("button.primary", form);
    button.disabled = true;
    try {
      begun(await post("/api/evaluations", asked(fields)));
      dialog.close();
    } catch (error) {
      complain(form, error);
    } finally {
      button.disabled = false;
    }
  });
  return async (chosen = {}) => {
    complain(form, null);
    const names = models().map((each) => each.name);
    for (const name of ["before", "after", "between"]) {
      const first = name === "between" ? [el("option", { value: "" }, "none")] : [];
      fill(fields[name], first, names.map((each) => el("option", { value: each }, each)));
    }
    if (chosen.after && names.includes(chosen.after)) fields.after.value = chosen.after;
    const before = chosen.before && names.includes(chosen.before) ? chosen.before : names.find((each) => each !== fields.after.value);
    if (before) fields.before.value = before;
    dialog.showModal();
    try {
      const prompts = await get("/api/evaluation-prompts");
      fill(fields.prompts, prompts.map((/** @type {any} */ each) => el("option", { value: each.name }, `${each.name} – ${each.text}`)));
    } catch (error) {
      complain(form, error);
    }
  };
}

/** @param {any} fields */
function asked(fields) {
  const names = [fields.before.value, fields.between.value, fields.after.value].filter(Boolean);
  return { models: names, prompts: fields.prompts.value || "sealed", rated: fields.rated.checked, max_new_tokens: Number(fields.max_new_tokens.value) || 0 };
}

/** Show an error beside its field, or take all away. @param {HTMLElement} form @param {any} error */
function complain(form, error) {
  const places = $$("[data-error]", form);
  for (const place of places) place.hidden = true;
  if (!error) return;
  const field = (error.field ?? "").split(".")[0];
  const place = places.find((each) => each.dataset.error === field) ?? places.find((each) => each.dataset.error === "");
  place.textContent = error.message;
  place.hidden = false;
  place.scrollIntoView({ block: "nearest" });
}

/** One evaluation that has no numbers yet, or will have none. @param {any} evaluation @param {() => void} changed */
export function underWay(evaluation, changed) {
  const insider = Boolean(document.querySelector("[data-insider]"));
  const stop = async (/** @type {any} */ event) => {
    event.currentTarget.disabled = true;
    try {
      await post(path`/api/evaluations/${evaluation.name}/stop`);
    } catch (error) {
      toast(/** @type {Error} */ (error).message, "bad");
    }
    changed();
  };
  const running = evaluation.state === "running";
  return el(
    "div",
    { class: "card evaluation", dataset: { evaluation: evaluation.name } },
    el("div", { class: "row between" },
      el("p", { class: "wrap" }, el("strong", {}, evaluation.models.join(" → ")), " ", stateBadge(evaluation.state)),
      running && insider ? el("button", { type: "button", class: "button small", "aria-label": `Stop ${evaluation.name}`, onclick: stop }, "Stop") : null),
    running ? el("progress", { "aria-label": `Evaluating ${evaluation.models.join(" and ")}` }) : null,
    el("p", { class: "small dim wrap" }, evaluation.said || (running ? "loading the models" : ""), evaluation.said || running ? el("br") : null, terms(evaluation), evaluation.by ? ` · asked for by ${evaluation.by}` : ""),
  );
}
