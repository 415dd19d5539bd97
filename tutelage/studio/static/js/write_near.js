// @ts-check
/** Pairs that ask nearly the same, shown while somebody types. */

import { post } from "./api.js";
import { debounce, el, fill, percent } from "./dom.js";
import { counted, start } from "./write_words.js";

/** @typedef {import("./write_words.js").Message} Message */
/** @typedef {{pairs: {pair_id: string, similarity: number, text: string}[], num_hidden: number}} Near */

const PAUSE_MS = 500;

/** @param {Message[]} messages @param {string} except @param {number} [limit] @returns {Promise<Near>} */
export function findNear(messages, except, limit = 5) {
  return post("/api/pairs/near", { messages, limit, ...(except ? { except_pair: except } : {}) });
}

/** The lines of a list; null when nothing is near. @param {Near} near @returns {HTMLElement | null} */
export function nearNode(near) {
  const { pairs, num_hidden: hidden } = near;
  if (!pairs.length && !hidden) return null;
  const rest = hidden ? el("p", { class: "small" }, `${pairs.length ? "and " : ""}${counted(hidden, "pair")} of others that you may not read${pairs.length ? "" : hidden === 1 ? " asks nearly the same." : " ask nearly the same."}`) : null;
  return el("div", { class: "stack near" },
    pairs.length ? el("strong", {}, pairs[0].similarity === 1 ? "This is asked already" : "Nearly the same is asked already") : null,
    pairs.length ? el("ul", {}, pairs.map(({ pair_id: id, similarity, text }) =>
      el("li", {}, el("span", { class: "badge" }, similarity === 1 ? "the same" : `${percent(similarity)} alike`), " ",
        el("a", { class: "wrap", href: `/write/${id}`, target: "_blank", dir: "auto" }, start(text) || "(no question)", el("span", { class: "visually-hidden" }, " (opens in a new tab)"))))) : null,
    rest);
}

/** @param {any} place @param {() => Message[]} read @param {() => string} except */
export function watchNear(place, read, except) {
  let asked = "";
  let round = 0;
  return debounce(async () => {
    const questions = read().filter((each) => each.role === "user" && each.content.trim());
    const key = JSON.stringify(questions);
    if (key === asked) return;
    asked = key;
    const mine = ++round;
    const near = questions.length ? await findNear(questions, except()).catch(() => null) : { pairs: [], num_hidden: 0 };
    if (mine !== round || !near) return;
    const node = nearNode(near);
    place.hidden = !node;
    fill(place, node);
  }, PAUSE_MS);
}
