"""Open-Assistant's message trees and flat messages: best paths, rankings, and what is left out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from tutelage.data.foreign import Incoming, IncomingKind, IncomingLabel, IncomingPair, LeftOut
from tutelage.data.foreign_open import open_foreign


def message(name: str, role: str, *replies: dict[str, Any], **more: Any) -> dict[str, Any]:
    plain = {"message_id": name, "parent_id": None, "user_id": f"user-{name}", "text": f"text {name}", "role": role}
    state = {"lang": "en", "review_count": 3, "review_result": True, "deleted": False, "rank": None, "synthetic": False}
    return plain | state | more | {"replies": list(replies)}


def tree(prompt: dict[str, Any], state: str = "ready_for_export") -> dict[str, Any]:
    return {"message_tree_id": prompt["message_id"], "tree_state": state, "prompt": prompt}


TREE = tree(
    message(
        "a", "prompter",
        message("b", "assistant", rank=1),
        message("c", "assistant", message("e", "prompter", message("f", "assistant")), rank=0),
        message("d", "assistant", rank=2, synthetic=True, model_name="some-model"),
    )
)  # fmt: skip


def read(folder: Path, records: list[Any], kind: IncomingKind | None = None) -> list[Incoming]:
    file = folder / "2023-04-12.trees.jsonl.gz"
    file.write_bytes(gzip.compress("".join(json.dumps(each) + "\n" for each in records).encode()))
    opened = open_foreign(file)
    assert opened.format == "open-assistant"
    return list(opened.incoming(kind))


def flat(prompt: dict[str, Any], parent: str | None = None) -> list[dict[str, Any]]:
    mine = {key: value for key, value in prompt.items() if key != "replies"} | {"parent_id": parent}
    return [mine, *(each for reply in prompt["replies"] for each in flat(reply, prompt["message_id"]))]


def test_a_tree_is_the_pair_of_its_best_path_and_a_ranking_of_ranked_answers(tmp_path: Path) -> None:
    pair, label = read(tmp_path, [TREE])
    assert isinstance(pair, IncomingPair)
    assert isinstance(label, IncomingLabel)
    assert [turn.content for turn in pair.messages] == ["text a", "text c", "text e", "text f"]
    assert (pair.author, pair.meta["lang"]) == ("open-assistant:user-f", "en")
    assert (label.kind, label.value) == ("ranking", {"ranks": [0, 1, 2]})
    assert [answer.text for answer in label.answers] == ["text c", "text b", "text d"]
    assert [answer.model for answer in label.answers] == ["", "", "some-model"]
    assert [turn.content for turn in label.prompt] == ["text a"]


def test_flat_messages_say_the_same_in_any_order(tmp_path: Path) -> None:
    messages = flat(TREE["prompt"])
    for order in (messages, messages[::-1]):
        pair, label = read(tmp_path, order)
        assert isinstance(pair, IncomingPair)
        assert isinstance(label, IncomingLabel)
        assert [turn.content for turn in pair.messages] == ["text a", "text c", "text e", "text f"]
        assert label.value == {"ranks": [0, 1, 2]}


def test_one_kind_alone_can_be_asked_for(tmp_path: Path) -> None:
    assert [type(each) for each in read(tmp_path, [TREE], "pairs")] == [IncomingPair]
    assert [type(each) for each in read(tmp_path, [TREE], "labels")] == [IncomingLabel]


def test_deleted_spam_and_refused_messages_are_listed_with_what_hangs_on_them(tmp_path: Path) -> None:
    spam = {"spam": {"value": 0.75, "count": 4}}
    found = read(tmp_path, [tree(message(
        "a", "prompter",
        message("b", "assistant", message("e", "prompter"), rank=0, deleted=True),
        message("c", "assistant", rank=1, labels=spam),
        message("d", "assistant", rank=2, review_result=False),
        message("g", "assistant", rank=3, labels={"name": ["spam", "quality"], "value": [0.0, 1.0], "count": [3, 3]}),
    ))])  # fmt: skip
    left_out = [each for each in found if isinstance(each, LeftOut)]
    assert [(each.code, each.field) for each in left_out] == [
        ("deleted", "prompt.replies[0].deleted"),
        ("spam", "prompt.replies[1].labels.spam"),
        ("turned-down", "prompt.replies[2].review_result"),
    ]
    assert "and with it 1 that follow" in left_out[0].problem
    (pair,) = [each for each in found if isinstance(each, IncomingPair)]
    assert pair.messages[-1].content == "text g"
    assert not [each for each in found if isinstance(each, IncomingLabel)]  # one answer is no ranking


def test_broken_trees_are_left_out_and_the_next_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, [
        tree(message("a", "prompter"), "halted_by_moderator"),
        tree(message("b", "prompter")),
        tree(message("c", "prompter", message("d", "prompter"))),
        tree(message("e", "assistant")),
        {"message_tree_id": "x", "prompt": {"text": 3}},
        [1, 2],
        TREE,
    ])  # fmt: skip
    assert [each.code for each in found if isinstance(each, LeftOut)] == [
        "stopped-tree", "no-answer", "bad-order", "no-answer", "bad-order", "empty-message", "other-format",
    ]  # fmt: skip
    assert [type(each) for each in found[-2:]] == [IncomingPair, IncomingLabel]


def test_flat_messages_without_a_beginning_are_left_out(tmp_path: Path) -> None:
    first, second = message("a", "prompter", parent_id="lost"), message("b", "assistant", parent_id="a")
    ring = [message("x", "prompter", parent_id="y"), message("y", "assistant", parent_id="x")]
    records = [{key: value for key, value in each.items() if key != "replies"} for each in (first, second, *ring)]
    found = read(tmp_path, [*records, records[0]])
    left_out = [each for each in found if isinstance(each, LeftOut)]
    assert [each.code for each in left_out] == ["twice", "no-parent", "ring", "ring"]
    assert "1 that follow it go with it" in left_out[1].problem
    assert len(found) == 4
