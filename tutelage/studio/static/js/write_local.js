// @ts-check
/** What somebody has typed into a pair and the server has not kept yet, in this browser, by person and pair. */

/** @typedef {import("./write_words.js").Message} Message */
/** @typedef {{messages: Message[], tags: string[], source: string, licence: string}} Content */
/** A request whose answer never came: it is sent again as it was, so that nothing is done twice.
 * @typedef {{method: string, path: string, key: string, body: any}} Pending */
/** @typedef {{at: number, base: number, content: Content, pending?: Pending | null, aside?: Message[]}} Draft */

/** @param {string} person */
const prefix = (person) => `tutelage.pair.${person}.`;

/** @param {string} person @param {string} name @returns {Draft | null} */
export function recall(person, name) {
  try {
    const found = JSON.parse(localStorage.getItem(prefix(person) + name) ?? "null");
    return found && Array.isArray(found.content?.messages) ? found : null;
  } catch {
    return null;
  }
}

/** Whether it could be kept: a full store says no. @param {string} person @param {string} name @param {Draft} draft */
export function keep(person, name, draft) {
  try {
    localStorage.setItem(prefix(person) + name, JSON.stringify(draft));
    return true;
  } catch {
    return false;
  }
}

/** @param {string} person @param {string} name */
export function forget(person, name) {
  localStorage.removeItem(prefix(person) + name);
}

/** All that is kept, the newest first. @param {string} person @returns {{name: string, draft: Draft}[]} */
export function kept(person) {
  const found = [];
  for (let at = 0; at < localStorage.length; at++) {
    const key = localStorage.key(at) ?? "";
    if (!key.startsWith(prefix(person))) continue;
    const name = key.slice(prefix(person).length);
    const draft = recall(person, name);
    if (draft) found.push({ name, draft });
  }
  return found.sort((one, other) => other.draft.at - one.draft.at);
}
