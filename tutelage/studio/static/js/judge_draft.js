// @ts-check
/** What was entered so far: in this browser at once, and on the server after a pause, so that it comes back after a
 * reload and on another device. The newer of the two holds. */

import { put } from "./api.js";
import { mine } from "./me.js";

const STORE = `${mine("draft.judge")}.`;
const PAUSE_MS = 1200;
const KEPT_DAYS = 30;

/** @typedef {{verdict?: any, said?: {reasons?: string[], critique?: string, rewrite?: string}, seconds?: number, at?: number, project?: string}} Entered */

/** @param {Entered | null} entered */
function isSomething(entered) {
  const said = entered?.said ?? {};
  return Boolean(entered && (entered.verdict || said.reasons?.length || said.critique || said.rewrite));
}

/** @param {string} name @returns {Entered | null} */
function read(name) {
  try {
    const found = JSON.parse(localStorage.getItem(name) ?? "null");
    return found && typeof found === "object" ? found : null;
  } catch {
    return null;
  }
}

export class Draft {
  /** @param {string} id of a task or a label @param {string} project its project's name, for a task; empty where the server keeps no draft of it @param {(text: string) => void} tell */
  constructor(id, project, tell) {
    this.id = id;
    this.project = project;
    this.tell = tell;
    this.timer = 0;
    /** Whether something that was entered before came back. */
    this.isBack = false;
    /** @type {Entered | null} */
    this.unsaved = null;
  }

  /** @param {Entered} entered */
  keep(entered) {
    this.unsaved = { ...entered, at: Date.now(), project: this.project };
    try {
      localStorage.setItem(STORE + this.id, JSON.stringify(this.unsaved));
    } catch {
      // no room or not allowed: the server's copy has to do
    }
    this.isBack = false;
    this.tell("");
    this.saveSoon();
  }

  saveSoon() {
    clearTimeout(this.timer);
    if (this.project) this.timer = window.setTimeout(() => void this.save(), PAUSE_MS);
  }

  /** Send it to the server now. */
  async save() {
    clearTimeout(this.timer);
    const draft = this.unsaved;
    if (!draft || !this.project) return;
    this.unsaved = null;
    try {
      await put(`/api/tasks/${this.id}/draft`, { draft });
      if (!this.unsaved && !this.isBack) this.tell("Draft saved");
    } catch {
      this.unsaved ??= draft;
      if (!this.isBack) this.tell("Draft kept in this browser");
    }
  }

  /**
   * What was entered before: the newer of the server's draft and this browser's, which the server then gets, too. Where
   * the server keeps none, `before` is what there is without a draft.
   * @param {any} before @returns {Entered | null}
   */
  restore(before) {
    const theirs = before && typeof before === "object" ? before : null;
    const here = read(STORE + this.id);
    const isHere = here !== null && !(theirs && (theirs.at ?? 0) > (here.at ?? 0));
    const entered = isHere ? here : theirs;
    this.isBack = (isHere || this.project !== "") && isSomething(entered);
    if (isHere && this.isBack && here?.at !== theirs?.at) {
      this.unsaved = here;
      this.saveSoon();
    }
    return entered;
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

/** Every name under which a draft of this person lies here. */
const names = () => Object.keys(localStorage).filter((each) => each.startsWith(STORE));

/** The task of a project that was begun last, other than one: its time may be over, or another is at hand. @param {string} project @param {string} but @returns {string | null} */
export function begunBefore(project, but) {
  const begun = names().map((name) => ({ id: name.slice(STORE.length), entered: read(name) }))
    .filter(({ id, entered }) => id !== but && entered?.project === project && isSomething(entered));
  begun.sort((one, other) => (other.entered?.at ?? 0) - (one.entered?.at ?? 0));
  return begun[0]?.id ?? null;
}

/** Drop drafts of long ago. */
export function dropOld() {
  for (const name of names()) {
    if (!((read(name)?.at ?? 0) > Date.now() - KEPT_DAYS * 86_400_000)) localStorage.removeItem(name);
  }
}
