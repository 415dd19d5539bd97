// @ts-check
/** One's own settings: light or dark, shortcuts, password, API tokens, and leaving every browser. */

import { get, path, post, put, remove } from "./api.js";
import { $, $$, ago, el, fill } from "./dom.js";
import { allKeys, changeKey, forgetKeys, keysAreOff, nameOfKey, turnKeys } from "./keys.js";
import { onSubmit, showSecret, until } from "./people_words.js";
import { toast } from "./shell.js";

// Light or dark ---------------------------------------------------------------------------------------------------------

function showTheme() {
  const chosen = localStorage.getItem("tutelage.theme") ?? "";
  for (const each of $$("#theme button")) each.setAttribute("aria-pressed", String(each.dataset.theme === chosen));
}

$("#theme").addEventListener("click", (/** @type {any} */ event) => {
  const theme = event.target.closest("button")?.dataset.theme;
  if (theme === undefined) return;
  if (theme) localStorage.setItem("tutelage.theme", theme);
  else localStorage.removeItem("tutelage.theme");
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  showTheme();
});
document.addEventListener("theme-changed", showTheme);

// Shortcuts -------------------------------------------------------------------------------------------------------------

function showShortcuts() {
  const all = allKeys();
  const off = keysAreOff();
  const pages = [...new Set(["", ...$$(".nav a").map((link) => link.getAttribute("href")), ...all.map((each) => each.page)])].filter((page) => all.some((each) => each.page === page));
  fill($("#keys"),
    el("label", { class: "check" }, el("input", { type: "checkbox", checked: !off, onchange: (/** @type {any} */ event) => { turnKeys(event.target.checked); showShortcuts(); $("#keys input").focus(); } }), "Use single keys"),
    all.length ? pages.map((page) => [page ? el("h3", {}, titleOf(page)) : null, el("ul", { class: "folk" }, all.filter((each) => each.page === page).map(shortcut))]) : el("p", { class: "dim" }, "Those of each page stand here once you have been there."),
    el("p", { class: "row end" }, el("button", { type: "button", class: "button quiet", onclick: () => { forgetKeys(); showShortcuts(); toast("All keys are as they were"); } }, "As they were")));
}

/** @param {string} page */
const titleOf = (page) => $$(".nav a").find((link) => link.getAttribute("href") === page)?.textContent ?? page.slice(1);

/** @param {{name: string, label: string, key: string, isChanged: boolean}} each */
function shortcut({ name, label, key, isChanged }) {
  const button = el("button", { type: "button", class: "button small", "aria-label": `Change the key for: ${label}`, onclick: () => changeKey(name, button, () => { showShortcuts(); $$("#keys button").find((one) => one.getAttribute("aria-label") === `Change the key for: ${label}`)?.focus(); }) }, el("kbd", {}, nameOfKey(key)));
  return el("li", {}, el("span", { class: "wrap" }, label, isChanged ? el("small", { class: "dim" }, " changed") : null), button);
}

// Password and tokens ---------------------------------------------------------------------------------------------------

const password = /** @type {HTMLFormElement} */ ($("#password"));
onSubmit(password, async (given) => {
  await put("/api/session/password", { old: given.old, new: given.new }).catch((error) => {
    throw Object.assign(error, { field: error.field === "password" ? "new" : error.field });
  });
  password.reset();
  toast("Your password is changed; every other session of yours has ended", "good");
});

const tokenForm = /** @type {HTMLFormElement} */ ($("#token-form"));
onSubmit(tokenForm, async ({ name, days }) => {
  const { info, token } = await post("/api/tokens", { name, days: days ? Number(days) : null });
  tokenForm.reset();
  showSecret($("#token"), `The token for ${info.name}`, token, "It is shown only now. Give it to the script and to nobody else.");
  await showTokens();
});

async function showTokens() {
  const all = (await get("/api/tokens")).filter((/** @type {any} */ each) => !each.revoked_ms && (!each.expires_ms || each.expires_ms > Date.now()));
  fill($("#tokens"), all.length ? all.map(token) : el("li", { class: "dim" }, "You have none."));
}

/** @param {any} each */
function token(each) {
  return el("li", {},
    el("span", { class: "wrap" }, each.name, el("small", { class: "dim" }, ` · made ${ago(each.created_ms)}, ${each.last_used_ms ? `used ${ago(each.last_used_ms)}` : "never used"}, ${each.expires_ms ? until(each.expires_ms) : "no end"}`)),
    el("button", { type: "button", class: "button small danger", "aria-label": `Revoke the token ${each.name}`, onclick: () => revoke(each) }, "Revoke"));
}

/** @param {any} each */
async function revoke(each) {
  try {
    await remove(path`/api/tokens/${each.id}`);
    $("#token").hidden = true;
    toast(`The token ${each.name} opens nothing any more`);
    await showTokens();
    $("#tokens-title").setAttribute("tabindex", "-1");
    $("#tokens-title").focus();
  } catch (error) {
    toast(/** @type {Error} */ (error).message, "bad");
  }
}

$("#everywhere").addEventListener("click", async () => {
  try {
    await remove("/api/sessions");
    location.assign("/sign-in");
  } catch (error) {
    toast(/** @type {Error} */ (error).message, "bad");
  }
});

showTheme();
showShortcuts();
showTokens().catch((error) => toast(error.message, "bad"));
