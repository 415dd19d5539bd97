// @ts-check
/** Small helpers to build and find elements. Text always goes in as text; only HTML that the server made safe goes in
 * as HTML, by `setRendered`. */

/** @typedef {Node | string | number | null | undefined | false} One */
/** @typedef {One | One[] | (One | One[] | (One | One[])[])[]} Child what an element holds: one, or lists of them as deep as comes */

/**
 * An element: `el("button", {class: "button", onclick: run}, "Go")`. Keys that begin with `on` are listeners,
 * `dataset` is an object, `true` sets an empty attribute, and `false`, `null` or `undefined` leave it out.
 * @param {string} tag @param {Record<string, any>} [props] @param {...(Child | Child[])} children
 * @returns {any}
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "dataset") Object.assign(node.dataset, value);
    else node.setAttribute(key, value === true ? "" : String(value));
  }
  node.append(.../** @type {any[]} */ (children).flat(Infinity).filter((child) => child || child === 0).map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

/** The element that a selector means; throws when the page has none. @param {string} selector @param {ParentNode} [root] @returns {any} */
export function $(selector, root = document) {
  const found = root.querySelector(selector);
  if (!found) throw new Error(`nothing on this page is ${selector}`);
  return found;
}

/** @param {string} selector @param {ParentNode} [root] @returns {any[]} */
export function $$(selector, root = document) {
  return [...root.querySelectorAll(selector)];
}

/** Put new children in place of the old. @param {Element} node @param {...(Child | Child[])} children */
export function fill(node, ...children) {
  node.replaceChildren(...el("div", {}, ...children).childNodes);
}

/** Show HTML that `POST /api/render` made. @param {Element} node @param {string} html */
export function setRendered(node, html) {
  node.classList.add("prose");
  node.innerHTML = html;
  for (const wide of node.querySelectorAll("pre, table")) /** @type {HTMLElement} */ (wide).tabIndex = 0; // it may scroll, and keys must reach it
  for (const part of node.querySelectorAll("p, ul, ol, blockquote, table, h1, h2, h3, h4, h5, h6")) part.setAttribute("dir", "auto"); // as its own script is read
}

/** Where a form says what is wrong with none of its fields. @type {WeakMap<HTMLFormElement, Comment>} */
const homes = new WeakMap();

/** Say what is wrong in a form, beside the field that it is about; without an error take it away.
 * @param {HTMLFormElement} form @param {any} [error] */
export function complainIn(form, error) {
  const place = $(".error", form);
  const home = homes.get(form) ?? document.createComment("what is wrong");
  if (!homes.has(form)) place.before(home);
  homes.set(form, home);
  for (const each of form.querySelectorAll("[aria-invalid]")) each.removeAttribute("aria-invalid");
  place.hidden = !error;
  if (!error) return;
  place.textContent = error.message;
  const input = error.field ? form.elements.namedItem(String(error.field).split(".")[0]) : null;
  if (!(input instanceof HTMLElement)) return home.after(place);
  const field = input.closest(".field");
  if (field) field.append(place);
  input.setAttribute("aria-invalid", "true");
  input.focus();
}

/** "3 min", "2 h", "4 days" since a time in milliseconds. @param {number} ms */
export function ago(ms) {
  const seconds = Math.max(0, (Date.now() - ms) / 1000);
  if (seconds < 60) return "just now";
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  const days = Math.floor(seconds / 86400);
  return days === 1 ? "yesterday" : `${days} days ago`;
}

/** Whether what data or a model is called by is the place of a file. @param {string} text */
const isPlace = (text) => /^([/~.]|[A-Za-z]:[\\/])/.test(text) || /[\\/].*\.(jsonl?|csv|tsv|parquet|txt|gz)$/i.test(text);

/** A file's name without where it stands; any other name as it is. @param {string} text */
export const shortName = (text) => (isPlace(text) && text.replace(/[\\/]+$/, "").split(/[\\/]/).pop()) || text;

/** The same to show: a file's name, which tells on demand where the file stands. @param {string} text @returns {HTMLElement} */
export function named(text) {
  if (shortName(text) === text) return el("span", { class: "wrap" }, text);
  const button = el("button", { type: "button", class: "link wrap", title: text, "aria-expanded": "false", onclick: () => {
    const isOpen = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!isOpen));
    button.textContent = isOpen ? shortName(text) : text;
  } }, shortName(text));
  return button;
}

/** @param {number} value @param {number} [digits] */
export function percent(value, digits = 0) {
  return `${(100 * value).toFixed(digits)} %`;
}

/** Calls `run` once things have been quiet for `wait` milliseconds. @param {(...a: any[]) => void} run @param {number} wait */
export function debounce(run, wait) {
  let timer = 0;
  return (/** @type {any[]} */ ...given) => {
    clearTimeout(timer);
    timer = window.setTimeout(() => run(...given), wait);
  };
}
