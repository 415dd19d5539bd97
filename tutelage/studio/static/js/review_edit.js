// @ts-check
/** A reviewer changes a pair in place, and sees what differs from the author's words while typing. */

import { ApiError, get, newKey, path, post, request } from "./api.js";
import { debounce, el, fill } from "./dom.js";
import { diffNodes, legend } from "./write_diff.js";
import { forget, keep, recall } from "./write_local.js";
import { ROLES, sameWords, viewer } from "./write_words.js";

/** @typedef {import("./write_words.js").Message} Message */
/** @typedef {import("./write_words.js").Pair} Pair */

/** @param {HTMLElement} place @param {Pair} pair @param {{leave: () => void, saved: (pair: Pair) => void}} then */
export function editInPlace(place, pair, then) {
  const me = viewer();
  const kept = recall(me.id, pair.id);
  const begun = kept && kept.content.messages.length === pair.messages.length ? kept.content.messages : pair.messages;
  const areas = begun.map(({ content }, at) => {
    const area = el("textarea", { id: `turn-${at}`, maxlength: 200000, dir: "auto", rows: 3 });
    area.value = content;
    area.addEventListener("input", typed);
    return area;
  });
  const difference = el("section", { class: "stack", "aria-label": "What differs from the author's words", "aria-live": "polite" });
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const note = el("input", { id: "edit-note", maxlength: 5000, placeholder: "for example: shortened" });

  /** @returns {Message[]} */
  const read = () => areas.map((area, at) => ({ role: pair.messages[at].role, content: area.value }));

  function typed() {
    const content = { messages: read(), tags: pair.tags, source: pair.source, licence: pair.licence };
    keep(me.id, pair.id, { at: Date.now(), base: pair.revision, content });
    error.hidden = true;
    compare();
  }

  let round = 0;
  const compare = debounce(async () => {
    const mine = ++round;
    try {
      const changes = await post("/api/diff", { old: pair.messages, new: read() });
      if (mine === round) fill(difference, legend("yours", "the author's"), diffNodes(changes));
    } catch (problem) {
      if (mine === round) fill(difference, el("p", { class: "error" }, /** @type {Error} */ (problem).message));
    }
  }, 300);

  async function save() {
    if (sameWords(read(), pair.messages)) return leave();
    const key = newKey();
    try {
      const saved = await request("PUT", path`/api/pairs/${pair.id}/messages`, { messages: read(), base_revision: pair.revision, note: note.value }, { key });
      forget(me.id, pair.id);
      then.saved(saved);
    } catch (problem) {
      if (!(problem instanceof ApiError)) throw problem;
      error.textContent = problem.message;
      error.hidden = false;
      if (problem.status === 409) await rebase();
    }
  }

  /** Somebody was quicker: from here on the edit stands on top of theirs, and the difference shows theirs. */
  async function rebase() {
    const newest = await get(path`/api/pairs/${pair.id}`).catch(() => null);
    if (!newest || newest.messages.length !== areas.length) return;
    pair = newest;
    error.textContent = `${newest.editor} saved other words meanwhile. Below is what differs from theirs; save again to put yours on top.`;
    compare();
  }

  function leave() {
    forget(me.id, pair.id);
    then.leave();
  }

  fill(place,
    el("p", { class: "note" }, "When you change the words, another reviewer has to accept them. For more than a slip, send it back with a comment."),
    el("div", { class: "split" },
      el("div", { class: "stack" }, areas.map((area, at) => el("div", { class: "field edit-turn" }, el("label", { for: area.id }, el("strong", {}, ROLES[pair.messages[at].role])), area)),
        el("div", { class: "field" }, el("label", { for: "edit-note" }, "What you changed ", el("small", { class: "dim" }, "stands in the history")), note)),
      difference),
    error,
    el("div", { class: "row" },
      el("button", { type: "button", class: "button primary", id: "save-edit", onclick: () => void save() }, "Save ", el("kbd", {}, "Ctrl ⏎")),
      el("button", { type: "button", class: "button", onclick: leave }, "Leave it as it was")));
  place.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Escape" && place.contains(difference) && sameWords(read(), pair.messages)) leave();
  });
  areas[areas.length - 1]?.focus();
  compare();
}
