// @ts-check
/** A line about the verdict that was just given: that it is kept, how to undo it, and on request who wrote the answers. */

import { ApiError, post } from "./api.js";
import { el, fill } from "./dom.js";
import { hint, refreshHints } from "./judge_keys.js";
import { LETTERS } from "./judge_show.js";
import { inWords } from "./judge_words_of.js";
import { bindKeys } from "./keys.js";
import { toast } from "./shell.js";

/** Whether this project keeps that hidden, which it says when asked first. */
let isHidden = false;

/**
 * @param {HTMLElement} place @param {{id: string, task: import("./judge_show.js").Task, verdict: any, isCorrected: boolean}} last
 * @param {() => void} undo
 */
export function showLast(place, last, undo) {
  const who = el("span", { class: "revealed" });
  const ask = el("button", { type: "button", class: "link", onclick: () => void reveal() }, "Who wrote them?", " ", hint("judge-reveal"));
  const reveal = async () => {
    ask.remove();
    stop();
    try {
      const wrote = await post(`/api/labels/${last.id}/reveal`);
      who.textContent = wrote.map((/** @type {any} */ each, /** @type {number} */ index) => `${wrote.length > 1 ? `${LETTERS[index]}: ` : ""}${each.model || "not known"}`).join(" · ");
    } catch (error) {
      isHidden = error instanceof ApiError && error.status === 403;
      toast(/** @type {Error} */ (error).message);
    }
  };
  const stop = bindKeys(isHidden ? {} : { "judge-reveal": { key: "m", label: "Who wrote the answers you judged last", run: () => void reveal() } });
  fill(place,
    el("p", { class: "row small" }, el("span", { class: "good" }, last.isCorrected ? "Corrected: " : "Saved: ", inWords(last.verdict)), el("button", { type: "button", class: "link", onclick: undo }, "Undo"), isHidden ? null : ask, who));
  refreshHints(place);
}
