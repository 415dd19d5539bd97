// @ts-check
/** The list of runs, and the curves of two to four of them laid over each other. */

import { get, path } from "./api.js";
import { chart, shown, spark } from "./chart.js";
import { $, $$, ago, el, fill, shortName } from "./dom.js";
import { bindKeys, keyHint } from "./keys.js";
import { badge, duration, isAlive, PLOTS, progress } from "./run_words.js";

const MOST = 4;
const EVERY_MS = 3000;
/** @type {any[]} */
let records = [];
/** @type {string | null} */
let next = null;
/** @type {Set<string>} */
const chosen = new Set((new URLSearchParams(location.search).get("compare") ?? "").split(",").filter(Boolean).slice(0, MOST));
/** @type {import("./chart.js").View} */
const view = { smooth: false, log: false };

/** @param {any} error */
function complain(error) {
  const place = $("#problem");
  place.textContent = error.message;
  place.hidden = false;
}

/** What came of a run that has finished. @param {any} run @param {any} course */
function outcome(run, course) {
  const last = course.values[course.values.length - 1];
  const steps = run.step ? `${run.step.toLocaleString("en")} steps in ${duration(run.seconds)}` : "";
  return [steps, last === undefined ? "" : `${course.metric} ${shown(last)}`].filter(Boolean).join(" · ");
}

/** @param {any} listed */
function row(listed) {
  const { run, spark: course } = listed;
  const box = el("input", { type: "checkbox", checked: chosen.has(run.name), "aria-label": `Compare ${run.name}`, onchange: (/** @type {any} */ event) => pick(run.name, event.target) });
  const last = course.values[course.values.length - 1];
  return el(
    "li",
    { class: "card run", dataset: { run: run.name } },
    el("label", { class: "pick" }, box),
    el("div", {}, el("a", { class: "name wrap", href: path`/runs/${run.name}` }, run.name), el("p", { class: "small dim wrap" }, `${run.method} · from ${shortName(run.model) || "–"}`)),
    el("div", { class: "how" },
      run.num_steps && !run.made ? el("progress", { class: "bar", max: run.num_steps, value: run.step, "aria-label": `Progress of ${run.name}` }) : null,
      el("p", { class: "small dim" }, run.error ? el("span", { class: run.state === "failed" ? "bad wrap" : "wrap" }, run.error) : run.made ? outcome(run, course) : progress(run))),
    el("div", { class: "small-curve" }, course.values.length > 1 ? spark(course.values, `${course.metric}, now ${shown(last)}`) : null),
    el("div", { class: "end" }, badge(run), el("p", { class: "small dim" }, ago(run.started_ms))),
  );
}

function draw() {
  const list = $("#runs");
  const focused = document.activeElement?.closest?.("[data-run]")?.getAttribute("data-run");
  const tag = document.activeElement?.tagName;
  fill(list, records.map(row));
  if (focused) $$("[data-run]", list).find((item) => item.dataset.run === focused)?.querySelector(tag === "INPUT" ? "input" : "a")?.focus();
  $("#choosing").hidden = records.length < 2;
  $("#more").hidden = !next;
  if (!records.length) {
    list.replaceWith(el("div", { class: "empty", id: "runs" }, el("h2", {}, "Nothing has been trained yet"),
      el("p", {}, "A run takes a model and what people wrote or judged, and makes a new model of it. Begin with question and answer pairs: that turns a base model into an assistant."),
      el("p", {}, el("a", { class: "button primary", href: "/runs/new?method=sft" }, "Teach by examples"))));
  }
}

async function load() {
  try {
    const page = await get(`/api/runs?limit=${Math.max(50, records.length)}`);
    const was = JSON.stringify(records);
    if (!$("#runs").matches("ul") && page.records.length) location.reload();
    [records, next] = [page.records, page.next];
    if (JSON.stringify(records) !== was || !records.length) draw();
    $("#problem").hidden = true;
  } catch (error) {
    complain(error);
  }
}

/** @param {string} name @param {HTMLInputElement} box */
function pick(name, box) {
  if (box.checked && chosen.size >= MOST) {
    box.checked = false;
    $("#chosen").textContent = `${MOST} runs are the most; untick one first.`;
    return;
  }
  if (box.checked) chosen.add(name);
  else chosen.delete(name);
  tellChosen();
}

function tellChosen() {
  const names = [...chosen];
  $("#chosen").textContent = names.length ? `Chosen: ${names.join(", ")}${names.length < 2 ? "; tick one more" : ""}` : "Tick 2 to 4 runs to lay their curves over each other.";
  $("#compare-begin").disabled = names.length < 2;
}

async function compare() {
  if (chosen.size < 2) return;
  const names = [...chosen];
  try {
    const curves = await Promise.all(names.map((name) => get(path`/api/runs/${name}/metrics`)));
    history.replaceState(null, "", `/runs?compare=${names.map(encodeURIComponent).join(",")}`);
    $("#compare").hidden = false;
    overlay(names, curves);
    $("#compare-title").scrollIntoView({ block: "start" });
  } catch (error) {
    complain(error);
  }
}

/** @param {string[]} names @param {any[]} curves */
function overlay(names, curves) {
  const practise = curves.every((each) => each.series.reward);
  const plots = PLOTS.map((plot) => (practise && plot.practice ? { ...plot, ...plot.practice } : plot)).flatMap((plot) => plot.curves.map(([metric, label], index) => ({ metric, title: index ? `${plot.title}, ${label}` : plot.title, term: plot.term, unit: plot.unit ?? "" })));
  const drawn = plots.filter((plot) => curves.some((each) => each.series[plot.metric])).map((plot) => {
    const one = chart(plot);
    const lines = names.flatMap((name, index) => (curves[index].series[plot.metric] ? [{ label: name, ...curves[index].series[plot.metric] }] : []));
    return { node: one.node, show: () => one.show(lines, { ...view }) };
  });
  const toggle = (/** @type {"smooth" | "log"} */ name, /** @type {string} */ text) =>
    el("label", { class: "check" }, el("input", { type: "checkbox", checked: view[name], onchange: (/** @type {any} */ event) => { view[name] = event.target.checked; drawn.forEach((each) => each.show()); } }), text);
  fill($("#compare-tools"), toggle("smooth", "Smooth curves"), toggle("log", "Logarithmic scale"));
  fill($("#compare-charts"), drawn.length ? drawn.map((each) => each.node) : el("p", { class: "dim" }, "These runs have no curves yet."));
  drawn.forEach((each) => each.show());
}

$("#compare-begin").addEventListener("click", compare);
$("#compare-end").addEventListener("click", () => {
  $("#compare").hidden = true;
  history.replaceState(null, "", "/runs");
  $("#compare-begin").focus();
});
$("#more").addEventListener("click", async () => {
  const page = await get(`/api/runs?limit=50&after=${encodeURIComponent(String(next))}`);
  [records, next] = [[...records, ...page.records], page.next];
  draw();
});
bindKeys({
  new: { key: "n", label: "Train a model", run: () => location.assign("/runs/new") },
  compare: { key: "c", label: "Compare the ticked runs", run: compare },
});
const hints = () => $$("[data-key]").forEach((hint) => { hint.textContent = keyHint(hint.dataset.key); hint.hidden = !hint.textContent; });
hints();
document.addEventListener("keys-changed", hints);
await load();
tellChosen();
if (chosen.size >= 2) await compare();
window.setInterval(() => { if (!document.hidden && (records.some((each) => isAlive(each.run)) || !records.length)) void load(); }, EVERY_MS);
