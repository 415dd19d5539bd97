// @ts-check
/** The work itself: a task from the queue, a verdict into it, and the next one at once.
 *
 * A verdict goes to the outbox and is sent from there, however often it takes; its draft stays in this browser until the
 * server has it. `u` goes back through one's own labels to correct them, and then on with the task one holds. */

import { ApiError, get, newKey, path, post, render } from "./api.js";
import { $, el, fill } from "./dom.js";
import { Desk, announce } from "./judge_desk.js";
import { Draft, dropOld } from "./judge_draft.js";
import { Guide } from "./judge_guide.js";
import { hint, refreshHints } from "./judge_keys.js";
import { Lease } from "./judge_lease.js";
import { showLast } from "./judge_last.js";
import { askWhy } from "./judge_skip.js";
import { showEnd, showProgress } from "./judge_state.js";
import { bindKeys } from "./keys.js";
import { flush, send, waiting } from "./outbox.js";
import { toast } from "./shell.js";

/** @typedef {import("./judge_show.js").Task} Task */
/** @typedef {{task: Task, html: import("./judge_show.js").Html, nowMs: number}} Held */

const QUICK = "tutelage.judge.quick";
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
  if (!held) {
    close();
    lease.release();
    void showEnd($("#wait"), project, next);
    return;
  }
  $("#mode").hidden = true;
  open(held.task, held.html, new Draft(held.task.assignment_id, true, tell), held.task.draft);
  lease.hold(held.task, held.nowMs);
  void guide.hold(held.task);
}

/** @param {Task} task @param {import("./judge_show.js").Html} html @param {Draft} kept @param {any} before */
function open(task, html, kept, before) {
  close();
  $("#wait").hidden = true;
  $("#task").hidden = false;
  $("#question").textContent = task.question;
  draft = kept;
  desk = new Desk(task, html, { changed: keep, picked });
  desk.restore(draft.restore(before));
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
    refused(mine, error);
  }
}

/** @param {Desk} mine @param {any} error */
function refused(mine, error) {
  if (error.status === 409 && !correcting) {
    toast(error.message, "bad");
    void next();
  } else mine.refuse(error);
}

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
      mine.refuse(error);
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

/** @param {any} label */
async function openLabel(label) {
  const { task, verdict, reasons, critique, rewrite } = label;
  const html = await render([...task.messages.map((/** @type {any} */ each) => each.content), ...task.answers.map((/** @type {any} */ each) => each[1])]);
  correcting = label;
  const count = task.messages.length;
  open(task, { messages: html.slice(0, count), answers: html.slice(count) }, new Draft(label.id, false, tell), { verdict, said: { reasons, critique, rewrite } });
  const mode = $("#mode");
  fill(mode, el("span", {}, "You are correcting what you said before. The earlier verdict stays in the record, the new one counts."), el("button", { type: "button", class: "button small", onclick: leave }, "Back, and change nothing", hint("judge-leave")));
  mode.hidden = false;
  refreshHints(mode);
  announce("Correcting an earlier verdict");
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
  if (!waiting().length) return;
  wait("Sending what you said before…");
  await new Promise((done) => {
    document.addEventListener("outbox", () => waiting().length || done(null));
    void flush();
  });
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
  $("#task").addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
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
