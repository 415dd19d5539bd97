// @ts-check
/** One pair as a reviewer reads it: rendered turns, what the checks found, what asks nearly the same, what happened. */

import { post, render } from "./api.js";
import { ago, el, fill, setRendered } from "./dom.js";
import { showHistory } from "./write_history.js";
import { findNear, nearNode } from "./write_near.js";
import { measure, ROLES } from "./write_words.js";

/** @typedef {import("./write_words.js").Pair} Pair */
/** @typedef {{severity: string, code: string, field: string | null, message: string}} Found */
/** @typedef {{html: string[], found: Found[], near: import("./write_near.js").Near}} Prepared */

/** All that is shown of a pair, asked for before somebody comes to it. @param {Pair} pair @returns {Promise<Prepared>} */
export async function prepare(pair) {
  const { messages } = pair;
  const [html, found, near] = await Promise.all([
    render(messages.map((each) => each.content)),
    post("/api/pairs/check", { messages }).catch(() => []),
    findNear(messages, pair.id, 3).catch(() => ({ pairs: [], num_hidden: 0 })),
  ]);
  return { html, found, near };
}

/** @param {Element} place @param {Pair} pair @param {Promise<Prepared>} coming @param {() => boolean} isWanted */
export async function showPair(place, pair, coming, isWanted) {
  let prepared;
  try {
    prepared = await coming;
  } catch (error) {
    if (isWanted()) fill(place, el("p", { class: "error" }, /** @type {Error} */ (error).message));
    return;
  }
  if (!isWanted()) return;
  const history = el("div", {});
  const details = el("details", {}, el("summary", { class: "small" }, "History"), history);
  details.addEventListener("toggle", () => void showHistory(history, pair.id), { once: true });
  fill(place, facts(pair), findings(prepared.found, prepared.near), turns(pair, prepared.html), details);
}

/** @param {Pair} pair */
function facts(pair) {
  const edited = pair.editor !== pair.author ? `, edited by ${pair.editor}` : "";
  return el("p", { class: "row small dim facts" },
    el("span", { class: "wrap" }, `by ${pair.author}${edited}`), el("span", {}, ago(pair.changed_ms)),
    pair.tags.map((tag) => el("span", { class: "badge wrap" }, tag)),
    pair.source && pair.source !== "written here" ? el("span", { class: "wrap" }, `from: ${pair.source}`) : null,
    el("span", { class: "wrap" }, pair.licence ? `licence: ${pair.licence}` : "no licence given"));
}

/** @type {Record<string, [string, string]>} */
const SEVERITIES = { error: ["wrong", "bad"], warning: ["look here", "warn"], note: ["note", ""] };

/** @param {Found[]} found @param {import("./write_near.js").Near} near */
function findings(found, near) {
  const alike = nearNode(near);
  if (!found.length && !alike) return null;
  return el("section", { class: "card sunk stack", "aria-label": "What the checks found" },
    found.length ? el("ul", { class: "findings" }, found.map(({ severity, message }) => {
      const [text, kind] = SEVERITIES[severity] ?? [severity, ""];
      return el("li", {}, el("span", { class: `badge ${kind}` }, text), el("span", { class: "wrap" }, message));
    })) : null, alike);
}

/** @param {Pair} pair @param {string[]} html */
function turns(pair, html) {
  return el("div", { class: "stack conversation" }, pair.messages.map(({ role, content }, at) => {
    const text = el("div", { dir: "auto" });
    setRendered(text, html[at]);
    return el("div", { class: `turn ${role}` }, el("span", { class: "who row between" }, ROLES[role], role === "assistant" ? el("small", { class: "dim" }, measure(content)) : null), text);
  }));
}
