"""What `tutelage score` does: the worth of answers under a reward model or an ensemble, and how it agrees with people.

Leaves out: policies as judges (their implicit rewards are in a run's `held_out.json`), and picking the best answer.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Console

from tutelage.data.load import load_answers
from tutelage.data.render import render_answers
from tutelage.engine.forward import TreeEngine
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import DataError
from tutelage.models.load import Loaded
from tutelage.models.reward import load_reward_model
from tutelage.models.template import end_of_turn_id
from tutelage.rewards.models import member_names, score_trees
from tutelage.stats.intervals import mean_interval
from tutelage.stats.preference_table import preference_table
from tutelage.stats.preferences import Judged, preference_report, rater_agreement
from tutelage.store.sources import readable
from tutelage.train.held_out import judged_comparison
from tutelage.train.progress import counting
from tutelage.train.run_folder import strict_json
from tutelage.types import Comparison, Conversation, Message, Rating, Source
from tutelage.verbs import check_writable, write_file

Record = Conversation | Comparison | Rating


class Asked(NamedTuple):
    """One prompt and the answers to score, of whatever kind of record."""

    record: Record
    messages: tuple[Message, ...]
    answers: tuple[tuple[Message, ...], ...]
    source: Source | None


class Scored(NamedTuple):
    """The scores of one record's answers."""

    asked: Asked
    tree: Tree
    by_member: list[tuple[float, ...]]
    """One tuple a member of the ensemble, one score an answer in it; a lone model is its only member."""

    @property
    def scores(self) -> tuple[float, ...]:
        """The mean over members for each answer."""
        return tuple(statistics.fmean(answer) for answer in zip(*self.by_member, strict=True))

    @property
    def variances(self) -> tuple[float, ...]:
        """The population variance over members for each answer."""
        return tuple(statistics.pvariance(answer) for answer in zip(*self.by_member, strict=True))


def score_file(
    model: str, data: str, out: Path | None, *, overwrite: bool, max_tokens: int, bad_records: Literal["error", "drop"],
    workspace: Path,
) -> int:  # fmt: skip
    """Score every answer of a file, write a line a record where `out` says so, and print a summary."""
    if out is not None:
        check_writable(out, overwrite)
    dropped: list[DataError] = []
    records = load_answers(readable(workspace, data), on_bad=bad_records, dropped=dropped)
    for error in dropped:
        print(f"left out: {error}", file=sys.stderr)
    scored = score_records(model, records, workspace=workspace, max_tokens=max_tokens)
    if out is not None:
        write_file(out, b"".join(strict_json(_line(one)) for one in scored))
    _print_summary(scored)
    if out is not None:
        print(f"wrote {out}: {sum(len(one.asked.answers) for one in scored)} answers scored")
    return 0


def score_records(
    model: str, records: Sequence[Record], *, workspace: Path, max_tokens: int = 2048, quiet: bool = False
) -> list[Scored]:
    """Scores of every answer under a reward model or each member of an ensemble, one member in memory at a time.

    Raises ModelError for a model that gives no scores, DataError for an answer that is too long.
    """
    asked = [_asked(record) for record in records]
    by_member: list[list[tuple[float, ...]]] = []
    for name in member_names(model, workspace):
        loaded = load_reward_model(name, workspace=workspace, fresh_head=False)
        trees = [_tree(one, loaded, max_tokens) for one in asked]
        with counting(f"scoring with {loaded.name}", len(trees), quiet) as advance:
            by_member.append(score_trees(TreeEngine(loaded.model), trees, advance))
    rows = zip(asked, trees, zip(*by_member, strict=True), strict=True)
    return [Scored(one, tree, list(scores)) for one, tree, scores in rows]


def _asked(record: Record) -> Asked:
    if isinstance(record, Comparison):
        return Asked(record, record.messages, record.answers, record.source)
    if isinstance(record, Rating):
        return Asked(record, record.messages, (record.answer,), record.source)
    return Asked(record, record.messages[:-1], (record.messages[-1:],), record.source)


def _tree(asked: Asked, loaded: Loaded, max_tokens: int) -> Tree:
    end = end_of_turn_id(loaded.tokenizer)
    prompt, answers = render_answers(loaded.tokenizer, asked.messages, asked.answers, end, asked.source)
    longest = len(prompt) + max(len(answer.ids) for answer in answers)
    limit = min(max_tokens, getattr(loaded.model.config, "max_position_embeddings", None) or max_tokens)
    if longest > limit:
        problem = f"has {longest} tokens and the limit is {limit}; raise --max-tokens, or shorten it"
        source = asked.source
        raise DataError(problem, file=source.file if source else None, line=source.line if source else None)
    return Tree(Tokens.prompt(prompt), tuple(Tokens.completion(answer.ids) for answer in answers))


def _line(one: Scored) -> dict[str, Any]:
    """A record of the output file."""
    asked, is_ensemble = one.asked, len(one.by_member) > 1
    line: dict[str, Any] = {
        "source": str(asked.source or ""),
        "messages": _plain(asked.messages),
        "answers": [_plain(answer) for answer in asked.answers],
        "scores": one.scores,
    }
    if is_ensemble:
        line |= {"variances": one.variances, "scores_by_member": one.by_member}
    if isinstance(asked.record, Comparison):
        line["ranks"] = asked.record.ranks
    if isinstance(asked.record, Rating):
        line["value"] = asked.record.value
    return line


def _plain(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _print_summary(scored: Sequence[Scored]) -> None:
    comparisons = [one for one in scored if isinstance(one.asked.record, Comparison)]
    if comparisons:
        Console().print(preference_table(_report(comparisons), what="accuracy"))
        return
    _print_mean("scores", [one.scores[0] for one in scored])
    for label, name in ((True, "good answers"), (False, "bad answers")):
        ratings = [one for one in scored if isinstance(one.asked.record, Rating) and one.asked.record.value is label]
        if ratings:
            _print_mean(name, [one.scores[0] for one in ratings])


def _report(comparisons: Sequence[Scored]) -> Any:
    records = [one.asked.record for one in comparisons if isinstance(one.asked.record, Comparison)]
    judged: list[Judged] = [
        judged_comparison(record, one.tree, one.scores) for record, one in zip(records, comparisons, strict=True)
    ]
    return preference_report(judged, agreement=rater_agreement(records))


def _print_mean(name: str, scores: Sequence[float]) -> None:
    if len(scores) < 2:
        print(f"{name}: {scores[0]:+.3f}, one answer")
        return
    mean = mean_interval(scores)
    print(f"{name}: mean {mean.estimate:+.3f} [{mean.low:+.3f}, {mean.high:+.3f}], {len(scores)} answers")
