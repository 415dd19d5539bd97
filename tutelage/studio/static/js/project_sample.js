// @ts-check
/** The form that lets models answer prompts for a project. What is typed into it is kept in this browser until it began. */

import { path, post, request } from "./api.js";
import { $, $$, debounce, el, fill } from "./dom.js";
import { mine } from "./me.js";
import { many } from "./model_words.js";
import { counted } from "./project_words.js";
import { toast } from "./shell.js";

const TYPED = "typed:";
const FILE = "file:";
const A_FEW = 25;
const NUMBERS = ["num_answers", "temperature", "max_new_tokens", "seed"];

export class SampleForm {
  /** @param {string} project @param {string} kind @param {(job: any) => void} begun */
  constructor(project, kind, begun) {
    this.project = project;
    this.kind = kind;
    this.begun = begun;
    this.form = $("#sample");
    this.fields = this.form.elements;
    this.store = mine(`sampling.${project}`);
    /** @type {any} */
    this.told = null;
    /** @type {any} the newest sampling */
    this.last = null;
    this.isBusy = false;
    this.isTyped = false;
    const keep = () => this.isTyped && localStorage.setItem(this.store, JSON.stringify(this.entered()));
    const keepSoon = debounce(keep, 200);
    window.addEventListener("pagehide", keep);
    this.form.addEventListener("input", () => {
      this.isTyped = true;
      keepSoon();
      this.changed();
    });
    this.form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      void this.submit();
    });
    this.fields.file.addEventListener("change", () => void this.upload());
  }

  /** What there is, as the server tells it. @param {any} told @param {any[]} jobs */
  set(told, jobs) {
    const isFirst = !this.told;
    this.last = jobs.find((each) => each.kind === "sampling") ?? null;
    if (!isFirst && JSON.stringify([told.writers, told.prompts]) === JSON.stringify([this.told.writers, this.told.prompts])) {
      this.told = told;
      this.showNewer();
      return;
    }
    const entered = isFirst ? this.kept() : this.entered();
    this.told = told;
    this.form.hidden = !told.writers.length;
    this.showNoModel();
    this.drawWriters();
    fill(this.fields.prompts, told.prompts.map((/** @type {any} */ each) => this.option(each)), el("option", { value: TYPED }, "Write them here, one a line"), el("option", { value: FILE }, "Send a file…"));
    for (const name of NUMBERS) this.fields[name].placeholder = String(told[name] ?? 0);
    this.enter(entered ?? this.usual());
  }

  /** @param {any} source */
  option(source) {
    return el("option", { value: source.name }, `${source.name.replace(/^project:/, "")} – ${source.text}${source.num_prompts === null ? "" : ` (${source.num_prompts.toLocaleString("en")})`}`);
  }

  showNoModel() {
    const place = $("#no-model");
    place.hidden = this.told.writers.length > 0;
    if (place.hidden) return;
    fill(place, el("h3", {}, "There is no model yet that could answer"), el("p", {}, "Train one from the pairs that people wrote, or fetch a starter model at the terminal."), el("p", { class: "row" }, el("a", { class: "button primary", href: "/runs/new?method=sft" }, "Teach by examples"), el("a", { class: "button", href: "/models" }, "Models")));
  }

  drawWriters() {
    const newest = this.newest?.name;
    fill($("#writers"), this.told.writers.map((/** @type {any} */ each) => el("label", { class: "choice" },
      el("input", { type: "checkbox", name: "model", value: each.name }),
      el("span", { class: "wrap" }, el("strong", {}, each.name), " ", each.name === newest ? el("span", { class: "badge accent" }, "newest") : each.is_starter ? el("span", { class: "badge" }, "starter") : null,
        el("small", { class: "dim" }, `${each.words}${each.num_parameters ? ` · ${many(each.num_parameters)} parameters` : ""}`)))));
  }

  /** The newest model that was made here. */
  get newest() {
    return this.told.writers.find((/** @type {any} */ each) => !each.is_starter) ?? null;
  }

  usual() {
    const there = this.told.writers.map((/** @type {any} */ each) => each.name);
    const own = this.told.models.filter((/** @type {string} */ each) => there.includes(each));
    const first = this.told.prompts[0];
    return { models: own.length ? own : there.slice(0, 1), prompts: first?.name ?? TYPED, number: first?.num_prompts > A_FEW ? String(A_FEW) : "" };
  }

  kept() {
    try {
      return JSON.parse(localStorage.getItem(this.store) ?? "null");
    } catch {
      return null;
    }
  }

  entered() {
    const { fields } = this;
    return {
      models: $$("input[name=model]:checked", this.form).map((each) => each.value), prompts: fields.prompts.value, typed: fields.typed.value, number: fields.number.value, again: fields.again.checked,
      ...Object.fromEntries(NUMBERS.map((name) => [name, fields[name].value])),
    };
  }

  /** @param {any} entered */
  enter(entered) {
    const { fields } = this;
    for (const box of $$("input[name=model]", this.form)) box.checked = entered.models?.includes(box.value) ?? false;
    const sources = [...fields.prompts.options].map((each) => each.value);
    fields.prompts.value = sources.includes(entered.prompts) ? entered.prompts : sources[0];
    for (const name of ["typed", "number", ...NUMBERS]) fields[name].value = entered[name] ?? "";
    fields.again.checked = entered.again ?? false;
    if (NUMBERS.some((name) => entered[name])) $("#more").open = true;
    this.changed();
  }

  get typed() {
    return this.fields.typed.value.split("\n").map((/** @type {string} */ each) => each.trim()).filter(Boolean);
  }

  /** What else the form shows of what is entered. */
  changed() {
    const entered = this.entered();
    $("#typed").hidden = entered.prompts !== TYPED;
    $("#file").hidden = entered.prompts !== FILE;
    const { models } = entered;
    const of = this.kind === "comparison" ? "two" : "several";
    const words = models.length > 1
      ? "People see their answers side by side without the names, and so find out which model is better."
      : `With one model people judge ${of} answers of its own against each other; that is what usually teaches it most.`;
    $("#models-help").textContent = this.kind === "thumbs" || this.kind === "rating" ? "People judge each answer alone, without the name of its model." : words;
    $("#how-many").textContent = this.howMany(entered);
    this.showNewer();
  }

  /** @param {any} entered */
  howMany(entered) {
    const source = this.told.prompts.find((/** @type {any} */ each) => each.name === entered.prompts);
    const there = entered.prompts === TYPED ? this.typed.length : source?.num_prompts;
    const number = Number(entered.number) || Infinity;
    const answers = Number(entered.num_answers) || Math.max(this.told.num_answers, entered.models.length);
    if (!there) return "";
    const prompts = Math.min(there, number);
    return `At most ${counted(prompts, "prompt")}, ${counted(prompts * answers, "answer")}. On a machine without a GPU this may take long; begin with a few.`;
  }

  /** Offers the newest model where the last round was another's. */
  showNewer() {
    const place = $("#newer");
    const newest = this.newest?.name;
    const isNewer = this.last && newest && !this.last.asked.models.includes(newest);
    const isSet = isNewer && this.entered().again && this.entered().models.join() === newest;
    place.hidden = !isNewer || isSet || this.form.hidden;
    if (!place.hidden && !place.querySelector("button")) fill(place, el("span", { class: "wrap" }, `${newest} is newer than what was sampled last. People teach a model most by judging what it says now.`), el("button", { type: "button", class: "button small", onclick: () => this.newRound() }, "A new round with it"));
  }

  /** The last prompts, asked of the newest model. */
  newRound() {
    this.enter({ ...this.entered(), models: [this.newest.name], prompts: this.last.asked.prompts || this.fields.prompts.value, again: true });
    localStorage.setItem(this.store, JSON.stringify(this.entered()));
    $("#sample-button").focus();
  }

  async upload() {
    const [file] = this.fields.file.files;
    if (!file) return;
    this.complain(null);
    try {
      const kept = await request("POST", path`/api/prompt-files?filename=${file.name}`, file);
      this.told.prompts = [...this.told.prompts.filter((/** @type {any} */ each) => each.name !== kept.name), kept];
      const old = [...this.fields.prompts.options].find((each) => each.value === kept.name);
      old?.remove();
      this.fields.prompts.prepend(this.option(kept));
      this.fields.prompts.value = kept.name;
      this.fields.file.value = "";
      toast(`${counted(kept.num_prompts, "prompt")} kept as ${kept.name}`, "good");
      this.fields.prompts.focus();
      this.changed();
    } catch (error) {
      this.complain({ message: /** @type {import("./api.js").ApiError} */ (error).placed, field: "prompts" });
    }
  }

  /** What is sent. */
  given() {
    const entered = this.entered();
    /** @type {Record<string, any>} */
    const given = { models: entered.models, again: entered.again };
    if (entered.prompts === TYPED) given.typed = this.typed;
    else given.prompts = entered.prompts === FILE ? "" : entered.prompts;
    for (const name of NUMBERS) given[name] = entered[name] === "" ? this.told[name] ?? 0 : Number(entered[name]);
    if (entered.num_answers === "") delete given.num_answers;
    if (entered.number !== "") given.number = Number(entered.number);
    return given;
  }

  async submit() {
    if (this.isBusy || this.form.hidden || document.querySelector("dialog[open]")) return;
    this.complain(null);
    this.isBusy = true;
    $("#sample-button").setAttribute("aria-disabled", "true");
    try {
      const job = await post(path`/api/projects/${this.project}/samplings`, this.given());
      this.isTyped = false;
      localStorage.removeItem(this.store);
      this.last = job;
      this.fields.typed.value = "";
      toast("It has begun.", "good");
      this.begun(job);
    } catch (error) {
      this.complain(error);
    } finally {
      this.isBusy = false;
      $("#sample-button").removeAttribute("aria-disabled");
    }
  }

  /** Show an error beside its field, or take all away. @param {any} error */
  complain(error) {
    const places = $$("[data-error]", this.form);
    for (const place of places) place.hidden = true;
    if (!error) return;
    const field = String(error.field ?? "").replace(/^body\./, "").split(/[.[]/)[0].replace("messages", "prompts").replace("typed", "prompts");
    const place = places.find((each) => each.dataset.error === field) ?? places.find((each) => each.dataset.error === "");
    place.textContent = error.message;
    place.hidden = false;
    if (place.closest("#more")) $("#more").open = true;
    place.scrollIntoView({ block: "nearest" });
  }
}
