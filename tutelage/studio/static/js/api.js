// @ts-check
/** Requests to the workspace's API: JSON both ways, the CSRF token, and errors with the server's own words.
 *
 * A page belongs to whoever it was made for. When they have signed in anew in another window, it goes on with their new
 * session; when somebody else has, it sends nothing more and says so ("other-person"). */

import { ME } from "./me.js";

/** An answer that says no. `status` 0 means that nothing was reached. */
export class ApiError extends Error {
  /** @param {number} status @param {string} message @param {string} [field] @param {number} [line] of a file that was sent */
  constructor(status, message, field = "", line = 0) {
    super(message);
    this.status = status;
    this.field = field;
    this.line = line;
  }
  /** With the line of the file that it is about. */
  get placed() {
    return this.line ? `Line ${this.line}: ${this.message}` : this.message;
  }
  /** Whether sending the same again later may work. */
  get passing() {
    return this.status === 0 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

let csrf = document.querySelector('meta[name="csrf"]')?.getAttribute("content") ?? "";

/**
 * @param {string} method @param {string} path @param {any} [body] @param {{key?: string, signal?: AbortSignal}} [options]
 * @returns {Promise<any>}
 */
export async function request(method, path, body, options = {}) {
  let response = await ask(method, path, body, options);
  if (response.status === 403 && csrf && method !== "GET" && (await hasNewSession())) response = await ask(method, path, body, options);
  return answer(response);
}

/** @param {string} method @param {string} path @param {any} body @param {{key?: string, signal?: AbortSignal}} options */
async function ask(method, path, body, options) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (csrf) headers["X-CSRF-Token"] = csrf;
  if (options.key) headers["Idempotency-Key"] = options.key;
  const isFile = body instanceof Blob || body instanceof FormData;
  if (body !== undefined && !isFile) headers["Content-Type"] = "application/json";
  try {
    return await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : isFile ? body : JSON.stringify(body),
      signal: options.signal ?? null,
      credentials: "same-origin",
    });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "the server cannot be reached");
  }
}

/** Whether this person has signed in anew since the page was made; throws where somebody else has. */
async function hasNewSession() {
  const now = await answer(await ask("GET", "/api/session", undefined, {}));
  if (now.person.id !== ME) {
    document.dispatchEvent(new CustomEvent("other-person", { detail: now.person }));
    throw new ApiError(401, `${now.person.name} is signed in here now; sign in again to go on`);
  }
  const isNew = now.csrf !== csrf;
  csrf = now.csrf ?? csrf;
  return isNew;
}

/** @param {Response} response */
async function answer(response) {
  const text = await response.text();
  let value = null;
  try {
    value = text ? JSON.parse(text) : null;
  } catch {
    if (response.ok) throw new ApiError(response.status, "the server's answer cannot be read");
  }
  if (response.ok) return value;
  if (response.status === 401 && csrf) toSignIn();
  throw new ApiError(response.status, value?.error ?? `the server answered ${response.status}`, value?.field ?? "", value?.line ?? 0);
}

/** @param {string} path @param {{signal?: AbortSignal}} [options] */
export const get = (path, options) => request("GET", path, undefined, options);
/** @param {string} path @param {any} [body] @param {{key?: string, signal?: AbortSignal}} [options] */
export const post = (path, body = {}, options = {}) => request("POST", path, body, options);
/** @param {string} path @param {any} [body] */
export const put = (path, body = {}) => request("PUT", path, body);
/** @param {string} path @param {any} [body] */
export const patch = (path, body = {}) => request("PATCH", path, body);
/** @param {string} path */
export const remove = (path) => request("DELETE", path);

/** A new name for a request, so that sending it twice does it once. */
export const newKey = () => crypto.randomUUID?.() ?? `${Date.now()}-${Math.random().toString(36).slice(2)}`;

/** Safe HTML of Markdown texts. @param {string[]} texts @returns {Promise<string[]>} */
export async function render(texts) {
  return (await post("/api/render", { texts })).html;
}

/** "a/b c" in an address. @param {TemplateStringsArray} parts @param {...any} values */
export function path(parts, ...values) {
  return parts.reduce((all, part, index) => all + encodeURIComponent(values[index - 1]) + part);
}

let leaving = false; // several requests may find out at once, and a second leave would break off the first

/** Go to sign in, and come back here afterwards. */
function toSignIn() {
  if (leaving) return;
  leaving = true;
  setTimeout(() => { leaving = false; }, 5000); // they may have stayed, to save what they were typing
  location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`);
}
