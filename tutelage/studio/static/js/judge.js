// @ts-check
/** The work itself: a task from the queue, a verdict into it, and the next one at once.
 *
 * A verdict goes to the outbox and is sent from there, however often it takes; its draft stays in this browser until the
 * server has it. `u` goes back through one's own labels to correct them, and then on with the task one holds. */

import { ApiError, get, newKey, path, post, render } from "./api.js";
import { $, el, fill } from "./dom.js";
import { Desk, announce } from "./judge_desk.js";
import { Draft, begunBefore, dropOld } from "./judge_draft.js";
import { Guide } from "./judge_guide.js";
import { hint, refreshHints } from "./judge_keys.js";
import { Lease } from "./judge_lease.js";
import { showLast } from "./judge_last.js";
import { sendLeft } from "./judge_left.js";
import { askWhy } from "./judge_skip.js";
import { showEnd, showProgress } from "./judge_state.js";
import { bindKeys } from "./keys.js";
import { mine as nameOfMine } from "./me.js";
import { send } from "./outbox.js";
import { toast } from "./shell.js";

/** @typedef {import("./judge_show.js").Task} Task */
/** @typedef {{task: Task, html: import("./judge_show.js").Html, nowMs: number}} Held */

const QUICK = nameOfMine("judge.quick");
const { project } = $("#judge").dataset;
const lease = new Lease($("#lease"), announce);
const guide = new Guide(project);
const query = new URLSearchParams(location.search);
/** The task one holds. @type {Held | null} */
let held = null;
/** The label that is being corrected, if one is. @type {any} */
let correcting = null;
/** @type {Desk | null} */
let desk = null;
/** @type {Draft | null} */
let draft = null;
let isBusy = false;

// --- tasks ---------------------------------------------------------------------------------------------------------

/** Ask for the task one holds, or a new one, until the server answers. */
async function next() {
  for (let tries = 0; ; tries += 1) {
    try {
      take(await post(path`/api/projects/${project}/next?rendered=true`));
      return;
    } catch (error) {
      if (!(error instanceof ApiError && error.passing)) return stop(error);
      wait("The server cannot be reached. This page tries again by itself.");
      await pause(Math.min(10_000, 500 * 2 ** tries));
    }
  }
}

/** So long, or until the network is back. @param {number} ms */
const pause = (ms) => new Promise((done) => {
  window.setTimeout(done, ms);
  window.addEventListener("online", done, { once: true });
});

/** @param {any} error */
function stop(error) {
  wait(error.message ?? String(error));
}

/** @param {{task: Task | null, shown: any}} answer */
function take(answer) {
  held = answer.task ? { task: answer.task, html: answer.shown, nowMs: answer.shown.now_ms } : null;
  goOn();
  void showProgress(project);
}

/** The task one holds on the page, or that there is none. */
function goOn() {
  correcting = null;
  if (query.has("correct")) history.replaceState(null, "", location.pathname); // a reload is not to open it again
  showBegun();
  if (!held) {
    close();
    lease.release();
    void showEnd($("#wait"), project, next);
    return;
  }
  $("#mode").hidden = true;
  open(held.task, held.html, new Draft(held.task.assignment_id, project, tell), held.task.draft);
  lease.hold(held.task, held.nowMs);
  void guide.hold(held.task);
}

/** What one had begun before this one, and did not submit: its time ran out, or the project was paused. */
function showBegun() {
  const place = $("#begun");
  const id = begunBefore(project, held?.task.assignment_id ?? "");
  place.hidden = id === null;
  if (id === null) return;
  const drop = () => {
    new Draft(id, project, tell).forget();
    showBegun();
    $("#question").focus({ preventScroll: true });
  };
  fill(place, el("span", {}, "You had begun another one and did not submit it. What you entered is kept."), el("span", { class: "row" },
    el("button", { type: "button", class: "button small", onclick: () => void finish(id) }, "Finish it"),
    el("button", { type: "button", class: "button small quiet", onclick: drop }, "Drop it")));
}

/** Open a task that one had begun before; the one at hand comes again after it. @param {string} id */
async function finish(id) {
  await draft?.save();
  try {
    const task = await get(`/api/tasks/${id}`);
    take({ task, shown: { ...(await rendered(task)), now_ms: Date.now() } });
  } catch (error) {
    toast(/** @type {Error} */ (error).message, "bad");
  }
}

/** @param {Task} task */
async function rendered(task) {
  const html = await render([...task.messages.map((each) => each.content), ...task.answers.map((each) => each[1])]);
  const count = task.messages.length;
  return { messages: html.slice(0, count), answers: html.slice(count) };
}

/** @param {Task} task @param {import("./judge_show.js").Html} html @param {Draft} kept @param {any} before @param {any} [entered] instead of what was kept */
function open(task, html, kept, before, entered) {
  close();
  $("#wait").hidden = true;
  $("#task").hidden = false;
  $("#question").textContent = task.question;
  draft = kept;
  desk = new Desk(task, html, { changed: keep, picked });
  desk.restore(entered ?? draft.restore(before));
  if (draft.isBack) tell("Your draft is back");
  for (const part of ["#skip", "#quick-label"]) $(part).hidden = correcting !== null || (part === "#quick-label" && !desk.verdict.isOneKey);
  $("#submit").firstChild.textContent = correcting ? "Correct it" : "Submit";
  $("#undo").firstChild.textContent = correcting ? "One further back" : "Undo";
  window.scrollTo(0, 0);
  $("#question").focus({ preventScroll: true });
  document.dispatchEvent(new CustomEvent("task-shown", { detail: { id: task.assignment_id } }));
}

function close() {
  desk?.close();
  draft?.stop();
  desk = null;
  draft = null;
  $("#task").hidden = true;
  tell("");
}

/** @param {string} text */
function wait(text) {
  close();
  const place = $("#wait");
  fill(place, el("p", {}, text));
  place.hidden = false;
}

/** @param {string} text */
function tell(text) {
  $("#saved").textContent = text;
}

function keep() {
  if (desk && draft && !desk.isLocked) draft.keep(desk.entered);
}

function picked() {
  if ($("#quick").checked && desk?.verdict.isOneKey && !correcting) void submit();
}

// --- verdicts ------------------------------------------------------------------------------------------------------

async function submit() {
  if (!desk || !draft || desk.isLocked || document.querySelector("dialog[open]")) return;
  const said = desk.ready();
  if (!said) return;
  const [mine, kept, wasCorrecting] = [desk, draft, correcting];
  const body = { request_key: newKey(), ...said };
  mine.lock(true);
  kept.stop();
  setBusy(true);
  const to = wasCorrecting ? `/api/labels/${wasCorrecting.id}/correct` : `/api/tasks/${mine.task.assignment_id}/submit-next?rendered=true`;
  try {
    const answer = await send({ id: body.request_key, method: "POST", path: to, body });
    kept.forget();
    setBusy(false);
    showLast($("#last"), { id: answer.label_id, task: mine.task, verdict: said.verdict, isCorrected: wasCorrecting !== null }, undo);
    if (wasCorrecting) corrected();
    else take(answer);
  } catch (error) {
    setBusy(false);
    await refused(mine, error);
  }
}

/** A verdict or a correction that comes second, after another window's, is not thrown away. @param {Desk} mine @param {any} error */
async function refused(mine, error) {
  if (error.status !== 409) return mine.refuse(error);
  if (!correcting) held = null; // it is finished
  const label = await givenTo(mine.task.assignment_id);
  if (label && JSON.stringify(withoutTime(mine.entered)) !== JSON.stringify(withoutTime(enteredOf(label)))) {
    await openLabel(label, mine.entered, "You judged this one in another window meanwhile. Here is what you entered in this one: correct what you said, or leave it.");
  } else {
    toast(label ? "You judged this one already, in another window" : error.message, label ? "info" : "bad");
    await next();
  }
}

/** One's own label of a task, where it is among the newest. @param {string} id */
async function givenTo(id) {
  try {
    const { records } = await get(path`/api/projects/${project}/mine?limit=50`);
    return records.find((/** @type {any} */ each) => each.task.assignment_id === id);
  } catch {
    return null;
  }
}

/** @param {any} label */
const enteredOf = ({ verdict, reasons, critique, rewrite }) => ({ verdict, said: { reasons, critique, rewrite } });
/** @param {import("./judge_draft.js").Entered} entered */
const withoutTime = ({ verdict, said }) => [Object.entries(verdict ?? {}).sort(), said?.reasons, said?.critique, said?.rewrite];

function corrected() {
  toast("Corrected", "good");
  if (query.get("from") === "mine") location.assign(path`/judge/${project}/mine`);
  else if (held) goOn();
  else void next();
}

/** Something is on its way: the page waits for the server, and says so where that takes long. @param {boolean} on */
function setBusy(on) {
  isBusy = on;
  showNetwork();
}

function showNetwork() {
  const place = $("#offline");
  const isLate = isBusy && late;
  place.hidden = navigator.onLine && !isLate;
  if (place.hidden) return;
  place.textContent = isBusy
    ? "Not sent yet: what you said is kept in this browser and is sent as soon as the server can be reached. The next one comes then."
    : "There is no network. Finish this one all the same: it is kept in this browser and sent when the network is back.";
}

let late = false;
document.addEventListener("outbox", (event) => {
  late = /** @type {CustomEvent} */ (event).detail.offline;
  showNetwork();
});
for (const each of ["online", "offline"]) window.addEventListener(each, showNetwork);

function skip() {
  if (!desk || desk.isLocked || correcting) return;
  const [mine, kept] = [desk, /** @type {Draft} */ (draft)];
  askWhy(async (reason) => {
    mine.lock(true);
    kept.stop();
    setBusy(true);
    try {
      await send({ id: newKey(), method: "POST", path: `/api/tasks/${mine.task.assignment_id}/skip`, body: { reason } });
      kept.forget();
      setBusy(false);
      fill($("#last"));
      await next();
    } catch (error) {
      setBusy(false);
      await refused(mine, error);
    }
  });
}

// --- corrections ---------------------------------------------------------------------------------------------------

/** One label further back, to correct it. */
async function undo() {
  if (isBusy) {
    toast("Your last verdict is still on its way");
    return;
  }
  await draft?.save();
  const before = correcting ? correcting.id : "";
  try {
    const { records } = await get(path`/api/projects/${project}/mine?limit=1&after=${before}`);
    if (records.length) await openLabel(records[0]);
    else toast(before ? "This is the first one you judged here" : "There is nothing to undo yet");
  } catch (error) {
    toast(/** @type {Error} */ (error).message, "bad");
  }
}

/** @param {any} label @param {import("./judge_draft.js").Entered} [entered] @param {string} [why] */
async function openLabel(label, entered, why = "You are correcting what you said before. The earlier verdict stays in the record, the new one counts.") {
  const html = await rendered(label.task);
  correcting = label;
  open(label.task, html, new Draft(label.id, "", tell), enteredOf(label), entered);
  const mode = $("#mode");
  fill(mode, el("span", {}, why), el("button", { type: "button", class: "button small", onclick: leave }, "Back, and change nothing", hint("judge-leave")));
  mode.hidden = false;
  refreshHints(mode);
  announce(why);
}

function leave() {
  if (!correcting || desk?.isLocked) return;
  draft?.forget();
  if (query.get("from") === "mine") location.assign(path`/judge/${project}/mine`);
  else if (held) goOn();
  else void next();
}

// --- the page ------------------------------------------------------------------------------------------------------

/** What waits in the outbox goes first: the task one would be given is the one that it submits. */
async function sendWaiting() {
  const sending = sendLeft(project);
  if (!sending) return;
  wait("Sending what you said before…");
  setBusy(true);
  const label = await sending;
  setBusy(false);
  if (label) showLast($("#last"), { id: label.id, task: label.task, verdict: label.verdict, isCorrected: label.is_corrected }, undo);
}

/** Where and on what the pointer clicked last. */
let clicked = { at: -1000, x: 0, y: 0, desk };

/** The second click of a double click says nothing new: it is not to fall on the next task, nor to confirm a warning. @param {MouseEvent} event */
function calm(event) {
  if (event.detail === 0) return; // by a key
  const isSecond = event.timeStamp - clicked.at < 400 && Math.hypot(event.clientX - clicked.x, event.clientY - clicked.y) < 8;
  const isOnSubmit = /** @type {Element} */ (event.target).closest("#submit") !== null;
  if (isSecond && (clicked.desk !== desk || isOnSubmit)) {
    event.preventDefault();
    event.stopPropagation();
  }
  clicked = { at: event.timeStamp, x: event.clientX, y: event.clientY, desk };
}

async function start() {
  dropOld();
  $("#quick").checked = localStorage.getItem(QUICK) === "yes";
  $("#quick").addEventListener("change", (/** @type {any} */ event) => localStorage.setItem(QUICK, event.target.checked ? "yes" : "no"));
  $("#task").addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    void submit();
  });
  for (const [id, name, run] of /** @type {[string, string, () => void][]} */ ([["#submit", "judge-submit", null], ["#skip", "judge-skip", skip], ["#undo", "judge-undo", undo]])) {
    $(id).append(hint(name));
    if (run) $(id).addEventListener("click", run);
  }
  $("#task").addEventListener("click", calm, true);
  $("#task").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.repeat && event.key === "Enter" && event.target instanceof HTMLButtonElement) event.preventDefault(); // a key held down clicks once
    if (event.key === "Escape" && event.target instanceof HTMLTextAreaElement) $("#question").focus(); // single keys work again
  });
  document.addEventListener("visibilitychange", () => document.hidden && void draft?.save());
  bindKeys({
    "judge-submit": { key: "mod+enter", label: "Submit, also while typing", run: () => void submit() },
    "judge-enter": { key: "enter", label: "Submit, outside text fields", run: () => void submit() },
    "judge-undo": { key: "u", label: "Undo: back to your last verdict", run: () => void undo() },
    "judge-leave": { key: "escape", label: "Leave the correction as it was", run: leave },
    "judge-skip": { key: "s", label: "Skip, with a reason", run: skip },
    "judge-guide": { key: "g", label: "Guidelines, open or closed", run: () => $("#guide-button").hidden || guide.toggle() },
  });
  refreshHints();
  showNetwork();
  await sendWaiting();
  const id = query.get("correct");
  if (id && /^[0-9a-f]{32}$/.test(id)) {
    try {
      await openLabel(await get(`/api/labels/${id}`));
      void showProgress(project);
      return;
    } catch (error) {
      toast(/** @type {Error} */ (error).message, "bad");
    }
  }
  await next();
}

void start();
