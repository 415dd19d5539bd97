// @ts-check
/** What is said about a pair: its tags, where it comes from, its licence. */

import { get } from "./api.js";
import { debounce, el, fill } from "./dom.js";

const LICENCES = ["CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "Apache-2.0", "MIT", "own work"];
export const WRITTEN_HERE = "written here";

/** @param {Element} place @param {() => void} changed */
export function aboutFields(place, changed) {
  /** @type {string[]} */
  let tags = [];
  const chips = el("span", { class: "chips", role: "list", "aria-label": "Tags" });
  const list = el("datalist", { id: "known-tags" });
  const tag = el("input", { id: "new-tag", maxlength: 100, list: "known-tags", autocomplete: "off", placeholder: "Type a tag, then Enter" });
  const source = el("input", { id: "source", name: "source", maxlength: 5000, "aria-describedby": "source-error" });
  const licence = el("input", { id: "licence", name: "licence", maxlength: 100, list: "licences", autocomplete: "off", placeholder: "e.g. CC-BY-4.0", "aria-describedby": "licence-error" });
  const told = el("p", { class: "visually-hidden", role: "status" });

  function draw() {
    fill(chips, tags.map((each) => el("span", { class: "badge accent tagged", role: "listitem" }, el("span", { class: "wrap" }, each),
      el("button", { type: "button", class: "link", "aria-label": `Take the tag ${each} off`, onclick: () => { take(each); tag.focus(); } }, "✕"))));
  }

  /** @param {string} text */
  function put(text) {
    const clean = text.split(/\s+/).filter(Boolean).join(" ");
    tag.value = "";
    if (!clean || tags.includes(clean)) return;
    tags = [...tags, clean].sort();
    told.textContent = `tagged ${clean}`;
    draw();
    changed();
  }

  /** @param {string} text */
  function take(text) {
    tags = tags.filter((each) => each !== text);
    told.textContent = `${text} taken off`;
    draw();
    changed();
  }

  const suggest = debounce(async () => {
    const known = await get(`/api/pairs/tags?beginning=${encodeURIComponent(tag.value.trim())}`).catch(() => []);
    fill(list, known.filter((/** @type {string} */ each) => !tags.includes(each)).map((/** @type {string} */ value) => el("option", { value })));
  }, 150);
  tag.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
    if (event.isComposing || event.ctrlKey || event.metaKey || (event.key !== "Enter" && event.key !== ",")) return;
    event.preventDefault();
    put(tag.value);
  });
  tag.addEventListener("blur", () => put(tag.value));
  tag.addEventListener("input", suggest);
  tag.addEventListener("focus", suggest);
  for (const field of [source, licence]) field.addEventListener("input", () => { complain(field.name, ""); changed(); });

  /** @param {string} name @param {string} text */
  function complain(name, text) {
    const line = place.querySelector(`#${name}-error`);
    if (!(line instanceof HTMLElement)) return false;
    line.textContent = text;
    line.hidden = !text;
    const field = name === "source" ? source : licence;
    field.toggleAttribute("aria-invalid", Boolean(text));
    if (text) field.focus();
    return true;
  }

  const error = (/** @type {string} */ name) => el("p", { class: "error", id: `${name}-error`, hidden: true });
  fill(place,
    el("div", { class: "field" }, el("label", { for: "new-tag" }, el("strong", {}, "Tags"), " ", el("small", { class: "dim" }, "to find it again, and to choose what a model learns")), chips, tag, list, told),
    el("div", { class: "grid tight" },
      el("div", { class: "field" }, el("label", { for: "source" }, el("strong", {}, "Where it comes from")), source, error("source")),
      el("div", { class: "field" }, el("label", { for: "licence" }, el("strong", {}, "Licence")), licence, error("licence"))),
    el("datalist", { id: "licences" }, LICENCES.map((value) => el("option", { value }))));
  return {
    read: () => ({ tags, source: source.value, licence: licence.value }),
    /** @param {{tags: string[], source: string, licence: string}} given */
    show(given) {
      tags = [...given.tags];
      source.value = given.source;
      licence.value = given.licence;
      draw();
    },
    complain,
  };
}
