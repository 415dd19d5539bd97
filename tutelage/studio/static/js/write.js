// @ts-check
/** My pairs by state, with what the reviewer said; search and tags; a page at a time. The address holds what is asked,
 * so that going back finds the same list. */

import { get } from "./api.js";
import { $, ago, debounce, el, fill } from "./dom.js";
import { bindKeys } from "./keys.js";
import { kept, forget } from "./write_local.js";
import { counted, gist, showKeyHints, start, STATES, stateBadge, viewer } from "./write_words.js";

/** @typedef {import("./write_words.js").Pair} Pair */

const PAGE = 20;
const ORDER = ["returned", "draft", "submitted", "accepted", "rejected"];
const me = viewer();
/** @type {{state: string, whose: string, tag: string, text: string}} */
const asked = { state: "", whose: "mine", tag: "", text: "" };
/** @type {string | null} */
let next = null;
let round = 0;
/** Pairs that were sent back stand above all others. @type {Set<string>} */
let onTop = new Set();

function readAddress() {
  const query = new URLSearchParams(location.search);
  asked.state = ORDER.includes(query.get("state") ?? "") ? /** @type {string} */ (query.get("state")) : "";
  asked.whose = query.get("whose") === "all" ? "all" : "mine";
  asked.tag = query.get("tag") ?? "";
  asked.text = query.get("text") ?? "";
  $("#whose").value = asked.whose;
  $("#tag").value = asked.tag;
  $("#text").value = asked.text;
}

function writeAddress() {
  const query = new URLSearchParams(Object.entries(asked).filter(([name, value]) => value && !(name === "whose" && value === "mine")));
  history.replaceState(null, "", query.size ? `/write?${query}` : "/write");
}

/** @param {string | null} after @param {string} [state] */
function address(after, state = asked.state) {
  const query = new URLSearchParams({ limit: String(PAGE), ...(state ? { state } : {}) });
  for (const name of /** @type {const} */ (["tag", "text"])) if (asked[name].trim()) query.set(name, asked[name].trim());
  if (asked.whose === "mine") query.set("author", me.name);
  if (after) query.set("after", after);
  return `/api/pairs?${query}`;
}

async function drawStates() {
  const mine = asked.whose === "mine";
  const counts = await get(`/api/pairs/counts?mine=${mine}`);
  const all = ORDER.reduce((sum, state) => sum + counts[state], 0);
  const chip = (/** @type {string} */ state, /** @type {string} */ text, /** @type {number} */ count) =>
    el("button", { type: "button", class: "chip", dataset: { state }, "aria-pressed": String(asked.state === state), onclick: () => choose({ state }) }, text, " ", el("span", { class: "count" }, count.toLocaleString("en")));
  const focused = /** @type {any} */ (document.activeElement)?.dataset?.state;
  fill($("#states"), chip("", "all", all), ORDER.map((state) => chip(state, STATES[state].text, counts[state])));
  if (focused !== undefined) $(`#states [data-state="${focused}"]`).focus();
}

/** @param {Partial<typeof asked>} changed */
function choose(changed) {
  Object.assign(asked, changed);
  writeAddress();
  void drawStates().catch(complain);
  void load(null);
}

/** @param {string | null} after */
async function load(after) {
  const mine = ++round;
  try {
    let page = await get(address(after));
    while (!page.records.length && page.next && mine === round) page = await get(address(page.next)); // a search goes through very many pairs part by part
    const first = after === null && !asked.state && asked.whose === "mine" ? (await get(address(null, "returned"))).records : [];
    if (mine !== round) return;
    next = page.next;
    if (after === null) onTop = new Set(first.map((/** @type {Pair} */ each) => each.id));
    show([...first, ...page.records.filter((/** @type {Pair} */ each) => !onTop.has(each.id))], after === null);
    $("#problem").hidden = true;
  } catch (error) {
    if (mine === round) complain(error);
  }
}

/** @param {any} error */
function complain(error) {
  $("#problem").textContent = error.message;
  $("#problem").hidden = false;
}

/** @param {Pair[]} records @param {boolean} isFirst */
function show(records, isFirst) {
  const list = $("#pairs");
  const rows = records.map(row);
  if (!isFirst) list.append(...rows);
  else fill(list, rows.length ? rows : el("li", {}, empty()));
  $("#more").hidden = !next;
  $("#told").textContent = records.length ? `${counted(list.children.length, "pair")} shown` : "no pairs";
  if (!isFirst) rows[0]?.querySelector("a")?.focus();
}

/** @param {Pair} pair */
function row(pair) {
  const { question, answer, turns } = gist(pair.messages);
  const note = pair.said && (pair.state === "returned" || pair.state === "rejected")
    ? el("p", { class: `said ${pair.state === "returned" ? "caution" : "error"} wrap` }, el("strong", {}, `${pair.said_by}: `), pair.said) : null;
  return el("li", { class: "card pair", dataset: { pair: pair.id } },
    note,
    el("div", { class: "row between top-line" },
      el("a", { class: "question wrap", href: `/write/${pair.id}`, dir: "auto" }, start(question) || "(no question yet)"),
      stateBadge(pair.state)),
    answer ? el("p", { class: "answer dim wrap", dir: "auto" }, start(answer, 220)) : el("p", { class: "answer dim" }, "No answer yet."),
    el("p", { class: "row small dim facts" },
      asked.whose === "all" ? el("span", { class: "wrap" }, pair.author_id === me.id ? "by you" : `by ${pair.author}`) : null,
      turns > 1 ? el("span", {}, counted(turns, "question")) : null,
      el("span", {}, ago(pair.changed_ms)),
      pair.tags.map((tag) => el("button", { type: "button", class: "badge tag", "aria-label": `Only pairs tagged ${tag}`, onclick: () => { $("#tag").value = tag; choose({ tag }); } }, tag))));
}

function empty() {
  if (asked.text || asked.tag) return el("div", { class: "empty" }, el("h2", {}, "Nothing fits"), el("p", {}, "No pair has these words or this tag. Take some away, or look in another state."));
  if (asked.state && asked.state !== "draft") return el("div", { class: "empty" }, el("h2", {}, `None ${asked.state === "submitted" ? "waits for review" : `is ${STATES[asked.state].text}`}`), el("p", {}, WHEN[asked.state]));
  return el("div", { class: "empty teach" },
    el("h2", {}, "Teach by example"),
    el("p", {}, "A pair is a question and the answer that you would be glad to get. The model learns to answer like that."),
    el("ul", {},
      el("li", {}, el("strong", {}, "A real question. "), "One that somebody would ask, in their own words."),
      el("li", {}, el("strong", {}, "A right answer. "), "First right, then clear, then short. “I do not know” is better than something made up."),
      el("li", {}, el("strong", {}, "Few and good. "), "A few hundred good pairs teach more than thousands of hurried ones.")),
    el("p", {}, el("a", { class: "button primary", href: "/write/new" }, "Write the first pair")));
}

/** @type {Record<string, string>} */
const WHEN = {
  returned: "When a reviewer wants a change, the pair comes here with what they said.",
  submitted: "A pair that you hand in waits here until a reviewer has read it.",
  accepted: "What a reviewer accepts goes into the next dataset, and the model learns from it.",
  rejected: "What a reviewer turns down stands here with the reason.",
};

/** What this browser holds and the server does not. */
function showKept() {
  const drafts = kept(me.id);
  const place = $("#kept");
  place.hidden = !drafts.length;
  fill(place, el("strong", {}, "Only in this browser so far"),
    drafts.map(({ name, draft }) => el("p", { class: "row between" },
      el("a", { class: "wrap", href: name.startsWith("new-") ? `/write/new#${name}` : `/write/${name}` }, start(gist(draft.content.messages).question, 90) || "(no question yet)"),
      el("button", { type: "button", class: "button small quiet", onclick: () => { forget(me.id, name); showKept(); } }, "Throw away"))));
}

const typed = debounce(() => choose({ tag: $("#tag").value, text: $("#text").value }), 300);
const suggest = debounce(async () => {
  const tags = await get(`/api/pairs/tags?beginning=${encodeURIComponent($("#tag").value)}`).catch(() => []);
  fill($("#tags"), tags.map((/** @type {string} */ value) => el("option", { value })));
}, 150);
$("#tag").addEventListener("input", () => { typed(); suggest(); });
$("#tag").addEventListener("focus", suggest, { once: true });
$("#text").addEventListener("input", typed);
$("#whose").addEventListener("change", () => choose({ whose: $("#whose").value }));
$("#more").addEventListener("click", () => void load(next));
bindKeys({
  "write-new": { key: "n", label: "Write a new pair", run: () => location.assign("/write/new") },
  "write-search": { key: "/", label: "Search", run: () => $("#text").focus() },
});
showKeyHints();
readAddress();
showKept();
void drawStates().catch(complain);
void load(null);
