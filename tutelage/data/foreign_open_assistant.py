"""Reads Open-Assistant's exports: message trees (`*.trees.jsonl.gz`) and flat lists of messages.

From a tree come one pair, the path from the first prompt on which every step takes the best-ranked reply, and a ranking
for every message of the prompter that has two ranked answers or more. Ranks are the agreement of several people, whom
the export does not name. Deleted messages, spam, and those that reviewers turned down are left out with all that
follows them. Format: https://github.com/LAION-AI/Open-Assistant/tree/main/oasst-data

Leaves out: rankings of prompts, emojis, and each person's own ranking, which the public exports do not hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tutelage.data.foreign import Incoming, IncomingAnswer, IncomingKind, IncomingLabel, LeftOut, Place
from tutelage.data.raw import Problem, RawFile, RawRecord, type_name
from tutelage.types import Message, Role

ROLES: Mapping[str, Role] = {"prompter": "user", "assistant": "assistant"}
STOPPED_STATES = ("halted_by_moderator", "aborted_low_grade")
SPAM_FROM = 0.5
"""Share of the reviewers who called a message spam, from which on it counts as spam."""
CONSENSUS = "open-assistant: people's agreement"
MAX_DEPTH = 200


@dataclass(slots=True)
class _Node:
    """One message that is kept, and its kept replies, the best first."""

    place: Place
    value: Mapping[str, Any]
    role: Role
    text: str
    replies: list[_Node] = field(default_factory=list)

    @property
    def rank(self) -> int | None:
        rank = self.value.get("rank")
        return rank if isinstance(rank, int) and not isinstance(rank, bool) else None

    @property
    def author(self) -> str:
        user = self.value.get("user_id")
        return f"open-assistant:{user}" if isinstance(user, str) and user else ""


def is_tree(record: Any) -> bool:
    """Whether a record is a message tree."""
    return isinstance(record, Mapping) and "message_tree_id" in record and isinstance(record.get("prompt"), Mapping)


def is_message(record: Any) -> bool:
    """Whether a record is one message of a flat list."""
    return isinstance(record, Mapping) and {"message_id", "parent_id", "text", "role"} <= record.keys()


def read_open_assistant(file: RawFile, kind: IncomingKind | None = None) -> Iterator[Incoming]:
    """Pairs and rankings of a file, or one of the two; of a flat list all messages are held in memory."""
    flat: dict[str, tuple[Place, dict[str, Any]]] = {}
    for number, item in enumerate(file, start=1):
        place = Place(file, item.line or 0, number)
        if isinstance(item, Problem):
            yield place.problems([item])
        elif is_tree(item.value):
            yield from _tree(place, item.value, kind)
        elif is_message(item.value):
            yield from _remember(flat, place, item)
        else:
            problem = f"neither a message tree nor a message of Open-Assistant: {type_name(item.value)}"
            yield place.left_out("other-format", problem)
    yield from _from_flat(flat, kind)


def _remember(flat: dict[str, tuple[Place, dict[str, Any]]], place: Place, item: RawRecord) -> Iterator[LeftOut]:
    name = str(item.value["message_id"])
    if name in flat:
        yield place.left_out("twice", f"message {name} stands on line {flat[name][0].line} already", "message_id")
    else:
        flat[name] = (place, {**item.value, "replies": []})


def _from_flat(flat: dict[str, tuple[Place, dict[str, Any]]], kind: IncomingKind | None) -> Iterator[Incoming]:
    """The trees that the messages of a flat list make up."""
    roots, orphans = [], []
    for place, value in flat.values():
        parent = value.get("parent_id")
        if parent in (None, ""):
            roots.append((place, value))
        elif str(parent) in flat:
            flat[str(parent)][1]["replies"].append((place, value))
        else:
            orphans.append((place, value))
    yield from _orphans(orphans)
    for place, root in roots:
        yield from _tree(place, {"prompt": root, "tree_state": root.get("tree_state")}, kind)
    yield from _rings(flat, [*roots, *orphans])


def _orphans(orphans: Sequence[tuple[Place, dict[str, Any]]]) -> Iterator[LeftOut]:
    for place, value in orphans:
        below, parent = _num_below(value), value.get("parent_id")
        after = f"; {below} that follow it go with it" if below else ""
        problem = f"answers message {parent}, which is not in this file, so what was asked is unknown{after}"
        yield place.left_out("no-parent", problem, "parent_id")


def _rings(
    flat: dict[str, tuple[Place, dict[str, Any]]], tops: Sequence[tuple[Place, dict[str, Any]]]
) -> Iterator[LeftOut]:
    """Messages that answer each other in a ring hang on no first message."""
    seen: set[int] = set()
    stack = [value for _, value in tops]
    while stack:
        value = stack.pop()
        if id(value) not in seen:
            seen.add(id(value))
            stack += [reply for _, reply in value["replies"]]
    for place, value in flat.values():
        if id(value) not in seen:
            yield place.left_out("ring", "this message and those it answers go round in a ring", "parent_id")


def _tree(place: Place, tree: Mapping[str, Any], kind: IncomingKind | None) -> Iterator[Incoming]:
    state = tree.get("tree_state")
    if state in STOPPED_STATES:
        yield place.left_out("stopped-tree", f"the tree was stopped ({state}), so nobody finished it", "tree_state")
        return
    refused: list[LeftOut] = []
    root = _build(place, tree["prompt"], refused)
    yield from refused
    if root is None:
        return
    if kind in (None, "pairs"):
        yield _best_path(root)
    if kind in (None, "labels"):
        yield from _rankings(root)


def _build(place: Place, prompt: Any, refused: list[LeftOut]) -> _Node | None:
    """The tree without what is not kept; what is wrong goes to `refused`."""
    root = _node(place, prompt, "prompter", "prompt", refused)
    stack = [(root, "prompt", 1)] if root else []
    while stack:
        node, field, depth = stack.pop()
        wanted = "assistant" if node.role == "user" else "prompter"
        replies = node.value.get("replies")
        for at, item in enumerate(replies if isinstance(replies, list) else []):
            spot, value = item if isinstance(item, tuple) else (place, item)
            name = f"{field}.replies[{at}]"
            if depth >= MAX_DEPTH:
                refused.append(spot.left_out("too-deep", f"deeper than {MAX_DEPTH} messages", name))
            elif child := _node(spot, value, wanted, name, refused):
                node.replies.append(child)
                stack.append((child, name, depth + 1))
        node.replies.sort(key=lambda reply: (reply.rank is None, reply.rank or 0))
    return root


def _node(place: Place, value: Any, wanted: str, field: str, refused: list[LeftOut]) -> _Node | None:
    found = _why_not(value, wanted)
    if found is None:
        return _Node(place, value, ROLES[wanted], value["text"])
    code, problem, part = found
    below = _num_below(value)
    after = f", and with it {below} that follow it" if below else ""
    name = f"message {value.get('message_id')}: " if isinstance(value, Mapping) else ""
    refused.append(place.left_out(code, f"{name}{problem}{after}", f"{field}.{part}" if part else field))
    return None


def _why_not(value: Any, wanted: str) -> tuple[str, str, str] | None:
    """(code, problem, field) of a message that is not kept."""
    if not isinstance(value, Mapping):
        return "wrong-type", f"expected a message, found {type_name(value)}", ""
    if not isinstance(value.get("text"), str) or not value["text"].strip():
        return "empty-message", "no text", "text"
    if value.get("role") != wanted:
        return "bad-order", f"{value.get('role')!r} where {wanted} follows", "role"
    if value.get("deleted") is True:
        return "deleted", "deleted", "deleted"
    if value.get("review_result") is False:
        return "turned-down", "reviewers turned it down", "review_result"
    if (share := spam_share(value.get("labels"))) >= SPAM_FROM:
        return "spam", f"{share:.0%} of its reviewers call it spam", "labels.spam"
    return None


def spam_share(labels: Any) -> float:
    """How many of the reviewers call a message spam; labels stand in an object, or as columns of a Parquet file."""
    if not isinstance(labels, Mapping):
        return 0.0
    names, values = labels.get("name"), labels.get("value")
    if isinstance(names, list) and isinstance(values, list) and "spam" in names:
        spam: Any = values[names.index("spam")] if names.index("spam") < len(values) else 0
    else:
        spam = labels.get("spam")
        spam = spam.get("value") if isinstance(spam, Mapping) else spam
    return float(spam) if isinstance(spam, (int, float)) else 0.0


def _num_below(value: Any) -> int:
    stack, total = [value], -1
    while stack:
        item = stack.pop()
        item = item[1] if isinstance(item, tuple) else item
        total += 1
        replies = item.get("replies") if isinstance(item, Mapping) else None
        stack += replies if isinstance(replies, list) else []
    return total


def _best_path(root: _Node) -> Incoming:
    path = [root]
    while path[-1].replies:
        path.append(path[-1].replies[0])
    while path and path[-1].role != "assistant":
        path.pop()
    if not path:
        return root.place.left_out("no-answer", f"message {root.value.get('message_id')}: nobody answered it", "prompt")
    last = path[-1]
    turns = [{"role": node.role, "content": node.text} for node in path]
    return root.place.conversation(turns, _about(last), last.author)


def _about(node: _Node) -> dict[str, Any]:
    names = ("message_id", "lang", "review_count", "model_name", "tree_state")
    return {name: node.value[name] for name in names if node.value.get(name) not in (None, "")}


def _rankings(root: _Node) -> Iterator[Incoming]:
    stack: list[tuple[_Node, tuple[Message, ...]]] = [(root, ())]
    while stack:
        node, before = stack.pop()
        turns = (*before, Message(node.role, node.text))
        ranked = [reply for reply in node.replies if reply.rank is not None]
        if node.role == "user" and len(ranked) > 1:
            yield _ranking(node, turns, ranked)
        stack += [(reply, turns) for reply in reversed(node.replies)]


def _ranking(node: _Node, prompt: tuple[Message, ...], replies: Sequence[_Node]) -> Incoming:
    places = {rank: at for at, rank in enumerate(sorted({reply.rank or 0 for reply in replies}))}
    answers = tuple(
        IncomingAnswer(reply.text, str(reply.value.get("model_name") or "")[:200], author=reply.author)
        for reply in replies
    )
    ranks = [places[reply.rank or 0] for reply in replies]
    names = [str(reply.value.get("message_id")) for reply in replies]
    meta = {**_about(node), "answer_ids": names}
    return IncomingLabel("ranking", prompt, answers, {"ranks": ranks}, node.place.source, CONSENSUS, meta=meta)
