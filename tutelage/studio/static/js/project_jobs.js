// @ts-check
/** What is being sampled or chosen for a project, live, and what was before. A job is a process of the server's
 * machine: this page and the studio may come and go. */

import { get, path, post } from "./api.js";
import { $, ago, el, fill } from "./dom.js";
import { keyHint } from "./keys.js";
import { far, outcome, STATES, terms, title } from "./project_words.js";
import { duration } from "./run_words.js";
import { toast } from "./shell.js";

const SHOWN = 10;

export class Jobs {
  /** @param {string} project @param {() => void} changed */
  constructor(project, changed) {
    this.address = path`/api/projects/${project}/jobs`;
    this.project = project;
    this.changed = changed;
    /** @type {any[]} the newest first */
    this.all = [];
  }

  /** The newest, which is shown large. */
  get newest() {
    return this.all[0] ?? null;
  }

  get isAlive() {
    return this.newest?.state === "running";
  }

  /** @param {any} job */
  add(job) {
    this.set([job, ...this.all.filter((each) => each.id !== job.id)]);
  }

  /** @param {any[]} all */
  set(all) {
    this.all = all;
    this.draw();
    const old = all.slice(1, SHOWN + 1);
    $("#earlier").hidden = !old.length;
    fill($("#jobs"), old.length ? el("ul", { class: "plain-jobs stack" }, old.map((job) => el("li", {}, this.small(job)))) : null);
  }

  /** The job that runs, anew; whether something changed that others show. */
  async look() {
    const before = this.newest;
    const job = await get(`${this.address}/${before.id}`);
    this.all[0] = job;
    this.draw();
    if (before.state === "running" && job.state === "finished") toast(outcome(job), "good");
    return before.state !== job.state || before.num_items !== job.num_items;
  }

  draw() {
    const job = this.newest;
    $("#under-way").hidden = !job;
    if (!job) return;
    $("#under-way-title").textContent = job.state === "running" ? "Being worked on" : "The newest";
    const place = $("#now");
    const old = place.firstElementChild;
    const isSame = old?.dataset.job === job.id && old.dataset.state === `${job.state} ${job.stopping}`;
    if (isSame && job.state === "running") this.move(old, job);
    else if (!isSame) {
      const focused = old?.contains(document.activeElement);
      fill(place, this.card(job));
      if (focused) place.querySelector("button")?.focus();
    }
  }

  /** Only what moves, so that buttons stay where they are. @param {any} card @param {any} job */
  move(card, job) {
    const bar = $("progress", card);
    if (job.total && job.kind === "sampling") [bar.max, bar.value] = [job.total, job.done];
    else bar.removeAttribute("value");
    $(".far", card).textContent = far(job, duration);
  }

  /** @param {any} job */
  card(job) {
    const running = job.state === "running";
    const node = el("article", { class: "card job", dataset: { job: job.id, state: `${job.state} ${job.stopping}` }, "aria-label": title(job) },
      el("div", { class: "row between" },
        el("p", { class: "wrap" }, el("strong", {}, title(job)), " ", badge(job)),
        el("div", { class: "row" }, this.buttons(job))),
      running ? el("progress", { "aria-label": "How far it is" }) : null,
      running ? el("p", { class: "far", "aria-live": "off" }) : null,
      job.state === "finished" ? el("p", {}, outcome(job)) : null,
      job.state === "failed" ? el("p", { class: "error", role: "alert" }, el("strong", {}, "It failed: "), job.said) : null,
      job.state === "stopped" ? el("p", { class: "caution" }, `${capital(job.said)}. What was sampled is kept, and Go on samples the rest.`) : null,
      job.state === "failed" ? el("p", { class: "small" }, "What was sampled is kept. When the cause is gone, Go on samples the rest, and nothing twice.") : null,
      el("p", { class: "small dim wrap" }, terms(job), ` · asked for by ${job.by}, ${ago(job.at_ms)}`),
      this.log(job));
    if (running) this.move(node, job);
    return node;
  }

  /** @param {any} job */
  buttons(job) {
    if (job.state === "running") return el("button", { type: "button", class: "button danger", onclick: () => this.stop() }, job.stopping ? "Stop at once" : "Stop", " ", el("kbd", { "data-key": "stop-job" }, keyHint("stop-job")));
    if (job.can_go_on) return el("button", { type: "button", class: "button primary", onclick: () => this.resume() }, "Go on", " ", el("kbd", { "data-key": "resume-job" }, keyHint("resume-job")));
    return job.kind === "sampling" && job.result.num_items ? el("a", { class: "button primary", href: path`/judge/${this.project}` }, "Judge them") : null;
  }

  /** @param {any} job */
  log(job) {
    const lines = el("pre", { class: "log small", tabindex: "0", role: "region", "aria-label": "Log" });
    const node = el("details", { class: "small" }, el("summary", {}, "What it said (log)"), lines);
    node.addEventListener("toggle", async () => {
      if (!node.open) return;
      try {
        lines.textContent = (await get(`${this.address}/${job.id}/log`)).lines.join("\n") || "Nothing yet.";
        lines.scrollTop = lines.scrollHeight;
      } catch (error) {
        lines.textContent = /** @type {Error} */ (error).message;
      }
    });
    return node;
  }

  /** @param {any} job */
  small(job) {
    return el("details", { class: "job" },
      el("summary", {}, el("span", { class: "wrap" }, title(job)), " ", badge(job), el("span", { class: "dim small" }, ` ${ago(job.at_ms)}`)),
      el("p", { class: "small wrap" }, job.state === "finished" ? outcome(job) : job.said),
      el("p", { class: "small dim wrap" }, terms(job), ` · asked for by ${job.by}`), this.log(job));
  }

  async stop() {
    if (!this.isAlive) return;
    await this.act("stop", ({ at_once }) => (at_once ? "It ends at once." : "It stops, and keeps what it has."));
  }

  async resume() {
    if (!this.newest?.can_go_on) return;
    await this.act("resume", () => "It goes on.");
  }

  /** @param {"stop" | "resume"} what @param {(told: any) => string} words */
  async act(what, words) {
    try {
      toast(words(await post(`${this.address}/${this.newest.id}/${what}`)), "good");
    } catch (error) {
      toast(/** @type {Error} */ (error).message, "bad");
    }
    this.changed();
  }
}

/** @param {any} job */
function badge(job) {
  const known = job.stopping ? { text: "stopping", kind: "warn" } : (STATES[job.state] ?? { text: job.state, kind: "" });
  return el("span", { class: `badge ${known.kind}` }, known.text);
}

/** @param {string} text */
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
