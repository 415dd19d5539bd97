"""A process that holds one model and answers: `python -m tutelage.serve.worker MODEL WORKSPACE IDLE_SECONDS`.

It reads requests from standard input and tells what happens on standard output (`tutelage.serve.asking`). Requests are
answered one after the other, first come, first served; each may want several answers, which are sampled together. The
process ends when its input ends, so never outlives the server, and when nobody has asked anything for a while.

Leaves out: batches of several people's requests, and who may ask.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tutelage.errors import DataError, TutelageError

if TYPE_CHECKING:
    from tutelage.engine.live import LiveModel

NICE = 5
"""How far answering stands behind the people who label on the same machine."""
FIRST_TO_GO = "500"
"""Where memory runs out, the system ends this process before the server."""
BROKEN = "something went wrong while the model was answering; the server's log says what"


class Line:
    """What has been asked and not answered yet, in order, as the reading thread fills it."""

    def __init__(self) -> None:
        self.asked: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self.stopped: set[int] = set()
        self.num_threads = 0

    def read(self, source: IO[bytes]) -> None:
        """Take requests until there are no more; then nobody is left to answer, and the process ends at once."""
        import json

        for text in source:
            record = json.loads(text)
            if record["do"] == "answer":
                self.asked.put(record)
            elif record["do"] == "stop":
                self.stopped.add(record["id"])
            elif record["do"] == "threads":
                self.num_threads = record["num"]
        os._exit(0)


class Teller:
    """Writes events to what was standard output; whatever else prints goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)

    def __call__(self, event: str, **data: Any) -> None:
        from tutelage.serve.asking import line

        self._out.write(line({"event": event, **data}))
        self._out.flush()


def main(model: str, workspace: Path, idle_seconds: float) -> int:
    """Load the model and answer until nobody asks any more."""
    tell, waiting = Teller(), Line()
    threading.Thread(target=waiting.read, args=(sys.stdin.buffer,), daemon=True).start()
    _stand_back()
    try:
        tell("loading", text="starting")
        live = _loaded(model, workspace, tell)
    except TutelageError as error:
        tell("failed", error=str(error))
        return 2
    except Exception as error:  # whatever a library says about this model is for the log
        traceback.print_exc()
        tell("failed", error=f"'{model}' could not be loaded ({type(error).__name__}); the server's log says why")
        return 2
    with live:
        tell("ready")
        return _answer_all(live, waiting, tell, idle_seconds)


def _stand_back() -> None:
    with contextlib.suppress(OSError):
        os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO, encoding="ascii")


def _loaded(model: str, workspace: Path, tell: Teller) -> LiveModel:
    from tutelage.engine.live import LiveModel
    from tutelage.engine.memory import keep_freed_memory
    from tutelage.models.load import load_model
    from tutelage.models.template import ensure_bare_template, ensure_pad_token

    keep_freed_memory()
    tell("loading", text="reading the weights")
    loaded = load_model(model, workspace=workspace, progress=lambda text: tell("loading", text=text))
    ensure_bare_template(loaded.tokenizer)
    ensure_pad_token(loaded.tokenizer)
    return LiveModel(loaded.model, loaded.tokenizer)


def _answer_all(live: LiveModel, waiting: Line, tell: Teller, idle_seconds: float) -> int:
    while True:
        try:
            record = waiting.asked.get(timeout=idle_seconds)
        except queue.Empty:
            return 0
        if record["id"] in waiting.stopped:
            waiting.stopped.discard(record["id"])
            continue
        try:
            _answer(live, record, waiting, tell)
        except TutelageError as error:
            field = error.field if isinstance(error, DataError) else None
            problem = error.problem if isinstance(error, DataError) else str(error)
            tell("error", id=record["id"], error=problem, field=field, theirs=True)
        except Exception:  # one request must not end the process that others wait for
            traceback.print_exc()
            tell("error", id=record["id"], error=BROKEN, field=None, theirs=False)
        waiting.stopped.discard(record["id"])


def _answer(live: LiveModel, record: Mapping[str, Any], waiting: Line, tell: Teller) -> None:
    from tutelage.serve.asking import MOST_PROMPT_TOKENS, read_ask

    ask, id, began = read_ask(record), record["id"], time.monotonic()
    prompt = live.render(ask.messages, MOST_PROMPT_TOKENS)
    tell("begun", id=id)

    def emit(index: int, piece: str) -> None:
        tell("text", id=id, index=index, text=piece)

    def goes_on() -> bool:
        _share_the_machine(waiting.num_threads)
        return id not in waiting.stopped

    _share_the_machine(waiting.num_threads)
    spoken = live.answer(prompt, ask.sampling, ask.num, emit, goes_on)
    answers = [{"text": each.text, "num_tokens": each.num_tokens, "stopped": each.stopped} for each in spoken]
    seconds = round(time.monotonic() - began, 3)
    tell("done", id=id, num_prompt_tokens=len(prompt), seconds=seconds, answers=answers)


def _share_the_machine(num_threads: int) -> None:
    """Two models that answer at once take half of the cores each."""
    import torch

    if num_threads and num_threads != torch.get_num_threads():
        torch.set_num_threads(num_threads)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # the server went away in the middle of a word
        code = main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
        sys.stdout.flush()
        os._exit(code)  # without waiting for what libraries do at the end
    os._exit(0)
