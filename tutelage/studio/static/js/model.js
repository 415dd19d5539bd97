// @ts-check
/** One model: what it is, where it came from, how it did against others, its files, and how to put it to work. */

import { get, path } from "./api.js";
import { $, el, fill, named } from "./dom.js";
import { bindKeys, keyHint } from "./keys.js";
import { drawLineage } from "./lineage.js";
import { names, ROLES, USES } from "./lineage_words.js";
import { showCommands } from "./model_commands.js";
import { evaluateDialog, underWay } from "./model_evaluate.js";
import { finished } from "./model_report.js";
import { counted, many, plot, share, size, when } from "./model_words.js";
import { toast } from "./shell.js";

const EVERY_MS = 2000;
const here = $("#model-page");
const name = String(here.dataset.model);
const insider = "insider" in here.dataset;
/** @type {any[]} */
let others = [];
/** @type {any} */
let model = null;
/** @type {Map<string, string>} */
let states = new Map();

const open = insider ? evaluateDialog(() => others.filter((each) => each.answers), () => void loadEvaluations().then(() => $("#compared-title").scrollIntoView())) : async () => {};
const evaluate = () => open({ after: name, before: model?.base });

/** @param {any} error */
function complain(error) {
  $("#problem").textContent = error.message;
  $("#problem").hidden = false;
}

// What it is -----------------------------------------------------------------------------------------------------------

function drawHead() {
  fill($("#kind"), el("span", { class: "badge" }, model.place === "gone" ? "folder not here" : model.kind));
  const buttons = [
    model.answers ? el("a", { class: "button", href: `/chat?model=${encodeURIComponent(name)}` }, "Talk with it") : null,
    model.run && insider ? el("a", { class: "button", href: path`/runs/${model.run}` }, "Its training run") : null,
    model.answers && insider ? el("button", { type: "button", class: "button primary", onclick: evaluate }, "Evaluate ", el("kbd", { "data-key": "evaluate" }, keyHint("evaluate"))) : null,
  ];
  fill($("#actions"), buttons);
  fill($("#about"), about());
  $("#plain").hidden = !model.plain;
  $("#plain").textContent = model.plain;
}

function about() {
  if (model.place === "starter") return [model.note, model.num_parameters ? `. ${many(model.num_parameters)} parameters.` : "."];
  const from = model.base ? [" from ", model.base.includes("/") ? named(model.base) : el("a", { class: "wrap", href: path`/models/${model.base}` }, model.base)] : [];
  const numbers = [model.steps !== null ? counted(model.steps, "step") : "", model.tokens ? `${many(model.tokens)} tokens` : "", model.num_parameters ? `${many(model.num_parameters)} parameters` : "", model.size_bytes ? size(model.size_bytes) : ""].filter(Boolean);
  const how = model.method ? ["Made by ", el("strong", {}, model.method), from, model.data ? [" on ", named(model.data)] : []].flat() : [model.note || "Not made here"];
  return [...how, model.created_ms ? ", " : "", model.created_ms ? when(model.created_ms) : "", numbers.length ? ` · ${numbers.join(" · ")}` : ""];
}

function drawHeldOut() {
  const found = model.held_out;
  $("#judging").hidden = !found;
  if (!found) return;
  const kind = found.accuracy.low > 0.5 ? "better" : found.accuracy.high < 0.5 ? "worse" : "undecided";
  fill($("#held-out"),
    el("p", {}, el("span", { class: "big" }, `${Math.round(100 * found.accuracy.estimate)} %`), ` of ${counted(found.num_comparisons, "comparison")} that it did not learn from, as people judged them. 95 % interval ${share(found.accuracy).replace(/^[^[]*/, "")}.`),
    plot(found.accuracy, kind),
    el("p", { class: "small dim" }, "Guessing gives 50 %.", found.longer ? ` Always preferring the longer answer: ${share(found.longer)}.` : "", found.raters_agree ? ` Two raters of the same answers agreed on ${share(found.raters_agree)}.` : ""));
}

/** @param {any[]} uses */
function drawUses(uses) {
  const way = (/** @type {any} */ use) => use.path.map((/** @type {any} */ step) => `${step.name} (${ROLES[step.role] ?? step.role})`).join(" → ");
  fill($("#uses"), uses.length
    ? el("ul", { class: "plain-list" }, uses.map((use) => el("li", {}, el("a", { class: "wrap", href: path`/models/${use.model}` }, use.model), el("span", { class: "small dim wrap" }, ` ${use.path.length === 1 ? (USES[use.path[0].role] ?? use.path[0].role) : way(use)}`))))
    : el("p", { class: "dim" }, "Nothing yet."));
}

// Before and after -----------------------------------------------------------------------------------------------------

async function loadEvaluations() {
  const found = (await get(`/api/evaluations?limit=20&model=${encodeURIComponent(name)}`)).records;
  const done = found.filter((/** @type {any} */ each) => each.state === "finished");
  for (const each of found) {
    if (states.get(each.name) === "running" && each.state === "finished") toast("The evaluation has finished", "good");
  }
  const changed = found.some((/** @type {any} */ each) => states.get(each.name) !== each.state) || states.size !== found.length;
  states = new Map(found.map((/** @type {any} */ each) => [each.name, each.state]));
  $("#compared").hidden = !found.length && !(insider && model?.answers);
  const place = $("#evaluations");
  if (!found.length) {
    fill(place, el("div", { class: "empty" }, el("h3", {}, "Not compared with anything yet"), el("p", {}, "Ask it and the model it came from the same prompts, and see side by side what training changed, and how sure that is."), el("p", {}, el("button", { type: "button", class: "button primary", onclick: evaluate }, "Compare before and after"))));
    return;
  }
  const newest = changed && done.length ? await get(path`/api/evaluations/${done[0].name}`) : null;
  if (newest) fill(place, ...found.filter((/** @type {any} */ each) => each.state !== "finished").map(slot), finished(newest, name, insider), older(done.slice(1)));
  else for (const each of found) if (each.state === "running" || changed) replace(place, each);
}

/** @param {any} evaluation */
const slot = (evaluation) => underWay(evaluation, () => void loadEvaluations());

/** @param {HTMLElement} place @param {any} evaluation */
function replace(place, evaluation) {
  const old = [...place.children].find((child) => /** @type {HTMLElement} */ (child).dataset.evaluation === evaluation.name);
  const focused = old?.contains(document.activeElement);
  const drawn = slot(evaluation);
  if (old) old.replaceWith(drawn);
  else {
    place.querySelector(".empty")?.remove();
    place.prepend(drawn);
  }
  if (focused) drawn.querySelector("button")?.focus();
}

/** @param {any[]} done */
function older(done) {
  if (!done.length) return null;
  return el("details", {}, el("summary", {}, `Older evaluations (${done.length})`),
    el("ul", { class: "plain-list" }, done.map((each) => el("li", { class: "small" }, insider ? el("a", { class: "wrap", href: path`/reports/${each.name}`, target: "_blank", rel: "noopener" }, each.models.join(" → ")) : each.models.join(" → "), " · ", when(each.at_ms)))));
}

// For reviewers --------------------------------------------------------------------------------------------------------

async function loadLineage() {
  if (model.place === "starter") {
    fill($("#lineage"), el("p", { class: "dim" }, "It comes with Tutelage; nothing here has taught it."));
    return;
  }
  try {
    const made = await get(path`/api/models/${name}/lineage`);
    if (made.inputs.length) drawLineage($("#lineage"), made);
    else fill($("#lineage"), el("p", { class: "dim" }, "Its folder does not say what it was made from: it was brought here from elsewhere."));
    drawOptions(made.options);
  } catch (error) {
    fill($("#lineage"), el("p", { class: "error" }, /** @type {Error} */ (error).message));
  }
}

/** @param {Record<string, any> | null} options */
function drawOptions(options) {
  $("#options").hidden = !options || !Object.keys(options).length;
  const text = (/** @type {any} */ value) => (typeof value === "string" ? value : Array.isArray(value) ? value.join(", ") : typeof value === "object" && value ? names(value) : String(value));
  fill($("#option-list"), Object.entries(options ?? {}).flatMap(([key, value]) => [el("dt", {}, key), el("dd", { class: "wrap" }, text(value))]));
}

async function loadFiles() {
  if (model.place !== "workspace") return;
  const found = await get(path`/api/models/${name}/files`);
  $("#files").hidden = false;
  const link = $("#download");
  link.href = path`/api/models/${name}/download`;
  link.textContent = `Download all (${size(found.archive_bytes)}, .tar)`;
  link.hidden = false;
  fill($("#file-list"), el("table", { class: "table" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "File"), el("th", { scope: "col", class: "num" }, "Size"))),
    el("tbody", {}, found.files.map((/** @type {any} */ file) => el("tr", {}, el("td", {}, el("a", { class: "wrap", download: true, href: `${path`/api/models/${name}/file`}?name=${encodeURIComponent(file.name)}` }, file.name)), el("td", { class: "num nowrap" }, size(file.size_bytes)))))));
}

// Together -------------------------------------------------------------------------------------------------------------

async function load() {
  const [whole, list] = await Promise.all([get(path`/api/models/${name}`), get("/api/models?limit=1000&starters=true")]);
  [model, others] = [whole.model, list.records];
  drawHead();
  drawHeldOut();
  drawUses(whole.uses);
  if (insider) showCommands(model, whole.folder);
  await Promise.all([loadEvaluations(), ...(insider ? [loadLineage(), loadFiles()] : [])]);
}

if (insider) bindKeys({ evaluate: { key: "e", label: "Compare before and after", run: () => { if (model?.answers) void evaluate(); } } });
document.addEventListener("keys-changed", () => { if (model) drawHead(); });
load().catch(complain);
window.setInterval(() => { if (!document.hidden && [...states.values()].includes("running")) loadEvaluations().catch(complain); }, EVERY_MS);
