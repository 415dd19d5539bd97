"""How often a trained method agrees with comparisons that were held out: written into the run's folder.

`held_out.jsonl` has a line a comparison with the worth of each answer, `held_out.json` the accuracy with its interval
and what stands beside it. Leaves out the statistics (`tutelage.stats.preferences`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from tutelage.engine.forward import TreeEngine
from tutelage.engine.rows import ROW_MULTIPLE, pack, split_by_budget
from tutelage.engine.tree import Tree
from tutelage.stats.preferences import Judged, PreferenceReport, preference_report, rater_agreement
from tutelage.train.observe import observe
from tutelage.train.reference import References
from tutelage.train.run_folder import strict_json, write_durably
from tutelage.types import Comparison

if TYPE_CHECKING:
    from tutelage.train.loop import Loop

LINES_FILE, REPORT_FILE = "held_out.jsonl", "held_out.json"


def judge_held_out(loop: Loop, records: Sequence[Comparison]) -> PreferenceReport:
    """Judge the validation comparisons of a run; `records` are all it read, for the raters' own agreement."""
    trees = [tree for item in loop.dataset.val for tree in item]
    scores = judge_trees(loop.method, loop.engine, trees, loop.row_tokens, loop.references)
    judged = [
        judged_comparison(record, tree, worth)
        for record, tree, worth in zip(loop.dataset.val_records, trees, scores, strict=True)
    ]
    everyone = {id(record): record for record in (*records, *loop.dataset.val_records)}
    report = preference_report(judged, agreement=rater_agreement(list(everyone.values())))
    write_judged(loop.folder.path, judged, report)
    return report


@torch.no_grad()
def judge_trees(
    method: Any, engine: TreeEngine, trees: Sequence[Tree], row_tokens: int, references: References | None = None
) -> list[tuple[float, ...]]:
    """The worth of each answer of each tree, in the order given."""
    was_training = engine.model.training
    engine.model.eval()
    found: dict[int, tuple[float, ...]] = {}
    for row in split_by_budget(trees, row_tokens):
        batch = pack(row, multiple=ROW_MULTIPLE).to(next(engine.model.parameters()).device)
        worth = method.judge(observe(method, engine, batch, references)).tolist()
        for tree in row:
            found[id(tree)] = tuple(worth[: len(tree.branches)])
            del worth[: len(tree.branches)]
    engine.model.train(was_training)
    return [found[id(tree)] for tree in trees]


def judged_comparison(record: Comparison, tree: Tree, scores: tuple[float, ...]) -> Judged:
    """A comparison with what was made of it; lengths are in tokens."""
    lengths = tuple(len(branch) for branch in tree.branches)
    return Judged(scores, record.ranks, record.strength, lengths, record.rater, _key(record))


def _key(record: Comparison) -> str:
    """The same for the same prompt and answers, whichever order they stand in."""
    answers = sorted(json.dumps([message.content for message in answer]) for answer in record.answers)
    prompt = json.dumps([[message.role, message.content] for message in record.messages])
    return hashlib.sha256("\n".join([prompt, *answers]).encode("utf-8", "backslashreplace")).hexdigest()


def write_judged(folder: Path, judged: Sequence[Judged], report: PreferenceReport) -> None:
    """Both files, each in one instant."""
    write_durably(folder / LINES_FILE, b"".join(strict_json(one._asdict()) for one in judged))
    write_durably(folder / REPORT_FILE, strict_json(report.to_dict(), indent=2))


def read_judged(folder: Path) -> Iterator[Judged]:
    """The lines that `write_judged` wrote."""
    for line in (folder / LINES_FILE).read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        lists = {name: tuple(value) for name, value in fields.items() if isinstance(value, list)}
        yield Judged(**(fields | lists))
