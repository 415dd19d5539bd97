// @ts-check
/** The time for which a task is one's own: shown, renewed while somebody is at work, and told kindly when it is over. */

import { ApiError, post } from "./api.js";
import { $ } from "./dom.js";

const ACTS = ["keydown", "pointerdown", "input", "wheel"];

export class Lease {
  /** @param {HTMLElement} node @param {(text: string) => void} announce */
  constructor(node, announce) {
    this.node = node;
    this.announce = announce;
    this.taskId = "";
    this.endsMs = 0;
    this.lengthMs = 1;
    this.skewMs = 0;
    this.askedMs = 0;
    this.isTaken = false;
    this.said = "";
    window.setInterval(() => this.draw(), 1000);
    for (const act of ACTS) document.addEventListener(act, () => this.act(), { passive: true, capture: true });
  }

  /** @param {{assignment_id: string, expires_ms: number, lease_seconds: number}} task @param {number} nowMs the server's */
  hold(task, nowMs) {
    this.taskId = task.assignment_id;
    this.skewMs = nowMs - Date.now();
    this.endsMs = task.expires_ms;
    this.lengthMs = 1000 * task.lease_seconds;
    this.isTaken = false;
    this.node.title = "You have this one for so long. It begins anew by itself while you are at work.";
    this.draw();
  }

  release() {
    this.taskId = "";
    this.draw();
  }

  get leftMs() {
    return this.endsMs - (Date.now() + this.skewMs);
  }

  /** Somebody is there: begin the lease anew once less than half of it is left. */
  act() {
    if (!this.taskId || this.isTaken || this.leftMs > this.lengthMs / 2) return;
    if (Date.now() - this.askedMs < Math.min(20_000, this.lengthMs / 8)) return;
    this.askedMs = Date.now();
    void this.renew(this.taskId);
  }

  /** @param {string} taskId */
  async renew(taskId) {
    try {
      const { expires_ms } = await post(`/api/tasks/${taskId}/renew`);
      if (taskId !== this.taskId) return;
      this.endsMs = expires_ms;
    } catch (error) {
      if (error instanceof ApiError && error.status === 409 && taskId === this.taskId) this.isTaken = true;
    }
    this.draw();
  }

  draw() {
    this.node.hidden = !this.taskId;
    if (!this.taskId) return this.say("");
    const seconds = Math.max(0, Math.ceil(this.leftMs / 1000));
    const isOver = this.isTaken || seconds === 0;
    const isLittle = this.leftMs < Math.min(60_000, this.lengthMs / 4);
    this.node.classList.toggle("warn", isOver || isLittle);
    const left = seconds >= 3600 ? `${Math.floor(seconds / 3600)} h left` : `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")} left`;
    this.node.textContent = isOver ? "time is over" : left;
    if (isOver) this.say("The time for this one is over, and somebody else may have it now. Go on all the same: what you submit is kept.");
    else if (isLittle) this.say("Little time is left for this one. Any key or click gives you more.");
    else this.say("");
  }

  /** Once, not every second. @param {string} text */
  say(text) {
    if (this.said === text) return;
    this.said = text;
    $("#over").textContent = text;
    $("#over").hidden = !text;
    if (text) this.announce(text);
  }
}
