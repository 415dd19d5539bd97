// @ts-check
/** Somebody else saved a newer revision while this one was typed: both texts side by side, what differs, and a choice.
 * Whatever is chosen, the other text is not lost: theirs is a revision, and mine is offered again. */

import { post } from "./api.js";
import { $, ago, el, fill } from "./dom.js";
import { diffNodes, legend } from "./write_diff.js";
import { ROLES } from "./write_words.js";

/** @typedef {import("./write_words.js").Message} Message */
/** @typedef {import("./write_words.js").Pair} Pair */

/** @param {string} title @param {Message[]} messages */
function column(title, messages) {
  return el("div", { class: "stack" }, el("h3", {}, title), messages.map(({ role, content }) =>
    el("div", { class: "turn" }, el("span", { class: "who" }, ROLES[role]), el("p", { class: "words", dir: "auto" }, content || "(empty)"))));
}

/**
 * @param {Message[]} mine @param {Pair} theirs
 * @param {{keepMine: () => void, takeTheirs: () => void}} choices
 */
export function showConflict(mine, theirs, choices) {
  const place = $("#conflict");
  const difference = el("div", {}, el("p", { class: "dim" }, "Looking at what differs…"));
  const close = (/** @type {() => void} */ then) => { place.hidden = true; fill(place); then(); };
  fill(place, el("div", { class: "card stack", role: "alertdialog", "aria-labelledby": "conflict-title" },
    el("h2", { id: "conflict-title", tabindex: "-1" }, `${theirs.editor} changed this pair while you were writing`),
    el("p", {}, `Their words were saved ${ago(theirs.changed_ms)}. Yours are in this browser and below, and nothing is lost: choose which are to stand. The others stay in the history, or are offered to you again.`),
    el("div", { class: "row" },
      el("button", { type: "button", class: "button primary", onclick: () => close(choices.keepMine) }, "Put mine on top of theirs"),
      el("button", { type: "button", class: "button", onclick: () => close(choices.takeTheirs) }, "Take theirs")),
    el("div", { class: "split" }, column(`What ${theirs.editor} saved`, theirs.messages), column("What you wrote", mine)),
    el("details", { open: true }, el("summary", {}, "What differs"), legend("only yours", "only theirs"), difference)));
  place.hidden = false;
  $("#conflict-title").focus();
  void post("/api/diff", { old: theirs.messages, new: mine }).then(
    (changes) => fill(difference, diffNodes(changes)),
    (error) => fill(difference, el("p", { class: "error" }, error.message)),
  );
}
