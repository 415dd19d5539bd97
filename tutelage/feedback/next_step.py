"""The one step that would help most now, by plain rules: the first that holds for this person is it.

    1. pairs of yours were sent back                          → mend them: somebody waits for that
    2. there is no pair at all                                → write the first
    3. no assistant yet, fewer than 50 accepted pairs         → review what waits (reviewers), else write
    4. no assistant yet, 50 or more                           → take a snapshot, train by examples (reviewers)
    5. an assistant, and nothing of its to judge              → make a project (reviewers), else talk to the model
    6. fewer than 50 verdicts                                 → judge what waits for you
    7. 50 verdicts and no model that learned from any         → train a reward model, or by thumbs (reviewers)
    8. half as many new verdicts again as the reward model saw → train it again (reviewers)
    9. a reward model, and nothing practised against it       → practise (reviewers)
    10. something waits                                       → judge it; review it (reviewers)
    11. you are alone                                         → invite somebody (admins)
    12. a model that learned from verdicts                    → compare it with the one before
    13. else                                                  → write more pairs

A step that a run is doing already is to watch that run. Everything is a function of the numbers, which are counted
elsewhere (`tutelage.feedback.loop`). Leaves out: the words of a step, and where it is taken, which pages know.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from tutelage.feedback.loop import POLICY, REWARD, SFT, STAGE, Loop, Queue
from tutelage.store.people import Role

ENOUGH_PAIRS = 50
ENOUGH_LABELS = 50
Name = Literal[
    "mend", "write-first", "write", "review", "snapshot", "train", "watch", "make-project", "chat", "judge",
    "train-again", "invite", "compare",
]  # fmt: skip


class Step(NamedTuple):
    """What to do, and the facts that its words need."""

    name: Name
    number: int = 0
    """How many there are: pairs to mend, accepted pairs, verdicts …"""
    wanted: int = 0
    """How many there should be."""
    project: str = ""
    method: str = ""
    run: str = ""


class Training(NamedTuple):
    """A run that lives."""

    run: str
    method: str


def next_step(now: Loop, role: Role, training: Sequence[Training] = ()) -> Step:
    """The step for somebody of this role."""
    state = _State(now, role != "rater", role == "admin", {STAGE.get(each.method, POLICY): each for each in training})
    return next(step for rule in _RULES if (step := rule(state)) is not None)


class _State(NamedTuple):
    now: Loop
    reviews: bool
    """Whether this person reviews and trains."""
    invites: bool
    training: Mapping[str, Training]
    """Runs that live, by stage."""

    def num(self, *stages: str) -> int:
        return sum(self.now.models[stage].num for stage in stages if stage in self.now.models)

    def made_ms(self, stage: str) -> int:
        return self.now.models[stage].made_ms if stage in self.now.models else 0

    @property
    def fullest(self) -> Queue | None:
        """The project with work for this person that has the fewest verdicts."""
        waiting = [each for each in self.now.queues if each.num_waiting]
        return min(waiting, key=lambda each: (each.num_labels, each.project), default=None)

    def train(self, stage: str, step: Step) -> Step | None:
        """The step, or to watch a run that takes it; nothing for a rater."""
        if not self.reviews:
            return None
        alive = self.training.get(stage)
        return Step("watch", method=alive.method, run=alive.run) if alive else step


def _mend(state: _State) -> Step | None:
    return Step("mend", state.now.num_returned) if state.now.num_returned else None


def _write_first(state: _State) -> Step | None:
    now = state.now
    return None if now.num_accepted or now.num_submitted or now.num_own_pairs else Step("write-first")


def _gather(state: _State) -> Step | None:
    now = state.now
    if state.num(SFT, POLICY) or now.num_accepted >= ENOUGH_PAIRS:
        return None
    if now.num_to_review:
        return Step("review", now.num_to_review)
    return Step("write", now.num_accepted, ENOUGH_PAIRS)


def _train_assistant(state: _State) -> Step | None:
    if state.num(SFT, POLICY):
        return None
    if not state.now.num_snapshots and state.reviews:
        return Step("snapshot", state.now.num_accepted)
    return state.train(SFT, Step("train", state.now.num_accepted, method="sft"))


def _ask_for_answers(state: _State) -> Step | None:
    if state.now.num_items or not state.num(SFT, POLICY):
        return None
    return Step("make-project") if state.reviews else Step("chat")


def _first_verdicts(state: _State) -> Step | None:
    queue = state.fullest
    if state.now.num_labels >= ENOUGH_LABELS or queue is None:
        return None
    return Step("judge", state.now.num_labels, ENOUGH_LABELS, project=queue.project)


def _learn_from_verdicts(state: _State) -> Step | None:
    if state.now.num_labels < ENOUGH_LABELS or state.num(REWARD, POLICY):
        return None
    best = max(state.now.queues, key=lambda each: (each.num_labels, each.project), default=None)
    compares = best is None or best.kind in ("comparison", "ranking")
    method = "reward" if compares else "kto"
    project = best.project if best else ""
    return state.train(REWARD if compares else POLICY, Step("train", state.now.num_labels, 0, project, method))


def _learn_again(state: _State) -> Step | None:
    now = state.now
    seen = now.num_labels - now.num_labels_since
    if not state.num(REWARD) or now.num_labels_since < max(ENOUGH_LABELS, seen / 2):
        return None
    return state.train(REWARD, Step("train-again", now.num_labels_since, method="reward"))


def _practise(state: _State) -> Step | None:
    if not state.num(REWARD) or state.made_ms(POLICY) >= state.made_ms(REWARD):
        return None
    return state.train(POLICY, Step("train", method="ppo"))


def _what_waits(state: _State) -> Step | None:
    if queue := state.fullest:
        return Step("judge", queue.num_waiting, project=queue.project)
    return Step("review", state.now.num_to_review) if state.now.num_to_review else None


def _invite(state: _State) -> Step | None:
    return Step("invite") if state.invites and state.now.num_people == 1 else None


def _compare(state: _State) -> Step | None:
    return Step("compare") if state.num(POLICY) else None


def _write_more(state: _State) -> Step | None:
    return Step("write", state.now.num_accepted)


_RULES: tuple[Callable[[_State], Step | None], ...] = (
    _mend, _write_first, _gather, _train_assistant, _ask_for_answers, _first_verdicts, _learn_from_verdicts,
    _learn_again, _practise, _what_waits, _invite, _compare, _write_more,
)  # fmt: skip
"""In this order; the last one always holds."""
