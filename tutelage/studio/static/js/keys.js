// @ts-check
/** Keyboard shortcuts: one key an action, never while somebody types, remappable, and off where a person wants that.
 *
 *     const stop = bindKeys({ better: { key: "1", label: "A is much better", run: () => vote("a", 4) } });
 *
 * Ctrl+Enter (Cmd+Enter) works inside text fields too: give `key: "mod+enter"`. Keys are named as in
 * `KeyboardEvent.key`, in lower case. `keyOf("better")` says which key a button should show. */

import { $, el, fill } from "./dom.js";

/** @typedef {{key: string, label: string, run: (event: KeyboardEvent) => void}} Action */

const STORE = "tutelage.keys";
const MET = "tutelage.keys.met";
/** @type {Map<string, Action>} */
const actions = new Map();

/** @returns {{off: boolean, map: Record<string, string>}} */
function settings() {
  try {
    return { off: false, map: {}, ...JSON.parse(localStorage.getItem(STORE) ?? "{}") };
  } catch {
    return { off: false, map: {} };
  }
}

/** @param {{off: boolean, map: Record<string, string>}} changed */
function keep(changed) {
  localStorage.setItem(STORE, JSON.stringify(changed));
  document.dispatchEvent(new CustomEvent("keys-changed"));
}

/** The key of an action as the person has set it. @param {string} name */
export function keyOf(name) {
  return settings().map[name] ?? actions.get(name)?.key ?? "";
}

/** What a button shows of it; empty while keys are off. @param {string} name */
export function keyHint(name) {
  return settings().off ? "" : nameOfKey(keyOf(name));
}

/** What a key is called on a button. @param {string} key */
export function nameOfKey(key) {
  const names = { "mod+enter": "Ctrl ⏎", arrowleft: "←", arrowright: "→", arrowup: "↑", arrowdown: "↓", " ": "space", escape: "Esc" };
  return names[/** @type {keyof typeof names} */ (key)] ?? (key.length === 1 ? key.toUpperCase() : key);
}

/** @param {Record<string, Action>} added @returns {() => void} takes them away again */
export function bindKeys(added) {
  for (const [name, action] of Object.entries(added)) actions.set(name, action);
  meet(added);
  return () => {
    for (const name of Object.keys(added)) actions.delete(name);
  };
}

/** Remember which shortcuts there are, so that the account's page can list those of all pages. @param {Record<string, Action>} added */
function meet(added) {
  const met = metKeys();
  const before = JSON.stringify(met);
  for (const [name, { key, label }] of Object.entries(added)) met[name] = { key, label, page: name === "help" ? "" : `/${location.pathname.split("/")[1]}` };
  if (JSON.stringify(met) !== before) localStorage.setItem(MET, JSON.stringify(met));
}

/** @returns {Record<string, {key: string, label: string, page?: string}>} `page` is the entry of the navigation that it belongs to */
function metKeys() {
  try {
    return JSON.parse(localStorage.getItem(MET) ?? "{}");
  } catch {
    return {};
  }
}

/** Every shortcut that this browser has met. */
export function allKeys() {
  const changed = settings().map;
  return Object.entries(metKeys()).map(([name, { key, label, page }]) => ({ name, label, page: page ?? "", key: changed[name] ?? key, isChanged: name in changed }));
}

export const keysAreOff = () => settings().off;
/** @param {boolean} on */
export const turnKeys = (on) => keep({ ...settings(), off: !on });
/** All as they were. */
export const forgetKeys = () => keep({ off: false, map: {} });

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof HTMLElement && (target.isContentEditable || ["INPUT", "TEXTAREA", "SELECT"].includes(target.tagName) && !["checkbox", "radio", "button", "range"].includes(/** @type {HTMLInputElement} */ (target).type));
}

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.repeat) return;
  const mod = event.ctrlKey || event.metaKey;
  const key = (mod ? "mod+" : "") + event.key.toLowerCase();
  if (key !== "mod+enter") {
    if (mod || event.altKey || isTyping(event.target) || settings().off || document.querySelector("dialog[open]")) return;
    if ((event.key === "Enter" || event.key === " ") && event.target instanceof HTMLElement && event.target.closest("button, a, summary")) return;
  }
  for (const [name, action] of actions) {
    if (keyOf(name) !== key) continue;
    event.preventDefault();
    action.run(event);
    return;
  }
});

/** The list of keys, where each may be changed. */
export function showKeys() {
  const dialog = el("dialog", { class: "dialog", "aria-label": "Keyboard shortcuts" });
  const draw = () => {
    const now = settings();
    const rows = [...actions].map(([name, action]) =>
      el("tr", {}, el("td", {}, action.label), el("td", {}, el("button", { type: "button", class: "button quiet", "aria-label": `Change the key for: ${action.label}`, onclick: (/** @type {any} */ e) => changeKey(name, e.currentTarget, draw) }, el("kbd", {}, nameOfKey(keyOf(name)))))),
    );
    fill(
      dialog,
      el("h2", {}, "Keyboard shortcuts"),
      el("label", { class: "check" }, el("input", { type: "checkbox", checked: !now.off, onchange: (/** @type {any} */ e) => { keep({ ...settings(), off: !e.target.checked }); draw(); } }), "Use single keys"),
      rows.length ? el("table", { class: "table" }, el("tbody", {}, rows)) : el("p", { class: "dim" }, "This page has none."),
      el("p", { class: "row end" }, el("button", { type: "button", class: "button quiet", onclick: () => { forgetKeys(); draw(); } }, "As they were"), el("button", { type: "button", class: "button primary", onclick: () => dialog.close() }, "Close")),
    );
  };
  draw();
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

/** Take the next key that is pressed for an action. @param {string} name @param {HTMLElement} button @param {() => void} draw afterwards */
export function changeKey(name, button, draw) {
  fill(button, "press a key…");
  button.addEventListener("keydown", (event) => {
    event.preventDefault();
    event.stopPropagation();
    const key = event.key.toLowerCase();
    if (!["escape", "shift", "control", "alt", "meta", "tab", "enter"].includes(key)) keep({ ...settings(), map: { ...settings().map, [name]: key } });
    draw();
  }, { once: true });
}

export function initKeys() {
  $("#keys-button").addEventListener("click", showKeys);
  bindKeys({ help: { key: "?", label: "Show these shortcuts", run: showKeys } });
}
