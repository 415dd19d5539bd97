// @ts-check
/** The forms of the sign-in page and of the page that an invitation opens. */

import { post } from "./api.js";
import { complainIn } from "./dom.js";

/** Only addresses of this site; never another host's. */
function wanted() {
  const next = new URLSearchParams(location.search).get("next") ?? "/";
  return next.startsWith("/") && !next.startsWith("//") && !next.includes("\\") ? next : "/";
}

/** @param {string} id @param {(given: Record<string, string>) => Promise<any>} run @param {() => string} then */
function onSubmit(id, run, then) {
  const form = /** @type {HTMLFormElement | null} */ (document.querySelector(id));
  form?.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = /** @type {HTMLButtonElement} */ (form.querySelector("button"));
    button.disabled = true;
    complainIn(form);
    try {
      await run(/** @type {any} */ (Object.fromEntries(new FormData(form))));
      location.assign(then());
    } catch (problem) {
      complainIn(form, problem);
      button.disabled = false;
    }
  });
}

const noToken = document.querySelector("#no-token");
if (noToken instanceof HTMLElement && location.hash.length < 2) {
  noToken.hidden = false;
  /** @type {HTMLElement} */ (document.querySelector("#join")).hidden = true;
}
onSubmit("#sign-in", (given) => post("/api/session", { name: given.name, password: given.password }), wanted);
onSubmit(
  "#join",
  (given) => post("/api/invitations/accept", { token: decodeURIComponent(location.hash.slice(1)), name: given.name, password: given.password }),
  () => "/",
);
