// @ts-check
/** The lineage of a model as a nested list: the same as the graph, in words, with all that is known of data. */

import { path } from "./api.js";
import { el } from "./dom.js";
import { dataFacts, dataLines, isModel, modelLines, ROLES } from "./lineage_words.js";

/** The list, folded, and what opens it at one piece of data. @param {any} made @returns {{node: HTMLElement, tell: (key: string) => void}} */
export function lineageList(made) {
  /** @type {Map<string, HTMLElement>} */
  const places = new Map();
  const node = el("details", { id: "lineage-list" }, el("summary", {}, "The same as a list, with everything that is known"), el("ul", { class: "lineage-list" }, model(made, "", places)));
  const tell = (/** @type {string} */ key) => {
    node.open = true;
    const place = places.get(key);
    place?.focus();
    place?.scrollIntoView({ block: "center" });
  };
  return { node, tell };
}

/** @param {any} made @param {string} role @param {Map<string, HTMLElement>} places @returns {HTMLElement} */
function model(made, role, places) {
  const told = modelLines(made, made.name).map((line) => line.text).join(", ");
  const head = el("p", { class: "wrap" }, role ? `${ROLES[role] ?? role} ` : "", el("a", { href: path`/models/${made.name}` }, made.name), el("span", { class: "dim small" }, ` ${made.is_repeated ? "(told of above)" : told}`));
  const inside = made.inputs.map((/** @type {any} */ each) => source(each, places));
  return el("li", {}, head, inside.length ? el("ul", {}, inside) : null);
}

/** @param {any} one @param {Map<string, HTMLElement>} places @returns {HTMLElement} */
function source(one, places) {
  const own = one.models.find((/** @type {any} */ each) => each.name === one.name);
  if (own) return model(own, one.role, places);
  const role = `${ROLES[one.role] ?? one.role} `;
  if (isModel(one)) return el("li", {}, el("p", { class: "wrap" }, role, one.name.includes("/") ? one.name : el("a", { href: path`/models/${one.name}` }, one.name)));
  const facts = dataFacts(one);
  const head = el("p", { class: "wrap", tabindex: "-1" }, role, el("strong", {}, one.name), facts.length ? null : el("span", { class: "dim small" }, ` ${dataLines(one)[0].text}`));
  places.set(`data ${one.name} ${one.content_hash}`, head);
  const judged = one.models.map((/** @type {any} */ each) => model(each, "answers", places));
  return el("li", {}, head, facts.length ? el("dl", { class: "facts small" }, facts.flatMap(([name, text]) => [el("dt", {}, name), el("dd", { class: "wrap" }, text)])) : null, judged.length ? el("ul", {}, judged) : null);
}
