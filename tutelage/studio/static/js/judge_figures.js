// @ts-check
/** How far a project is and how far its raters agree, as tables for reviewers. Numbers to talk about: nothing here
 * excludes anybody. */

import { get, path } from "./api.js";
import { el, fill, percent } from "./dom.js";

/** @param {HTMLElement} place @param {string} project */
export async function showFigures(place, project) {
  let told;
  try {
    told = await get(path`/api/projects/${project}/progress`);
  } catch (error) {
    fill(place, el("p", { class: "error" }, /** @type {Error} */ (error).message));
    return;
  }
  const wasOpen = place.querySelector("details")?.open ?? false;
  fill(place, el("details", { open: wasOpen }, el("summary", {}, "How far this project is, and how far raters agree"),
    el("div", { class: "card stack" },
      el("p", { class: "row between" }, el("span", {}, el("strong", {}, `${told.num_done} of ${told.num_wanted}`), " verdicts that are wanted"), el("span", { class: "dim small" }, `${told.num_labels} labels, ${told.num_skipped} skipped, ${told.num_adjudicated} decided`)),
      el("progress", { max: Math.max(1, told.num_wanted), value: told.num_done, "aria-label": "Verdicts that are there" }),
      agreement(told.agreement),
      told.raters.length ? raters(told.raters) : el("p", { class: "dim" }, "Nobody has judged anything here yet."))));
}

/** One's own line, which nobody else but reviewers sees. @param {HTMLElement} place @param {string} project @param {string} personId */
export async function showOwn(place, project, personId) {
  const { raters: lines } = await get(path`/api/projects/${project}/progress`);
  const mine = lines.find((/** @type {any} */ each) => each.person_id === personId);
  if (!mine?.num_labels) return;
  const facts = [
    [mine.num_labels, "labels"],
    mine.median_seconds === null ? null : [`${Math.round(mine.median_seconds)} s`, "for each, in the middle"],
    mine.with_others ? [share(mine.with_others), "of the time another rater said the same"] : null,
    mine.with_self ? [share(mine.with_self), "of the time you said the same when asked again"] : null,
  ];
  fill(place, el("dl", { class: "own row" }, facts.map((each) => each && el("div", {}, el("dt", { class: "dim small" }, each[1]), el("dd", {}, each[0])))));
  place.hidden = false;
}

/** @param {any[]} measures */
function agreement(measures) {
  const words = { outcome: "Which is better", strength: "And by how much", thumb: "Good or not", pairs: "Which of two is better" };
  const known = measures.filter((each) => each.raw || each.alpha);
  if (!known.length) return el("p", { class: "dim" }, "How far raters agree is known once two of them have judged the same items.");
  return table("How far raters agree", ["", "The same verdict", "Better than chance (Krippendorff’s α)", "Items"],
    known.map((each) => [words[/** @type {keyof typeof words} */ (each.name)] ?? each.name, share(each.raw), each.alpha ? interval(each.alpha.alpha, (value) => value.toFixed(2)) : "–", each.raw ? each.raw.num_units : each.alpha.num_units]));
}

/** @param {any[]} lines */
function raters(lines) {
  return table("By rater", ["Rater", "Labels", "Skipped", "Can’t judge", "Time", "As others", "As before", "Gold"],
    lines.map((each) => [each.name, each.num_labels, each.num_skipped, each.num_cannot_judge, each.median_seconds === null ? "–" : `${Math.round(each.median_seconds)} s`, share(each.with_others), share(each.with_self), share(each.gold)]));
}

/** @param {string} caption @param {string[]} heads @param {any[][]} rows */
function table(caption, heads, rows) {
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, el("table", { class: "table figures" },
    el("caption", {}, caption),
    el("thead", {}, el("tr", {}, heads.map((each, index) => el("th", { scope: "col", class: index ? "num" : "" }, each)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((each, index) => (index ? el("td", { class: "num" }, each) : el("th", { scope: "row" }, each))))))));
}

/** @param {any} told */
function share(told) {
  return told ? interval(told.share, (value) => percent(value)) : "–";
}

/** @param {{estimate: number, low: number, high: number}} told @param {(value: number) => string} shown */
function interval(told, shown) {
  return el("span", { class: "nowrap", title: "95 % interval in brackets" }, shown(told.estimate), " ", el("small", { class: "dim" }, `[${shown(told.low)}, ${shown(told.high)}]`));
}
