// @ts-check
/** What changed between two texts, word by word, while somebody types. Very long changes are shown as wholes. */

import { el } from "./dom.js";

const MOST_WORK = 400_000;

/** @typedef {{op: "equal" | "insert" | "delete", text: string}} Change */

/** @param {string} before @param {string} after @returns {Change[]} */
export function wordDiff(before, after) {
  const old = before.match(/\s+|\S+\s*/g) ?? [];
  const now = after.match(/\s+|\S+\s*/g) ?? [];
  let head = 0;
  while (head < old.length && head < now.length && old[head] === now[head]) head += 1;
  let tail = 0;
  while (tail < old.length - head && tail < now.length - head && old[old.length - 1 - tail] === now[now.length - 1 - tail]) tail += 1;
  const middle = [old.slice(head, old.length - tail), now.slice(head, now.length - tail)];
  /** @type {Change[]} */
  const changes = [{ op: "equal", text: old.slice(0, head).join("") }, ...compared(middle[0], middle[1]), { op: "equal", text: old.slice(old.length - tail).join("") }];
  return joined(changes.filter((each) => each.text));
}

/** The longest common words of what differs. @param {string[]} old @param {string[]} now @returns {Change[]} */
function compared(old, now) {
  if (old.length * now.length > MOST_WORK) return [{ op: "delete", text: old.join("") }, { op: "insert", text: now.join("") }];
  const width = now.length + 1;
  const longest = new Uint32Array((old.length + 1) * width);
  for (let i = old.length - 1; i >= 0; i -= 1) {
    for (let j = now.length - 1; j >= 0; j -= 1) {
      longest[i * width + j] = old[i] === now[j] ? longest[(i + 1) * width + j + 1] + 1 : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  /** @type {Change[]} */
  const changes = [];
  let i = 0;
  let j = 0;
  while (i < old.length || j < now.length) {
    if (i < old.length && j < now.length && old[i] === now[j]) {
      changes.push({ op: "equal", text: old[i] });
      i += 1;
      j += 1;
    } else if (i < old.length && (j === now.length || longest[(i + 1) * width + j] >= longest[i * width + j + 1])) {
      changes.push({ op: "delete", text: old[i] });
      i += 1;
    } else {
      changes.push({ op: "insert", text: now[j] });
      j += 1;
    }
  }
  return changes;
}

/** Neighbours of one kind as one. @param {Change[]} changes */
function joined(changes) {
  /** @type {Change[]} */
  const all = [];
  for (const each of changes) {
    const last = all[all.length - 1];
    if (last?.op === each.op) last.text += each.text;
    else all.push({ ...each });
  }
  return all;
}

/** The change as text with what went and what came marked. @param {string} before @param {string} after @returns {Node[]} */
export function diffNodes(before, after) {
  const tags = { insert: "ins", delete: "del" };
  return wordDiff(before, after).map((each) => (each.op === "equal" ? document.createTextNode(each.text) : el(tags[each.op], {}, each.text)));
}
