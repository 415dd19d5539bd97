// @ts-check
/** One run as it goes on: how it stands, curves, warnings, what it answers, its options and its log. */

import { get, path, post } from "./api.js";
import { $, $$, ago, el, fill, named } from "./dom.js";
import { bindKeys, keyHint } from "./keys.js";
import { Curves } from "./run_curves.js";
import { Samples } from "./run_samples.js";
import { worded } from "./run_fields.js";
import { badge, duration, isAlive, progress, WARNINGS } from "./run_words.js";
import { toast } from "./shell.js";

const name = $("#run").dataset.run;
const address = path`/api/runs/${name}`;
const curves = new Curves($("#charts"), $("#more-charts"), $("#other"), $("#tools"), $("#no-curves"));
const samples = new Samples($("#samples"), $("#sample"));
/** @type {any} */
let run = null;
/** @type {any[]} */
let warnings = [];
let resumeCommand = "";
let numTold = 0; // how often the stream has said how it stands
let logTimer = 0;
let lostTimer = 0;
const PATIENCE_MS = 3000;

/** @param {any} told */
function show(told) {
  const before = run;
  run = told;
  fill($("#state"), badge(run));
  const from = run.model && !run.model.includes("/") ? el("a", { class: "wrap", href: path`/models/${run.model}` }, run.model) : named(run.model || "–");
  fill($("#about"), `${run.method} from `, from, run.data ? [", learning from ", named(run.data)] : "", ` · ${run.by ? `started by ${run.by}, ` : "started at the terminal, "}${ago(run.started_ms)}`);
  const bar = $("#bar");
  bar.hidden = run.made || (!run.num_steps && !isAlive(run));
  if (run.num_steps) [bar.max, bar.value] = [run.num_steps, run.step];
  else bar.removeAttribute("value");
  const speed = run.metrics.tokens_per_second ? `${Math.round(run.metrics.tokens_per_second).toLocaleString("en")} tokens a second` : "";
  const facts = [progress(run), isAlive(run) ? speed : "", run.seconds && !isAlive(run) ? `took ${duration(run.seconds)}` : ""];
  $("#progress").textContent = facts.filter(Boolean).join(" · ");
  if (!before || before.state !== run.state || before.stopping !== run.stopping || before.error !== run.error) actions();
}

function actions() {
  const buttons = [];
  if (isAlive(run)) buttons.push(el("button", { type: "button", class: "button danger", id: "stop", onclick: askStop }, run.stopping ? "Stop at once" : "Stop", " ", el("kbd", { "data-key": "stop" })));
  if (run.made) buttons.push(el("a", { class: "button primary", href: path`/models/${name}` }, "Open the model"));
  if ((run.state === "interrupted" || run.state === "failed") && run.step > 0) buttons.push(el("button", { type: "button", class: "button primary", id: "resume", onclick: resume }, "Resume ", el("kbd", { "data-key": "resume" })));
  if (run.state === "failed" && !run.step) buttons.push(el("a", { class: "button", href: "/runs/new" }, "Start anew"));
  fill($("#actions"), buttons);
  hints();
  const place = $("#trouble");
  if (run.state === "failed") fill(place, el("div", { class: "error" }, el("p", {}, el("strong", {}, "It failed. "), run.error), run.step > 0 ? el("p", { class: "small" }, "What it had learned up to its last checkpoint is kept.") : null));
  else if (run.state === "interrupted") fill(place, el("div", { class: "caution" }, el("p", {}, run.error ? `Interrupted: ${run.error}. ` : "Interrupted. ", "Resume goes on from its last checkpoint."), resumeCommand ? el("p", { class: "small wrap" }, "At the terminal: ", el("code", {}, resumeCommand)) : null));
  else fill(place);
}

function hints() {
  for (const hint of $$("[data-key]")) {
    hint.textContent = keyHint(hint.dataset.key);
    hint.hidden = !hint.textContent;
  }
}

function askStop() {
  if (!run || !isAlive(run)) return;
  $("#ask-text").textContent = run.stopping
    ? "It has been asked to stop after its step. At once means that this step is lost; what came before its last checkpoint is kept."
    : run.state === "starting" ? "It has not begun to learn yet, so nothing is lost." : "It ends after the step it is at and keeps everything it has learned; you can go on later.";
  $("#ask-stop").showModal();
}

async function stop() {
  $("#ask-stop").close();
  try {
    const { at_once } = await post(`${address}/stop`);
    toast(at_once ? "It stops at once." : "It stops after this step.", "good"); // the stream tells what comes of it
  } catch (error) {
    toast(/** @type {Error} */ (error).message, "bad");
  }
}

async function resume() {
  const button = document.querySelector("#resume");
  if (!(button instanceof HTMLButtonElement) || button.disabled) return;
  button.disabled = true;
  try {
    const before = numTold;
    const told = await post(`${address}/resume`);
    if (numTold === before) show(told); // else the stream knows better
    toast("It goes on.", "good");
  } catch (error) {
    button.disabled = false;
    fill($("#trouble"), el("div", { class: "error" }, el("p", {}, /** @type {Error} */ (error).message), el("p", { class: "small wrap" }, "At the terminal: ", el("code", {}, resumeCommand))));
  }
}

function showWarnings() {
  $("#warnings").hidden = !warnings.length;
  fill($("#warning-list"), warnings.slice(-20).reverse().map((each) =>
    el("li", { class: "caution" }, el("strong", {}, WARNINGS[each.name] ?? each.name), ` Step ${each.step}: `, ...worded(each.message), ". ", el("a", { href: `/runs/warnings#${each.name}` }, "What this means and what to do"))));
}

/** @param {any[]} found */
function addWarnings(found) {
  for (const each of found) if (!warnings.some((known) => known.step === each.step && known.name === each.name)) warnings.push(each);
  if (found.length) showWarnings();
}

/** @param {Record<string, any>} config */
function showConfig(config) {
  const skipped = ["workspace", "resume", "data_sha256", "num_steps"];
  const facts = Object.entries(config).filter(([key, value]) => !skipped.includes(key) && value !== null && value !== "" && !(Array.isArray(value) && !value.length));
  fill($("#config"), facts.length ? el("dl", { class: "facts" }, facts.flatMap(([key, value]) => [el("dt", {}, key), el("dd", {}, Array.isArray(value) ? value.join(", ") : String(value))])) : el("p", { class: "dim" }, "They are there once it has begun."));
}

async function loadLog() {
  if (!$("#log").open) return;
  try {
    const lines = $("#lines");
    const atEnd = lines.scrollTop + lines.clientHeight >= lines.scrollHeight - 10;
    lines.textContent = (await get(`${address}/log`)).lines.join("\n") || "Nothing: a run that was started at the terminal speaks there.";
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  } catch {
    /* the connection's own line says so */
  }
}

/** Everything anew. */
async function refresh() {
  const before = numTold;
  const [whole, metrics, answers] = await Promise.all([get(address), get(`${address}/metrics`), get(`${address}/samples`)]);
  resumeCommand = whole.resume_command;
  if (numTold === before) show(whole.run); // an answer that took long must not undo what the stream has said since
  showConfig(whole.config);
  curves.set(metrics.series, metrics.last_step);
  samples.set(answers.prompts);
  warnings = answers.warnings;
  showWarnings();
  void loadLog();
}

function follow() {
  const source = new EventSource(`${address}/events?after=${curves.lastStep}`);
  const on = (/** @type {string} */ kind, /** @type {(data: any) => void} */ work) => source.addEventListener(kind, (event) => work(JSON.parse(/** @type {MessageEvent} */ (event).data)));
  on("state", (told) => {
    const changed = run?.state !== told.state;
    numTold += 1;
    show(told);
    if (changed) void get(address).then((whole) => showConfig(whole.config));
    if (!logTimer) logTimer = window.setTimeout(() => { logTimer = 0; void loadLog(); }, 1000);
  });
  on("points", (points) => curves.add(points));
  on("samples", (told) => {
    samples.add(told.answers);
    addWarnings(told.warnings);
  });
  on("reload", () => void refresh());
  source.addEventListener("open", () => {
    window.clearTimeout(lostTimer);
    lostTimer = 0;
    $("#connection").hidden = true;
  });
  source.addEventListener("error", () => {
    lostTimer ||= window.setTimeout(() => { $("#connection").hidden = false; }, PATIENCE_MS); // a stream ends now and then, and is there again a second later
    if (source.readyState === EventSource.CLOSED) window.setTimeout(follow, 3000);
  });
}

$("#ask-no").addEventListener("click", () => $("#ask-stop").close());
$("#ask-yes").addEventListener("click", stop);
$("#log").addEventListener("toggle", loadLog);
bindKeys({
  stop: { key: "s", label: "Stop (asks first)", run: askStop },
  resume: { key: "r", label: "Resume", run: resume },
  smooth: { key: "m", label: "Smooth curves", run: () => curves.toggle("smooth") },
  log: { key: "l", label: "Logarithmic scale", run: () => curves.toggle("log") },
  prompt: { key: "p", label: "Next prompt", run: () => samples.next(1) },
});
document.addEventListener("keys-changed", hints);
try {
  await refresh();
  follow();
} catch (error) {
  fill($("#trouble"), el("p", { class: "error" }, /** @type {Error} */ (error).message));
}
