// @ts-check
/** The audit log, the newest first, a page at a time. */

import { get } from "./api.js";
import { $, el } from "./dom.js";
import { complain, when } from "./people_words.js";

const WORDS = {
  "session.opened": "signed in", "session.ended": "signed out", "session.all_ended": "signed out everywhere", "session.refused": "was refused at the sign-in",
  "people.invited": "made an invitation", "people.accepted": "accepted an invitation", "people.uninvited": "revoked an invitation", "people.role": "changed a role",
  "people.activated": "took an account back into use", "people.deactivated": "took an account out of use", "people.work_removed": "took somebody's work out",
  "password.changed": "changed their password", "password.set": "set a password", "token.made": "made an API token", "token.revoked": "revoked an API token",
  "project.created": "made a project", "project.chosen": "chose what to label", "item.adjudicated": "decided about an item", "runs.started": "started a run", "runs.stopped": "stopped a run",
  "runs.resumed": "went on with a run", "evaluations.started": "started an evaluation", "evaluations.stopped": "stopped an evaluation",
  "project.guideline": "wrote a version of the guidelines", "project.items": "added items", "project.state": "opened, paused or closed a project", "item.withdrawn": "withdrew an item",
  "writing_guideline.changed": "wrote a version of the writing guideline", "file.exported": "took data out as a file", "file.imported": "brought a file in", "job.stopped": "stopped a job",
  "sampling.started": "let models answer", "sampling.resumed": "went on letting models answer",
  "choice.started": "let a model choose what to label", "choice.resumed": "went on letting a model choose", "workspace.made": "made the workspace", "label.revealed": "looked who wrote the answers",
};
/** @type {Map<string, string>} */
const names = new Map();
let after = "";

async function learnNames() {
  for (let from = ""; ; ) {
    const { records, next } = await get(`/api/people?limit=1000&after=${from}`);
    for (const each of records) names.set(each.id, each.name);
    if (!next) return;
    from = next;
  }
}

async function load() {
  try {
    const { records, next } = await get(`/api/audit?limit=50&after=${after}`);
    $("#log").append(...records.map(row));
    after = next ?? "";
    $("#more").hidden = !next;
    if (!$("#log").children.length) $("#log").append(el("tr", {}, el("td", { colspan: 4, class: "dim" }, "Nothing has happened yet.")));
  } catch (error) {
    complain(error);
  }
}

/** @param {any} entry */
function row(entry) {
  const details = Object.entries(entry.detail).map(([key, value]) => `${key.replaceAll("_", " ")}: ${value}`);
  const subject = names.get(entry.subject);
  if (subject && entry.subject !== entry.person_id) details.unshift(subject);
  const word = WORDS[/** @type {keyof typeof WORDS} */ (entry.action)];
  return el("tr", {},
    el("td", { class: "nowrap", "data-label": "When" }, el("span", {}, when(entry.at_ms))),
    el("td", { "data-label": "Who" }, el("span", {}, names.get(entry.person_id) ?? el("span", { class: "dim" }, "nobody signed in"))),
    el("td", { "data-label": "What" }, word ? el("span", {}, word) : el("code", {}, entry.action)),
    details.length ? el("td", { class: "wrap small", "data-label": "Details" }, el("span", {}, details.join(", "))) : el("td"));
}

$("#more").addEventListener("click", load);
learnNames().then(load, complain);
