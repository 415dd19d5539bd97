// @ts-check
/** What one left unsent on a page before this one: sent first, and the last verdict among it shown as if it had been
 * given here. */

import { get } from "./api.js";
import { Draft } from "./judge_draft.js";
import { send, waiting } from "./outbox.js";
import { toast } from "./shell.js";

/**
 * Resolves once all of it is settled, with the newest label of this project that came of it; null where nothing waits.
 * @param {string} project @returns {Promise<any> | null}
 */
export function sendLeft(project) {
  const left = waiting();
  return left.length ? all(project, left) : null;
}

/** @param {string} project @param {import("./outbox.js").Kept[]} left */
async function all(project, left) {
  const told = await Promise.allSettled(left.map(send));
  let newest = "";
  told.forEach((each, index) => {
    if (each.status === "rejected") toast(`Something you said before was refused: ${each.reason.message}`, "bad");
    else if (each.value?.label_id) newest = each.value.label_id;
    const [, , , id, act] = left[index].path.split(/[/?]/);
    if (each.status === "fulfilled" && ["submit-next", "skip", "correct"].includes(act)) new Draft(id, "", () => {}).forget();
  });
  if (!newest) return undefined;
  try {
    const label = await get(`/api/labels/${newest}`);
    return label.task.project === project ? label : undefined;
  } catch {
    return undefined; // a vote of a chat, which is no label of a project
  }
}
