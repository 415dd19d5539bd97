// @ts-check
/** The words of the first page: what each step is and where it is taken, and what each station of the loop shows. */

import { path } from "./api.js";

/** @typedef {{name: string, number: number, wanted: number, project: string, method: string, run: string}} Step */
/** @typedef {{title: string, why: string, button: string, href: string, station: string}} StepWords */
/** @typedef {{num: number, name: string, method: string, made_ms: number}} Newest */
/** @typedef {{key: string, title: string, term: string, count: string, note: string, href: string, has: boolean}} Station */

/** "1 pair", "3 pairs". @param {number} number @param {string} one @param {string} [many] */
export function counted(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** @type {Record<string, (step: Step) => StepWords>} */
const STEPS = {
  mend: ({ number }) => ({
    title: number === 1 ? "Mend the pair that came back" : `Mend the ${number} pairs that came back`,
    why: "A reviewer read what you wrote and says what is missing. It is the quickest way to a good pair.",
    button: "See what they said", href: "/write?state=returned", station: "pairs",
  }),
  "write-first": () => ({
    title: "Write the first pair",
    why: "A pair is a question as somebody would really ask it, and the answer you would be glad to get. A model learns its manner from such examples.",
    button: "Write a pair", href: "/write/new", station: "pairs",
  }),
  write: ({ number, wanted }) => ({
    title: wanted ? `Write pairs: ${number} of ${wanted}` : "Write another pair",
    why: wanted
      ? `About ${wanted} accepted pairs are enough for a first assistant. Good ones matter more than many.`
      : "Nothing is urgent. Good examples of what the model still gets wrong always help.",
    button: "Write a pair", href: "/write/new", station: "pairs",
  }),
  review: ({ number }) => ({
    title: `Review ${counted(number, "pair")}`,
    why: "Pairs count once somebody else has read them. Their authors wait for your word.",
    button: "Begin to review", href: "/review", station: "pairs",
  }),
  snapshot: ({ number }) => ({
    title: `Put the ${number.toLocaleString("en")} accepted pairs into a dataset`,
    why: "That is enough to train on. A snapshot keeps them as they are now, so that it can always be told what a model learned from.",
    button: "Take a snapshot", href: "/review/datasets", station: "sft",
  }),
  train: ({ number, project, method }) => TRAIN[/** @type {keyof typeof TRAIN} */ (method)]({ number, project }),
  "train-again": ({ number }) => ({
    title: "Train the reward model again",
    why: `${counted(number, "verdict")} came in since the newest one learned. With them it knows better what people like.`,
    button: "Set it up", href: "/runs/new?method=reward", station: "reward",
  }),
  watch: ({ run, method }) => ({
    title: `A run is at work: ${run}`,
    why: `It trains by ${method}. Look how it goes; warnings say when something is wrong.`,
    button: "Watch it", href: path`/runs/${run}`, station: method === "sft" ? "sft" : method === "reward" ? "reward" : "rlhf",
  }),
  "make-project": () => ({
    title: "Let people judge the model's answers",
    why: "There is a model, and nobody has said yet which of its answers are good. Make a project that asks that, and put answers into it.",
    button: "Make a project", href: "/judge", station: "answers",
  }),
  chat: () => ({
    title: "Talk to the model",
    why: "It has learned from examples. Ask it what you know well, and say what it should have said: that becomes a pair.",
    button: "Open the chat", href: "/chat", station: "assistant",
  }),
  judge: ({ number, wanted, project }) => ({
    title: wanted ? `Judge answers: ${number} of ${wanted} verdicts` : `Judge answers in ${project}`,
    why: wanted
      ? `About ${wanted} verdicts are enough for a first reward model. Each takes about a minute.`
      : `${number > 98 ? "Many items wait" : `${counted(number, "item")} ${number === 1 ? "waits" : "wait"}`} for you. Every verdict tells the next model what people like.`,
    button: "Begin to judge", href: path`/judge/${project}`, station: "verdicts",
  }),
  invite: () => ({
    title: "Invite somebody",
    why: "You are alone here. A second person can review what you write, and shows how far two people agree.",
    button: "Invite", href: "/people#invite", station: "people",
  }),
  compare: () => ({
    title: "See whether the new model is better",
    why: "It has learned from people's verdicts. Compare it with the one before, on the same prompts.",
    button: "Before and after", href: "/models", station: "better",
  }),
};

const TRAIN = {
  sft: (/** @type {any} */ { number }) => ({
    title: "Train the first assistant",
    why: `${counted(number, "accepted pair")} are there: enough to teach a base model how to answer.`,
    button: "Set it up", href: "/runs/new?method=sft", station: "sft",
  }),
  reward: (/** @type {any} */ { number, project }) => ({
    title: "Train a reward model",
    why: `${counted(number, "verdict")} are there. A reward model learns from them to score answers as people would.`,
    button: "Set it up", href: training("reward", project), station: "reward",
  }),
  kto: (/** @type {any} */ { number, project }) => ({
    title: "Learn from thumbs up and down",
    why: `${counted(number, "verdict")} are there. KTO learns from single answers that people called good or bad.`,
    button: "Set it up", href: training("kto", project), station: "rlhf",
  }),
  ppo: () => ({
    title: "Let the model practise",
    why: "There is a reward model that no assistant has practised against. Practice makes its answers score better.",
    button: "Set it up", href: "/runs/new?method=ppo", station: "rlhf",
  }),
};

/** @param {string} method @param {string} project */
function training(method, project) {
  const query = new URLSearchParams({ method, ...(project ? { data: `labels:${project}` } : {}) });
  return `/runs/new?${query}`;
}

/** @param {Step} step @returns {StepWords} */
export function wordsOf(step) {
  return STEPS[step.name](step);
}

/** The stations of the loop in their order. @param {any} loop @param {number} numTraining @param {string} role @returns {Station[]} */
export function stations(loop, numTraining, role) {
  const none = { num: 0, name: "", method: "", made_ms: 0 };
  /** @type {Newest} */ const sft = loop.models.sft ?? none;
  /** @type {Newest} */ const reward = loop.models.reward ?? none;
  /** @type {Newest} */ const policy = loop.models.policy ?? none;
  const runs = role === "rater" ? "/models" : "/runs";
  const number = (/** @type {number} */ value) => value.toLocaleString("en");
  const training = numTraining ? `${counted(numTraining, "run")} at work` : "";
  return [
    { key: "people", title: "People", term: "raters and reviewers", count: number(loop.num_people), note: "write and judge", href: "/people", has: loop.num_people > 1 },
    { key: "pairs", title: "Good examples", term: "question and answer pairs", count: number(loop.num_accepted), note: loop.num_submitted ? `and ${number(loop.num_submitted)} in review` : "accepted", href: "/write", has: loop.num_accepted > 0 },
    { key: "sft", title: "Teach by examples", term: "fine-tuning, SFT", count: number(sft.num), note: training || (loop.num_snapshots ? `from ${counted(loop.num_snapshots, "dataset snapshot")}` : "no dataset yet"), href: runs, has: sft.num > 0 },
    { key: "assistant", title: "Assistant", term: "policy", count: sft.name || "–", note: sft.num ? "talk to it" : "not yet", href: "/chat", has: sft.num > 0 },
    { key: "answers", title: "Its answers", term: "items to judge", count: number(loop.num_items), note: loop.has_projects ? counted(loop.queues.length, "open project") : "no project yet", href: "/judge", has: loop.num_items > 0 },
    { key: "verdicts", title: "Verdicts", term: "labels", count: number(loop.num_labels), note: "which answer is better, and why", href: "/judge", has: loop.num_labels > 0 },
    { key: "reward", title: "A learned judge", term: "reward model", count: number(reward.num), note: reward.name || "none yet", href: "/models", has: reward.num > 0 },
    { key: "rlhf", title: "Practice", term: "RLHF", count: number(policy.num), note: policy.method ? `newest by ${policy.method}` : "none yet", href: runs, has: policy.num > 0 },
    { key: "better", title: "Better assistant", term: "policy after RLHF", count: policy.name || "–", note: policy.num ? "compare before and after" : "not yet", href: "/models", has: policy.num > 0 },
  ];
}
