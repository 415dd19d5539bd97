"""The one next step: hand-made states of the loop, each with the step that helps most there."""

from __future__ import annotations

from typing import Any

import pytest

from tutelage.feedback.loop import Loop, Newest, Queue
from tutelage.feedback.next_step import Step, Training, next_step
from tutelage.store.people import Role

SFT = {"sft": Newest(1, "first", "sft", 10)}
JUDGED = SFT | {"reward": Newest(1, "rm", "reward", 20)}
PRACTISED = JUDGED | {"policy": Newest(1, "better", "ppo", 30)}


def at(**facts: Any) -> Loop:
    nothing: dict[str, Any] = {
        "num_people": 3, "num_accepted": 0, "num_submitted": 0, "num_items": 0, "num_labels": 0, "num_labels_since": 0,
        "num_snapshots": 0, "models": {}, "num_drafts": 0, "num_returned": 0, "num_own_pairs": 0, "num_to_review": 0,
        "queues": (), "has_projects": False,
    }  # fmt: skip
    return Loop(**nothing | facts)


def waiting(name: str, num_waiting: int, num_labels: int, kind: str = "comparison") -> Queue:
    return Queue(name, kind, "Which?", num_waiting, False, 0, num_labels, True)


ENOUGH = {"num_accepted": 50, "num_items": 100}
STATES: list[tuple[str, Role, Loop, Step]] = [
    ("nothing yet", "rater", at(), Step("write-first")),
    ("nothing yet, for an admin", "admin", at(num_people=1), Step("write-first")),
    ("a pair of one's own came back", "reviewer", at(num_returned=2, num_to_review=9), Step("mend", 2)),
    ("a draft of one's own is a beginning", "rater", at(num_own_pairs=1, num_drafts=1), Step("write", 0, 50)),
    ("pairs wait, and one reviews", "reviewer", at(num_submitted=7, num_to_review=7), Step("review", 7)),
    ("pairs wait, and one does not review", "rater", at(num_submitted=7), Step("write", 0, 50)),
    ("one short of enough", "reviewer", at(num_accepted=49), Step("write", 49, 50)),
    ("enough pairs and no snapshot", "reviewer", at(num_accepted=50, num_to_review=3), Step("snapshot", 50)),
    ("enough pairs", "reviewer", at(num_accepted=50, num_snapshots=1), Step("train", 50, method="sft")),
    ("enough pairs, and a rater cannot train", "rater", at(num_accepted=50), Step("write", 50)),
    ("an assistant and no answers", "reviewer", at(num_accepted=50, models=SFT), Step("make-project")),
    ("an assistant and no answers, for a rater", "rater", at(num_accepted=50, models=SFT), Step("chat")),
    (
        "answers and few verdicts: where there are fewest", "rater",
        at(models=SFT, num_labels=30, queues=(waiting("a", 9, 20), waiting("b", 1, 10), waiting("c", 0, 0)), **ENOUGH),
        Step("judge", 30, 50, project="b"),
    ),
    (
        "few verdicts, and nothing is left for this person", "reviewer",
        at(models=SFT, num_labels=30, num_to_review=4, queues=(waiting("a", 0, 30),), **ENOUGH), Step("review", 4),
    ),
    (
        "enough comparisons", "reviewer",
        at(models=SFT, num_labels=60, queues=(waiting("a", 9, 60),), **ENOUGH),
        Step("train", 60, project="a", method="reward"),
    ),
    (
        "enough thumbs", "admin",
        at(models=SFT, num_labels=60, queues=(waiting("a", 9, 5), waiting("t", 9, 55, "thumbs")), **ENOUGH),
        Step("train", 60, project="t", method="kto"),
    ),
    (
        "enough comparisons, for a rater", "rater",
        at(models=SFT, num_labels=60, queues=(waiting("a", 9, 60),), **ENOUGH), Step("judge", 9, project="a"),
    ),
    (
        "half as many verdicts again", "reviewer",
        at(models=JUDGED, num_labels=180, num_labels_since=60, **ENOUGH), Step("train-again", 60, method="reward"),
    ),
    (
        "not so many", "reviewer", at(models=JUDGED, num_labels=180, num_labels_since=59, **ENOUGH),
        Step("train", method="ppo"),
    ),
    (
        "the reward model is newer than the policy", "reviewer",
        at(models=PRACTISED | {"reward": Newest(2, "rm-2", "reward", 40)}, num_labels=180, **ENOUGH),
        Step("train", method="ppo"),
    ),
    (
        "all was practised, and something waits", "reviewer",
        at(models=PRACTISED, num_labels=180, num_to_review=4, queues=(waiting("a", 9, 180),), **ENOUGH),
        Step("judge", 9, project="a"),
    ),
    ("all was practised, and pairs wait", "reviewer", at(models=PRACTISED, num_labels=180, num_to_review=4, **ENOUGH),
     Step("review", 4)),
    ("all was practised", "rater", at(models=PRACTISED, num_labels=180, **ENOUGH), Step("compare")),
    ("all was practised, alone", "admin", at(models=PRACTISED, num_labels=180, num_people=1, **ENOUGH), Step("invite")),
]  # fmt: skip


@pytest.mark.parametrize(("role", "now", "step"), [state[1:] for state in STATES], ids=[state[0] for state in STATES])
def test_the_step_that_helps_most(role: Role, now: Loop, step: Step) -> None:
    assert next_step(now, role) == step


def test_a_run_that_does_it_already_is_watched() -> None:
    running = [Training("first", "sft")]
    assert next_step(at(num_accepted=50, num_snapshots=1), "reviewer", running) == Step(
        "watch", method="sft", run="first"
    )
    assert next_step(at(num_accepted=50), "rater", running) == Step("write", 50)
    assert next_step(at(models=SFT, num_accepted=50), "reviewer", running) == Step("make-project")
    practising = [Training("better", "grpo")]
    found = next_step(at(models=JUDGED, num_labels=100, **ENOUGH), "reviewer", practising)
    assert found == Step("watch", method="grpo", run="better")
