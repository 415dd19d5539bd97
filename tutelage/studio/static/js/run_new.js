// @ts-check
/** The form that starts a run: a method in plain words, its options, and the same as a line for the terminal. What is
 * filled in is kept in the browser until it has begun. */

import { ApiError, get, path, post } from "./api.js";
import { $, $$, debounce, el, fill } from "./dom.js";
import { bindKeys, keyHint } from "./keys.js";
import { field, given } from "./run_fields.js";

const DRAFT = "tutelage.run-draft";
const SHOWN_FIRST = 4;
const params = new URLSearchParams(location.search);
/** @type {any} */
let form = null;
/** @type {Set<string>} */
const touched = new Set();
let asked = 0;

/** @returns {{method?: string, options?: Record<string, any>}} */
function draft() {
  try {
    return JSON.parse(localStorage.getItem(DRAFT) ?? "{}");
  } catch {
    return {};
  }
}

/** What the form says, those options left out that are as they would be anyway. */
function options() {
  /** @type {Record<string, any>} */
  const found = {};
  for (const each of form?.fields ?? []) {
    const value = given(each, $("#form"));
    if (value !== undefined) found[each.name] = value;
  }
  return found;
}

/** @param {any} told */
function drawMethods(told) {
  const chosen = params.get("method") ?? draft().method;
  const card = (/** @type {any} */ method) =>
    el("label", { class: "method" }, el("input", { type: "radio", name: "method", value: method.name, checked: method.name === chosen, onchange: () => choose(method.name) }),
      el("span", {}, el("strong", {}, method.name), el("small", { class: "dim" }, method.plain)));
  fill($("#methods"), told.groups.map((/** @type {any} */ group) => {
    const own = told.methods.filter((/** @type {any} */ method) => method.group === group.name);
    if (!own.length) return null;
    const rest = own.slice(SHOWN_FIRST);
    return el("fieldset", { class: "methods" }, el("legend", {}, group.title), el("p", { class: "small dim" }, group.text), own.slice(0, SHOWN_FIRST).map(card),
      rest.length ? el("details", { open: rest.some((/** @type {any} */ each) => each.name === chosen) }, el("summary", { class: "small" }, `${rest.length} more of this kind`), el("div", { class: "methods" }, rest.map(card))) : null);
  }));
  $("#methods").removeAttribute("aria-busy");
  if (own(told, chosen)) void choose(String(chosen), false);
}

/** @param {any} told @param {string | undefined | null} name */
const own = (told, name) => told.methods.some((/** @type {any} */ method) => method.name === name);

/** @param {string} name @param {boolean} [move] */
async function choose(name, move = true) {
  const before = form ? options() : (draft().options ?? {});
  try {
    form = await get(path`/api/methods/${name}`);
  } catch (error) {
    complain(error);
    return;
  }
  const start = { ...before, ...(form.fields.length && !touched.size ? Object.fromEntries(["model", "data", "prompts", "out"].filter((key) => params.has(key)).map((key) => [key, params.get(key)])) : {}) };
  fill($("#about"), el("strong", {}, form.name), `: ${form.plain} `, form.summary ? el("span", { class: "small" }, `In its own words: ${form.summary}${form.paper ? `, ${form.paper}` : ""}.`) : null);
  const draw = (/** @type {boolean} */ basic) => form.fields.filter((/** @type {any} */ each) => each.basic === basic).map((/** @type {any} */ each) => field(each, form, start[each.name], changed));
  fill($("#basic"), draw(true));
  fill($("#advanced"), draw(false));
  for (const id of ["#what", "#go"]) $(id).hidden = false;
  $("#more").open = form.fields.some((/** @type {any} */ each) => !each.basic && start[each.name] !== undefined);
  suggestName();
  if (move) $("#what").scrollIntoView({ block: "start" });
  check();
}

/** A name from model and method, as long as nobody has typed one. */
function suggestName() {
  const name = /** @type {HTMLInputElement | null} */ (document.querySelector('[name="out"]'));
  const model = /** @type {HTMLSelectElement | null} */ (document.querySelector('[name="model"]'));
  if (name && model && !touched.has("out") && (!name.value || name.dataset.suggested)) {
    name.value = model.value ? `${model.value}-${form.name}`.replace(/[^A-Za-z0-9._-]/g, "-").slice(0, 90) : "";
    name.dataset.suggested = "1";
  }
}

/** @param {string} name */
function changed(name) {
  touched.add(name);
  clear(name);
  if (name === "out") delete $('[name="out"]').dataset.suggested;
  if (name === "model") suggestName();
  localStorage.setItem(DRAFT, JSON.stringify({ method: form.name, options: options() }));
  $("#draft").textContent = "Kept in this browser.";
  check();
}

/** @param {any} error @returns {string} the option that it is about, or nothing */
function fieldOf(error) {
  const said = String(error.field ?? "").replace(/^options\./, "");
  return form?.fields.map((/** @type {any} */ each) => each.name).filter((/** @type {string} */ name) => said === name || said.startsWith(`${name}.`)).sort((/** @type {string} */ a, /** @type {string} */ b) => b.length - a.length)[0] ?? "";
}

/** Take errors away. @param {string} [name] only that of this field */
function clear(name) {
  if (!name) $("#problem").hidden = true;
  for (const place of $$(".field-error")) {
    const of = place.id.replace("error-", "");
    if (name && of !== name) continue;
    place.hidden = true;
    place.textContent = "";
    document.getElementById(`field-${of}`)?.removeAttribute("aria-invalid");
  }
}

/** Show an error beside its field, or above the button. @param {any} error @param {boolean} [all] whether fields that nobody has touched count */
function complain(error, all = true) {
  clear();
  const name = fieldOf(error);
  if (name && !all && !touched.has(name)) return;
  const place = name ? document.getElementById(`error-${name}`) : $("#problem");
  if (!place) return;
  place.textContent = error.message;
  place.hidden = false;
  const input = name ? document.getElementById(`field-${name}`) : null;
  if (!input) return;
  input.setAttribute("aria-invalid", "true");
  if (all) {
    const more = input.closest("details");
    if (more) more.open = true;
    input.focus();
  }
}

const check = debounce(async () => {
  const now = options();
  if (form.fields.some((/** @type {any} */ each) => each.required && now[each.name] === undefined)) {
    $("#command").textContent = "Fill in the form to see it.";
    $("#copy").disabled = true;
    return;
  }
  const number = (asked += 1);
  try {
    const { command } = await post("/api/runs/check", { method: form.name, options: now });
    if (number !== asked) return;
    clear();
    $("#command").textContent = command;
    $("#copy").disabled = false;
  } catch (error) {
    if (number !== asked) return;
    $("#copy").disabled = true;
    if (error instanceof ApiError && error.status === 0) complain(error);
    else complain(error, false);
  }
}, 300);

async function start() {
  const button = $("#start");
  if (!form || button.disabled) return;
  button.disabled = true;
  asked += 1;
  try {
    const run = await post("/api/runs", { method: form.name, options: options() });
    localStorage.removeItem(DRAFT);
    location.assign(path`/runs/${run.name}`);
  } catch (error) {
    button.disabled = false;
    complain(error);
  }
}

$("#form").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  void start();
});
$("#copy").addEventListener("click", async () => {
  await navigator.clipboard?.writeText($("#command").textContent ?? "").catch(() => {});
  $("#copy").textContent = "Copied";
  window.setTimeout(() => { $("#copy").textContent = "Copy"; }, 2000);
});
bindKeys({ start: { key: "mod+enter", label: "Start training", run: () => void start() } });
$('[data-key="start"]').textContent = keyHint("start") || "Ctrl ⏎";
try {
  drawMethods(await get("/api/methods"));
} catch (error) {
  fill($("#methods"), el("p", { class: "error" }, /** @type {Error} */ (error).message));
}
