// @ts-check
/** Saving a pair while it is typed: in this browser at once, on the server after a pause, as a new revision only when
 * the words have changed. A request whose answer did not come is sent again as it was, under the same key. */

import { ApiError, get, newKey, request } from "./api.js";
import { forget, keep } from "./write_local.js";
import { isBlank, sameWords } from "./write_words.js";

/** @typedef {import("./write_words.js").Pair} Pair */
/** @typedef {import("./write_local.js").Content} Content */
/** @typedef {import("./write_local.js").Pending} Pending */
/** @typedef {{kind: "clean" | "typed" | "saving" | "saved" | "away" | "refused" | "clash", text?: string}} Status */
/**
 * @typedef {object} Options
 * @property {string} person id
 * @property {string} name under which this browser keeps the draft: the pair's id, or `new-…`
 * @property {Pair | null} pair as the server has it
 * @property {Pending | null} pending
 * @property {() => Content} read
 * @property {() => string} note what is said with a new revision
 * @property {(status: Status) => void} tell
 * @property {(pair: Pair) => void} made
 * @property {(pair: Pair) => void} saved
 * @property {(theirs: Pair) => void} clashed
 */

const PAUSE_MS = 1500;
const RETRY_MS = 4000;

/** @param {Pair} pair @returns {Content} */
export const contentOf = (pair) => ({ messages: pair.messages, tags: [...pair.tags], source: pair.source, licence: pair.licence });

/** @param {Content} one @param {Content} other */
export function sameContent(one, other) {
  return sameWords(one.messages, other.messages) && one.source === other.source && one.licence === other.licence && [...one.tags].sort().join("\n") === [...other.tags].sort().join("\n");
}

/** @param {Options} options */
export function saver(options) {
  let { name, pair, pending } = options;
  /** What the server has, as it was sent. @type {Content | null} */
  let there = pair ? contentOf(pair) : null;
  let timer = 0;
  let isAuto = true;
  let isPaused = false;
  /** @type {Promise<void>} */
  let tail = Promise.resolve();

  function keepHere() {
    const kept = keep(options.person, name, { at: Date.now(), base: pair?.revision ?? 0, content: options.read(), pending });
    if (!kept) options.tell({ kind: "refused", text: "this browser has no room to keep what you type; save it on the server" });
  }

  /** Something was typed. */
  function changed() {
    keepHere();
    if (!isPaused) options.tell({ kind: "typed" });
    later(PAUSE_MS);
  }

  /** @param {number} wait */
  function later(wait) {
    clearTimeout(timer);
    if (isAuto && !isPaused) timer = window.setTimeout(() => void flush().catch(() => undefined), wait);
  }

  /** Resolves once the server has everything; rejects when it says no or cannot be reached. @returns {Promise<void>} */
  function flush() {
    clearTimeout(timer);
    tail = tail.catch(() => undefined).then(all);
    return tail;
  }

  async function all() {
    if (isPaused) throw new ApiError(409, "somebody else has changed this pair; choose which words are to stay");
    let didSomething = false;
    for (let wanted = next(); wanted; wanted = next()) {
      didSomething = true;
      options.tell({ kind: "saving" });
      pending = wanted;
      keepHere();
      await send(wanted);
    }
    forget(options.person, name);
    options.tell({ kind: didSomething ? "saved" : pair ? "saved" : "clean" });
  }

  /** The next request that the server needs to have everything. @returns {Pending | null} */
  function next() {
    if (pending) return pending;
    const want = options.read();
    if (!pair || !there) {
      return isBlank(want.messages) ? null : { method: "POST", path: "/api/pairs", key: newKey(), body: { ...want } };
    }
    const where = `/api/pairs/${pair.id}`;
    if (!sameWords(want.messages, there.messages)) {
      return { method: "PUT", path: `${where}/messages`, key: newKey(), body: { messages: want.messages, base_revision: pair.revision, note: options.note() } };
    }
    const [was, now] = [there.tags, want.tags];
    const [add, gone] = [now.filter((tag) => !was.includes(tag)), was.filter((tag) => !now.includes(tag))];
    if (add.length || gone.length) return { method: "POST", path: `${where}/tags`, key: newKey(), body: { add, remove: gone } };
    if (want.source !== there.source || want.licence !== there.licence) {
      return { method: "PATCH", path: where, key: newKey(), body: { source: want.source, licence: want.licence } };
    }
    return null;
  }

  /** @param {Pending} wanted */
  async function send(wanted) {
    try {
      took(wanted, await request(wanted.method, wanted.path, wanted.body, { key: wanted.key }));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.passing || error.status === 401) {
        options.tell({ kind: "away", text: error.message });
        later(RETRY_MS);
        throw error;
      }
      pending = null;
      if (error.status === 409 && wanted.method === "PUT" && pair) await clash(wanted, pair.id);
      else {
        options.tell({ kind: "refused", text: error.message });
        throw error;
      }
    }
  }

  /** @param {Pending} wanted @param {Pair} answer */
  function took(wanted, answer) {
    pending = null;
    const isNew = !pair;
    if (isNew) forget(options.person, name);
    pair = answer;
    name = answer.id;
    const sent = wanted.body;
    there = contentOf(answer);
    if (sent.messages) there.messages = sent.messages; // as it was sent, so that what the server tidied is not sent for ever
    if (sent.tags) there.tags = sent.tags;
    if (sent.add) there.tags = [...new Set([...there.tags, ...sent.add])];
    keepHere();
    if (isNew) options.made(answer);
    options.saved(answer);
  }

  /** @param {Pending} wanted @param {string} id */
  async function clash(wanted, id) {
    const theirs = /** @type {Pair} */ (await get(`/api/pairs/${id}`));
    if (sameWords(theirs.messages, wanted.body.messages)) {
      took(wanted, theirs);
      return;
    }
    isPaused = true;
    keepHere();
    options.tell({ kind: "clash" });
    options.clashed(theirs);
    throw new ApiError(409, "somebody else has changed this pair; choose which words are to stay");
  }

  const back = () => later(0);
  window.addEventListener("online", back);

  return {
    changed,
    flush,
    /** @param {boolean} on whether the server gets it after a pause, or only when it is told to */
    setAuto(on) {
      isAuto = on;
      if (!on) clearTimeout(timer);
    },
    /** Stop until `goOn`, because somebody else was quicker. */
    pause() {
      isPaused = true;
      clearTimeout(timer);
    },
    /** From here on what is typed stands on top of this. @param {Pair} theirs */
    goOn(theirs) {
      isPaused = false;
      pair = theirs;
      there = contentOf(theirs);
    },
    /** Keep nothing of it here. */
    drop() {
      clearTimeout(timer);
      isAuto = false;
      forget(options.person, name);
    },
    /** Another one takes its place. */
    close() {
      clearTimeout(timer);
      isAuto = false;
      window.removeEventListener("online", back);
    },
    pair: () => pair,
  };
}
