// @ts-check
/** A model's answer as it is being written, from `POST /api/chat`. */

import { ApiError, get } from "./api.js";

/** @typedef {import("./write_words.js").Message} Message */

/** Names of the models that can answer. @returns {Promise<string[]>} */
export async function chatModels() {
  const found = await get("/api/chat/models");
  return (found.records ?? found).map((/** @type {any} */ each) => each.name ?? each);
}

/** @param {string} model @param {Message[]} messages @param {(piece: string) => void} onText @param {AbortSignal} signal */
export async function streamAnswer(model, messages, onText, signal) {
  const csrf = document.querySelector('meta[name="csrf"]')?.getAttribute("content") ?? "";
  const response = await fetch("/api/chat", {
    method: "POST", signal, credentials: "same-origin",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream", "X-CSRF-Token": csrf },
    body: JSON.stringify({ model, messages }),
  });
  if (!response.ok || !response.body) {
    const told = await response.json().catch(() => null);
    throw new ApiError(response.status, told?.error ?? `the server answered ${response.status}`);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    waiting += value ?? "";
    const events = waiting.split("\n\n");
    waiting = events.pop() ?? "";
    for (const event of events) take(event, onText);
    if (done) return;
  }
}

/** @param {string} event @param {(piece: string) => void} onText */
function take(event, onText) {
  for (const line of event.split("\n")) {
    if (!line.startsWith("data:")) continue;
    const told = JSON.parse(line.slice(5));
    if (told.error) throw new ApiError(500, told.error);
    if (told.text) onText(told.text);
  }
}
