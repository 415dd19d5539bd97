// @ts-check
/** One answer of a model as it stands on the page: plain while it is written, Markdown made safe by the server when it is
 * there, and in words what became of it. */

import { render } from "./api.js";
import { el, fill, setRendered } from "./dom.js";

/** @typedef {import("./chat_store.js").Reply} Reply */

const AT_ONCE = 100;
/** @type {Map<string, string>} */
const html = new Map();
/** @type {Map<HTMLElement, string>} */
let waiting = new Map();

/** Show a text as Markdown, as soon as the server has made it safe. @param {HTMLElement} node @param {string} text */
export function showRendered(node, text) {
  const known = html.get(text);
  if (known !== undefined) {
    node.classList.remove("plain-text");
    setRendered(node, known);
    return;
  }
  node.classList.add("plain-text");
  node.textContent = text;
  if (!waiting.size) queueMicrotask(() => void renderAll());
  waiting.set(node, text);
}

async function renderAll() {
  const asked = [...waiting];
  waiting = new Map();
  for (let start = 0; start < asked.length; start += AT_ONCE) {
    const part = asked.slice(start, start + AT_ONCE);
    const made = await render(part.map(([, text]) => text)).catch(() => null);
    made?.forEach((each, index) => {
      const [node, text] = part[index];
      html.set(text, each);
      if (node.textContent !== text) return; // it shows something else by now
      node.classList.remove("plain-text");
      setRendered(node, each);
    });
  }
}

/** The words about an answer: how long it is, and how it ended. @param {Reply} reply */
export function about(reply) {
  if (reply.state === "stopped") return "stopped";
  if (reply.state !== "done") return "";
  const tokens = `${reply.numTokens} token${reply.numTokens === 1 ? "" : "s"} in ${reply.seconds.toFixed(1)} s`;
  return reply.ended ? tokens : `${tokens}, cut off at the limit`;
}

export class ReplyView {
  /** @param {Reply} reply @param {string} name what it is called @param {string} kind a class of the card */
  constructor(reply, name, kind) {
    this.reply = reply;
    this.isOneOfTwo = kind !== "";
    this.text = el("div", { class: "reply-text wrap", dir: "auto" });
    this.about = el("small", { class: "dim" });
    this.name = el("h2", { class: "answer-name wrap" }, name, " ", this.about);
    this.wait = el("p", { class: "wait dim", hidden: true });
    this.error = el("p", { class: "error", hidden: true });
    this.node = el("article", { class: `card answer ${kind}`, tabindex: "-1", "aria-label": kind ? name : `Answer of ${name}` }, this.name, this.wait, this.text, this.error);
    this.show();
  }

  /** What the model is called, once it may be known. @param {string} name */
  rename(name) {
    fill(this.name, name, " ", this.about);
    this.node.setAttribute("aria-label", this.isOneOfTwo ? name : `Answer of ${name}`);
  }

  /** Why nothing comes yet. @param {any} told */
  waits(told) {
    this.wait.hidden = false;
    const usual = told.usual_seconds ? ` of about ${told.usual_seconds}` : "";
    const what = told.kind === "loading" ? `Loading the model: ${told.text}` : `Waiting: ${told.text}`;
    const bar = told.usual_seconds ? el("progress", { max: told.usual_seconds, value: Math.min(told.seconds, told.usual_seconds), "aria-label": "Loading the model" }) : el("progress", { "aria-label": "Waiting" });
    fill(this.wait, `${what}… ${told.seconds} s${usual}`, bar);
  }

  /** @param {string} piece */
  add(piece) {
    this.reply.text += piece;
    this.wait.hidden = true;
    this.text.append(piece);
  }

  show() {
    const { reply } = this;
    const isWriting = reply.state === "writing";
    this.node.classList.toggle("writing", isWriting);
    this.node.setAttribute("aria-busy", String(isWriting));
    this.about.textContent = about(reply);
    this.error.hidden = reply.state !== "failed";
    this.error.textContent = reply.error;
    if (!isWriting) this.wait.hidden = true;
    if (isWriting) {
      this.text.classList.add("plain-text");
      this.text.textContent = reply.text;
    } else if (reply.text) showRendered(this.text, reply.text);
    else this.text.replaceChildren(reply.state === "failed" ? "" : el("span", { class: "dim" }, reply.state === "stopped" ? "Stopped before the first word." : "The model said nothing."));
  }
}
