"""Items and verdicts of a project as the numbers that rules of choice look at.

Leaves out: reading them from the record (`tutelage.feedback.choosing`), and computing features
(`tutelage.feedback.features`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tutelage.feedback.head import Floats, Head, Verdicts, fit_head
from tutelage.feedback.reduction import cluster, principal
from tutelage.feedback.selection import Candidates
from tutelage.feedback.targets import Target, expected

Features = Mapping[str, NDArray[np.floating[Any]]]
"""The state of each answer by its id (`tutelage.feedback.features.answer_states`)."""


class Said(NamedTuple):
    """A verdict on answers."""

    answer_ids: Sequence[str]
    rows: Sequence[Target]


class View:
    """Candidates, items that wait for a verdict, and verdicts, in one set of at most 64 directions.

    Answers that are judged alone (thumbs, ratings) are rows themselves, centred, with a 1 for how good answers are on
    the whole. Verdicts on answers without features are left out.
    """

    def __init__(
        self, kind: str, pool: Sequence[Sequence[str]], waiting: Sequence[Sequence[str]], said: Sequence[Said],
        features: Features,
    ) -> None:  # fmt: skip
        self._features = features
        self._pool = [_unknown(kind, answer_ids) for answer_ids in pool]
        self._waiting = [_unknown(kind, answer_ids) for answer_ids in waiting if all_in(answer_ids, features)]
        self._said = [one for one in said if one.rows and all_in(one.answer_ids, features)]
        self._alone = kind in ("thumbs", "rating")
        rows = self._raw([*self._pool, *self._waiting, *self._said])
        self._middle = rows.mean(0) if self._alone else np.zeros(rows.shape[1])
        self._reduction = principal(rows - self._middle)

    @property
    def num_verdicts(self) -> int:
        return len(self._said)

    def candidates(self, num_clusters: int, seed: int) -> Candidates:
        """The pool, its prompts clustered by the mean state of their answers."""
        owners = [place for place, one in enumerate(self._pool) for _ in one.rows]
        points = [np.mean([self._features[each] for each in one.answer_ids], axis=0) for one in self._pool]
        clusters = cluster(np.array(points, dtype=np.float64), num_clusters, seed=seed)
        return Candidates(self._rows(self._pool), np.array(owners), _weights(self._pool), clusters)

    def head(self) -> Head:
        """Fitted to the verdicts, and as sure as it will be when what is waiting has been judged."""
        goals = np.array([row.target for one in self._said for row in one.rows], dtype=np.float64)
        head = fit_head(Verdicts(self._rows(self._said), goals, _weights(self._said)))
        return head.expecting(self._rows(self._waiting), _weights(self._waiting)) if self._waiting else head

    def _rows(self, said: Sequence[Said]) -> Floats:
        raw = self._raw(said)
        if not len(raw):
            return np.zeros((0, self._reduction.matrix.shape[1] + self._alone))
        rows = self._reduction(raw - self._middle)
        return np.hstack([rows, np.ones((len(rows), 1))]) if self._alone else rows

    def _raw(self, said: Sequence[Said]) -> Floats:
        """`(num_rows, dim)` differences of features, or features of answers judged alone."""
        found = []
        for one in said:
            phi = [np.asarray(self._features[each], dtype=np.float64) for each in one.answer_ids]
            found += [phi[row.first] - (0 if row.second is None else phi[row.second]) for row in one.rows]
        return np.array(found)


def all_in(answer_ids: Iterable[str], features: Features) -> bool:
    """Whether every answer has features."""
    return all(each in features for each in answer_ids)


def _unknown(kind: str, answer_ids: Sequence[str]) -> Said:
    return Said(answer_ids, expected(kind, len(answer_ids)))


def _weights(said: Sequence[Said]) -> Floats:
    return np.array([row.weight for one in said for row in one.rows], dtype=np.float64)
