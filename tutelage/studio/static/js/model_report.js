// @ts-check
/** What an evaluation that has finished says, in short: who won, what got better or worse, and where all of it stands. */

import { path } from "./api.js";
import { el } from "./dom.js";
import { against, counted, measured, plot, share, terms, when } from "./model_words.js";

/** @param {any} evaluation with its measures @param {string} name the model that the page is about @param {boolean} insider */
export function finished(evaluation, name, insider) {
  const { numbers } = evaluation;
  const measures = numbers.measures ?? [];
  const told = measures.filter((/** @type {any} */ each) => each.verdict === "better" || each.verdict === "worse");
  const undecided = measures.filter((/** @type {any} */ each) => each.verdict === "undecided").map((/** @type {any} */ each) => each.label);
  return el("div", { class: "card stack", dataset: { evaluation: evaluation.name } },
    el("div", { class: "row between" },
      el("p", { class: "wrap" }, el("strong", {}, evaluation.models.join(" → ")), el("br"), el("span", { class: "small dim" }, terms(evaluation), " · ", when(evaluation.at_ms))),
      insider ? el("a", { class: "button", href: path`/reports/${evaluation.name}`, target: "_blank", rel: "noopener" }, "Read all answers ", el("span", { "aria-hidden": "true" }, "↗"), el("span", { class: "visually-hidden" }, "(opens a new tab)")) : null),
    evaluation.anew.length ? el("p", { class: "caution" }, `${evaluation.anew.join(" and ")} ${evaluation.anew.length === 1 ? "was" : "were"} made anew since: these numbers are of what stood there before.`) : null,
    (numbers.contests ?? []).filter((/** @type {any} */ each) => [each.model, each.against].includes(name)).map((/** @type {any} */ each) => contest(each)),
    numbers.overview ? el("p", {}, numbers.overview) : null,
    told.length ? table(told, evaluation) : null,
    undecided.length ? el("p", { class: "small dim" }, `No difference shown: ${undecided.map((/** @type {string} */ label) => label[0].toLowerCase() + label.slice(1)).join(", ")}.`) : null,
    el("p", { class: "small dim" }, "In square brackets: 95 % intervals."));
}

/** @param {any} one */
function contest(one) {
  const losses = one.number - one.wins - one.ties;
  return el("div", { class: "contest" },
    el("p", {}, el("span", { class: "wrap" }, `${one.model} against ${one.against}: `), el("strong", { class: "nowrap" }, share(one.rate)), " of prompts ", against(one.number < 6 ? "undecided" : one.verdict, one.against)),
    plot(one.rate, one.number < 6 ? "undecided" : one.verdict),
    el("p", { class: "small dim" }, `${counted(one.wins, "win")}, ${counted(one.ties, "tie")}, ${counted(losses, "loss", "losses")} on ${counted(one.number, "prompt")}`));
}

/** @param {any[]} measures @param {any} evaluation */
function table(measures, evaluation) {
  const head = ["Measure", ...evaluation.models, "Difference", ""];
  return el("table", { class: "table cards", "aria-label": "Measures that changed" },
    el("thead", {}, el("tr", {}, head.map((text, index) => (text ? el("th", { scope: "col", class: index ? "num wrap" : "" }, text) : el("td", {}))))),
    el("tbody", {}, measures.map((each) => el("tr", {},
      el("th", { scope: "row", title: each.meaning }, each.label),
      each.estimates.map((/** @type {any} */ estimate, /** @type {number} */ index) => el("td", { class: "num", "data-label": evaluation.models[index] }, el("span", { class: "nowrap" }, measured(each, estimate)))),
      el("td", { class: "num", "data-label": "Difference" }, el("span", { class: "nowrap" }, measured(each, each.difference, true))),
      el("td", {}, el("span", { class: `badge ${each.verdict === "better" ? "good" : "bad"}` }, each.verdict))))));
}
