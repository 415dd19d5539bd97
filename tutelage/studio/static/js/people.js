// @ts-check
/** Who is here; for admins also their accounts, invitations, and the link of a new one, which is shown once. */

import { get, path, post, remove } from "./api.js";
import { $, ago, el, fill } from "./dom.js";
import { complain, counted, onSubmit, showSecret, until } from "./people_words.js";
import { toast } from "./shell.js";

const page = $("#people");
const isAdmin = page.dataset.role === "admin";
/** @type {any[]} */
let folk = [];
/** @type {string | null} */
let next = "";

async function load() {
  try {
    const address = isAdmin ? "/api/people" : "/api/team";
    const found = await get(`${address}?${new URLSearchParams({ after: next ?? "" })}`);
    folk = [...folk, ...found.records];
    next = found.next;
    fill($("#here"), folk.map(line));
    $("#more-place").hidden = next === null;
  } catch (error) {
    complain(error);
  }
}

/** @param {{id?: string, name: string, role: string, active?: boolean}} person */
function line({ id, name, role, active = true }) {
  const isMe = id === page.dataset.me;
  return el("li", { class: active ? "" : "is-out" },
    el("span", { class: "who wrap" }, el("span", { class: "face", "aria-hidden": "true" }, [...name][0].toUpperCase()), name, isMe ? el("small", { class: "dim" }, " you") : null),
    el("span", { class: "row" },
      active ? null : el("span", { class: "badge warn" }, "not in use"),
      el("span", { class: `badge ${role === "admin" ? "accent" : ""}` }, role),
      isAdmin && id ? el("a", { class: "button small", href: path`/people/${id}`, "aria-label": `Look after the account of ${name}` }, "Look after") : null));
}

async function showInvitations() {
  /** @type {any[]} */
  const all = [];
  for (let after = ""; ; ) {
    const { records, next: more } = await get(`/api/invitations?limit=1000&after=${after}`);
    all.push(...records);
    if (!more) break;
    after = more;
  }
  const open = all.filter((each) => !each.accepted_ms && !each.revoked_ms && each.expires_ms > Date.now()).reverse();
  fill($("#invitations"), open.length ? open.map(invitation) : el("li", { class: "dim" }, "None is open."));
}

/** @param {any} each */
function invitation(each) {
  const whom = each.for_person ? (folk.find((one) => one.id === each.for_person)?.name ?? "somebody here") : each.note || "no note";
  return el("li", {},
    el("span", { class: "wrap" }, whom, el("small", { class: "dim" }, each.for_person ? " to set a password" : ` as ${each.role}`, ` · made ${ago(each.created_ms)}, ${until(each.expires_ms)}`)),
    el("button", { type: "button", class: "button small danger", "aria-label": `Revoke the invitation for ${whom}`, onclick: () => revoke(each.id) }, "Revoke"));
}

/** @param {string} id */
async function revoke(id) {
  try {
    await remove(path`/api/invitations/${id}`);
    toast("Revoked: the link opens nothing any more");
    $("#link").hidden = true;
    await showInvitations();
    $("#open-title").setAttribute("tabindex", "-1");
    $("#open-title").focus();
  } catch (error) {
    complain(error);
  }
}

function initInvite() {
  const form = /** @type {HTMLFormElement} */ ($("#invite-form"));
  onSubmit(form, async ({ role, note, days }) => {
    const { invitation: made, token } = await post("/api/invitations", { role, note, days: Number(days) });
    form.reset();
    showSecret($("#link"), `The link for ${made.note || `a new ${made.role}`}`, `${location.origin}/join#${token}`,
      `It is shown only now, works once, and runs out in ${counted(Number(days), "day")}. Whoever has it becomes a ${made.role} here.`);
    await showInvitations();
  });
  if (location.hash === "#invite") /** @type {HTMLElement} */ (form.querySelector("select")).focus();
}

$("#more").addEventListener("click", load);
await load();
if (isAdmin) {
  initInvite();
  showInvitations().catch(complain);
}
