// @ts-check
/** The projects one can judge in, what waits in each, and what one's labels became; reviewers make new ones. */

import { get, path } from "./api.js";
import { $, el, fill } from "./dom.js";
import { initNewProject } from "./judge_new.js";
import { left, todayMs, whyNothing } from "./judge_state.js";

const KINDS = { comparison: "Compare two answers", ranking: "Rank answers", thumbs: "Good or not", rating: "Rate an answer" };
const place = $("#projects");
const reviews = place.dataset.role !== "rater";

export async function showProjects() {
  try {
    /** @type {any[]} */
    const all = [];
    for (let after = ""; ; ) {
      const { records, next } = await get(path`/api/work?since_ms=${todayMs()}&after=${after}`);
      all.push(...records);
      if (!next) break;
      after = next;
    }
    const shown = all.filter((each) => reviews || each.state !== "closed" || each.num_given);
    shown.sort((one, other) => Number(other.num_waiting > 0) - Number(one.num_waiting > 0));
    fill(place, shown.length ? shown.map(card) : empty());
  } catch (error) {
    fill(place, el("p", { class: "error" }, /** @type {Error} */ (error).message));
  }
}

/** @param {any} work */
function card(work) {
  const { project, kind, question, state } = work;
  const isWaiting = work.num_waiting > 0;
  const place = path`/judge/${project}`;
  return el("article", { class: "card project stack", dataset: { project } },
    el("div", { class: "row between" },
      el("div", { class: "about" },
        el("h2", { class: "wrap" }, project, " ", state === "open" ? null : el("span", { class: "badge warn" }, state)),
        el("p", { class: "dim small wrap" }, `${KINDS[/** @type {keyof typeof KINDS} */ (kind)]} · ${question}`),
        el("p", { class: "small" }, isWaiting ? el("strong", {}, `${left(work)} waiting for you`) : nothing(work), work.num_given ? ` · ${work.num_since} today, ${work.num_given} in all` : "")),
      el("div", { class: "row" },
        work.num_given ? el("a", { class: isWaiting ? "button quiet" : "button", href: `${place}/mine`, "aria-label": `My labels in ${project}` }, "My labels") : null,
        reviews ? el("a", { class: isWaiting ? "button quiet" : "button", href: `${place}/decide`, "aria-label": `Decide in ${project}` }, "Progress and decisions") : null,
        reviews ? el("a", { class: `button${work.why_nothing === "empty" ? " primary" : isWaiting ? " quiet" : ""}`, href: `${place}/project`, "aria-label": `Look after ${project}` }, work.why_nothing === "empty" ? "Add answers" : "Look after it") : null,
        isWaiting ? el("a", { class: "button primary", href: place, "aria-label": `${work.num_given ? "Go on with" : "Begin"} ${project}` }, work.num_given ? "Go on" : "Begin") : null,
        work.why_nothing === "held" ? el("a", { class: "button quiet", href: place, "aria-label": `Wait for the next one in ${project}` }, "Wait for one") : null)));
}

/** @param {any} work */
function nothing(work) {
  if (work.state === "paused") return "It hands out nothing until somebody opens it again.";
  if (work.state === "closed") return "It is finished.";
  return `Nothing waits for you. ${whyNothing(work)}`;
}

function empty() {
  return el("div", { class: "empty" },
    el("h2", {}, "There is nothing to judge yet"),
    reviews
      ? el("p", {}, "Make a project: say what is asked, then add answers of a model, from a file or sampled. Raters find them here.")
      : el("p", {}, "A reviewer makes a project and puts answers of a model into it; then they wait for you here. Until then you can ", el("a", { href: "/write" }, "write answers"), " or ", el("a", { href: "/chat" }, "talk to a model"), "."));
}

/** "Your 120 labels are in labels:helpful@3, which trained rm-2." */
async function showUses() {
  const { num_labels, labels } = await get("/api/uses");
  if (!num_labels) return;
  const line = $("#uses");
  const held = labels.held.slice(-3).map((/** @type {any} */ each) => each.name);
  const models = labels.uses.slice(0, 3).map((/** @type {any} */ each) => each.model);
  const more = labels.uses.length - models.length;
  fill(line,
    el("strong", {}, `${num_labels} of your labels `), `${num_labels === 1 ? "is" : "are"} in `, listed(held),
    models.length ? [", which helped to make ", listed(models), more > 0 ? ` and ${more} more` : "", "."] : ". No model has learned from them yet; the next training can.");
  line.hidden = false;
}

/** @param {string[]} names */
function listed(names) {
  return names.flatMap((each, index) => [index ? (index === names.length - 1 ? " and " : ", ") : "", el("code", {}, each)]);
}

if (reviews) initNewProject();
void showProjects();
showUses().catch(() => {}); // a line that may be missing
