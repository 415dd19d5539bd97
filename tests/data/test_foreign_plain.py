"""What a verdict in a plain file says of the answers it judges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tutelage.data.foreign import IncomingLabel
from tutelage.data.foreign_open import open_foreign

SIDES = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
ARENA = {"prompt": "Why?", "response_a": "Because.", "response_b": "No.", "winner": "model_b"}


def read(tmp_path: Path, **record: Any) -> IncomingLabel:
    path = tmp_path / "verdicts.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    (found,) = open_foreign(path).incoming()
    assert isinstance(found, IncomingLabel), found
    return found


@pytest.mark.parametrize(
    ("record", "models"),
    [
        (SIDES | {"model": "one"}, ("one", "one")),
        (SIDES | {"models": ["one", "two"]}, ("one", "two")),
        (SIDES | {"chosen_model": "one", "rejected_model": "two"}, ("one", "two")),
        (ARENA | {"model_a": "one", "model_b": "two"}, ("one", "two")),
        ({"prompt": "Why?", "completion": "Because.", "label": True, "model": "one"}, ("one",)),
        (SIDES, ("", "")),
    ],
)
def test_each_answer_keeps_the_model_it_came_from(tmp_path: Path, record: Any, models: tuple[str, ...]) -> None:
    found = read(tmp_path, **record)
    assert tuple(answer.model for answer in found.answers) == models
    assert not {"model", "models", "chosen_model", "model_a"} & found.meta.keys()


def test_names_that_fit_no_answer_stay_in_meta(tmp_path: Path) -> None:
    found = read(tmp_path, **SIDES, models=["one", "two", "three"])
    assert [answer.model for answer in found.answers] == ["", ""]
    assert found.meta["models"] == ["one", "two", "three"]


def test_the_settings_they_were_sampled_with(tmp_path: Path) -> None:
    found = read(tmp_path, **SIDES, temperature=0.7, max_new_tokens=96, note="seen twice")
    assert [answer.sampling for answer in found.answers] == [{"temperature": 0.7, "max_new_tokens": 96}] * 2
    assert found.meta["note"] == "seen twice"
    assert "temperature" not in found.meta
    found = read(tmp_path, **SIDES, sampling={"top_p": 0.9})
    assert [answer.sampling for answer in found.answers] == [{"top_p": 0.9}] * 2


@pytest.mark.parametrize(("said", "order"), [("chosen", (0, 1)), ("rejected", (1, 0)), (None, ()), ("left", ())])
def test_the_order_they_were_shown_in(tmp_path: Path, said: str | None, order: tuple[int, ...]) -> None:
    assert read(tmp_path, **SIDES, shown_first=said).displayed == order
