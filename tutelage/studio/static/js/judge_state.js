// @ts-check
/** How far one is: the line above the task, and what is shown when nothing is left. */

import { ApiError, get, path } from "./api.js";
import { $, el, fill } from "./dom.js";

const LOOK_AGAIN_MS = 30_000;
let timer = 0;

/** When today began, in this place. */
export function todayMs() {
  return new Date().setHours(0, 0, 0, 0);
}

/** @param {{num_waiting: number, has_more: boolean}} work */
export function left(work) {
  return work.has_more ? `more than ${work.num_waiting}` : String(work.num_waiting);
}

/** "12 done today, 38 left". @param {string} project */
export async function showProgress(project) {
  try {
    const work = await get(path`/api/projects/${project}/work?since_ms=${todayMs()}`);
    $("#progress").textContent = `${work.num_since} done today, ${left(work)} left`;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

/** Nothing is left for this person now. @param {HTMLElement} place @param {string} project @param {() => void} again */
export async function showEnd(place, project, again) {
  clearTimeout(timer);
  if (place.hidden || !place.querySelector(".end-title")) {
    fill(place, el("h2", { class: "end-title", tabindex: "-1" }, "Nothing waits for you here"), el("div", { class: "end-body" }));
    place.hidden = false;
    $("h2", place).focus(); // not where it looked again by itself
  }
  let work;
  let others;
  try {
    [work, others] = [await get(path`/api/projects/${project}/work?since_ms=${todayMs()}`), (await get(`/api/work?since_ms=${todayMs()}`)).records];
  } catch {
    return;
  }
  const waiting = others.filter((/** @type {any} */ each) => each.project !== project && each.num_waiting > 0).slice(0, 3);
  $("h2", place).textContent = titleOf(work);
  fill($(".end-body", place),
    el("p", {}, reasonOf(work)),
    el("p", { class: "row end-links" },
      waiting.map((/** @type {any} */ each) => el("a", { class: "button primary", href: path`/judge/${each.project}` }, `${each.project}: ${left(each)} waiting`)),
      work.num_given ? el("a", { class: "button", href: path`/judge/${project}/mine` }, "My labels") : null,
      el("button", { type: "button", class: "button", onclick: () => again() }, "Look again")));
  const look = () => {
    if (document.hidden || document.querySelector("dialog[open]")) timer = window.setTimeout(look, LOOK_AGAIN_MS);
    else if (!place.hidden) again();
  };
  timer = window.setTimeout(look, LOOK_AGAIN_MS);
}

/** @param {any} work */
function titleOf(work) {
  if (work.state !== "open") return `This project is ${work.state}`;
  return work.num_since ? "That is all for now. Thank you." : "Nothing waits for you here";
}

/** @param {any} work */
function reasonOf(work) {
  const done = work.num_since ? `You judged ${work.num_since} today. ` : work.num_given ? `You have judged ${work.num_given} here. ` : "";
  if (work.state === "paused") return `${done}It hands out nothing until somebody opens it again.`;
  if (work.state === "closed") return `${done}It is finished.`;
  return `${done}${whyNothing(work)} When another one comes, it appears here by itself.`;
}

/** Why nothing waits in an open project. @param {{why_nothing: string}} work */
export function whyNothing({ why_nothing: why }) {
  return {
    empty: "There are no answers to judge in it yet.",
    done: "Every item has all the verdicts it needs.",
    held: "Others are at work on what is left; an item that one of them gives up comes to you.",
    yours: "What is left you have judged or skipped; it waits for others.",
    written: "What is left you have written yourself; others judge it.",
  }[why] ?? "";
}
