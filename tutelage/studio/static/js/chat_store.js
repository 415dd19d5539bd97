// @ts-check
/** A person's conversations, kept in this browser: the turns, what was said about them, and what is being typed. */

/**
 * @typedef {{role: "system" | "user" | "assistant", content: string}} Message
 * @typedef {{model: string, text: string, state: "writing" | "done" | "stopped" | "failed", error: string, sampling: any,
 *   numTokens: number, seconds: number, ended: boolean}} Reply `ended` is false where the limit cut it off.
 * @typedef {{verdict: any, reasons: string[], rewrite: string, draft: string | null, key: string | null, dirty: boolean,
 *   pair: string | null, error: string, afterReveal: boolean}} Opinion `draft` is a rewrite that is being typed, `key` that of the newest
 *   request; `afterReveal` where the vote was changed once the names were known.
 * @typedef {{role: "user", text: string}} Question
 * @typedef {{role: "assistant", system: string, replies: Reply[], chosen: number | null, blind: boolean, opinion: Opinion}} Answer
 * @typedef {{id: string, at: number, turns: (Question | Answer)[], aside: (Question | Answer)[] | null, typed: string}} Conversation
 * @typedef {{a: string, b: string, two: boolean, blind: boolean, system: string, temperature: number, maxTokens: number}} Setup
 */

/** @type {Setup} */
const USUAL = { a: "", b: "", two: false, blind: false, system: "", temperature: 0.7, maxTokens: 512 };

/** @returns {Conversation} */
export const newConversation = () => ({ id: `${Date.now().toString(36)}${Math.random().toString(36).slice(2, 8)}`, at: Date.now(), turns: [], aside: null, typed: "" });

/** @returns {Opinion} */
export const noOpinion = () => ({ verdict: null, reasons: [], rewrite: "", draft: null, key: null, dirty: false, pair: null, error: "", afterReveal: false });

export class Chats {
  /** @param {string} person */
  constructor(person) {
    this.prefix = `tutelage.chat.${person}.`;
    this.setupKey = `tutelage.chat-setup.${person}`;
    /** What was deleted and is still held by a request under way. @type {Set<string>} */
    this.gone = new Set();
  }

  /** Whether it could be kept; an empty one is not worth it, unless something is being typed. @param {Conversation} chat */
  keep(chat) {
    if (this.gone.has(chat.id)) return true;
    try {
      if (!chat.turns.length && !chat.typed) localStorage.removeItem(this.prefix + chat.id);
      else localStorage.setItem(this.prefix + chat.id, JSON.stringify(chat));
      return true;
    } catch {
      return false;
    }
  }

  /** @param {string} id @returns {Conversation | null} */
  recall(id) {
    try {
      const found = JSON.parse(localStorage.getItem(this.prefix + id) ?? "null");
      if (!found || !Array.isArray(found.turns)) return null;
      for (const turn of found.turns) if (turn.role === "assistant") settle(turn);
      return found;
    } catch {
      return null;
    }
  }

  /** @param {string} id */
  forget(id) {
    this.gone.add(id);
    localStorage.removeItem(this.prefix + id);
  }

  /** All conversations, the newest first. @returns {Conversation[]} */
  all() {
    const ids = Object.keys(localStorage).filter((key) => key.startsWith(this.prefix)).map((key) => key.slice(this.prefix.length));
    const found = ids.map((id) => this.recall(id)).filter((chat) => chat !== null);
    return found.sort((one, other) => other.at - one.at);
  }

  /** @returns {Setup} */
  setup() {
    try {
      return { ...USUAL, ...JSON.parse(localStorage.getItem(this.setupKey) ?? "{}") };
    } catch {
      return { ...USUAL };
    }
  }

  /** @param {Setup} setup */
  keepSetup(setup) {
    try {
      localStorage.setItem(this.setupKey, JSON.stringify(setup));
    } catch {
      // a full store keeps no settings; the chat itself says that it is full
    }
  }
}

/** An answer that was being written when the page was left is not written any more. @param {Answer} turn */
function settle(turn) {
  for (const reply of turn.replies) if (reply.state === "writing") reply.state = "stopped";
}

/** @param {Conversation} chat */
export function titleOf(chat) {
  const first = /** @type {Question | undefined} */ (chat.turns.find((turn) => turn.role === "user"));
  const text = (first?.text ?? chat.typed).trim().replace(/\s+/g, " ");
  return text.length > 60 ? `${text.slice(0, 58)}…` : text || "Nothing yet";
}

/** The conversation before a turn, as a model is asked it. @param {Conversation} chat @param {number} end @param {string} system @returns {Message[]} */
export function messagesBefore(chat, end, system) {
  /** @type {Message[]} */
  const found = system.trim() ? [{ role: "system", content: system }] : [];
  for (const turn of chat.turns.slice(0, end)) {
    if (turn.role === "user") found.push({ role: "user", content: turn.text });
    else found.push({ role: "assistant", content: turn.replies[turn.chosen ?? 0].text });
  }
  return found;
}
