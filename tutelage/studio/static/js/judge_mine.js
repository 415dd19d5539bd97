// @ts-check
/** One's own labels of a project, the newest first, page by page; each can be corrected. */

import { get, path, render } from "./api.js";
import { $, ago, el } from "./dom.js";
import { LETTERS, answerText } from "./judge_show.js";
import { showOwn } from "./judge_figures.js";
import { inWords } from "./judge_words_of.js";

const place = $("#mine");
const { project, person } = place.dataset;
let after = "";
let count = 0;

async function more() {
  const status = $("#mine-status");
  const button = $("#more");
  button.disabled = true;
  try {
    const { records, next } = await get(path`/api/projects/${project}/mine?limit=20&after=${after}`);
    const made = records.map(card);
    place.append(...made);
    if (count && made.length) $("a", made[0]).focus();
    count += records.length;
    after = next ?? "";
    $("#more-place").hidden = !next;
    status.textContent = count ? `${count} shown` : "You have not judged anything here yet.";
  } catch (error) {
    status.textContent = /** @type {Error} */ (error).message;
  }
  button.disabled = false;
}

/** @param {any} label */
function card(label) {
  const { task, critique, rewrite, reasons } = label;
  const asked = task.messages[task.messages.length - 1].content;
  const shown = el("div", { class: "stack" });
  const details = el("details", { class: "earlier" }, el("summary", {}, "The answers"), shown);
  details.addEventListener("toggle", () => void fillIn(details, shown, task), { once: true });
  return el("article", { class: "card stack", dataset: { label: label.id } },
    el("div", { class: "row between" },
      el("strong", { class: "said" }, inWords(label.verdict)),
      el("span", { class: "row" }, label.is_corrected ? el("span", { class: "badge" }, "corrected") : null, el("span", { class: "dim small" }, ago(label.created_ms)),
        el("a", { class: "button small", href: `${path`/judge/${project}?correct=${label.id}`}&from=mine`, "aria-label": `Correct: ${asked.slice(0, 80)}` }, "Correct"))),
    el("p", { class: "wrap asked" }, asked.length > 300 ? `${asked.slice(0, 300)}…` : asked),
    reasons.length ? el("div", { class: "chips" }, reasons.map((/** @type {string} */ each) => el("span", { class: "badge" }, each))) : null,
    critique ? el("p", { class: "wrap" }, critique) : null,
    rewrite ? el("p", { class: "small dim" }, "You wrote a better answer.") : null,
    details);
}

/** @param {HTMLDetailsElement} _ @param {HTMLElement} shown @param {any} task */
async function fillIn(_, shown, task) {
  const html = await render(task.answers.map((/** @type {any} */ each) => each[1]));
  shown.append(...html.map((each, index) => el("div", {}, el("p", { class: "answer-name" }, html.length > 1 ? `Answer ${LETTERS[index]}` : "The answer"), answerText(each))));
}

$("#more").addEventListener("click", () => void more());
void more();
showOwn($("#own"), project, person).catch(() => {}); // figures that may be missing
