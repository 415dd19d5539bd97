// @ts-check
/** A model's answer as it is being written, from `POST /api/chat`. */

import { ApiError, get } from "./api.js";

/** @typedef {import("./write_words.js").Message} Message */

/** @typedef {{name: string, words: string}} Model */
/** What comes while an answer is made: a piece of it, or a word on why it takes so long.
 * @typedef {{text: (piece: string) => void, waits: (why: string) => void}} Hear */

/** The models that can answer, and the one to ask first. @returns {Promise<{models: Model[], first: string}>} */
export async function chatModels() {
  const { models, after } = await get("/api/chat/models");
  return { models, first: after };
}

/** @param {string} model @param {Message[]} messages @param {Hear} hear @param {AbortSignal} signal */
export async function streamAnswer(model, messages, hear, signal) {
  const csrf = document.querySelector('meta[name="csrf"]')?.getAttribute("content") ?? "";
  const response = await fetch("/api/chat", {
    method: "POST", signal, credentials: "same-origin",
    headers: { "Content-Type": "application/json", Accept: "text/event-stream", "X-CSRF-Token": csrf },
    body: JSON.stringify({ models: [model], messages }),
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
    for (const event of events) if (take(event, hear)) return;
    if (done) throw new ApiError(0, "the answer broke off; try again");
  }
}

/** Whether it was the last one. @param {string} event @param {Hear} hear */
function take(event, hear) {
  const kind = /^event: *(.*)$/m.exec(event)?.[1] ?? "";
  const told = JSON.parse(/^data: *(.*)$/m.exec(event)?.[1] ?? "{}");
  if (kind === "error") throw new ApiError(500, told.error);
  if (kind === "text") hear.text(told.text);
  if (kind === "loading" || kind === "waiting") hear.waits(told.text);
  return kind === "end" || kind === "done";
}
