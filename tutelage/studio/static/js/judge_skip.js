// @ts-check
/** The dialog that asks why a task is skipped. */

import { $, $$, el, fill } from "./dom.js";

const USUAL = ["I cannot tell who is right", "I know who wrote it", "Not my subject", "It holds something private or harmful", "The question makes no sense"];

/** @param {(reason: string) => void} run */
export function askWhy(run) {
  const dialog = $("#skip-dialog");
  const form = $("#skip-form");
  const reason = $("#skip-reason");
  const error = $(".error", form);
  reason.value = "";
  error.hidden = true;
  fill($("#skip-usual"), USUAL.map((text) => el("button", { type: "button", class: "chip", "aria-pressed": "false", onclick: (/** @type {any} */ event) => {
    $$(".chip", form).forEach((each) => each.setAttribute("aria-pressed", String(each === event.currentTarget)));
    reason.value = text;
    reason.focus();
  } }, text)));
  form.onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (!reason.value.trim()) {
      error.textContent = "Say in a few words why.";
      error.hidden = false;
      reason.focus();
      return;
    }
    dialog.close();
    run(reason.value.trim());
  };
  $("#skip-cancel").onclick = () => dialog.close();
  dialog.showModal();
  reason.focus();
}
