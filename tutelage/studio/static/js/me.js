// @ts-check
/** Whose page this is. What a page keeps in the browser and belongs to a person has their id in its name, so that two
 * people at one browser do not meet each other's. */

const meta = document.querySelector('meta[name="person"]');

/** The id of whoever was signed in when the page was made; empty where nobody was. */
export const ME = meta?.getAttribute("content") ?? "";

/** The name under which something of this person is kept: `mine("outbox")`. @param {string} what */
export const mine = (what) => `tutelage.${what}.${ME}`;
