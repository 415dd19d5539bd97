// @ts-check
/** Jobs of a project in plain words. */

/** "1 prompt", "25 prompts". @param {number} number @param {string} one @param {string} [more] */
export const counted = (number, one, more = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : more}`;

/** @type {Record<string, {text: string, kind: string}>} */
export const STATES = {
  running: { text: "running", kind: "accent" },
  finished: { text: "finished", kind: "good" },
  stopped: { text: "stopped", kind: "warn" },
  failed: { text: "failed", kind: "bad" },
};

/** Rules by which items can be chosen, with what is known of them. @type {Record<string, {title: string, text: string}>} */
export const RULES = {
  random: { title: "By chance", text: "Needs no model, and what is judged then speaks for all of them. Right for the first two hundred verdicts, and safe at any time." },
  "d-optimal": { title: "What teaches most", text: "Items whose verdict would tell a reward model most. Helps where that model already guesses people clearly better than chance; where it does not, it gains nothing." },
  gap: { title: "The largest difference", text: "Items whose answers may differ most in worth. Others found it good for training a model on the pairs directly; for a reward model it was worse than chance when we measured." },
  uncertainty: { title: "The least sure", text: "Items whose verdict a reward model is least sure of. Here to compare with: published results put it below chance." },
};

/** What a job was asked for, in a line. @param {any} job */
export function title(job) {
  const { asked } = job;
  if (job.kind === "choice") return `Choosing ${counted(asked.number, "item")} by the eyes of ${asked.reward}`;
  return `Answers of ${asked.models.join(" and ")} to ${counted(asked.num_prompts, "prompt")}`;
}

/** How it was asked for, in small. @param {any} job */
export function terms(job) {
  const { asked } = job;
  if (job.kind === "choice") return `${RULES[asked.rule]?.title ?? asked.rule}, ${Math.round(100 * asked.random_frac)} % of them by chance · seed ${asked.seed}`;
  const out = [
    asked.prompts || "typed here", `${counted(asked.num_answers, "answer")} each`, `temperature ${asked.temperature}`, `at most ${asked.max_new_tokens} tokens`, `seed ${asked.seed}`,
    asked.again ? "a new round" : "", asked.num_there ? `${counted(asked.num_there, "prompt")} asked already left out` : "", asked.num_sealed ? `${counted(asked.num_sealed, "sealed prompt")} left out` : "",
  ];
  return out.filter(Boolean).join(" · ");
}

/** What was done. @param {any} job */
export function outcome(job) {
  const { result } = job;
  if (job.kind === "choice") {
    const lost = result.num_unreadable ? ` ${counted(result.num_unreadable, "item")} could not be read by the model.` : "";
    return `${counted(result.num_items, "item")} of ${result.num_open.toLocaleString("en")} come first now, ${result.num_random} of them by chance. It learned from ${counted(result.num_verdicts, "verdict")}.${lost}`;
  }
  const lost = [
    result.num_equal ? `${counted(result.num_equal, "item")} left out since the answers were the same text` : "",
    result.num_unreadable ? `${counted(result.num_unreadable, "prompt")} left out that a model cannot read (too long, or a control token in it)` : "",
  ].filter(Boolean);
  return `${counted(result.num_answers, "answer")} sampled, ${counted(result.num_items, "item")} added${lost.length ? `; ${lost.join(", ")}` : ""}.`;
}

/** How far a running job is. @param {any} job @param {(seconds: number) => string} duration */
export function far(job, duration) {
  if (job.stopping) return "It was asked to stop, and keeps what it has.";
  if (job.kind === "choice") return job.said || "Loading the model.";
  if (!job.model) return job.total ? "Loading the model." : "Getting ready.";
  const left = job.seconds_left === null ? "" : ` · about ${duration(job.seconds_left)} left`;
  const items = job.num_items ? ` · ${counted(job.num_items, "item")} to judge already` : "";
  return job.done ? `${job.done.toLocaleString("en")} of ${counted(job.total, "answer")}${left}${items}` : `${job.model} begins to answer.`;
}
