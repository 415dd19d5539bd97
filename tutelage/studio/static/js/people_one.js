// @ts-check
/** One account, for admins: role, a link to set a password, in use or not, and taking the person's work out. */

import { patch, path, post } from "./api.js";
import { $, el, fill } from "./dom.js";
import { complain, counted, listed, showSecret } from "./people_words.js";
import { toast } from "./shell.js";

const { id, name } = $("#person").dataset;

/** @param {() => Promise<void>} run */
async function tried(run) {
  $("#problem").hidden = true;
  try {
    await run();
  } catch (error) {
    complain(error);
    $("#problem").scrollIntoView({ block: "nearest" });
  }
}

const role = $("#role");
let before = role.value;
role.addEventListener("change", () =>
  tried(async () => {
    try {
      await patch(path`/api/people/${id}`, { role: role.value });
    } catch (error) {
      role.value = before;
      throw error;
    }
    before = role.value;
    fill($("#role-said"), `Saved: ${name} is ${role.value} from their next click on.`);
  }),
);

$("#password").addEventListener("click", () =>
  tried(async () => {
    const { token } = await post(path`/api/people/${id}/invitation`);
    showSecret($("#link"), `A link for ${name}`, `${location.origin}/join#${token}`, "It is shown only now. They leave the name empty and choose a new password.");
  }),
);

$("#use").addEventListener("click", () =>
  tried(async () => {
    await patch(path`/api/people/${id}`, { active: $("#use").dataset.active !== "true" });
    location.reload();
  }),
);

$("#look").addEventListener("click", () =>
  tried(async () => {
    const found = await post(path`/api/people/${id}/remove-work`, { dry_run: true });
    showMeaning(found);
    $("#meaning").focus();
  }),
);

/** What it would mean, and the confirmation. @param {any} found */
function showMeaning(found) {
  const place = $("#meaning");
  const work = [
    [found.num_pairs_written, counted(found.num_pairs_written, "pair") + " they wrote"],
    [found.num_pairs_edited, counted(found.num_pairs_edited, "pair") + " of others that they edited"],
    [found.num_labels_given, counted(found.num_labels_given, "verdict") + " they gave"],
    [found.num_labels_on_their_words, counted(found.num_labels_on_their_words, "verdict") + " of others on their words"],
  ].filter(([number]) => number);
  place.hidden = false;
  fill(place,
    el("h4", {}, work.length ? "This would leave every later dataset" : "None of their work is in use"),
    work.length ? el("ul", {}, work.map(([, text]) => el("li", {}, text))) : el("p", {}, "There is nothing to take out."),
    found.snapshots.length ? el("p", {}, "Snapshots that hold some of it stay as they are, and cannot be trained on any more: ", listed(found.snapshots.map((/** @type {any} */ each) => each.name)), ".") : null,
    models(found.retrain),
    work.length ? confirmation() : null);
}

/** @param {any[]} retrain */
function models(retrain) {
  if (!retrain.length) return el("p", {}, "No model has learned from it.");
  return el("div", { class: "caution stack" },
    el("strong", {}, `${counted(retrain.length, "model")} learned from it; train ${retrain.length === 1 ? "it" : "them"} again afterwards, in this order:`),
    el("ol", {}, retrain.map((each) => el("li", { class: "wrap" }, el("code", {}, each.model), el("small", {}, " by ", each.path.map((/** @type {any} */ step) => `${step.role} ${step.name}`).join(" → "))))));
}

function confirmation() {
  const typed = el("input", { autocomplete: "off", spellcheck: "false", name: "confirm", oninput: () => (button.disabled = typed.value.trim() !== name) });
  const button = el("button", { type: "submit", class: "button danger", disabled: true }, "Take the work out for good");
  const form = el("form", { class: "stack" }, el("label", { class: "field narrow-field" }, el("span", {}, `To confirm, type ${name}`), typed), el("p", { class: "row" }, button));
  form.addEventListener("submit", (/** @type {Event} */ event) => {
    event.preventDefault();
    button.disabled = true;
    void tried(async () => {
      const found = await post(path`/api/people/${id}/remove-work`, { dry_run: false });
      toast(`The work of ${name} was taken out`, "good");
      fill($("#meaning"), el("h4", {}, "Done"), el("p", {}, "No dataset made from now on holds it."), models(found.retrain));
      $("#meaning").focus();
    });
  });
  return form;
}
