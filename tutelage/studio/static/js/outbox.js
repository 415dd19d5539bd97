// @ts-check
/** What a person submitted and the server has not acknowledged yet: kept in the browser until it has, through reloads
 * and loss of network. Every entry is a request that may be sent twice (its body or header names it), in order. */

import { ApiError, request } from "./api.js";

/** @typedef {{id: string, method: string, path: string, body: any, key?: string}} Entry */

const STORE = "tutelage.outbox";
const WAITS_MS = [500, 1000, 2000, 5000, 10000];
/** @type {Map<string, {done: (value: any) => void, failed: (error: any) => void}>} */
const watchers = new Map();
let running = false;
let failures = 0;

/** @returns {Entry[]} */
export function waiting() {
  try {
    return JSON.parse(localStorage.getItem(STORE) ?? "[]");
  } catch {
    return [];
  }
}

/** @param {Entry[]} entries */
function keep(entries) {
  localStorage.setItem(STORE, JSON.stringify(entries));
  document.dispatchEvent(new CustomEvent("outbox", { detail: { waiting: entries.length, offline: failures > 0 } }));
}

/**
 * Keep a request and send it; resolves with the server's answer, however long that takes, and rejects when the server
 * says no to it.
 * @param {Entry} entry @returns {Promise<any>}
 */
export function send(entry) {
  keep([...waiting().filter((each) => each.id !== entry.id), entry]);
  const result = new Promise((done, failed) => watchers.set(entry.id, { done, failed }));
  void flush();
  return result;
}

/** Send what waits, oldest first, until all is acknowledged or the network is gone. */
export async function flush() {
  if (running) return;
  running = true;
  try {
    for (let entry = waiting()[0]; entry; entry = waiting()[0]) {
      const sent = entry;
      try {
        const value = await request(sent.method, sent.path, sent.body, sent.key ? { key: sent.key } : {});
        failures = 0;
        keep(waiting().filter((each) => each.id !== sent.id));
        watchers.get(sent.id)?.done(value);
      } catch (error) {
        if (error instanceof ApiError && error.status === 401) {
          keep(waiting()); // signed out: the page goes to the sign-in, and sends it after that
          return;
        }
        if (error instanceof ApiError && error.passing) {
          failures += 1;
          keep(waiting());
          window.setTimeout(flush, WAITS_MS[Math.min(failures, WAITS_MS.length) - 1]);
          return;
        }
        keep(waiting().filter((each) => each.id !== sent.id));
        const watcher = watchers.get(sent.id);
        if (watcher) watcher.failed(error);
        else document.dispatchEvent(new CustomEvent("outbox-refused", { detail: { entry: sent, error } }));
      }
      watchers.delete(sent.id);
    }
  } finally {
    running = false;
  }
}

window.addEventListener("online", () => void flush());
