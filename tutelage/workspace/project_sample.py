"""The verb `project sample`: answers of models to prompts, as items of a project.

Leaves out: sampling itself (`tutelage.feedback.sample`).
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutelage.errors import ConfigError
from tutelage.workspace.acting import WORKSPACE

if TYPE_CHECKING:
    from tutelage.feedback.sample import Progress

TELL_EVERY_SECONDS = 1.0


def sample(
    name: str,
    /,
    *,
    prompts: str,
    model: tuple[str, ...] = (),
    num_answers: int | None = None,
    temperature: float | None = None,
    top_p: float = 1.0,
    max_new_tokens: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    again: bool = False,
    progress: Path | None = None,
    by: str | None = None,
    workspace: Path = WORKSPACE,
) -> int:
    """Sample answers to prompts and add them: `tutelage project sample helpful --prompts prompts.jsonl --model sft`.

    It can be interrupted; the same command goes on, and nothing that was sampled is sampled again. The first items can
    be judged while the last are still to come.

    Parameters
    ----------
    name
        The project.
    prompts
        Data file with prompts, a text file with one a line, or `compare`.
    model
        A model to sample from; give it for each. Those of the project without it.
    num_answers
        Answers to each prompt, the models taking turns; 2 for a comparison, 4 for a ranking, 1 else.
    temperature
        Of sampling; the project's without it.
    top_p
        Draw only from the most probable tokens that together have this probability.
    max_new_tokens
        Longest answer, in tokens; the project's without it.
    seed
        Seed of the draws.
    batch_size
        Answers sampled at once.
    again
        A new round: also on prompts that the project has items of. With another model or seed that gives new items.
    progress
        JSON file that says every second how far it is, and at the end what was done.
    by
        Who acts; the workspace's owner where nobody is named.
    workspace
        Folder that holds the record, models/ and runs/.
    """
    from tutelage.data import load_prompts
    from tutelage.engine.generate import Sampling
    from tutelage.feedback import projects
    from tutelage.feedback.sample import USUAL_ANSWERS, sample_items
    from tutelage.store.database import open_store
    from tutelage.store.people import acting
    from tutelage.verbs import check_batch_size

    if prompts == "sealed":
        raise ConfigError("'sealed' names the sealed prompts, which are never trained on, so nobody labels them either")
    check_batch_size(batch_size)
    asked = load_prompts(prompts)
    with open_store(workspace) as store, _terminated_is_interrupted(), ExitStack() as stack:
        with store.read() as connection:
            person, project = acting(connection, by), projects.get(connection, name)
        known = project.sampling
        sampling = Sampling(
            int(max_new_tokens or known.get("max_new_tokens", 256)),
            float(known.get("temperature", 1.0) if temperature is None else temperature), top_p, seed=seed,
        )  # fmt: skip
        models = model or project.models
        teller = Teller(stack, batch_size, len(models), progress)
        found = sample_items(
            store, person, project, asked, models, sampling,
            num_answers=num_answers or USUAL_ANSWERS[project.kind], workspace=workspace, batch_size=batch_size,
            again=again, tell=teller.tell,
        )  # fmt: skip
        teller.end(found._asdict())
    left_out = f", {found.num_unreadable} prompts too long or with a control token" if found.num_unreadable else ""
    print(
        f"{found.num_prompts} prompts: {found.num_there} were there, {found.num_answers} answers sampled, "
        f"{found.num_items} items added, {found.num_equal} left out: equal answers{left_out}"
    )
    return 0


@contextmanager
def _terminated_is_interrupted() -> Iterator[None]:
    """Whoever ends the process politely loses no answer that has ended."""

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Teller:
    """Says how far sampling is: on the terminal, and in a file where one is wanted."""

    def __init__(self, stack: ExitStack, batch_size: int, num_models: int, file: Path | None) -> None:
        self.stack, self.batch_size, self.num_models, self.file = stack, batch_size, max(1, num_models), file
        self.advance: Any = None
        self.begun = self.said = float("-inf")
        self.shown = 0

    def tell(self, far: Progress) -> None:
        from tutelage.train.progress import counting

        now = time.monotonic()
        if self.advance is None:
            self.begun = now
            at_once = self._at_once(far)
            self.advance = self.stack.enter_context(counting("sampling answers", far.total, at_once=at_once))
        if far.done > self.shown:
            self.advance(far.done - self.shown)
            self.shown = far.done
        if now - self.said >= TELL_EVERY_SECONDS or far.done in (0, far.total):
            self.said = now
            self._write({**far._asdict(), "seconds_left": self._left(far, now - self.begun)})

    def _at_once(self, far: Progress) -> int:
        """How many answers grow side by side: one model's at a time."""
        return min(self.batch_size, -(-far.total // self.num_models))

    def _left(self, far: Progress, seconds: float) -> float | None:
        """What is left at the speed so far; None while that says nothing (`tutelage.train.progress.time_left`)."""
        if far.done < self._at_once(far) or not far.done:
            return None
        return round(seconds / far.done * (far.total - far.done), 1)

    def end(self, result: dict[str, Any]) -> None:
        """Say what was done."""
        self._write({"result": result})

    def _write(self, told: dict[str, Any]) -> None:
        write_progress(self.file, told)


def write_progress(file: Path | None, told: dict[str, Any]) -> None:
    """Put into the file, where one is wanted, how far a long job is."""
    from tutelage.train.run_folder import strict_json, write_durably

    if file is not None:
        write_durably(file, strict_json(told))
