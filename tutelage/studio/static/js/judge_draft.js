// @ts-check
/** What was entered so far: in this browser at once, and on the server after a pause, so that it comes back after a
 * reload and on another device. The newer of the two holds. */

import { put } from "./api.js";

const STORE = "tutelage.draft.judge.";
const PAUSE_MS = 1200;
const KEPT_DAYS = 30;

/** @typedef {{verdict?: any, said?: {reasons?: string[], critique?: string, rewrite?: string}, seconds?: number, at?: number}} Entered */

export class Draft {
  /** @param {string} id of a task or a label @param {boolean} onServer @param {(text: string) => void} tell */
  constructor(id, onServer, tell) {
    this.id = id;
    this.onServer = onServer;
    this.tell = tell;
    this.timer = 0;
    /** @type {Entered | null} */
    this.unsaved = null;
  }

  /** @param {Entered} entered */
  keep(entered) {
    this.unsaved = { ...entered, at: Date.now() };
    try {
      localStorage.setItem(STORE + this.id, JSON.stringify(this.unsaved));
    } catch {
      // no room or not allowed: the server's copy has to do
    }
    this.tell("");
    if (!this.onServer) return;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.save(), PAUSE_MS);
  }

  /** Send it to the server now. */
  async save() {
    clearTimeout(this.timer);
    const draft = this.unsaved;
    if (!draft || !this.onServer) return;
    this.unsaved = null;
    try {
      await put(`/api/tasks/${this.id}/draft`, { draft });
      if (!this.unsaved) this.tell("Draft saved");
    } catch {
      this.unsaved ??= draft;
      this.tell("Draft kept in this browser");
    }
  }

  /** The newer of the server's draft and this browser's. @param {any} fromServer @returns {Entered | null} */
  restore(fromServer) {
    const theirs = fromServer && typeof fromServer === "object" ? fromServer : null;
    let mine = null;
    try {
      mine = JSON.parse(localStorage.getItem(STORE + this.id) ?? "null");
    } catch {
      mine = null;
    }
    if (mine && theirs) return (theirs.at ?? 0) > (mine.at ?? 0) ? theirs : mine;
    return mine ?? theirs;
  }

  /** Send nothing more; what this browser has stays. */
  stop() {
    clearTimeout(this.timer);
    this.unsaved = null;
  }

  forget() {
    this.stop();
    localStorage.removeItem(STORE + this.id);
  }
}

/** Drop drafts of tasks that others have finished long ago. */
export function dropOld() {
  for (const key of Object.keys(localStorage).filter((each) => each.startsWith(STORE))) {
    try {
      const { at } = JSON.parse(localStorage.getItem(key) ?? "{}");
      if (!(at > Date.now() - KEPT_DAYS * 86_400_000)) localStorage.removeItem(key);
    } catch {
      localStorage.removeItem(key);
    }
  }
}
