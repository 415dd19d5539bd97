// @ts-check
/** What every page has: theme, sign-out, toasts, shortcuts, and a word on the network. */

import { get, remove } from "./api.js";
import { el } from "./dom.js";
import { initKeys } from "./keys.js";
import { flush, waiting } from "./outbox.js";

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
  document.querySelector("#sign-out")?.addEventListener("click", async () => {
    await remove("/api/session");
    location.assign("/sign-in");
  });
  document.addEventListener("click", (event) => closeMenus((menu) => !menu.contains(/** @type {Node} */ (event.target))));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closeMenus((menu) => (menu.querySelector("summary")?.focus(), true));
  });
  showNet();
  if (waiting().length) void get("/api/session").then(() => flush());
}
