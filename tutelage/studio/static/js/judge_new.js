// @ts-check
/** The form for a new project. */

import { newKey, path, post } from "./api.js";
import { $, $$, debounce, el } from "./dom.js";
import { mine } from "./me.js";

const STORE = mine("project.new");
const KEPT = ["name", "kind", "question", "overlap", "reasons", "guideline"];

export function initNewProject() {
  const form = $("#new");
  const button = $("#new-button");
  /** @param {boolean} on */
  const show = (on) => {
    form.hidden = !on;
    button.setAttribute("aria-expanded", String(on));
    (on ? form.elements.name : button).focus();
  };
  let key = newKey();
  button.addEventListener("click", () => show(form.hidden));
  $("#new-cancel").addEventListener("click", () => show(false));
  $("#add-attribute").addEventListener("click", () => addRow(true));
  const kind = form.elements.kind;
  kind.addEventListener("change", () => setKind(form));
  restore(form);
  setKind(form);
  let isTyped = false;
  const keep = () => isTyped && localStorage.setItem(STORE, JSON.stringify(Object.fromEntries(KEPT.map((each) => [each, form.elements[each].value]))));
  const keepSoon = debounce(keep, 200);
  form.addEventListener("input", () => {
    isTyped = true;
    keepSoon();
  });
  window.addEventListener("pagehide", keep);
  if (location.hash === "#new") show(true);
  form.addEventListener("submit", async (/** @type {Event} */ event) => {
    event.preventDefault();
    clear(form);
    try {
      const { name } = await post("/api/projects", given(form), { key });
      isTyped = false;
      localStorage.removeItem(STORE);
      location.assign(path`/judge/${name}/project`); // now it needs answers to judge
    } catch (error) {
      key = newKey();
      refuse(form, error);
    }
  });
}

/** What was typed before the page was left. @param {any} form */
function restore(form) {
  try {
    for (const [name, value] of Object.entries(JSON.parse(localStorage.getItem(STORE) ?? "{}"))) if (KEPT.includes(name)) form.elements[name].value = value;
  } catch {
    localStorage.removeItem(STORE);
  }
}

/** @param {any} form */
function setKind(form) {
  const kind = form.elements.kind.value;
  form.elements.question.placeholder = form.elements.question.dataset[kind] ?? "";
  $("#attributes").hidden = kind !== "rating";
  if (kind === "rating" && !$("#attribute-rows").children.length) addRow(false);
}

/** @param {boolean} focus */
function addRow(focus) {
  const rows = $("#attribute-rows");
  const number = rows.children.length + 1;
  /** @param {string} field @param {string} label @param {Record<string, any>} more */
  const input = (field, label, more) => el("label", { class: "field" }, el("span", {}, label), el("input", { dataset: { field }, autocomplete: "off", ...more }));
  const row = el("div", { class: "attribute-row" },
    input("name", "Name", { maxlength: "100", "aria-label": `Name of quality ${number}` }),
    input("low", "Lowest", { type: "number", value: "0", step: "any", "aria-label": `Lowest number of quality ${number}` }),
    input("high", "Highest", { type: "number", value: "4", step: "any", "aria-label": `Highest number of quality ${number}` }),
    input("help", "What it means", { maxlength: "2000", "aria-label": `What quality ${number} means` }),
    el("button", { type: "button", class: "button quiet small", "aria-label": `Take quality ${number} away`, onclick: () => row.remove() }, "Remove"));
  rows.append(row);
  if (focus) $("input", row).focus();
}

/** @param {any} form */
function given(form) {
  const { name, kind, question, overlap, reasons, guideline } = form.elements;
  const attributes = kind.value === "rating"
    ? $$(".attribute-row", form).map((row) => {
        const value = (/** @type {string} */ field) => $(`[data-field="${field}"]`, row).value.trim();
        return { name: value("name"), low: Number(value("low")), high: Number(value("high")), help: value("help") };
      })
    : [];
  return {
    name: name.value.trim(),
    kind: kind.value,
    question: question.value.trim(),
    overlap: Number(overlap.value),
    attributes,
    reasons: reasons.value.split("\n").map((/** @type {string} */ each) => each.trim()).filter(Boolean),
    guideline: guideline.value,
  };
}

/** @param {any} form */
function clear(form) {
  $(".error[role=alert]", form).hidden = true;
  $$("[aria-invalid]", form).forEach((each) => each.removeAttribute("aria-invalid"));
  $$(".field-error", form).forEach((each) => each.remove());
}

/** What the server says, beside the field it means. @param {any} form @param {any} error */
function refuse(form, error) {
  const field = String(error.field ?? "");
  const part = field.match(/^attributes[.[](\d+)\]?\.(\w+)/);
  const node = part ? $$(".attribute-row", form)[Number(part[1])]?.querySelector(`[data-field="${part[2]}"]`) : form.elements[field.split(/[.[]/)[0]];
  if (!(node instanceof HTMLElement)) {
    const place = $(".error[role=alert]", form);
    place.textContent = error.message;
    place.hidden = false;
    return;
  }
  const id = `error-${Date.now()}`;
  node.setAttribute("aria-invalid", "true");
  node.setAttribute("aria-describedby", id);
  node.after(el("p", { class: "error field-error", id, role: "alert" }, error.message));
  node.focus();
}

