// @ts-check
/** What every page has: theme, sign-out, toasts, shortcuts, a word on the network, and one on whose page it is. */

import { get, remove } from "./api.js";
import { el } from "./dom.js";
import { initKeys } from "./keys.js";
import { ME } from "./me.js";
import { flush, waiting } from "./outbox.js";

const WHO = "tutelage.person";

/** A line at the edge of the page that goes away by itself. @param {string} text @param {"info" | "good" | "bad"} [kind] */
export function toast(text, kind = "info") {
  const line = el("p", { class: `toast ${kind}` }, text);
  document.querySelector("#toasts")?.append(line);
  window.setTimeout(() => line.remove(), kind === "bad" ? 12000 : 5000);
}

function nextTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("tutelage.theme", root.dataset.theme);
  document.dispatchEvent(new CustomEvent("theme-changed"));
}

function showNet() {
  const place = document.querySelector("#net");
  if (!place) return;
  const count = waiting().length;
  place.textContent = count ? `${count} not sent yet` : "";
  place.classList.toggle("waiting", count > 0);
}

document.addEventListener("outbox", showNet);
document.addEventListener("outbox-refused", (event) => {
  const { entry, error } = /** @type {CustomEvent} */ (event).detail;
  toast(`Something you sent before was refused (${entry.path}): ${error.message}`, "bad");
});

/** Send what this person left here unsent, an hour or a month ago, and say so. */
async function sendWhatWaited() {
  const left = waiting();
  if (!left.length) return;
  await flush();
  const still = new Set(waiting().map((each) => each.id));
  const count = left.filter((each) => !still.has(each.id)).length;
  if (count) toast(`${count === 1 ? "One thing" : `${count} things`} you had not sent yet ${count === 1 ? "is" : "are"} sent now`, "good");
}

/** Somebody else signed in at this browser since: this page is not theirs. @param {{name: string}} other */
function showOther(other) {
  if (document.querySelector("#other-person")) return;
  const owner = document.querySelector(".menu summary span")?.textContent ?? "";
  const goOn = () => location.reload();
  const dialog = el("dialog", { class: "dialog", id: "other-person", "aria-labelledby": "other-title", oncancel: goOn },
    el("h2", { id: "other-title" }, `${other.name} is signed in now`),
    el("p", {}, `This page is ${owner}’s. What ${owner} entered and did not send is kept in this browser until ${owner} signs in again; it is not sent in another name.`),
    el("p", { class: "row end" }, el("button", { type: "button", class: "button primary", onclick: goOn }, `Go on as ${other.name}`)));
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("other-person", (event) => showOther(/** @type {CustomEvent} */ (event).detail));
window.addEventListener("storage", async (event) => {
  if (event.key !== WHO || !ME || event.newValue === ME) return;
  const { person } = await get("/api/session");
  if (person.id !== ME) showOther(person);
});

async function signOut() {
  try {
    await flush();
    await remove("/api/session");
    location.assign("/sign-in");
  } catch (error) {
    toast(`You are still signed in: ${/** @type {Error} */ (error).message}`, "bad");
  }
}

/** @param {(menu: Element) => boolean} which */
function closeMenus(which) {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (which(menu)) menu.removeAttribute("open");
}

/** Where one is, brought into view in a row of links that is wider than the screen. */
function showWhereOneIs() {
  for (const here of document.querySelectorAll('.nav [aria-current="page"], .tabs [aria-current="page"]')) {
    const row = /** @type {HTMLElement} */ (here.parentElement);
    const link = /** @type {HTMLElement} */ (here);
    row.scrollLeft = link.offsetLeft - row.offsetLeft - (row.clientWidth - link.offsetWidth) / 2;
  }
}

if (document.querySelector("header.top")) {
  showWhereOneIs();
  initKeys();
  document.querySelector("#theme-button")?.addEventListener("click", nextTheme);
  document.querySelector("#sign-out")?.addEventListener("click", () => void signOut());
  document.addEventListener("click", (event) => closeMenus((menu) => !menu.contains(/** @type {Node} */ (event.target))));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeMenus((menu) => (menu.querySelector("summary")?.focus(), true));
  });
  showNet();
  if (localStorage.getItem(WHO) !== ME) localStorage.setItem(WHO, ME);
  void sendWhatWaited();
}
