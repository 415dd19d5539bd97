// @ts-check
/** Datasets, their snapshots, what differs between two, and a form that takes a new one. The address holds what is
 * looked at: `?name=curated&old=1&new=3`. */

import { get, post } from "./api.js";
import { $, ago, complainIn, el, fill } from "./dom.js";
import { diffNodes, legend } from "./write_diff.js";
import { counted, gist, start, STATES } from "./write_words.js";

/** @typedef {{name: string, kind: "pairs" | "labels", number: number, content_hash: string, num_records: number, why: string, chosen_by: any, created_by: string, created_ms: number}} Snapshot */
/** @typedef {{name: string, kind: string, newest: Snapshot}} Dataset */

const SHOWN = 20;
const PAGE = 50;
const form = $("#make");
/** @type {Snapshot[]} */
let snapshots = [];
/** The newest snapshot of each dataset. @type {Map<string, number>} */
let numbers = new Map();
let chosen = new URLSearchParams(location.search).get("name") ?? "";

/** @param {any} error */
function complain(error) {
  $("#problem").textContent = error.message;
  $("#problem").hidden = false;
}

/** @param {string} kind @param {number} count */
const records = (kind, count) => counted(count, kind === "labels" ? "verdict" : "pair");

/** @param {Record<string, string | number>} query */
function address(query) {
  const text = new URLSearchParams(Object.entries(query).map(([name, value]) => [name, String(value)])).toString();
  history.replaceState(null, "", `/review/datasets${text ? `?${text}` : ""}`);
}

async function showList() {
  const place = $("#datasets");
  /** @type {Dataset[]} */
  const all = [];
  for (let after = ""; ;) {
    const page = await get(`/api/datasets?limit=200${after ? `&after=${encodeURIComponent(after)}` : ""}`);
    all.push(...page.records);
    if (!page.next) break;
    after = page.next;
  }
  numbers = new Map(all.map(({ name, newest }) => [name, newest.number]));
  fill($("#names"), all.map(({ name }) => el("option", { value: name })));
  if (!all.length) {
    fill(place, el("div", { class: "empty" }, el("h2", {}, "No dataset yet"), el("p", {}, "Accept some pairs, then take the first snapshot with the form: it gets the name curated@1, and a training run can learn from it.")));
    return;
  }
  fill(place, el("ul", { class: "pairs" }, all.map(({ name, kind, newest }) => el("li", { class: "row between" },
    el("button", { type: "button", class: "link wrap", dataset: { name }, "aria-pressed": String(name === chosen), onclick: () => void choose(name).catch(complain) }, name),
    el("span", { class: "small dim" }, `${counted(newest.number, "snapshot")} · newest ${records(kind, newest.num_records)}, ${ago(newest.created_ms)}`)))));
  if (!all.some((each) => each.name === chosen)) chosen = all[0].name;
}

/** @param {string} name */
async function choose(name) {
  chosen = name;
  $("#diff").hidden = true;
  address({ name });
  snapshots = [];
  await older();
}

async function older() {
  const before = snapshots.length ? `&before=${snapshots[snapshots.length - 1].number}` : "";
  const page = await get(`/api/snapshots?dataset=${encodeURIComponent(chosen)}&limit=${PAGE}${before}`);
  snapshots.push(...page);
  drawOne(page.length === PAGE);
}

/** @param {boolean} hasMore */
function drawOne(hasMore) {
  const place = $("#one");
  place.hidden = false;
  const rows = snapshots.map((each) => el("tr", {},
    el("th", { scope: "row", class: "nowrap" }, `${each.name}@${each.number}`),
    el("td", { class: "num" }, each.num_records.toLocaleString("en")),
    el("td", { class: "why wrap" }, each.why || el("span", { class: "dim" }, "–"), el("div", { class: "small dim" }, rule(each))),
    el("td", { class: "small" }, el("span", { class: "wrap" }, each.created_by || "training"), el("div", { class: "dim nowrap", title: new Date(each.created_ms).toLocaleString() }, ago(each.created_ms))),
    el("td", {}, el("a", { href: `/api/snapshots/file?name=${encodeURIComponent(`${each.name}@${each.number}`)}`, download: true, "aria-label": `Download ${each.name}@${each.number}` }, "Download"))));
  fill(place, el("h2", { id: "one-title", class: "wrap" }, chosen),
    el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Snapshots of ${chosen}` }, el("table", { class: "table" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Snapshot"), el("th", { scope: "col", class: "num" }, snapshots[0].kind === "labels" ? "Verdicts" : "Pairs"), el("th", { scope: "col" }, "Why"), el("th", { scope: "col" }, "Who"), el("th", { scope: "col" }, "File"))),
      el("tbody", {}, rows))),
    hasMore ? el("p", {}, el("button", { type: "button", class: "button small", onclick: () => void older().catch(complain) }, "Older ones")) : null,
    snapshots.length > 1 ? comparing() : null);
}

/** What was asked for. @param {Snapshot} snapshot */
function rule({ chosen_by: asked, kind }) {
  const out = Object.entries(asked.left_out ?? {}).map(([why, count]) => `${count} left out: ${why}`);
  const states = (asked.states ?? []).map((/** @type {string} */ state) => STATES[state]?.text ?? state).join(" or ");
  const tags = asked.tags?.length ? `tagged ${asked.tags.join(" and ")}` : "";
  const sources = asked.sources?.length ? `from ${asked.sources.join(" or ")}` : "";
  const extra = [asked.gold ? "with gold" : "", asked.repeats ? "with repeats" : ""];
  return [kind === "pairs" ? states : "", tags, sources, ...extra, ...out].filter(Boolean).join(", ");
}

function comparing() {
  const options = (/** @type {string} */ wanted) => snapshots.map(({ number, num_records: count }) => el("option", { value: number, selected: String(number) === wanted }, `@${number} (${count.toLocaleString("en")})`));
  const old = el("select", { id: "old" }, options(String(snapshots[1].number)));
  const fresh = el("select", { id: "new" }, options(String(snapshots[0].number)));
  return el("div", { class: "row" },
    el("label", { for: "old" }, "From"), el("span", {}, old), el("label", { for: "new" }, "to"), el("span", {}, fresh),
    el("button", { type: "button", class: "button", onclick: () => void compare(old.value, fresh.value).catch(complain) }, "What differs"));
}

/** @param {string} old @param {string} fresh */
async function compare(old, fresh) {
  address({ name: chosen, old, new: fresh });
  const place = $("#diff");
  place.hidden = false;
  fill(place, el("p", { class: "dim" }, "Looking…"));
  try {
    const query = new URLSearchParams({ old: `${chosen}@${old}`, new: `${chosen}@${fresh}`, limit: String(SHOWN) });
    const found = await get(`/api/snapshots/diff?${query}`);
    const kind = found.new.kind;
    fill(place, el("h2", { id: "diff-title" }, `From @${old} to @${fresh}`),
      el("dl", { class: "tally" }, [["added", "came"], ["removed", "went"], ["changed", "changed"], ["same", "stayed"]].map(([name, text]) => el("div", {}, el("dt", {}, text), el("dd", {}, found[`num_${name}`].toLocaleString("en"))))),
      part("Came", found.added, found.num_added, (line) => el("ins", {}, words(line)), kind),
      part("Went", found.removed, found.num_removed, (line) => el("del", {}, words(line)), kind),
      found.changed.length ? [el("h3", {}, "Changed"), legend(`only in @${fresh}`, `only in @${old}`)] : null,
      found.changed.map((/** @type {any} */ each) => el("details", { class: "card sunk" }, el("summary", { class: "wrap" }, words(each.new)), changed(each))),
      found.num_changed > found.changed.length ? rest(found.num_changed - found.changed.length) : null);
  } catch (error) {
    fill(place, el("p", { class: "error", id: "diff-title" }, /** @type {Error} */ (error).message));
  }
}

/** @param {string} title @param {any[]} lines @param {number} count @param {(line: any) => Node} node @param {string} kind */
function part(title, lines, count, node, kind) {
  if (!count) return null;
  return el("div", { class: "stack" }, el("h3", {}, `${title}: ${records(kind, count)}`), el("ul", { class: "pairs" }, lines.map((line) => el("li", { class: "wrap" }, node(line)))), count > lines.length ? rest(count - lines.length) : null);
}

/** @param {number} count */
const rest = (count) => el("p", { class: "small dim" }, `and ${count.toLocaleString("en")} more`);

/** The beginning of a record. @param {any} line */
function words(line) {
  const messages = line.messages ?? line.prompt ?? [];
  const { question, answer } = gist(Array.isArray(messages) ? messages : [{ role: "user", content: String(messages) }]);
  return `${start(question, 90)}${answer ? ` → ${start(answer, 90)}` : ""}` || line.id;
}

/** @param {{old: any, new: any, changes: any[]}} each */
function changed(each) {
  if (each.changes.some((change) => change.op !== "equal")) return diffNodes(each.changes);
  const names = Object.keys(each.new).filter((name) => JSON.stringify(each.old[name]) !== JSON.stringify(each.new[name]));
  return el("dl", {}, names.map((name) => [el("dt", { class: "small dim" }, name), el("dd", { class: "wrap" }, el("del", {}, JSON.stringify(each.old[name]) ?? "–"), " ", el("ins", {}, JSON.stringify(each.new[name]) ?? "–"))]).flat());
}

/** @param {string} name */
const list = (name) => form.elements.namedItem(name).value.split(",").map((/** @type {string} */ each) => each.trim()).filter(Boolean);

async function make() {
  complainIn(form);
  $("#made").hidden = true;
  const name = form.elements.namedItem("name").value.trim();
  const isLabels = name.startsWith("labels:");
  const body = isLabels
    ? { name, gold: form.elements.namedItem("gold").checked, repeats: form.elements.namedItem("repeats").checked, why: form.elements.namedItem("why").value }
    : { name, states: new FormData(form).getAll("states"), tags: list("tags"), sources: list("sources"), why: form.elements.namedItem("why").value };
  try {
    const made = await post("/api/snapshots", body);
    const snapshot = `${made.name}@${made.number}`;
    const method = made.kind === "pairs" ? "sft" : "reward";
    fill($("#made"),
      numbers.get(name) === made.number ? `Nothing is new since ${snapshot}, so that one stands. ` : `${snapshot} holds ${records(made.kind, made.num_records)}. `,
      el("a", { href: `/runs/new?${new URLSearchParams({ method, data: snapshot })}` }, "Train a model on it"));
    $("#made").hidden = false;
    chosen = made.name;
    await showList();
    await choose(made.name);
  } catch (problem) {
    complainIn(form, problem);
  }
}

function showKind() {
  const isLabels = form.elements.namedItem("name").value.startsWith("labels:");
  $("#of-pairs").hidden = isLabels;
  $("#of-labels").hidden = !isLabels;
}

form.addEventListener("submit", (/** @type {Event} */ event) => { event.preventDefault(); void make(); });
form.elements.namedItem("name").addEventListener("input", showKind);
showKind();
const asked = new URLSearchParams(location.search);
void showList().then(async () => {
  if (!chosen) return;
  await choose(chosen);
  if (asked.get("old") && asked.get("new") && snapshots.length > 1) {
    $("#old").value = asked.get("old");
    $("#new").value = asked.get("new");
    await compare($("#old").value, $("#new").value);
  }
}).catch(complain);
