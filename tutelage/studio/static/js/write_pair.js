// @ts-check
/** The pair editor: turns, preview, near-duplicates, guideline, history, saving, handing in, withdrawing. */

import { get, post, render } from "./api.js";
import { $, ago, debounce, el, fill, setRendered } from "./dom.js";
import { bindKeys } from "./keys.js";
import { toast } from "./shell.js";
import { aboutFields, WRITTEN_HERE } from "./write_about.js";
import { showConflict } from "./write_conflict.js";
import { modelDrafts } from "./write_draft.js";
import { showGuide } from "./write_guide.js";
import { showHistory } from "./write_history.js";
import { forget, keep, recall } from "./write_local.js";
import { watchNear } from "./write_near.js";
import { contentOf, sameContent, saver } from "./write_save.js";
import { turnsEditor } from "./write_turns.js";
import { isBlank, ROLES, sameWords, showKeyHints, stateBadge, viewer } from "./write_words.js";

/** @typedef {import("./write_words.js").Message} Message */
/** @typedef {import("./write_words.js").Pair} Pair */
/** @typedef {import("./write_save.js").Status} Status */

const me = viewer();
const name = me.pair || newName();
const local = recall(me.id, name);
/** @type {"editing" | "changing" | "reading"} changing = a reviewer edits what is not their draft, and says when to save */
let mode = "reading";
let view = matchMedia("(max-width: 900px)").matches ? "write" : "preview";
let savedAt = 0;
/** @type {ReturnType<typeof saver>} */
let saving;

/** A new pair is called by what stands after the # until the server names it, so that a reload finds it. */
function newName() {
  const given = location.hash.slice(1);
  if (/^new-[a-z0-9]{1,20}$/.test(given)) return given;
  const made = `new-${Date.now().toString(36)}${Math.random().toString(36).slice(2, 6)}`;
  history.replaceState(null, "", `#${made}`);
  return made;
}

const about = aboutFields($("#about"), () => typed());
const drafts = modelDrafts({ before: (at) => turns.before(at), answer: (at) => turns.answer(at), setAnswer: (at, text) => turns.setAnswer(at, text), complain });
const turns = turnsEditor($("#turns"), { changed: () => typed(), answerTools: drafts.tools });
const lookForNear = watchNear($("#near"), () => turns.read(), () => saving?.pair()?.id ?? "");
const content = () => ({ messages: turns.read(), ...about.read() });

function typed() {
  if (mode === "reading") return;
  drafts.typed();
  saving.changed();
  lookForNear();
  drawPreviewSoon();
}

/** @param {string} text */
function complain(text) {
  $("#problem").textContent = text;
  $("#problem").hidden = !text;
}

/** An error beside its field where it is about one. @param {any} error */
function explain(error) {
  if (error.field && (turns.complain(error.field, error.message) || about.complain(error.field, error.message))) return;
  complain(error.message);
}

// What stands beside the pair ------------------------------------------------------------------------------------------

function drawViews() {
  const reads = mode === "reading";
  const all = [["write", reads ? "Pair" : "Write"], ...(reads ? [] : [["preview", "Preview"]]), ["guide", "Guideline"], ...(saving?.pair() ? [["history", "History"]] : [])];
  fill($("#views"), all.map(([key, text]) =>
    el("button", { type: "button", class: `chip ${key === "write" ? "phone-only" : ""}`, "aria-pressed": String(view === key), onclick: () => look(key) }, text)));
  $(".editor").dataset.view = view;
  $("#beside").setAttribute("aria-label", { guide: "Guideline", history: "History" }[view] ?? "Preview");
}

/** @param {string} wanted */
function look(wanted) {
  view = wanted;
  drawViews();
  const pressed = /** @type {HTMLElement | null} */ (document.querySelector('#views [aria-pressed="true"]'));
  if (document.activeElement === document.body) pressed?.focus();
  void drawBeside();
}

async function drawBeside() {
  const place = $("#beside");
  const pair = saving.pair();
  if (view === "guide") await showGuide(place, me.mayReview);
  else if (view === "history" && pair) await showHistory(place, pair.id);
  else if (mode === "reading" && pair) await showHistory(place, pair.id);
  else await drawPreview(place);
}

let drawing = 0;
/** @param {Element} place */
async function drawPreview(place) {
  const messages = turns.read().filter((each) => each.content.trim());
  const mine = ++drawing;
  if (!messages.length) {
    fill(place, el("p", { class: "dim" }, "What you write is shown here as readers will see it: ", el("code", {}, "**bold**"), ", ", el("code", {}, "- lists"), ", ", el("code", {}, "`code`"), " and tables."));
    return;
  }
  const html = await render(messages.map((each) => each.content)).catch(() => null);
  if (mine !== drawing || !html || view === "guide" || view === "history") return;
  fill(place, conversation(messages, html));
}

/** @param {Message[]} messages @param {string[]} html */
function conversation(messages, html) {
  return el("div", { class: "stack conversation" }, messages.map(({ role }, at) => {
    const text = el("div", { dir: "auto" });
    setRendered(text, html[at]);
    return el("div", { class: `turn ${role}` }, el("span", { class: "who" }, ROLES[role]), text);
  }));
}

const drawPreviewSoon = debounce(() => {
  if (view === "preview" || view === "write") void drawPreview($("#beside"));
}, 400);

// Saving ---------------------------------------------------------------------------------------------------------------

/** @param {Status} status */
function tell(status) {
  const words = {
    clean: "", typed: "kept in this browser", saving: "saving…", saved: mode === "reading" ? "" : "saved", refused: "not saved", clash: "not saved: somebody else was quicker",
    away: `kept in this browser; ${status.text ?? ""}. It is sent as soon as that works.`,
  }[status.kind];
  if (status.kind === "saved") savedAt = Date.now();
  $("#saved").textContent = words;
  $("#saved").className = ["away", "refused", "clash"].includes(status.kind) ? "warn" : "";
  $("#saved").dataset.kind = status.kind;
  if (status.kind === "refused") complain(status.text ?? "");
  if (status.kind === "saved") complain("");
  tick();
}

function tick() {
  const seconds = Math.round((Date.now() - savedAt) / 1000);
  $("#saved-ago").textContent = $("#saved").dataset.kind === "saved" && mode !== "reading" && savedAt ? (seconds < 1 ? "just now" : seconds < 60 ? `${seconds} s ago` : ago(savedAt)) : "";
}

/** @param {Pair} theirs */
function clashed(theirs) {
  saving.pause();
  showConflict(turns.read(), theirs, {
    keepMine() {
      saving.goOn(theirs);
      void saving.flush().catch(explain);
    },
    takeTheirs() {
      const now = turns.read();
      saving.goOn(theirs);
      showContent(contentOf(theirs));
      void saving.flush().catch(explain);
      offer(now);
    },
  });
}

/** Offers words that were put aside. @param {Message[]} mine */
function offer(mine) {
  const place = $("#notice");
  fill(place, "Your own words were put aside. ", el("button", { type: "button", class: "link", onclick: () => { turns.show(mine); place.hidden = true; typed(); } }, "Bring them back"));
  place.hidden = false;
}

/** @param {import("./write_local.js").Content} given */
function showContent(given) {
  turns.show(given.messages);
  about.show(given);
  lookForNear();
  drawPreviewSoon();
}

/** @param {Pair} pair */
function made(pair) {
  history.replaceState(null, "", `/write/${pair.id}`);
  $("#page").dataset.pair = pair.id;
  drawState(pair);
  drawViews();
}

// What can be done -----------------------------------------------------------------------------------------------------

/** @param {Pair} pair */
function isMyDraft(pair) {
  return pair.author_id === me.id && ["draft", "returned"].includes(pair.state) && !pair.withdrawn_ms;
}

/** @param {Pair | null} pair */
function drawState(pair) {
  fill($("#state"), pair ? (pair.withdrawn_ms ? el("span", { class: "badge bad" }, "withdrawn") : stateBadge(pair.state)) : null);
  const said = $("#said");
  const shown = pair && pair.said && ["returned", "rejected"].includes(pair.state);
  said.hidden = !shown;
  if (shown) fill(said, el("strong", {}, `${pair.said_by} ${pair.state === "returned" ? "sent it back" : "turned it down"}: `), el("span", { class: "wrap said-words" }, pair.said));
  drawActions(pair);
}

/** @param {Pair | null} pair */
function drawActions(pair) {
  const button = (/** @type {string} */ text, /** @type {() => void} */ run, kind = "", key = "", id = "") =>
    el("button", { type: "button", class: `button ${kind}`, id: id || false, onclick: run }, text, key ? el("kbd", { dataset: { key } }) : null);
  const another = el("a", { class: "button", href: "/write/new" }, "Write another ", el("kbd", { dataset: { key: "write-new" } }));
  const gone = pair && !pair.withdrawn_ms && (pair.author_id === me.id || me.mayReview);
  const withdraw = gone ? button("Withdraw…", askToWithdraw, "quiet danger") : null;
  if (mode === "editing") {
    fill($("#actions"), el("div", { class: "row" }, button("Hand in for review", () => void handIn(), "primary", "write-submit", "hand-in"), el("a", { class: "button quiet", href: "/write" }, "Back to my pairs")), pair ? withdraw : button("Throw away", throwAway, "quiet danger"));
  } else if (mode === "changing") {
    fill($("#actions"), el("div", { class: "row" }, button("Save as a new revision", () => void saveChange(), "primary", "write-submit"), button("Leave it as it was", leave)));
  } else {
    const edit = me.mayReview && pair && !pair.withdrawn_ms ? button("Edit", change, "", "write-edit") : null;
    fill($("#actions"), el("p", { class: "dim wide" }, whatNext(pair)), el("div", { class: "row" }, another, edit), withdraw);
  }
  showKeyHints($("#actions"));
}

/** @param {Pair | null} pair */
function whatNext(pair) {
  if (!pair) return "";
  if (pair.withdrawn_ms) return "It stands in no list and no later dataset; the record keeps it.";
  if (pair.author_id !== me.id) return `Written by ${pair.author}.`;
  return { submitted: "A reviewer reads it next. You see here what they say.", accepted: "A reviewer has accepted it: it goes into the next dataset.", rejected: "A reviewer has turned it down." }[pair.state] ?? "";
}

async function handIn() {
  complain("");
  if (isBlank(turns.read())) return void turns.complain("messages[0].content", "write a question first, then its answer");
  if (!drafts.mayHandIn()) return;
  try {
    await saving.flush();
    const pair = /** @type {Pair} */ (saving.pair());
    await post(`/api/pairs/${pair.id}/submit`, {});
    toast("Handed in: a reviewer reads it next.", "good");
    await start(pair.id);
    $("#actions a").focus();
  } catch (error) {
    explain(error);
  }
}

function change() {
  mode = "changing";
  saving.setAuto(false);
  fill($("#turns"));
  showMode(/** @type {Pair} */ (saving.pair()));
  turns.focus();
}

async function saveChange() {
  complain("");
  try {
    await saving.flush();
    toast("Saved as a new revision.", "good");
    await start(/** @type {Pair} */ (saving.pair()).id);
  } catch (error) {
    explain(error);
  }
}

function leave() {
  saving.drop();
  void start(/** @type {Pair} */ (saving.pair()).id);
}

function throwAway() {
  saving.drop();
  location.assign("/write");
}

function askToWithdraw() {
  const comment = el("textarea", { id: "why", rows: 2, maxlength: 5000 });
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const dialog = el("dialog", { class: "dialog", "aria-labelledby": "withdraw-title" });
  const run = async () => {
    try {
      const pair = /** @type {Pair} */ (saving.pair());
      saving.drop();
      await post(`/api/pairs/${pair.id}/withdraw`, { comment: comment.value });
      location.assign("/write");
    } catch (problem) {
      error.textContent = /** @type {Error} */ (problem).message;
      error.hidden = false;
    }
  };
  fill(dialog, el("div", { class: "stack" }, el("h2", { id: "withdraw-title" }, "Withdraw this pair?"),
    el("p", {}, "It leaves every list, and no dataset made from now on holds it. Datasets made before keep it. There is no way back."),
    el("div", { class: "field" }, el("label", { for: "why" }, "Why ", el("small", { class: "dim" }, "if you like")), comment), error,
    el("p", { class: "row end" }, el("button", { type: "button", class: "button", onclick: () => dialog.close() }, "Keep it"), el("button", { type: "button", class: "button danger", onclick: () => void run() }, "Withdraw"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

// Beginning ------------------------------------------------------------------------------------------------------------

/** @param {Pair | null} pair */
function showMode(pair) {
  const reads = mode === "reading";
  $("#about").hidden = reads;
  $("#near").hidden = true;
  if (pair) showContent(contentOf(pair));
  drawState(pair);
  if (reads && pair) {
    const place = $("#turns");
    fill(place, el("p", { class: "dim" }, "…"));
    void render(pair.messages.map((each) => each.content)).then((html) => {
      fill(place, el("div", { class: "card" }, conversation(pair.messages, html)), facts(pair));
    }, explain);
    if (view === "preview") view = "history";
  } else if (mode === "changing" && view === "history") view = "preview";
  drawViews();
  void drawBeside();
}

/** @param {Pair} pair */
function facts(pair) {
  return el("p", { class: "row small dim facts" }, pair.tags.map((tag) => el("span", { class: "badge wrap" }, tag)),
    pair.source ? el("span", { class: "wrap" }, `from: ${pair.source}`) : null, pair.licence ? el("span", { class: "wrap" }, `licence: ${pair.licence}`) : null);
}

/** @param {string} id */
async function start(id) {
  $("#notice").hidden = true;
  /** @type {Pair | null} */
  let pair = id ? await get(`/api/pairs/${id}`) : null;
  const kept = id === me.pair || !id ? recall(me.id, name) : null;
  const own = !pair || isMyDraft(pair);
  mode = own ? "editing" : "reading";
  saving?.close();
  saving = saver({ person: me.id, name: pair?.id ?? name, pair, pending: own ? (kept?.pending ?? null) : null, read: content, note: drafts.note, tell, made, saved: drawState, clashed });
  saving.setAuto(own);
  showMode(pair);
  if (!pair) showContent({ messages: [], tags: [], source: WRITTEN_HERE, licence: localStorage.getItem("tutelage.licence") ?? "" });
  if (own && kept) bringBack(kept, pair);
  else if (kept && pair) showKept(kept, pair);
  tell({ kind: own && kept ? "typed" : "clean" });
  if (!pair) turns.focus();
}

/** What this browser kept: on top of what the server has, or beside it where somebody was quicker.
 * @param {import("./write_local.js").Draft} kept @param {Pair | null} pair */
function bringBack(kept, pair) {
  if (pair && sameContent(kept.content, contentOf(pair)) && !kept.pending) return forget(me.id, name);
  showContent(kept.content);
  if (pair && kept.base !== pair.revision && !kept.pending && !sameWords(kept.content.messages, pair.messages)) return clashed(pair);
  keep(me.id, pair?.id ?? name, kept);
  $("#notice").textContent = "Brought back what this browser had kept.";
  $("#notice").hidden = false;
  if (mode === "editing") void saving.flush().catch(explain);
}

/** Words that were never saved, of a pair that is not edited just now. @param {import("./write_local.js").Draft} kept @param {Pair} pair */
function showKept(kept, pair) {
  if (sameWords(kept.content.messages, pair.messages)) return forget(me.id, name);
  const place = $("#notice");
  const use = el("button", { type: "button", class: "button small", onclick: () => { change(); bringBack(kept, pair); } }, "Go on with them");
  fill(place, el("details", {}, el("summary", {}, "This browser kept words that were never saved."), kept.content.messages.map((each) => el("p", { class: "words" }, each.content))),
    el("p", { class: "row" }, me.mayReview && !pair.withdrawn_ms ? use : null, el("button", { type: "button", class: "button small quiet", onclick: () => { forget(me.id, name); place.hidden = true; } }, "Throw them away")));
  place.hidden = false;
}

bindKeys({
  "write-submit": { key: "mod+enter", label: "Hand in, or save", run: () => void (mode === "editing" ? handIn() : mode === "changing" ? saveChange() : undefined) },
  "write-new": { key: "n", label: "Write another pair", run: () => location.assign("/write/new") },
  "write-edit": { key: "e", label: "Edit (reviewers)", run: () => { if (mode === "reading" && me.mayReview) change(); } },
  "write-preview": { key: "p", label: "Preview", run: () => { if (mode !== "reading") look("preview"); } },
  "write-guide": { key: "g", label: "Guideline", run: () => look("guide") },
  "write-history": { key: "h", label: "History", run: () => { if (saving?.pair()) look("history"); } },
});
$("#form").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
$("#licence").addEventListener("change", () => localStorage.setItem("tutelage.licence", $("#licence").value));
window.setInterval(tick, 1000);
void start(me.pair).catch((error) => { fill($(".editor")); complain(error.message); });
