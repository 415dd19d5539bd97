// @ts-check
/** For reviewers: how far each project is, how far people agree, and a line for each rater. */

import { get, path } from "./api.js";
import { $, el, fill } from "./dom.js";
import { complain, counted, figure, seconds, shareOf } from "./people_words.js";

async function load() {
  /** @type {any[]} */
  const projects = [];
  for (let after = ""; ; ) {
    const { records, next } = await get(path`/api/projects?after=${after}`);
    projects.push(...records);
    if (!next) break;
    after = next;
  }
  const place = $("#projects");
  if (!projects.length) {
    fill(place, el("div", { class: "empty" }, el("h2", {}, "There is no project yet"), el("p", {}, "Make one: people then judge answers, and how far they agree stands here."), el("p", {}, el("a", { class: "button primary", href: "/judge" }, "Make a project"))));
    return;
  }
  fill(place, projects.map((each) => el("article", { class: "card stack", dataset: { project: each.name } }, el("h2", { class: "wrap" }, each.name), el("p", { class: "dim" }, "Counting…"))));
  for (const each of projects) await show(each.name);
}

/** @param {string} project */
async function show(project) {
  const place = $(`[data-project="${CSS.escape(project)}"]`);
  try {
    fill(place, parts(await get(path`/api/projects/${project}/progress`)));
  } catch (error) {
    fill(place, el("h2", { class: "wrap" }, project), el("p", { class: "error" }, /** @type {Error} */ (error).message));
  }
}

/** @param {any} told */
function parts(told) {
  const share = told.num_wanted ? told.num_done / told.num_wanted : 0;
  return [
    el("div", { class: "row between" }, el("h2", { class: "wrap" }, told.project, " ", told.state === "open" ? null : el("span", { class: "badge warn" }, told.state)), el("a", { href: path`/judge/${told.project}/decide` }, "What they disagree on")),
    told.num_wanted ? el("div", {}, el("progress", { max: told.num_wanted, value: told.num_done, "aria-label": `Verdicts in ${told.project}` }), el("small", { class: "dim" }, `${told.num_done.toLocaleString("en")} of ${told.num_wanted.toLocaleString("en")} verdicts wanted, ${Math.floor(100 * share)} %`)) : el("p", { class: "dim" }, "It has no items yet."),
    el("div", { class: "figures" },
      told.agreement.map(agreement),
      figure(shareOf(told.with_self, "repeats"), "the same when asked again", "self-agreement"),
      figure(shareOf(told.gold, "verdicts"), "right where the answer is known", "gold"),
      figure(seconds(told.median_seconds), "is the usual time", "median"),
      told.num_adjudicated ? figure(told.num_adjudicated, "decided by reviewers") : null),
    told.raters.length ? table(told) : el("p", { class: "dim" }, "Nobody has judged here yet."),
  ];
}

/** @param {any} measure */
function agreement(measure) {
  const { alpha, raw, name } = measure;
  const which = name && name !== "verdict" ? `: ${name}` : "";
  const number = (/** @type {number} */ value) => value.toFixed(2);
  return figure(
    el("span", { class: "nowrap" }, alpha ? `α ${number(alpha.alpha.estimate)} [${number(alpha.alpha.low)}, ${number(alpha.alpha.high)}]` : "–"),
    `beyond chance${which}${raw ? `; the same in ${Math.round(100 * raw.share.estimate)} %` : ""}`, "Krippendorff's α",
  );
}

/** @param {any} told */
function table(told) {
  const columns = ["Rater", "Verdicts", "Same as others", "Same as before", "Right on known", "Median time", "Skipped", "Cannot judge"];
  return el("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Raters of ${told.project}` },
    el("table", { class: "table raters" },
      el("caption", { class: "small dim" }, `${counted(told.raters.length, "rater")}, by name`),
      el("thead", {}, el("tr", {}, columns.map((each) => el("th", { scope: "col" }, each)))),
      el("tbody", {}, told.raters.map((/** @type {any} */ each) =>
        el("tr", {},
          el("th", { scope: "row", class: "wrap" }, each.name), el("td", {}, each.num_labels.toLocaleString("en")), el("td", {}, shareOf(each.with_others, "items")),
          el("td", {}, shareOf(each.with_self, "repeats")), el("td", {}, shareOf(each.gold, "items")), el("td", {}, seconds(each.median_seconds)), el("td", {}, each.num_skipped), el("td", {}, each.num_cannot_judge))))));
}

load().catch(complain);
