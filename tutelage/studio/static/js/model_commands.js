// @ts-check
/** Lines to copy that put a model to work: our own server, and programs that many people have. */

import { $, el, fill } from "./dom.js";
import { toast } from "./shell.js";

/** For a shell. @param {string} text */
const quoted = (text) => (/^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** @param {any} model @param {string} folder where it stands on the server's disk */
export function showCommands(model, folder) {
  const all = commands(model, folder);
  $("#serving").hidden = !all.length;
  fill($("#commands"), el("p", { class: "dim" }, "Lines for the terminal of the machine on which the workspace is. The folder is an ordinary Hugging Face one; other programs read it too."), all.map(command));
}

/** @param {any} model @param {string} folder @returns {[string, string, string][]} title, text, and what to know */
function commands(model, folder) {
  const named = quoted(model.name);
  const at = quoted(folder);
  const there = ` --workspace ${quoted(folder.split("/").slice(0, -2).join("/"))}`;
  if (model.place === "starter") return [["Serve it", `tutelage serve ${named}`, ""]];
  if (!folder) return [];
  if (model.kind === "ensemble") return [["Score answers", `tutelage score --model ${named} --data answers.jsonl --out scores.jsonl${there}`, "With all its members."]];
  if (model.kind === "reward model") {
    return [
      ["Score answers", `tutelage score --model ${named} --data answers.jsonl --out scores.jsonl${there}`, ""],
      ["transformers, in Python", `from transformers import AutoModelForSequenceClassification, AutoTokenizer\nmodel = AutoModelForSequenceClassification.from_pretrained(${JSON.stringify(folder)})\ntokenizer = AutoTokenizer.from_pretrained(${JSON.stringify(folder)})`, "The score is the one logit."],
    ];
  }
  if (model.kind === "adapter") {
    return [
      ["Serve it", `tutelage serve ${named}${there}`, "An API like OpenAI's; the adapter's base model is loaded with it."],
      ["transformers and peft, in Python", `from peft import AutoPeftModelForCausalLM\nmodel = AutoPeftModelForCausalLM.from_pretrained(${JSON.stringify(folder)})`, ""],
    ];
  }
  if (model.kind !== "language model") return [];
  return [
    ["Serve it", `tutelage serve ${named}${there}`, "An API like OpenAI's."],
    ["vLLM", `vllm serve ${at} --served-model-name ${named}`, "Fast, on a GPU."],
    ["llama.cpp", `python convert_hf_to_gguf.py ${at} --outfile ${quoted(`${model.name}.gguf`)}\nllama-server -m ${quoted(`${model.name}.gguf`)}`, "Small, on a laptop; the first line is a script of llama.cpp."],
    ["transformers, in Python", `from transformers import pipeline\nchat = pipeline("text-generation", model=${JSON.stringify(folder)})\nprint(chat([{"role": "user", "content": "How do I clean a dirty pan?"}])[0]["generated_text"][-1]["content"])`, ""],
  ];
}

/** @param {[string, string, string]} one */
function command([title, text, remark]) {
  const code = el("code", {}, text);
  return el("div", { class: "command" },
    el("p", { class: "row between" }, el("span", {}, el("strong", {}, title), remark ? el("span", { class: "small dim" }, ` ${remark}`) : null), el("button", { type: "button", class: "button small", "aria-label": `Copy: ${title}`, onclick: () => copy(code, text) }, "Copy")),
    el("pre", { tabindex: "0", "aria-label": title }, code));
}

/** @param {HTMLElement} code @param {string} text */
async function copy(code, text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied", "good");
  } catch { // no clipboard without https: mark it instead
    getSelection()?.selectAllChildren(code);
    toast("Marked; copy it with Ctrl C");
  }
}
