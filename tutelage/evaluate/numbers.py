"""The numbers of a report as JSON beside its page, for whoever reads them by program: who won, and every measure.

They name the prompts by what was given and by a hash of their words, and each model by the date of its folder, so that
numbers of other prompts, or of a model that was made anew since, can be told apart.

Leaves out: the answers, which stand in the page.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage import __version__
from tutelage.engine.generate import Sampling
from tutelage.evaluate.contest import Contest, Standings
from tutelage.evaluate.summary import ModelResult, Row, summarise
from tutelage.evaluate.wording import overview
from tutelage.models.find import resolve_model
from tutelage.stats.intervals import Interval
from tutelage.store.origins import made_ms
from tutelage.types import Prompt

SUFFIX = ".json"


def numbers_file(page: Path) -> Path:
    """Where the numbers of a page stand."""
    return page.with_suffix(SUFFIX)


def numbers_of(
    results: Sequence[ModelResult], prompts: str, sampling: Sampling, workspace: Path, *, title: str,
    standings: Standings | None, facts: Mapping[str, str], at_ms: int,
) -> dict[str, Any]:  # fmt: skip
    """Everything that the page says in numbers, ready for JSON."""
    rows = summarise(results)
    asked = [answer.prompt for answer in results[0].answers]
    return {
        "title": title, "tutelage": __version__, "at_ms": at_ms, "facts": dict(facts), "overview": overview(rows),
        "prompts": {"name": Path(prompts).name, "number": len(asked), "sha256": hash_of(asked)},
        "sampling": {"temperature": sampling.temperature, "max_new_tokens": sampling.max_new_tokens,
                     "seed": sampling.seed},
        "models": [_model(result, workspace) for result in results],
        "rater": standings.rater if standings else "",
        "contests": [_contest(each) for each in standings.contests] if standings else [],
        "measures": [_measure(row) for row in rows],
    }  # fmt: skip


def hash_of(prompts: Sequence[Prompt]) -> str:
    """The same for the same questions in the same order, wherever they were read from."""
    turns = [[[message.role, message.content] for message in prompt.messages] for prompt in prompts]
    return hashlib.sha256(json.dumps(turns).encode("ascii")).hexdigest()


def _model(result: ModelResult, workspace: Path) -> dict[str, Any]:
    path = resolve_model(result.name, workspace).path
    return {
        "name": result.name, "origin": result.origin, "made_ms": made_ms(path) if path is not None else None
    }  # fmt: skip


def _contest(contest: Contest) -> dict[str, Any]:
    rate = contest.rate
    return {
        "model": contest.winner, "against": contest.loser, "wins": rate.wins, "ties": rate.ties, "number": rate.n,
        "rate": _interval(rate.score), "verdict": contest.verdict,
    }  # fmt: skip


def _measure(row: Row) -> dict[str, Any]:
    measure = row.measure
    return {
        "name": measure.name, "label": measure.label, "meaning": measure.meaning, "better": measure.better,
        "unit": measure.unit, "number": row.num_cases, "estimates": [_interval(each) for each in row.estimates],
        "difference": _interval(row.difference), "verdict": row.verdict, "remark": row.remark,
    }  # fmt: skip


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else interval._asdict()
