// @ts-check
/** Words and figures of the pages about people: shares with their intervals, times, and a link that is shown once. */

import { $, complainIn, el, fill } from "./dom.js";
import { toast } from "./shell.js";

/** @typedef {{estimate: number, low: number, high: number}} Interval */
/** @typedef {{share: Interval, num_units: number, num_pairs: number}} Share */

/** "74 % [62, 83]". @param {Interval} interval */
export function rate({ estimate, low, high }) {
  const whole = (/** @type {number} */ value) => Math.round(100 * value);
  return `${whole(estimate)} % [${whole(low)}, ${whole(high)}]`;
}

/** A share with how many cases it is of; a dash where there is none. @param {Share | null} share @param {string} [of] */
export function shareOf(share, of = "items") {
  if (!share) return el("span", { class: "dim" }, "–");
  return el("span", {}, el("span", { class: "nowrap" }, rate(share.share)), " ", el("small", { class: "dim" }, `of ${share.num_units.toLocaleString("en")} ${share.num_units === 1 ? of.replace(/s$/, "") : of}`));
}

/** "52 s", "2 min". @param {number | null} seconds */
export function seconds(seconds) {
  if (seconds === null) return "–";
  return seconds < 100 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

/** "1 pair", "3 pairs". @param {number} number @param {string} one @param {string} [many] */
export function counted(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** A number with what it is. @param {string | number | Node} value @param {string} name @param {string} [term] */
export function figure(value, name, term = "") {
  return el("div", { class: "figure" }, el("div", { class: "figure-value" }, typeof value === "number" ? value.toLocaleString("en") : value), el("div", { class: "small dim" }, name, term ? ` (${term})` : ""));
}

/** Names as code with commas and "and". @param {string[]} names @param {(name: string) => string} [address] */
export function listed(names, address) {
  return names.flatMap((each, index) => [index ? (index === names.length - 1 ? " and " : ", ") : "", address ? el("a", { href: address(each) }, el("code", { class: "wrap" }, each)) : el("code", { class: "wrap" }, each)]);
}

/** A day and time. @param {number} ms */
export function when(ms) {
  return el("time", { datetime: new Date(ms).toISOString() }, new Date(ms).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }));
}

/** Days left. @param {number} ms */
export function until(ms) {
  const days = Math.ceil((ms - Date.now()) / 86_400_000);
  return days <= 0 ? "run out" : days === 1 ? "until tomorrow" : `${days} days left`;
}

/** Show a secret that is told only now, with a button that copies it. @param {Element} place @param {string} title @param {string} secret @param {string} note */
export function showSecret(place, title, secret, note) {
  const box = el("input", { class: "mono", readonly: true, value: secret, "aria-label": title, onfocus: (/** @type {any} */ event) => event.target.select() });
  const button = el("button", { type: "button", class: "button primary", onclick: () => copy(box, button) }, "Copy");
  fill(place, el("h3", {}, title), el("div", { class: "copy-row" }, box, button), el("p", { class: "small" }, note));
  /** @type {HTMLElement} */ (place).hidden = false;
  button.focus();
}

/** @param {HTMLInputElement} box @param {HTMLElement} button */
async function copy(box, button) {
  try {
    await navigator.clipboard.writeText(box.value);
  } catch {
    box.select(); // where a page may not write there: an address without HTTPS
    if (!document.execCommand("copy")) return toast("It cannot be copied from here; select the text and copy it yourself", "bad");
  }
  fill(button, "Copied");
  toast("Copied", "good");
}

/** Say in its place what went wrong. @param {any} error @param {string} [selector] */
export function complain(error, selector = "#problem") {
  const place = $(selector);
  place.textContent = error.message;
  place.hidden = false;
}

/**
 * Run what a form asks for; an error stands in the form, beside the field where the API names one.
 * @param {HTMLFormElement} form @param {(given: Record<string, string>) => Promise<void>} run
 */
export function onSubmit(form, run) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = $("button.primary", form);
    complainIn(form);
    button.disabled = true;
    try {
      await run(/** @type {any} */ (Object.fromEntries(new FormData(form))));
    } catch (problem) {
      complainIn(form, problem);
    } finally {
      button.disabled = false;
    }
  });
}
