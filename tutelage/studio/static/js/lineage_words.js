// @ts-check
/** What stands in a node of the lineage, and what its list says of data: counts, people, versions. */

import { counted, many } from "./model_words.js";

/** @typedef {{text: string, kind?: string}} Line */

const MOST_NAMES = 3;

/** How an input was used, in words that go on with its name. @type {Record<string, string>} */
export const ROLES = {
  base: "started from", reference: "held to", reward: "rewarded by", member: "judged by", check: "checked by", critic: "its critic began as",
  teacher: "taught by", data: "learned from", prompts: "practised on", ptx: "kept in mind", validation: "checked with", answers: "on answers of",
};

/** The same said of a model that was made with this one. @type {Record<string, string>} */
export const USES = {
  base: "started from it", reference: "was held to it", reward: "was rewarded by it", member: "has it as a member", critic: "its critic began as this",
  teacher: "was taught by it", answers: "learned from verdicts on its answers",
};

/** Whether an input is a model, be it one that the workspace does not have. @param {any} source */
export const isModel = (source) => ["base", "reference", "reward", "member", "critic", "teacher"].includes(source.role);

/** @param {number} ms */
export const day = (ms) => new Date(ms).toLocaleDateString("en-GB", { dateStyle: "medium" });

/** "cy 1,100, dee 740 and 2 more". @param {Record<string, number>} counts @param {number} [most] */
export function names(counts, most = Infinity) {
  const all = Object.entries(counts);
  const some = all.slice(0, most).map(([name, number]) => `${name} ${number.toLocaleString("en")}`);
  return some.join(", ") + (all.length > most ? ` and ${all.length - most} more` : "");
}

const SHIPPED = { text: "comes with Tutelage" };

/** @param {any} made @param {string} name @returns {Line[]} */
export function modelLines(made, name) {
  if (!made) return [name.startsWith("starter-") ? SHIPPED : { text: "not in this workspace" }];
  const how = [made.method ? `by ${made.method}` : "", made.steps !== null ? counted(made.steps, "step") : "", made.tokens ? `${many(made.tokens)} tokens` : ""];
  return [{ text: how.filter(Boolean).join(" · ") || "not made here" }, { text: day(made.made_ms), kind: "dim" }];
}

/** @param {any} source @returns {Line[]} */
export function dataLines(source) {
  const facts = source.facts;
  if (["starter", "compare", "sealed"].includes(source.name)) return [SHIPPED];
  if (!facts) return [{ text: source.role === "check" ? "a check" : source.content_hash ? `a file, sha256 ${source.content_hash.slice(0, 8)}…` : "not a snapshot of this workspace" }];
  const lines = [{ text: `${counted(facts.num_records, facts.kind === "pairs" ? "pair" : "label")} · ${day(facts.made_ms)}` }];
  const people = facts.counts[facts.kind === "pairs" ? "authors" : "raters"] ?? {};
  if (Object.keys(people).length) lines.push({ text: `${facts.kind === "pairs" ? "by" : "judged by"} ${names(people, MOST_NAMES)}` });
  if (facts.counts.guidelines && Object.keys(facts.counts.guidelines).length) lines.push({ text: `under ${names(facts.counts.guidelines, MOST_NAMES)}` });
  if (facts.num_withdrawn) lines.push({ text: `${facts.num_withdrawn.toLocaleString("en")} withdrawn since`, kind: "warn" });
  return lines;
}

/** All that is known of a snapshot, a line each. @param {any} source @returns {[string, string][]} */
export function dataFacts(source) {
  const facts = source.facts;
  /** @type {[string, string][]} */
  const found = [];
  if (facts) {
    found.push(["holds", `${counted(facts.num_records, facts.kind === "pairs" ? "pair" : "label")}, taken ${day(facts.made_ms)}${facts.by ? ` by ${facts.by}` : ""}`]);
    for (const [name, counts] of Object.entries(facts.counts)) if (Object.keys(counts).length) found.push([name, names(counts)]);
    if (facts.why) found.push(["why", facts.why]);
    if (facts.num_withdrawn) found.push(["withdrawn since", facts.num_withdrawn.toLocaleString("en")]);
  }
  if (source.content_hash) found.push(["sha256", source.content_hash]);
  return found;
}
