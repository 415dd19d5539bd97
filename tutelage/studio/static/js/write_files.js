// @ts-check
/** Files in and out: an import is tried first, with all that would be left out, and only then kept. */

import { get, request } from "./api.js";
import { $, $$, ago, el, fill } from "./dom.js";
import { counted } from "./write_words.js";

/** @typedef {{file: string, format: string, dry_run: boolean, project: string, num_read: number, num_added: number, num_already: number, num_left_out: number, added: Record<string, number>, left_out: {line: number | null, record: string | number | null, field: string | null, code: string, problem: string}[]}} Outcome */

const form = $("#import");
const outcome = $("#outcome");
const SHOWN = 200;

/** @param {boolean} isTrial */
async function send(isTrial) {
  const file = form.elements.namedItem("file").files[0];
  const error = $(".error", form);
  error.hidden = true;
  if (!file) return complain("choose a file first");
  const query = new URLSearchParams({ filename: file.name, dry_run: String(isTrial) });
  for (const name of ["kind", "state", "licence", "tag", "project"]) {
    const value = form.elements.namedItem(name).value.trim();
    if (value) query.set(name, value);
  }
  busy(true);
  fill(outcome, el("p", { class: "dim" }, isTrial ? "Reading the file…" : "Bringing it in…"));
  try {
    const made = await request("POST", `/api/imports?${query}`, file);
    fill(outcome, told(made));
    /** @type {HTMLElement | null} */ (outcome.querySelector("h3"))?.focus();
    if (!isTrial) void showImports();
  } catch (problem) {
    fill(outcome);
    complain(/** @type {Error} */ (problem).message);
  }
  busy(false);
}

/** @param {string} text */
function complain(text) {
  const error = $(".error", form);
  error.textContent = text;
  error.hidden = false;
}

/** @param {boolean} on */
function busy(on) {
  for (const button of $$("button", form)) button.disabled = on;
}

/** @param {Outcome} made */
function told(made) {
  const { dry_run: isTrial, num_added: added, num_already: already, num_left_out: out } = made;
  const tally = [[made.num_read, "read"], [added, isTrial ? "would be new" : "new"], [already, "here already"], [out, isTrial ? "would be left out" : "left out"]];
  return el("div", { class: "stack" },
    el("h3", { tabindex: "-1" }, isTrial ? "What would become of it" : "It is in"),
    el("dl", { class: "tally" }, tally.map(([count, text]) => el("div", {}, el("dt", {}, text), el("dd", {}, Number(count).toLocaleString("en"))))),
    el("p", { class: "small dim wrap" }, `${made.file}, read as ${made.format}${made.project ? `, into the project ${made.project}` : ""}: ${Object.entries(made.added).map(([kind, count]) => `${count.toLocaleString("en")} ${kind}`).join(", ") || "nothing new"}.`),
    out ? leftOut(made) : null,
    isTrial
      ? el("p", { class: "row" }, added ? el("button", { type: "button", class: "button primary", onclick: () => void send(false) }, `Bring ${counted(added, "record")} in`) : el("span", { class: "dim" }, "There is nothing new in it."))
      : el("p", {}, el("a", { href: "/review" }, "Review what waits"), " or ", el("a", { href: "/write?whose=all" }, "look at the pairs"), "."));
}

/** @param {Outcome} made */
function leftOut(made) {
  const shown = made.left_out.slice(0, SHOWN);
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Left out" },
    el("table", { class: "table" },
      el("caption", { class: "visually-hidden" }, "What is left out, and why"),
      el("thead", {}, el("tr", {}, ["Line", "Field", "Problem"].map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", {}, shown.map((each) => el("tr", {},
        el("td", { class: "num nowrap" }, each.line ?? each.record ?? ""), el("td", { class: "mono field-name" }, each.field ?? ""), el("td", { class: "wrap" }, each.problem))))),
    made.num_left_out > shown.length ? el("p", { class: "small dim" }, `and ${(made.num_left_out - shown.length).toLocaleString("en")} more`) : null);
}

async function showImports() {
  const place = $("#imports");
  try {
    const { records } = await get("/api/imports?limit=10");
    fill(place, records.length
      ? el("ul", { class: "pairs" }, records.map((/** @type {any} */ each) => el("li", {}, el("strong", { class: "wrap" }, each.file), " ", el("span", { class: "small dim" }, ago(each.at_ms)),
        el("p", { class: "small" }, `${each.num_added.toLocaleString("en")} new, ${each.num_already.toLocaleString("en")} here already, ${each.num_left_out.toLocaleString("en")} left out${each.finished_ms ? "" : "; not finished: bring the same file in again to go on"}`))))
      : el("p", { class: "dim" }, "Nothing yet."));
  } catch (error) {
    fill(place, el("p", { class: "error" }, /** @type {Error} */ (error).message));
  }
}

function showLink() {
  const data = new FormData($("#export"));
  const query = new URLSearchParams({ what: "pairs", format: String(data.get("format")) });
  for (const state of data.getAll("state")) query.append("state", String(state));
  $("#download").href = `/api/exports?${query}`;
}

form.addEventListener("submit", (/** @type {Event} */ event) => { event.preventDefault(); void send(true); });
form.addEventListener("change", () => fill(outcome));
$("#export").addEventListener("change", showLink);
$("#export").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
showLink();
void showImports();
