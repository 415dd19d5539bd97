// @ts-check
/** One or two answers as they are being written, from `POST /api/chat`. */

import { ApiError } from "./api.js";

/** @typedef {(kind: string, told: any) => void} Hear */

/** Resolves at the end of the answers. @param {any} body @param {Hear} hear @param {AbortSignal} signal */
export async function talk(body, hear, signal) {
  const csrf = document.querySelector('meta[name="csrf"]')?.getAttribute("content") ?? "";
  let response;
  try {
    response = await fetch("/api/chat", {
      method: "POST", signal, credentials: "same-origin", body: JSON.stringify(body),
      headers: { "Content-Type": "application/json", Accept: "text/event-stream", "X-CSRF-Token": csrf },
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The server cannot be reached. Try again in a moment.");
  }
  if (!response.ok || !response.body) {
    const told = await response.json().catch(() => null);
    if (response.status === 401) location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
    throw new ApiError(response.status, told?.error ?? `the server answered ${response.status}`, told?.field ?? "");
  }
  await readEvents(response.body, hear);
}

/** @param {ReadableStream<Uint8Array>} source @param {Hear} hear */
async function readEvents(source, hear) {
  const reader = source.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new ApiError(0, "The connection broke off. Try again.");
    });
    const events = (waiting + (value ?? "")).split("\n\n");
    waiting = events.pop() ?? "";
    for (const event of events) {
      const kind = /^event: *(.*)$/m.exec(event)?.[1] ?? "";
      if (kind === "end") return;
      if (kind) hear(kind, JSON.parse(/^data: *(.*)$/m.exec(event)?.[1] ?? "{}"));
    }
    if (done) throw new ApiError(0, "The connection broke off. Try again.");
  }
}
