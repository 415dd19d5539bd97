// @ts-check
/** Looking after a project: answers from a file, its guidelines, and whether it hands out work. */

import { path, post, put, request } from "./api.js";
import { el } from "./dom.js";
import { mine } from "./me.js";
import { counted } from "./project_words.js";
import { toast } from "./shell.js";

/** @param {string} project @param {() => Promise<void>} changed */
export function itemsFile(project, changed) {
  const input = el("input", { type: "file", accept: ".jsonl,.ndjson,.json,.csv,.tsv,.parquet,.gz" });
  const told = el("p", { role: "status", hidden: true });
  const button = el("button", { type: "button", class: "button", onclick: () => void add() }, "Add them");
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
      toast(`${counted(added.ids.length, "item")} added${added.num_there ? `, ${added.num_there} were there` : ""}${added.num_equal ? `, ${added.num_equal} had the same answer twice` : ""}`, "good");
      told.hidden = true;
      input.value = "";
      await changed();
    } catch (error) {
      told.className = "error";
      told.textContent = /** @type {import("./api.js").ApiError} */ (error).placed;
    }
    button.disabled = false;
  };
  return el("div", { class: "card stack" },
    el("label", { class: "field" }, el("span", {}, "Answers from a file ", el("small", { class: "dim" }, "JSON Lines, JSON, CSV or Parquet; a record holds a prompt and its answers, as “answers”, “response_a” and “response_b”, or “answer”")), input),
    el("p", {}, button), told);
}

/** @param {string} project @param {any} newest */
export function guidelines(project, newest) {
  const text = el("textarea", { rows: "8" });
  const store = mine(`guideline.${project}.${newest?.version ?? 0}`);
  text.value = localStorage.getItem(store) ?? newest?.text ?? "";
  text.addEventListener("input", () => localStorage.setItem(store, text.value));
  const note = el("input", { maxlength: "500", autocomplete: "off" });
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const save = el("button", { type: "button", class: "button" }, "Save as a new version");
  const title = el("small", { class: "dim" }, words(newest));
  save.addEventListener("click", async () => {
    error.hidden = true;
    try {
      const made = await post(path`/api/projects/${project}/guidelines`, { text: text.value, note: note.value });
      localStorage.removeItem(store);
      toast(`Version ${made.version} holds from the next task on`, "good");
      title.textContent = words(made);
      note.value = "";
    } catch (problem) {
      error.textContent = /** @type {Error} */ (problem).message;
      error.hidden = false;
    }
  });
  return el("details", { class: "card" }, el("summary", {}, "Guidelines ", title),
    el("div", { class: "stack" },
      el("label", { class: "field" }, el("span", {}, "What good means here ", el("small", { class: "dim" }, "Markdown; raters see that it changed, and each label carries the version it was made under")), text),
      el("label", { class: "field" }, el("span", {}, "What is new ", el("small", { class: "dim" }, "a sentence that raters read")), note),
      error, el("p", {}, save)));
}

/** @param {any} newest */
const words = (newest) => (newest ? `version ${newest.version}` : "there are none yet");

/** @param {any} project @param {() => Promise<void>} changed */
export function states(project, changed) {
  const acts = { open: [["paused", "Pause"], ["closed", "Close"]], paused: [["open", "Open again"], ["closed", "Close"]], closed: [["open", "Open again"]] };
  const says = { open: "It hands out work to whoever asks.", paused: "It hands out nothing until it is opened again.", closed: "It is finished, and hands out nothing." };
  const state = /** @type {keyof typeof acts} */ (project.state);
  const buttons = acts[state].map(([to, label]) =>
    el("button", { type: "button", class: to === "closed" ? "button danger" : "button", onclick: async () => {
      try {
        await put(path`/api/projects/${project.name}/state`, { state: to });
        await changed();
        /** @type {HTMLElement | null} */ (document.querySelector("#states button"))?.focus();
      } catch (error) {
        toast(/** @type {Error} */ (error).message, "bad");
      }
    } }, label));
  return el("div", { class: "card row between", id: "states" }, el("p", { class: "dim" }, `${says[state]} Whoever holds a task may still submit it.`), el("div", { class: "row" }, buttons));
}
