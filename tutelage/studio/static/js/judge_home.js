// @ts-check
/** The projects one can judge in, what waits in each, and what one's labels became. For reviewers also what looking after
 * a project takes. */

import { get, path } from "./api.js";
import { $, el, fill } from "./dom.js";
import { initNewProject } from "./judge_new.js";
import { care } from "./judge_care.js";
import { left, todayMs } from "./judge_state.js";

const KINDS = { comparison: "Compare two answers", ranking: "Rank answers", thumbs: "Good or not", rating: "Rate an answer" };
const place = $("#projects");
const reviews = place.dataset.role !== "rater";

/** @param {string} [opened] the project whose care is shown */
export async function showProjects(opened = "") {
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
    fill(place, shown.length ? shown.map((each) => card(each, opened === each.project)) : empty());
  } catch (error) {
    fill(place, el("p", { class: "error" }, /** @type {Error} */ (error).message));
  }
}

/** @param {any} work @param {boolean} isOpened */
function card(work, isOpened) {
  const { project, kind, question, state } = work;
  const isWaiting = work.num_waiting > 0;
  const place = path`/judge/${project}`;
  return el("article", { class: "card project stack", dataset: { project } },
    el("div", { class: "row between" },
      el("div", { class: "about" },
        el("h2", { class: "wrap" }, project, " ", state === "open" ? null : el("span", { class: "badge warn" }, state)),
        el("p", { class: "dim small wrap" }, `${KINDS[/** @type {keyof typeof KINDS} */ (kind)]} · ${question}`),
        el("p", { class: "small" }, isWaiting ? el("strong", {}, `${left(work)} waiting for you`) : "Nothing waits for you here now", work.num_given ? ` · ${work.num_since} today, ${work.num_given} in all` : "")),
      el("div", { class: "row" },
        work.num_given ? el("a", { class: "button quiet", href: `${place}/mine`, "aria-label": `My labels in ${project}` }, "My labels") : null,
        reviews ? el("a", { class: "button quiet", href: `${place}/decide`, "aria-label": `Decide in ${project}` }, "Progress and decisions") : null,
        el("a", { class: isWaiting ? "button primary" : "button", href: place, "aria-label": `${work.num_given ? "Go on with" : "Begin"} ${project}` }, work.num_given ? "Go on" : "Begin"))),
    reviews ? care(work, isOpened, () => showProjects(project)) : null);
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

if (reviews) initNewProject(showProjects);
void showProjects();
showUses().catch(() => {}); // a line that may be missing
