// @ts-check
/** How pairs are to be written here: the guideline beside the editor; reviewers change it, and old versions are kept. */

import { ApiError, get, put, render } from "./api.js";
import { ago, el, fill, setRendered } from "./dom.js";

/** @typedef {{version: number, text: string, created_by: string, created_ms: number}} Guide */

/** @param {Element} place @param {boolean} mayChange */
export async function showGuide(place, mayChange) {
  try {
    await show(place, await get("/api/guidelines/writing"), mayChange, true);
  } catch (error) {
    fill(place, el("p", { class: "error" }, /** @type {Error} */ (error).message));
  }
}

/** @param {Element} place @param {Guide} guide @param {boolean} mayChange @param {boolean} isNewest */
async function show(place, guide, mayChange, isNewest) {
  const text = el("div", {});
  setRendered(text, (await render([guide.text]))[0]);
  const older = guide.version > 0 ? el("button", { type: "button", class: "link", onclick: () => void look(place, guide.version - 1, mayChange) }, guide.version > 1 ? "The version before" : "The built-in one") : null;
  const newest = isNewest ? null : el("button", { type: "button", class: "link", onclick: () => void showGuide(place, mayChange) }, "Back to the newest");
  fill(place, text, el("p", { class: "row small dim foot" },
    guide.version ? `Version ${guide.version}, by ${guide.created_by}, ${ago(guide.created_ms)}` : "The built-in guideline", older, newest,
    mayChange && isNewest ? el("button", { type: "button", class: "button small", onclick: () => change(place, guide, guide.text) }, "Change it") : null));
}

/** @param {Element} place @param {number} version @param {boolean} mayChange */
async function look(place, version, mayChange) {
  await show(place, await get(`/api/guidelines/writing/${version}`), mayChange, false);
  /** @type {HTMLElement | null} */ (place.querySelector("button"))?.focus();
}

/** @param {Element} place @param {Guide} guide @param {string} text */
function change(place, guide, text) {
  const area = el("textarea", { rows: 18, maxlength: 50000, id: "guide-text", "aria-describedby": "guide-error" });
  area.value = text;
  const error = el("p", { class: "error", role: "alert", id: "guide-error", hidden: true });
  const complain = (/** @type {string} */ told) => { error.textContent = told; error.hidden = false; };
  const save = async () => {
    try {
      await show(place, await put("/api/guidelines/writing", { text: area.value, base_version: guide.version }), true, true);
      /** @type {HTMLElement | null} */ (place.querySelector("button:last-of-type"))?.focus();
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
      if (problem.status === 409) {
        const theirs = await get("/api/guidelines/writing");
        change(place, theirs, `${area.value}\n\n--- what ${theirs.created_by} saved meanwhile ---\n\n${theirs.text}`);
        const told = place.querySelector(".error");
        if (told instanceof HTMLElement) { told.textContent = `${theirs.created_by} was quicker. Their words stand below yours: make one text of both, then save.`; told.hidden = false; }
      } else complain(problem.message);
    }
  };
  fill(place, el("div", { class: "stack" },
    el("div", { class: "field" }, el("label", { for: "guide-text" }, el("strong", {}, "How pairs are to be written"), " ", el("small", { class: "dim" }, "Markdown; writers see it beside the editor")), area),
    error,
    el("p", { class: "row" }, el("button", { type: "button", class: "button primary small", onclick: () => void save() }, "Save as a new version"),
      el("button", { type: "button", class: "button small", onclick: () => void showGuide(place, true) }, "Leave it as it is"))));
  area.focus();
}
