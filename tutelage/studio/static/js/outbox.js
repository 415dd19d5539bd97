// @ts-check
/** What a person submitted and the server has not acknowledged yet: kept in the browser until it has, through reloads
 * and loss of network. Every entry is a request that may be sent twice (its body or header names it), in order.
 *
 * It is the person's who submitted it: kept under their id, one place an entry, so that neither somebody else at the
 * same browser nor a second window of one's own can send it in another name or write over it. */

import { ApiError, request } from "./api.js";
import { mine } from "./me.js";

/** @typedef {{id: string, method: string, path: string, body: any, key?: string}} Entry */
/** @typedef {Entry & {at: number}} Kept `at` is when it was submitted, and the order. */

const PREFIX = `${mine("outbox")}.`;
const WAITS_MS = [500, 1000, 2000, 5000, 10000];
/** What this page waits for. Another window may have sent it and taken it from the store; it is sent again then, which
 * does nothing but tell the answer. @type {Map<string, {entry: Kept, done: (value: any) => void, failed: (error: any) => void}>} */
const watched = new Map();
let isBusy = false;
let running = Promise.resolve();
let timer = 0;
let failures = 0;

/** @returns {Kept[]} the oldest first */
export function waiting() {
  /** @type {Map<string, Kept>} */
  const found = new Map([...watched].map(([id, { entry }]) => [id, entry]));
  for (const key of Object.keys(localStorage).filter((each) => each.startsWith(PREFIX))) {
    try {
      const entry = JSON.parse(localStorage.getItem(key) ?? "null");
      if (entry) found.set(entry.id, entry);
    } catch {
      localStorage.removeItem(key); // nothing that was ever kept here
    }
  }
  return [...found.values()].sort((one, other) => one.at - other.at);
}

function told() {
  document.dispatchEvent(new CustomEvent("outbox", { detail: { waiting: waiting().length, offline: failures > 0 } }));
}

/**
 * Keep a request and send it; resolves with the server's answer, however long that takes, and rejects when the server
 * says no to it. What waits already may be given once more, to hear of it.
 * @param {Entry} entry @returns {Promise<any>}
 */
export function send(entry) {
  const before = waiting();
  const at = before.find((each) => each.id === entry.id)?.at ?? Math.max(Date.now(), ...before.map((each) => each.at + 1));
  const kept = { ...entry, at };
  const result = new Promise((done, failed) => watched.set(entry.id, { entry: kept, done, failed }));
  try {
    localStorage.setItem(PREFIX + entry.id, JSON.stringify(kept));
  } catch {
    // no room: it lives as long as this page does
  }
  told();
  void flush();
  return result;
}

/** Send what waits, oldest first, until all is acknowledged or the network is gone. @returns {Promise<void>} */
export function flush() {
  if (!isBusy) {
    isBusy = true;
    running = sendAll();
  }
  return running;
}

async function sendAll() {
  window.clearTimeout(timer);
  try {
    for (let entry = waiting()[0]; entry; entry = waiting()[0]) if (!(await sendOne(entry))) break;
  } finally {
    isBusy = false;
  }
}

/** Whether the next one may go. @param {Kept} entry */
async function sendOne(entry) {
  try {
    const value = await request(entry.method, entry.path, entry.body, entry.key ? { key: entry.key } : {});
    failures = 0;
    settle(entry)?.done(value);
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (!error.passing && error.status !== 401) {
      const watcher = settle(entry);
      if (watcher) watcher.failed(error);
      else document.dispatchEvent(new CustomEvent("outbox-refused", { detail: { entry, error } }));
      return true;
    }
    if (error.passing) { // with nobody signed in, or somebody else, it waits for its person instead
      failures += 1;
      timer = window.setTimeout(flush, WAITS_MS[Math.min(failures, WAITS_MS.length) - 1]);
    }
    told();
    return false;
  }
}

/** The server has it, or never will. @param {Kept} entry */
function settle(entry) {
  const watcher = watched.get(entry.id);
  watched.delete(entry.id);
  localStorage.removeItem(PREFIX + entry.id);
  told();
  return watcher;
}

window.addEventListener("online", () => void flush());
window.addEventListener("storage", (event) => {
  if (!event.key?.startsWith(PREFIX)) return; // another window of the same person keeps or has sent something
  told();
  if (watched.size) void flush();
});
