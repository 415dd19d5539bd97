// @ts-check
/** The page of a project for those who look after it: its items, sampling answers, what comes first, its guidelines.
 * Leaves out judging (`judge.js`), and how far raters agree (`judge_decide.js`). */

import { get, path } from "./api.js";
import { $, $$, el, fill } from "./dom.js";
import { bindKeys, keyHint } from "./keys.js";
import { guidelines, itemsFile, states } from "./project_care.js";
import { ChooseForm } from "./project_choose.js";
import { Jobs } from "./project_jobs.js";
import { SampleForm } from "./project_sample.js";
import { counted } from "./project_words.js";

const EVERY_MS = 1000;
const here = $("#project");
const name = String(here.dataset.project);
const address = path`/api/projects/${name}`;
const jobs = new Jobs(name, () => void refresh());
const sampling = new SampleForm(name, String(here.dataset.kind), (job) => begun(job));
const choosing = new ChooseForm(name, (job) => begun(job), () => void refresh());

/** @param {any} error */
function complain(error) {
  $("#problem").textContent = error.message;
  $("#problem").hidden = false;
}

/** @param {any} job */
function begun(job) {
  jobs.add(job);
  $("#under-way").scrollIntoView({ block: "nearest" });
}

/** The counts, and what depends on them. */
async function refresh() {
  const [counts, form, all] = await Promise.all([get(`${address}/items/counts`), get(`${address}/sampling`), get(`${address}/jobs`)]);
  showCounts(counts);
  sampling.set(form, all);
  choosing.set(form);
  jobs.set(all);
}

/** @param {any} counts */
function showCounts(counts) {
  const rest = [counts.done ? `${counts.done.toLocaleString("en")} done` : "", counts.gold ? `${counts.gold} with a known verdict (gold)` : "", counts.withdrawn ? `${counts.withdrawn} withdrawn` : ""].filter(Boolean);
  const none = !counts.open && !counts.done && !counts.gold;
  $("#counts").textContent = none ? "It has no answers to judge yet: let a model answer some prompts." : [`${counted(counts.open, "item")} to judge`, ...rest].join(" · ");
  $("#choosing").hidden = !counts.open;
  fill($("#actions"),
    el("a", { class: "button", href: path`/judge/${name}/decide` }, "Progress and decisions"),
    none ? null : el("a", { class: "button primary", href: path`/judge/${name}` }, "Judge"));
}

async function showProject() {
  const [project, versions] = await Promise.all([get(address), get(`${address}/guidelines`)]);
  fill($("#state"), project.state === "open" ? null : el("span", { class: "badge warn" }, project.state));
  const overlap = `${counted(project.overlap, "verdict")} for each item`;
  $("#about").textContent = `${$("#about").textContent.split(" · ")[0]} · ${project.question} · ${overlap}`;
  fill($("#care"), guidelines(name, versions[0]), states(project, showProject));
}

function hints() {
  for (const hint of $$("[data-key]")) {
    hint.textContent = keyHint(hint.dataset.key);
    hint.hidden = !hint.textContent;
  }
}

/** What goes on, as long as anybody looks. */
async function tick() {
  if (document.hidden || !jobs.isAlive) return;
  try {
    if (await jobs.look()) await refresh();
    $("#problem").hidden = true;
  } catch (error) {
    complain(error);
  }
}

bindKeys({
  sample: { key: "mod+enter", label: "Sample answers, also while typing", run: () => void sampling.submit() },
  "stop-job": { key: "s", label: "Stop what is being sampled", run: () => void jobs.stop() },
  "resume-job": { key: "r", label: "Go on with what was stopped", run: () => void jobs.resume() },
});
document.addEventListener("keys-changed", hints);
fill($("#items-file"), itemsFile(name, refresh));
try {
  await Promise.all([showProject(), refresh()]);
} catch (error) {
  complain(error);
}
hints();
const loop = async () => {
  await tick();
  window.setTimeout(loop, EVERY_MS);
};
window.setTimeout(loop, EVERY_MS);
document.addEventListener("visibilitychange", () => void tick());
