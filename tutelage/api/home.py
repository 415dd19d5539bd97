"""The loop with its counts, what waits for whoever asks, and the one next step that would help most.

One transaction and nothing but counts, so that a page may ask every few seconds.

Leaves out: the rules (`tutelage.feedback.next_step`), and the words, which pages have.
"""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from tutelage.api.caller import Rater, Record
from tutelage.feedback.loop import Loop, loop
from tutelage.feedback.next_step import Step, Training, next_step
from tutelage.runs import look

router = APIRouter(prefix="/api", tags=["home"])


class StepTold(BaseModel):
    """A step by its name, with the facts that its words need."""

    name: str
    number: int
    wanted: int
    project: str
    method: str
    run: str


class HomeTold(BaseModel):
    """The workspace at one moment."""

    loop: Loop
    num_training: int
    """Runs that live."""
    step: StepTold


@router.get("/home")
def get_home(person: Rater, store: Record) -> HomeTold:
    """People, pairs, answers, verdicts and models in numbers, what waits for oneself, and what would help most."""
    with store.read() as connection:
        now = loop(connection, person)
    alive = look.living(store.workspace)
    training = [Training(name, _method(store, name)) for name in alive[:20]] if person.role != "rater" else []
    step: Step = next_step(now, person.role, training)
    return HomeTold(loop=now, num_training=len(alive), step=StepTold(**step._asdict()))


def _method(store: Record, run: str) -> str:
    return look.see(store.workspace, run).method
