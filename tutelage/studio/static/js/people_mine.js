// @ts-check
/** One's own work: what it did, what one wrote, and how one judges, which only oneself and the reviewers see. */

import { get, path } from "./api.js";
import { $, el, fill } from "./dom.js";
import { complain, counted, figure, listed, rate, seconds, shareOf } from "./people_words.js";

const page = $("#mine");

async function showWhatItDid() {
  const [uses, evaluations] = await Promise.all([get("/api/uses"), get("/api/evaluations?limit=100").catch(() => ({ records: [] }))]);
  const place = $("#did");
  const parts = [part(uses.num_labels, "verdict", uses.labels), part(uses.num_pairs, "pair", uses.pairs)].filter(Boolean);
  if (!parts.length) {
    fill(place, el("div", { class: "empty" }, el("h3", {}, "Nothing has learned from your work yet"),
      el("p", {}, "Once a dataset holds a pair or verdict of yours, and a model is trained on it, you read here what came of it: which models, and how much better their answers are."),
      el("p", { class: "row" }, el("a", { class: "button primary", href: "/judge" }, "Judge answers"), el("a", { class: "button", href: "/write/new" }, "Write a pair"))));
    return;
  }
  const models = [...new Set([...uses.labels.uses, ...uses.pairs.uses].map((each) => each.model))];
  fill(place, parts, outcome(models, evaluations.records));
}

/** "120 of your verdicts are in labels:helpful@3; taste-1 and assistant-2 learned from them." @param {number} number @param {string} what @param {any} uses */
function part(number, what, uses) {
  if (!number) return null;
  const direct = uses.uses.filter((/** @type {any} */ each) => each.path.length === 1).map((/** @type {any} */ each) => each.model);
  const through = uses.uses.filter((/** @type {any} */ each) => each.path.length > 1).map((/** @type {any} */ each) => each.model);
  const address = (/** @type {string} */ model) => path`/models/${model}`;
  return el("p", { class: "note" },
    el("strong", {}, `${counted(number, what)} of yours `), number === 1 ? "is in " : "are in ", listed(uses.held.map((/** @type {any} */ each) => each.name)), ". ",
    direct.length ? ["Trained on that: ", listed(direct, address), ". "] : "No model has learned from that yet; the next training can. ",
    through.length ? ["Made with what those learned: ", listed(through, address), "."] : "");
}

/** Win rates of these models, by the newest evaluation of each. @param {string[]} models @param {any[]} evaluations */
function outcome(models, evaluations) {
  const contests = evaluations.flatMap((each) => (each.numbers?.contests ?? []).map((/** @type {any} */ contest) => ({ ...contest, at_ms: each.at_ms })));
  const found = models.map((model) => contests.find((each) => each.model === model && each.rate)).filter(Boolean);
  if (!found.length) return models.length ? el("p", { class: "dim" }, "Nobody has compared these models with others yet.") : null;
  return el("div", {},
    el("h3", {}, "And did it help?"),
    el("ul", { class: "folk" }, found.map((each) =>
      el("li", {}, el("span", { class: "wrap" }, "Of ", el("code", {}, each.model), el("small", { class: "dim" }, ` the answers were preferred to those of ${each.against} on ${counted(each.number, "prompt")}`)),
        el("span", { class: "row" }, el("strong", { class: "nowrap" }, rate(each.rate)), badge(each.verdict))))),
    el("p", { class: "small dim" }, "Win rate with the interval in which it lies 19 times out of 20; 50 % would be no difference."));
}

/** @param {string} verdict */
function badge(verdict) {
  const kind = verdict === "better" ? "good" : verdict === "worse" ? "bad" : "";
  return el("span", { class: `badge ${kind}` }, ["better", "worse"].includes(verdict) ? verdict : "no difference shown");
}

async function showWritten() {
  const counts = await get("/api/pairs/counts?mine=true");
  const words = { accepted: "accepted", submitted: "in review", returned: "sent back", draft: "drafts", rejected: "turned down" };
  const total = Object.values(counts).reduce((sum, each) => sum + each, 0);
  fill($("#wrote"), total
    ? Object.entries(words).map(([state, text]) => el("a", { class: "figure-link", href: `/write?state=${state}` }, figure(counts[state], text)))
    : el("p", { class: "dim" }, "No pair yet. ", el("a", { href: "/write/new" }, "Write the first"), "."));
}

async function showJudged() {
  /** @type {any[]} */
  const work = [];
  for (let after = ""; ; ) {
    const { records, next } = await get(path`/api/work?after=${after}`);
    work.push(...records);
    if (!next) break;
    after = next;
  }
  const mine = work.filter((each) => each.num_given);
  const told = await Promise.all(mine.map((each) => get(path`/api/projects/${each.project}/progress`)));
  const cards = told.map((each) => card(each)).filter(Boolean);
  fill($("#judged"), cards.length ? cards : el("p", { class: "dim" }, "Nothing yet. ", el("a", { href: "/judge" }, "See what waits"), "."));
}

/** @param {any} progress */
function card(progress) {
  const me = progress.raters.find((/** @type {any} */ each) => each.person_id === page.dataset.me);
  if (!me) return null;
  return el("article", { class: "card stack" },
    el("div", { class: "row between" }, el("h3", { class: "wrap" }, progress.project), el("a", { href: path`/judge/${progress.project}/mine` }, "My labels")),
    el("div", { class: "figures" },
      figure(me.num_labels, "verdicts"),
      figure(shareOf(me.with_others, "items"), "the same as others", "agreement"),
      figure(shareOf(me.with_self, "repeats"), "the same when asked again", "self-agreement"),
      figure(shareOf(me.gold, "items"), "right where the answer is known", "gold"),
      figure(seconds(me.median_seconds), "is the usual time", "median"),
      me.num_skipped ? figure(me.num_skipped, "skipped") : null));
}

for (const show of [showWhatItDid, showWritten, showJudged]) show().catch(complain);
