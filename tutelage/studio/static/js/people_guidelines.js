// @ts-check
/** Guidelines: those for writers and of each project, with their versions; for reviewers a new version with what changes.
 *
 * What is being written stays in this browser until it is published. */

import { get, path, post, put, render } from "./api.js";
import { $, $$, ago, debounce, el, fill, setRendered } from "./dom.js";
import { complain, onSubmit } from "./people_words.js";
import { toast } from "./shell.js";

const WRITING = "";
const mayEdit = $("#guidelines").dataset.role !== "rater";
/** @typedef {{version: number, text: string, note: string, created_by: string, created_ms: number}} Version */
/** @type {Version[]} the newest first */
let versions = [];
let shown = 0;
/** The project; empty for the guideline for writers. */
let which = new URLSearchParams(location.search).get("project") ?? WRITING;

async function loadNames() {
  /** @type {string[]} */
  const names = [];
  for (let after = ""; ; ) {
    const { records, next } = await get(path`/api/projects?after=${after}`);
    names.push(...records.map((/** @type {any} */ each) => each.name));
    if (!next) break;
    after = next;
  }
  fill($("#which"), [WRITING, ...names].map((name) => el("li", {}, el("button", { type: "button", class: "link wrap", dataset: { name }, onclick: () => choose(name, true) }, name ? `judging in ${name}` : "writing pairs"))));
}

/** @param {string} name @param {boolean} [byHand] */
async function choose(name, byHand = false) {
  which = name;
  $("#problem").hidden = true;
  history.replaceState(null, "", name ? `?project=${encodeURIComponent(name)}` : location.pathname);
  for (const each of $$("#which button")) each.toggleAttribute("aria-current", each.dataset.name === name);
  try {
    versions = name ? await get(path`/api/projects/${name}/guidelines`) : await writingVersions();
    closeForm();
    await show(0);
    if (byHand) $("#guide-title").focus();
    if (mayEdit && kept()) openForm();
  } catch (error) {
    complain(error);
  }
}

/** The newest twenty of the guideline for writers, with the built-in one. @returns {Promise<Version[]>} */
async function writingVersions() {
  const newest = await get("/api/guidelines/writing");
  const before = Array.from({ length: Math.min(newest.version, 19) }, (_, index) => newest.version - 1 - index);
  return [newest, ...(await Promise.all(before.map((version) => get(`/api/guidelines/writing/${version}`))))];
}

/** @param {number} place */
async function show(place) {
  shown = place;
  fill($("#guide-title"), which ? `Judging in ${which}` : "Writing pairs");
  const one = versions[place];
  fill($("#versions"), versions.length > 1 ? versions.map((each, index) => el("button", { type: "button", class: "chip", "aria-pressed": String(index === place), onclick: () => show(index) }, `Version ${each.version}`)) : null);
  if (!one) {
    fill($("#about"));
    fill($("#text"), el("p", { class: "dim" }, mayEdit ? "Nobody has written any yet. Say what good means here, with an example of a hard case." : "Nobody has written any yet."));
    return;
  }
  fill($("#about"), one.version === 0 ? "The text that comes with Tutelage." : [`By ${one.created_by || "somebody"}, ${ago(one.created_ms)}.`, one.note ? [" What is new: ", el("strong", { class: "wrap" }, one.note)] : null, place === 0 ? null : " An earlier version."]);
  const [html] = await render([one.text]);
  if (versions[shown] === one) setRendered($("#text"), html);
}

// A new version ---------------------------------------------------------------------------------------------------------

const key = () => `tutelage.guideline.${which}`;
const kept = () => localStorage.getItem(key());
const form = /** @type {HTMLFormElement | null} */ (document.querySelector("#form"));

function openForm() {
  if (!form) return;
  const field = (/** @type {string} */ name) => /** @type {HTMLTextAreaElement} */ (form.elements.namedItem(name));
  const draft = JSON.parse(kept() ?? "null");
  field("text").value = draft?.text ?? versions[0]?.text ?? "";
  field("note").value = draft?.note ?? "";
  form.hidden = false;
  $("#edit").hidden = true;
  field("text").focus();
  void compare();
}

function closeForm() {
  if (!form) return;
  form.hidden = true;
  $("#edit").hidden = false;
}

/** What would change, word by word. */
async function compare() {
  if (!form) return;
  const text = /** @type {HTMLTextAreaElement} */ (form.elements.namedItem("text")).value;
  const old = versions[0]?.text ?? "";
  const turn = (/** @type {string} */ content) => [{ role: "assistant", content }];
  if (text === old) return fill($("#diff"), el("span", { class: "dim" }, "Nothing yet."));
  const changes = await post("/api/diff", { old: turn(old), new: turn(text) });
  fill($("#diff"), changes.map((/** @type {any} */ each) => (each.op === "equal" ? each.text : el(each.op === "insert" ? "ins" : "del", {}, each.text))));
}

function initForm() {
  if (!form) return;
  const compareSoon = debounce(() => compare().catch(complain), 300);
  form.addEventListener("input", () => {
    localStorage.setItem(key(), JSON.stringify(Object.fromEntries(new FormData(form))));
    compareSoon();
  });
  onSubmit(form, async ({ text, note }) => {
    const made = which ? await post(path`/api/projects/${which}/guidelines`, { text, note }) : await put("/api/guidelines/writing", { text, note, base_version: versions[0].version });
    localStorage.removeItem(key());
    toast(`Version ${made.version} is published; whoever begins a task from now on sees it`, "good");
    await choose(which, true);
  });
  $("#edit").addEventListener("click", openForm);
  $("#cancel").addEventListener("click", () => {
    localStorage.removeItem(key());
    closeForm();
    $("#edit").focus();
  });
}

initForm();
loadNames().then(() => choose(which), complain);
