// @ts-check
/** A reviewer decides: one disputed item after the other, with what each rater said. */

import { get, newKey, path, post, render } from "./api.js";
import { $, el, fill } from "./dom.js";
import { Desk } from "./judge_desk.js";
import { Draft } from "./judge_draft.js";
import { showFigures } from "./judge_figures.js";
import { hint, refreshHints } from "./judge_keys.js";
import { inWords } from "./judge_words_of.js";
import { bindKeys } from "./keys.js";
import { toast } from "./shell.js";

const { project } = $("#decide").dataset;
/** @type {any} */
let facts = null;
/** @type {any[]} */
let items = [];
/** @type {string | null} */
let after = "";
/** @type {Desk | null} */
let desk = null;
/** @type {Draft | null} */
let draft = null;

async function next() {
  desk?.close();
  draft?.stop();
  desk = draft = null;
  while (!items.length && after !== null) {
    const page = await get(path`/api/projects/${project}/disagreements?limit=20&after=${after}`);
    items = page.records;
    after = page.next;
  }
  const item = items.shift();
  $("#task").hidden = !item;
  $("#decide-status").textContent = item ? "" : "Nothing is left to decide: raters agree, or somebody has decided. What you left for later comes back when you open this page again.";
  if (item) await show(item);
  else $("#figures details")?.setAttribute("open", "");
}

/** @param {any} item */
async function show(item) {
  const texts = await render([...item.messages.map((/** @type {any} */ each) => each.content), ...item.answers.map((/** @type {any} */ each) => each[1])]);
  const task = { ...facts, item_id: item.id, messages: item.messages, answers: item.answers };
  const count = item.messages.length;
  draft = new Draft(`decision.${item.id}`, "", () => {});
  const keep = () => desk?.isLocked || draft?.keep(/** @type {Desk} */ (desk).entered);
  desk = new Desk(task, { messages: texts.slice(0, count), answers: texts.slice(count) }, { changed: keep, picked: () => {} });
  desk.restore(draft.restore(null));
  fill($("#opinions"), el("div", { class: "grid" }, item.opinions.map(opinion)));
  refreshHints();
  $("#question").focus({ preventScroll: true });
}

/** @param {any} told */
function opinion(told) {
  const { label, verdict } = told;
  return el("article", { class: "card opinion stack" },
    el("p", { class: "row between" }, el("strong", {}, inWords(verdict)), el("span", { class: "dim small" }, label.person)),
    label.reasons.length ? el("p", { class: "chips" }, label.reasons.map((/** @type {string} */ each) => el("span", { class: "badge" }, each))) : null,
    label.critique ? el("p", { class: "wrap plain-text" }, label.critique) : el("p", { class: "dim small" }, "without words"),
    label.rewrite ? el("details", {}, el("summary", {}, "The better answer they wrote"), el("p", { class: "wrap plain-text" }, label.rewrite)) : null);
}

async function decide() {
  if (!desk || desk.isLocked) return;
  const said = desk.ready();
  if (!said) return;
  const [mine, kept] = [desk, draft];
  mine.lock(true);
  kept?.stop();
  try {
    const verdict = byId(said.verdict, mine.task.answers);
    await post(`/api/items/${mine.task.item_id}/decision`, { request_key: newKey(), ...said, verdict });
    kept?.forget();
    toast(`Decided: ${inWords(said.verdict)}`, "good");
    void showFigures($("#figures"), project);
    await next();
  } catch (error) {
    mine.refuse(error);
  }
}

/** The verdict with answers named by id, as a decision names them. @param {any} verdict @param {[string, string][]} answers */
function byId(verdict, answers) {
  if ("winner" in verdict) return { ...verdict, winner: answers[verdict.winner][0] };
  if ("order" in verdict) return { order: verdict.order.map((/** @type {number[]} */ group) => group.map((place) => answers[place][0])) };
  return verdict;
}

async function start() {
  const { kind, question, reasons, attributes } = await get(path`/api/projects/${project}`);
  facts = { kind, question, reasons, attributes };
  $("#task").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    void decide();
  });
  $("#submit").append(hint("judge-submit"));
  $("#later").append(hint("judge-later"));
  $("#later").addEventListener("click", () => void next());
  bindKeys({
    "judge-submit": { key: "mod+enter", label: "Decide, also while typing", run: () => void decide() },
    "judge-enter": { key: "enter", label: "Decide, outside text fields", run: () => void decide() },
    "judge-later": { key: "s", label: "Leave it for later", run: () => void next() },
  });
  await showFigures($("#figures"), project);
  await next();
}

start().catch((error) => {
  $("#decide-status").textContent = error.message;
});
