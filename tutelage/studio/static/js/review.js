// @ts-check
/** The queue of pairs that wait for review, the oldest first. Decisions are kept in this browser until the server has
 * them, and the next pair is there at once: it was fetched, rendered and checked while this one was read. */

import { get, newKey, path, post } from "./api.js";
import { $, $$, el, fill } from "./dom.js";
import { bindKeys, keyHint } from "./keys.js";
import { send, waiting } from "./outbox.js";
import { editInPlace } from "./review_edit.js";
import { prepare, showPair } from "./review_pair.js";
import { toast } from "./shell.js";
import { counted, gist, start, STATES, viewer } from "./write_words.js";

/** @typedef {import("./write_words.js").Pair} Pair */
/** @typedef {{pair: Pair, decided: string, prepared: Promise<import("./review_pair.js").Prepared> | null}} Entry */

const PAGE = 20;
const AHEAD = 5;
const me = viewer();
/** @type {Entry[]} */
const entries = [];
let at = 0;
/** @type {string | null} */
let next = null;
let total = 0;
let loading = false;
/** The newest decision, for taking it back. @type {{entry: Entry, sent: Promise<any>} | null} */
let last = null;
/** What is typed into the comment, by pair. @type {Map<string, string>} */
const comments = new Map();

/** @param {any} error */
function complain(error) {
  $("#problem").textContent = error?.message ?? error;
  $("#problem").hidden = !error;
}

// The queue ------------------------------------------------------------------------------------------------------------

async function more() {
  if (loading) return;
  loading = true;
  try {
    const query = new URLSearchParams({ state: "submitted", oldest_first: "true", limit: String(PAGE), ...(next ? { after: next } : {}) });
    const page = await get(`/api/pairs?${query}`);
    const known = new Set(entries.map((each) => each.pair.id));
    for (const { path: unsent } of waiting()) known.add(unsent.split("/")[3]); // decided before a reload
    for (const pair of page.records) if (!known.has(pair.id)) entries.push({ pair, decided: "", prepared: null });
    next = page.next;
  } finally {
    loading = false;
  }
  total = Math.max(total, entries.length);
  drawQueue();
  drawPlace();
}

function drawQueue() {
  const queue = $("#queue");
  const rows = $$("li", queue);
  entries.forEach((entry, index) => {
    const row = rows[index] ?? queue.appendChild(queueRow(index));
    const { question } = gist(entry.pair.messages);
    const button = $("button", row);
    row.classList.toggle("done", Boolean(entry.decided));
    button.setAttribute("aria-current", String(index === at));
    fill(button, el("span", { class: "line", dir: "auto" }, start(question, 80) || "(no question)"),
      el("span", { class: "small dim line" }, entry.decided ? el("span", { class: `badge ${STATES[entry.decided]?.kind ?? ""}` }, STATES[entry.decided]?.text ?? entry.decided) : isMine(entry.pair) ? "yours" : entry.pair.author));
  });
  $$("[aria-current='true']", queue)[0]?.scrollIntoView({ block: "nearest" });
}

/** @param {number} index */
function queueRow(index) {
  return el("li", {}, el("button", { type: "button", onclick: () => go(index) }));
}

function drawPlace() {
  const done = entries.filter((each) => each.decided).length;
  const all = Math.max(total, entries.length);
  $("#step").hidden = $("#desk").hidden = !entries.length;
  $("#pager").hidden = !entries.length;
  $("#bar").max = all || 1;
  $("#bar").value = done;
  $("#place").textContent = `${at + 1} of ${all}, ${done} decided`;
  $("#pager-place").textContent = `${at + 1} of ${all}`;
  $("#previous").disabled = at === 0;
  $("#following").disabled = at >= entries.length - 1 && !next;
  const empty = $("#empty");
  empty.hidden = entries.length > 0;
  if (!entries.length) fill(empty, el("h2", {}, "Nothing waits for review"), el("p", {}, "Pairs that people hand in come here, the oldest first. What is accepted goes into the next dataset."), el("p", { class: "row centre" }, el("a", { class: "button primary", href: "/review/datasets" }, "Take a snapshot of what is accepted"), el("a", { class: "button", href: "/write/new" }, "Write a pair")));
}

/** Whether somebody else must review it. @param {Pair} pair */
const isMine = (pair) => pair.author_id === me.id || pair.editor === me.name;

/** @param {Entry} entry */
function prepared(entry) {
  entry.prepared ??= prepare(entry.pair);
  return entry.prepared;
}

/** @param {number} index */
function go(index) {
  if (index < 0 || index >= entries.length) {
    if (index >= entries.length && next) void more().then(() => go(index), complain);
    else $("#told").textContent = index < 0 ? "This is the first one." : "This is the last one.";
    return;
  }
  at = index;
  complain("");
  drawQueue();
  drawPlace();
  void show();
  if (entries[at + 1]) void prepared(entries[at + 1]);
  if (next && at >= entries.length - AHEAD) void more().catch(complain);
}

// One pair -------------------------------------------------------------------------------------------------------------

async function show() {
  const entry = entries[at];
  const place = $("#pair");
  await showPair(place, entry.pair, prepared(entry), () => entries[at] === entry);
  if (entries[at] !== entry) return;
  place.append(bar(entry));
  place.focus({ preventScroll: true });
  $("#told").textContent = `Pair ${at + 1} of ${Math.max(total, entries.length)}`;
}

/** @param {string} name @param {string} text @param {() => void} run @param {string} [kind] */
function action(name, text, run, kind = "") {
  const hint = keyHint(`review-${name}`);
  return el("button", { type: "button", class: `button ${kind}`, onclick: run }, text, hint ? el("kbd", {}, hint) : null);
}

/** @param {Entry} entry */
function bar(entry) {
  const { pair } = entry;
  const undo = last ? action("undo", "Take the last one back", () => void takeBack(), "quiet") : null;
  if (entry.decided) {
    return el("div", { class: "bar" }, el("p", { class: "row between" }, el("span", {}, `You have decided: ${STATES[entry.decided]?.text ?? entry.decided}.`), el("span", { class: "row" }, undo, action("next", "Next", () => go(at + 1)))));
  }
  const comment = el("textarea", { id: "comment", rows: 2, maxlength: 5000, "aria-describedby": "comment-error", placeholder: "What is to be done, or why not. Needed to send it back or to turn it down." });
  comment.value = comments.get(pair.id) ?? "";
  comment.addEventListener("input", () => { comments.set(pair.id, comment.value); $("#comment-error").hidden = true; comment.removeAttribute("aria-invalid"); });
  const mine = isMine(pair) ? own(entry) : null;
  return el("div", { class: "bar" }, mine,
    el("div", { class: "field" }, el("label", { for: "comment" }, "Comment to the author"), comment, el("p", { class: "error", id: "comment-error", role: "alert", hidden: true })),
    el("div", { class: "row" }, mine ? null : action("accept", "Accept", () => decide("accept"), "primary"), action("back", "Send back", () => decide("return")), action("reject", "Turn down", () => decide("reject"), "danger"),
      action("edit", "Edit", edit), action("next", "Skip", () => go(at + 1), "quiet"), undo));
}

/** @param {Entry} entry */
function own(entry) {
  return el("div", { class: "caution row between" },
    el("span", {}, entry.pair.author_id === me.id ? "You wrote this, so somebody else must review it." : "You edited this last, so somebody else must accept it."),
    el("button", { type: "button", class: "button small", onclick: () => decide("accept", true) }, "Nobody else can: accept my own"));
}

/** @type {Record<string, string>} */
const BECOMES = { accept: "accepted", return: "returned", reject: "rejected" };

/** @param {"accept" | "return" | "reject"} step @param {boolean} [isOwn] */
function decide(step, isOwn = false) {
  const entry = entries[at];
  if (!entry || entry.decided || !document.querySelector("#comment")) return;
  const comment = (comments.get(entry.pair.id) ?? "").trim();
  if (step !== "accept" && !comment) return wantComment(step);
  if (step === "accept" && isMine(entry.pair) && !isOwn) return void ($("#told").textContent = "Somebody else must review this.");
  const body = { comment, base_revision: entry.pair.revision, ...(isOwn ? { allow_own: true } : {}) };
  const key = newKey();
  const sent = send({ id: key, key, method: "POST", path: path`/api/pairs/${entry.pair.id}/${step}`, body });
  entry.decided = BECOMES[step];
  last = { entry, sent };
  sent.then((pair) => { entry.pair = pair; comments.delete(pair.id); }, (error) => refused(entry, error));
  if (isOwn) sent.then(onward, () => undefined);
  else onward();
}

/** To the next one that waits, or to the end. */
function onward() {
  const following = entries.findIndex((each, index) => index > at && !each.decided);
  if (following >= 0) return go(following);
  if (next) return void more().then(onward, complain);
  const before = entries.findIndex((each) => !each.decided);
  if (before >= 0) return go(before);
  drawQueue();
  drawPlace();
  fill($("#pair"), el("div", { class: "stack", id: "end" }, el("h2", { tabindex: "-1" }, "All is decided"), el("p", {}, `You have been through ${counted(entries.length, "pair")}. What you accepted goes into the next snapshot.`),
    el("p", { class: "row" }, el("a", { class: "button primary", href: "/review/datasets" }, "Take a snapshot"), action("undo", "Take the last one back", () => void takeBack()))));
  $("#end h2").focus();
}

/** @param {string} step */
function wantComment(step) {
  const comment = $("#comment");
  const error = $("#comment-error");
  waitingFor = step === "return" ? "return" : "reject";
  error.textContent = step === "return" ? "Say what is to be done, then press Ctrl+Enter or the button again." : "Say why, then press Ctrl+Enter or the button again.";
  error.hidden = false;
  comment.setAttribute("aria-invalid", "true");
  comment.focus();
}
/** @type {"return" | "reject" | null} */
let waitingFor = null;

/** The server said no: the pair waits again, and says why. @param {Entry} entry @param {any} error */
async function refused(entry, error) {
  entry.decided = "";
  entry.prepared = null;
  if (last?.entry === entry) last = null;
  const now = await get(path`/api/pairs/${entry.pair.id}`).catch(() => entry.pair);
  if (now.state !== "submitted") entry.decided = now.state;
  entry.pair = now;
  toast(`“${start(gist(entry.pair.messages).question, 40)}”: ${error.message}`, "bad");
  drawQueue();
  drawPlace();
  if (entries[at] === entry) await show();
  complain(error);
}

async function takeBack() {
  if (!last) return void ($("#told").textContent = "There is nothing to take back.");
  const { entry, sent } = last;
  last = null;
  try {
    await sent;
    entry.pair = await post(path`/api/pairs/${entry.pair.id}/reopen`, {}, { key: newKey() });
    entry.decided = "";
    entry.prepared = null;
    go(entries.indexOf(entry));
    toast("Taken back: it waits for review again.", "good");
  } catch (error) {
    complain(error);
  }
}

function edit() {
  const entry = entries[at];
  if (!entry || entry.decided) return;
  editInPlace($("#pair"), entry.pair, {
    leave: () => void show(),
    saved(pair) {
      entry.pair = pair;
      entry.prepared = null;
      toast("Saved as a new revision.", "good");
      void show();
      drawQueue();
    },
  });
}

bindKeys({
  "review-next": { key: "j", label: "Next pair", run: () => go(at + 1) },
  "review-previous": { key: "k", label: "Previous pair", run: () => go(at - 1) },
  "review-accept": { key: "a", label: "Accept", run: () => decide("accept") },
  "review-back": { key: "s", label: "Send back with a comment", run: () => decide("return") },
  "review-reject": { key: "x", label: "Turn down with a comment", run: () => decide("reject") },
  "review-edit": { key: "e", label: "Edit in place", run: edit },
  "review-comment": { key: "c", label: "Write a comment", run: () => /** @type {HTMLElement | null} */ (document.querySelector("#comment"))?.focus() },
  "review-undo": { key: "u", label: "Take the last decision back", run: () => void takeBack() },
  "review-submit": {
    key: "mod+enter", label: "Save the edit, or send back what you commented on",
    run: () => {
      const save = /** @type {HTMLElement | null} */ (document.querySelector("#save-edit"));
      if (save) save.click();
      else if (document.activeElement?.id === "comment") decide(waitingFor ?? "return");
    },
  },
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.activeElement?.id === "comment") $("#pair").focus();
});
document.addEventListener("keys-changed", () => { if (entries.length) void show(); });
$("#previous").addEventListener("click", () => go(at - 1));
$("#following").addEventListener("click", () => go(at + 1));
void Promise.all([get("/api/pairs/counts"), more()]).then(([counts]) => {
  total = Math.max(counts.submitted, entries.length);
  drawPlace();
  if (entries.length) go(0);
}, complain);
