// @ts-check
/** The first page: the step that helps most, what waits for oneself, and the loop with its counts. It looks again every
 * 20 seconds and whenever one comes back to it, and changes only what is new. */

import { get, path } from "./api.js";
import { $, el, fill } from "./dom.js";
import { counted, stations, wordsOf } from "./home_words.js";

const EVERY_MS = 20_000;
const DECIDE_AT_MOST = 20;
const role = $("#home").dataset.role;
/** What was shown, by place, to draw only what changed. @type {Map<string, string>} */
const drawn = new Map();
/** Items on which raters disagree, by project. @type {{project: string, count: string}[]} */
let disputed = [];
/** @type {any} */
let told = null;

/** @param {Element} place @param {any} shown @param {() => any[]} draw */
function redraw(place, shown, draw) {
  const text = JSON.stringify(shown);
  if (drawn.get(place.id) === text) return;
  drawn.set(place.id, text);
  const focused = place.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : null;
  fill(place, draw());
  if (focused) /** @type {HTMLElement | undefined} */ ([...place.querySelectorAll("a")].find((each) => each.getAttribute("href") === focused))?.focus();
}

/** @param {any} home */
function showStep(home) {
  const { title, why, button, href } = wordsOf(home.step);
  redraw($("#step-title"), title, () => [title]);
  redraw($("#step-why"), why, () => [why]);
  redraw($("#step-action"), [button, href], () => [el("a", { class: "button primary", href }, button)]);
}

/** @typedef {{count: string, what: string, more: string, href: string}} Line */

/** @param {any} loop @returns {Line[]} */
function linesOf(loop) {
  const line = (/** @type {number} */ number, /** @type {string} */ what, /** @type {string} */ href, more = "", count = String(number)) => (number ? [{ count, what, more, href }] : []);
  return [
    ...line(loop.num_returned, loop.num_returned === 1 ? "pair was sent back to you" : "pairs were sent back to you", "/write?state=returned"),
    ...line(loop.num_to_review, loop.num_to_review === 1 ? "pair to review" : "pairs to review", "/review"),
    ...loop.queues.flatMap((/** @type {any} */ each) => line(each.num_waiting, `to judge in ${each.project}`, path`/judge/${each.project}`, each.question, each.has_more ? `${each.num_waiting}+` : String(each.num_waiting))),
    ...disputed.flatMap(({ project, count }) => line(1, `to decide in ${project}`, path`/judge/${project}/decide`, "raters disagree", count)),
    ...line(loop.num_drafts, loop.num_drafts === 1 ? "draft of yours" : "drafts of yours", "/write?state=draft"),
  ];
}

/** @param {any} loop */
function showWaiting(loop) {
  const lines = linesOf(loop);
  redraw($("#waiting-title"), lines.length, () => [lines.length ? `${counted(lines.length, "thing")} ${lines.length === 1 ? "waits" : "wait"} for you` : "Nothing waits for you"]);
  redraw($("#waiting"), lines, () => (lines.length ? lines.map(lineOf) : [el("li", { class: "dim nothing" }, el("p", {}, "Meanwhile you can ", el("a", { href: "/write/new" }, "write a pair"), " or ", el("a", { href: "/chat" }, "talk to a model"), "."))]));
}

/** @param {Line} line */
function lineOf({ count, what, more, href }) {
  return el("li", {}, el("a", { href, class: "waiting-line" }, el("span", { class: "count" }, count), el("span", { class: "wrap" }, what, more ? el("small", { class: "dim" }, more) : null)));
}

/** @param {any} home */
function showLoop(home) {
  const all = stations(home.loop, home.num_training, role);
  const here = wordsOf(home.step).station;
  redraw($("#loop"), [all, here], () => [
    ...all.map((each) =>
      el("li", { class: `station-place at-${each.key}` },
        el("a", { class: `station${each.has ? " has" : ""}${each.key === here ? " here" : ""}`, href: each.href },
          el("span", { class: "station-title" }, each.title, each.term ? el("small", {}, each.term) : null),
          el("span", { class: each.count.length > 6 ? "station-name wrap" : "station-count" }, each.count),
          el("small", { class: "dim wrap" }, each.note),
          each.key === here ? el("small", { class: "station-here" }, "the next step is here") : null))),
    el("li", { class: "station-place at-again dim" }, el("span", { class: "again" }, "and round again")),
  ]);
}

function show() {
  showStep(told);
  showWaiting(told.loop);
  showLoop(told);
}

async function look() {
  try {
    told = await get("/api/home");
    show();
    $("#problem").hidden = true;
  } catch (error) {
    const text = `These counts may be old: ${/** @type {Error} */ (error).message}.`;
    const place = $("#problem");
    if (place.hidden || place.textContent !== text) place.textContent = text;
    place.hidden = false;
  }
}

/** Items to decide have to be read, which takes longer: once, after the rest. */
async function lookForDisputes() {
  if (role === "rater" || !told) return;
  for (const queue of told.loop.queues.filter((/** @type {any} */ each) => each.asks_twice && each.num_labels > 1)) {
    const { number, has_more } = await get(path`/api/projects/${queue.project}/disagreements/count?most=${DECIDE_AT_MOST}`);
    if (number) disputed.push({ project: queue.project, count: has_more ? `${number}+` : String(number) });
  }
  show();
}

await look();
lookForDisputes().catch(() => {}); // a line that may be missing
window.setInterval(() => document.visibilityState === "visible" && void look(), EVERY_MS);
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && void look());
window.addEventListener("focus", () => void look());
