// @ts-check
/** The list of models, who answers better, and how well reward models judge. */

import { get, path } from "./api.js";
import { $, $$, el, fill, shortName } from "./dom.js";
import { bindKeys, keyHint } from "./keys.js";
import { evaluateDialog, underWay } from "./model_evaluate.js";
import { counted, many, plot, share, size, verdict, when } from "./model_words.js";
import { toast } from "./shell.js";

const EVERY_MS = 3000;
const insider = "insider" in $("#models-page").dataset;
/** @type {any[]} */
let models = [];
/** @type {any[]} */
let evaluations = [];
let base = new URLSearchParams(location.search).get("against") ?? "";

const mine = () => models.filter((each) => each.place !== "starter");
const open = insider ? evaluateDialog(() => models.filter((each) => each.answers), (evaluation) => {
  toast(`The evaluation ${evaluation.name} has begun`, "good");
  void lookAgain();
}) : async () => {};

// The list -----------------------------------------------------------------------------------------------------------

/** @param {any} model */
function made(model) {
  if (model.place === "starter") return model.note;
  const how = [model.method ? `by ${model.method}` : "", model.base ? `from ${shortName(model.base)}` : "", model.data ? `on ${shortName(model.data)}` : ""];
  return how.filter(Boolean).join(" ") || model.note || "not made here";
}

/** @param {any} model */
function row(model) {
  const numbers = [model.num_parameters ? `${many(model.num_parameters)} parameters` : "", model.size_bytes ? size(model.size_bytes) : ""];
  return el(
    "li",
    { class: "card model-row" },
    el("div", {}, el("a", { class: "name wrap", href: path`/models/${model.name}` }, model.name), el("p", { class: "small dim wrap" }, made(model))),
    el("div", {}, model.place === "gone" ? el("span", { class: "badge warn" }, "folder not here") : el("span", { class: "badge" }, model.kind)),
    el("p", { class: "small dim" }, numbers.filter(Boolean).join(" · ")),
    el("p", { class: "small dim end" }, model.created_ms ? when(model.created_ms) : ""),
  );
}

function nothingYet() {
  const steps = insider
    ? [el("p", {}, "A model appears here when a training run has made it: first one that learned from pairs, then one that learned from people's verdicts. Each keeps where it came from."),
       el("p", {}, el("a", { class: "button primary", href: "/runs/new?method=sft" }, "Teach by examples"))]
    : [el("p", {}, "A model appears here when what you and others wrote and judged has taught one. Until then, write and judge."),
       el("p", {}, el("a", { class: "button primary", href: "/write" }, "Write"), " ", el("a", { class: "button", href: "/judge" }, "Judge"))];
  return el("div", { class: "empty" }, el("h2", {}, "No model has been made here yet"), steps);
}

function drawList() {
  const own = mine();
  fill($("#list"), own.length ? el("ul", { class: "models" }, own.map(row)) : nothingYet());
  const starters = models.filter((each) => each.place === "starter");
  $("#starters").hidden = !starters.length;
  fill($("#starter-list"), starters.map(row));
}

// The leaderboard ----------------------------------------------------------------------------------------------------

/** @param {any} board */
function drawBoard(board) {
  if (!board.tables.length && !board.base) {
    fill($("#board"), el("div", { class: "empty" }, el("h2", {}, "Nothing has been compared yet"),
      el("p", {}, "An evaluation asks a model and the one it was made from the same prompts, and counts on how many the answer of each is better. With it you see whether training helped, and how sure that is."),
      insider && models.filter((each) => each.answers).length > 1 ? el("p", {}, el("button", { type: "button", class: "button primary", onclick: begin }, "Compare two models")) : null));
    return;
  }
  const choice = el("select", { id: "against", onchange: (/** @type {any} */ event) => choose(event.target.value) },
    board.bases.map((/** @type {string} */ name) => el("option", { value: name, selected: name === board.base }, name)));
  fill($("#board"),
    el("label", { class: "field against" }, el("span", {}, "Held against"), choice),
    board.tables.map((/** @type {any} */ table) => boardTable(table, board.base)),
    el("p", { class: "small dim" }, "Win rate: the share of prompts on which the model's answer was found better; ties count half. In square brackets and as a bar: the 95 % interval, that is, how far another choice of prompts might have moved it. A place is given only where a model's interval overlaps no other one's."),
    board.num_outdated ? el("p", { class: "small dim" }, `${counted(board.num_outdated, "result is", "results are")} left out, since a model in ${board.num_outdated === 1 ? "it" : "them"} was made anew.`) : null);
}

/** @param {any} table @param {string} to */
function boardTable(table, to) {
  const ranked = table.rows.length > 1;
  const head = ["Model", "", "Win rate", `Against ${to}`, ...(ranked ? ["Among these"] : []), "Measured"];
  return el("div", { class: "card board" },
    el("h3", {}, `${table.prompts}, ${counted(table.num_prompts, "prompt")} `, el("small", { class: "dim" }, `judged by the ${table.rater}, a script · answers of at most ${counted(table.max_new_tokens, "token")}`)),
    el("table", { class: "table cards", "aria-label": `Models against ${to}, on ${table.prompts}` },
      el("thead", {}, el("tr", {}, head.map((text) => (text ? el("th", { scope: "col" }, text) : el("td", { class: "plot-head" }))))),
      el("tbody", {}, table.rows.map((/** @type {any} */ one) => boardRow(one, to, ranked)))));
}

/** @param {any} one @param {string} to @param {boolean} ranked */
function boardRow(one, to, ranked) {
  const link = insider ? el("a", { href: path`/reports/${one.evaluation}`, target: "_blank", rel: "noopener" }, "report") : null;
  return el("tr", {},
    el("th", { scope: "row" }, el("a", { class: "name wrap", href: path`/models/${one.model}` }, one.model)),
    el("td", { class: "plot-cell" }, plot(one.rate, one.verdict)),
    el("td", { "data-label": "Win rate" }, el("strong", { class: "nowrap" }, share(one.rate)), el("p", { class: "small dim nowrap" }, `${counted(one.wins, "win")}, ${counted(one.ties, "tie")}, ${counted(one.losses, "loss", "losses")}`)),
    el("td", { "data-label": `Against ${to}` }, verdict(one.verdict)),
    ranked ? el("td", { "data-label": "Among these" }, one.place ? `place ${one.place}` : el("span", { class: "dim small wrap" }, `no difference shown to ${one.like.join(", ")}`)) : null,
    el("td", { class: "small dim", "data-label": "Measured" }, el("span", {}, when(one.at_ms), link ? " · " : "", link)));
}

/** @param {string} name */
async function choose(name) {
  base = name;
  history.replaceState(null, "", `/models?against=${encodeURIComponent(name)}`);
  try {
    drawBoard(await get(`/api/leaderboard?base=${encodeURIComponent(base)}`));
    $("#against").focus();
  } catch (error) {
    complain(error);
  }
}

// Reward models ------------------------------------------------------------------------------------------------------

function drawJudges() {
  const judges = mine().filter((each) => each.held_out && (each.kind === "reward model" || each.kind === "ensemble"));
  $("#judges").hidden = !judges.length;
  fill($("#judge-list"), el("div", { class: "card" }, el("table", { class: "table cards", "aria-labelledby": "judges-title" },
    el("thead", {}, el("tr", {}, ["Reward model", "", "Agrees with people", "Always the longer answer", "Measured"].map((text) => (text ? el("th", { scope: "col" }, text) : el("td", { class: "plot-head" }))))),
    el("tbody", {}, judges.map(judge)))));
}

/** @param {any} model */
function judge(model) {
  const { accuracy, num_comparisons: number, longer } = model.held_out;
  const kind = accuracy.low > 0.5 ? "better" : accuracy.high < 0.5 ? "worse" : "undecided";
  return el("tr", {},
    el("th", { scope: "row" }, el("a", { class: "name wrap", href: path`/models/${model.name}` }, model.name)),
    el("td", { class: "plot-cell" }, plot(accuracy, kind)),
    el("td", { "data-label": "Agrees with people" }, el("strong", { class: "nowrap" }, share(accuracy)), el("p", { class: "small dim" }, `on ${counted(number, "comparison")} held out`)),
    el("td", { "data-label": "Always the longer answer" }, longer ? share(longer) : "–"),
    el("td", { class: "small dim", "data-label": "Measured" }, when(model.created_ms)));
}

// Together -----------------------------------------------------------------------------------------------------------

function drawRunning() {
  const alive = evaluations.filter((each) => each.state === "running");
  $("#under-way").hidden = !alive.length;
  fill($("#evaluations"), alive.map((each) => el("li", {}, underWay(each, () => void lookAgain()))));
}

const begin = () => {
  const newest = mine().find((each) => each.answers);
  return open({ after: newest?.name, before: newest?.base });
};

/** @param {any} error */
function complain(error) {
  $("#problem").textContent = error.message;
  $("#problem").hidden = false;
}

async function load() {
  const asked = base ? `?base=${encodeURIComponent(base)}` : "";
  try {
    const [list, board, all] = await Promise.all([get("/api/models?limit=1000&starters=true"), get(`/api/leaderboard${asked}`), get("/api/evaluations?limit=20")]);
    [models, evaluations] = [list.records, all.records];
    drawList();
    drawBoard(board);
    drawJudges();
    drawRunning();
    $("#problem").hidden = true;
  } catch (error) {
    complain(error);
  }
}

/** Only what goes on; all of it once something has ended. */
async function lookAgain() {
  const were = evaluations.filter((each) => each.state === "running").map((each) => each.name);
  evaluations = (await get("/api/evaluations?limit=20")).records;
  const ended = evaluations.filter((each) => were.includes(each.name) && each.state !== "running");
  for (const each of ended) toast(each.state === "finished" ? `The evaluation ${each.name} has finished` : `The evaluation ${each.name} ${each.state}: ${each.said}`, each.state === "finished" ? "good" : "bad");
  if (ended.length) await load();
  else drawRunning();
}

if (insider) {
  for (const button of $$("[data-evaluate]")) button.addEventListener("click", begin);
  bindKeys({
    evaluate: { key: "e", label: "Compare models before and after", run: () => void begin() },
    train: { key: "n", label: "Train a model", run: () => location.assign("/runs/new") },
  });
}
const hints = () => $$("[data-key]").forEach((hint) => { hint.textContent = keyHint(hint.dataset.key); hint.hidden = !hint.textContent; });
hints();
document.addEventListener("keys-changed", hints);
await load();
window.setInterval(() => { if (!document.hidden && evaluations.some((each) => each.state === "running")) lookAgain().catch(complain); }, EVERY_MS);
