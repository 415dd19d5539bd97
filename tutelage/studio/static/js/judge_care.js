// @ts-check
/** Looking after a project, for reviewers: its items, its guidelines, and whether it hands out work. */

import { get, path, post, put, request } from "./api.js";
import { $, el, fill } from "./dom.js";
import { toast } from "./shell.js";

/** @param {any} work @param {boolean} isOpen @param {() => Promise<void>} changed */
export function care(work, isOpen, changed) {
  const place = el("div", { class: "stack" });
  const node = el("details", { class: "care", open: isOpen }, el("summary", {}, "Look after this project"), place);
  const draw = () => void fillIn(place, work, changed);
  if (isOpen) draw();
  else node.addEventListener("toggle", draw, { once: true });
  return node;
}

/** @param {HTMLElement} place @param {any} work @param {() => Promise<void>} changed */
async function fillIn(place, work, changed) {
  const { project } = work;
  const [counts, guidelines] = await Promise.all([get(path`/api/projects/${project}/items/counts`), get(path`/api/projects/${project}/guidelines`)]);
  fill(place,
    el("p", { class: "small" }, `${counts.open} items open, ${counts.done} done, ${counts.withdrawn} withdrawn`, counts.gold ? `, ${counts.gold} with a known verdict (gold)` : ""),
    fromFile(project, changed), sampling(work), guideline(project, guidelines[0]), states(work, changed));
}

/** @param {string} project @param {() => Promise<void>} changed */
function fromFile(project, changed) {
  const input = el("input", { type: "file", accept: ".jsonl,.ndjson,.json,.csv,.tsv,.parquet,.gz" });
  const told = el("p", { role: "status", hidden: true });
  const button = el("button", { type: "button", class: "button small", onclick: () => void add() }, "Add them");
  const add = async () => {
    const [file] = input.files;
    told.hidden = false;
    if (!file) {
      told.className = "error";
      told.textContent = "Choose a file first.";
      return;
    }
    button.disabled = true;
    told.className = "dim";
    told.textContent = "Reading the file…";
    try {
      const added = await request("POST", path`/api/items?project=${project}&filename=${file.name}`, file);
      toast(`${added.ids.length} items added${added.num_there ? `, ${added.num_there} were there` : ""}${added.num_equal ? `, ${added.num_equal} had the same answer twice` : ""}`, "good");
      await changed();
    } catch (error) {
      const at = /** @type {any} */ (error);
      told.className = "error";
      told.textContent = at.message;
    }
    button.disabled = false;
  };
  return el("div", { class: "stack" },
    el("label", { class: "field" }, el("span", {}, "Answers from a file ", el("small", { class: "dim" }, "JSON Lines, JSON, CSV or Parquet; a record holds a prompt and its answers, as “answers”, “response_a” and “response_b”, or “answer”")), input),
    el("p", {}, button), told);
}

/** @param {any} work */
function sampling(work) {
  return el("div", {}, el("p", { class: "small" }, "Or let models answer, at the terminal of the machine they are on; raters get each answer as soon as it is there:"),
    el("pre", { class: "command", tabindex: "0" }, el("code", {}, `tutelage project sample ${work.project} --prompts prompts.jsonl --model MODEL`)));
}

/** @param {string} project @param {any} newest */
function guideline(project, newest) {
  const text = el("textarea", { rows: "8" });
  text.value = newest?.text ?? "";
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const save = el("button", { type: "button", class: "button small" }, "Save as a new version");
  save.addEventListener("click", async () => {
    error.hidden = true;
    try {
      const made = await post(path`/api/projects/${project}/guidelines`, { text: text.value });
      toast(`Version ${made.version} holds from the next task on`, "good");
      title.textContent = `version ${made.version}; raters see that it changed (Markdown)`;
    } catch (problem) {
      error.textContent = /** @type {Error} */ (problem).message;
      error.hidden = false;
    }
  });
  const title = el("small", { class: "dim" }, newest ? `version ${newest.version}; raters see that it changed (Markdown)` : "there are none yet (Markdown)");
  return el("details", {}, el("summary", {}, "Guidelines"), el("div", { class: "stack" }, el("label", { class: "field" }, el("span", {}, "Guidelines ", title), text), error, el("p", {}, save)));
}

/** @param {any} work @param {() => Promise<void>} changed */
function states(work, changed) {
  const acts = { open: [["paused", "Pause"], ["closed", "Close"]], paused: [["open", "Open again"], ["closed", "Close"]], closed: [["open", "Open again"]] };
  const buttons = acts[/** @type {keyof typeof acts} */ (work.state)].map(([state, label]) =>
    el("button", { type: "button", class: state === "closed" ? "button small danger" : "button small", onclick: async () => {
      try {
        await put(path`/api/projects/${work.project}/state`, { state });
        await changed();
        $(`[data-project="${CSS.escape(work.project)}"] .care summary`).focus();
      } catch (error) {
        toast(/** @type {Error} */ (error).message, "bad");
      }
    } }, label));
  return el("p", { class: "row" }, buttons, el("span", { class: "dim small" }, "Whoever holds a task may still submit it."));
}

