"""Fewer numbers from many: principal directions of what candidates differ in, and clusters of their prompts.

Principal directions are those of the rows Δφ, not of the answers: what all answers to a prompt have in common says
nothing of which is better. Rows are not centred, since which answer is the first is arbitrary. After reduction they
have a mean squared length of 1, whatever the model's hidden states are like, so that a prior fits every model.

Pure numpy. Leaves out: the states (`tutelage.feedback.features`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tutelage.errors import ConfigError
from tutelage.feedback.head import Floats
from tutelage.feedback.selection import Ints

MAX_DIMS = 64


class Reduction(NamedTuple):
    """A linear map from features to at most `MAX_DIMS` numbers."""

    matrix: Floats
    """`(dim, num_dims)`."""

    def __call__(self, rows: Floats) -> Floats:
        """`(num, num_dims)` of `(num, dim)`."""
        return rows @ self.matrix


def principal(rows: Floats, *, num_dims: int = MAX_DIMS, whiten: bool = False) -> Reduction:
    """The directions in which `rows` vary most; with `whiten` each gets the same variance.

    Directions in which they do not vary (beyond rounding) are left out. Raises `ConfigError` for no rows, or rows that
    are all 0.
    """
    if not rows.size or not np.isfinite(rows).all():
        raise ConfigError("no features to choose by, or some that are not finite; compute the features again")
    moments, directions = np.linalg.eigh(rows.T @ rows / len(rows))
    moments, directions = moments[::-1][:num_dims], directions[:, ::-1][:, :num_dims]
    kept = moments > max(float(moments[0]) * 1e-9, 1e-30)
    if not kept.any():
        raise ConfigError("the answers of every item have the same features, so no rule can tell the items apart")
    moments, directions = moments[kept], directions[:, kept]
    scales = moments * len(moments) if whiten else np.full(len(moments), moments.sum())
    return Reduction(directions / np.sqrt(scales))


def cluster(points: Floats, num_clusters: int, *, seed: int = 0, num_rounds: int = 25) -> Ints:
    """`(num,)` cluster of each point `(num, dim)`: k-means with k-means++ starts (Arthur & Vassilvitskii 2007).

    Fewer clusters come out where points coincide; numbers run from 0 without gaps. `num_clusters` is at least 1.
    """
    if num_clusters == 1 or len(points) <= 1:
        return np.zeros(len(points), dtype=np.int64)
    centres = _starts(points, num_clusters, np.random.default_rng(seed))
    nearest = np.zeros(len(points), dtype=np.int64)
    for _ in range(num_rounds):
        before, nearest = nearest, _distances(points, centres).argmin(1)
        if (before == nearest).all():
            break
        for number in np.unique(nearest):
            centres[number] = points[nearest == number].mean(0)
    return np.unique(nearest, return_inverse=True)[1].astype(np.int64)


def _starts(points: Floats, num_clusters: int, generator: np.random.Generator) -> Floats:
    centres = points[[int(generator.integers(len(points)))]]
    while len(centres) < min(num_clusters, len(points)):
        distances = _distances(points, centres).min(1)
        if not distances.max() > 1e-12:
            break
        drawn = int(generator.choice(len(points), p=distances / distances.sum()))
        centres = np.vstack([centres, points[drawn]])
    return centres


def _distances(points: Floats, centres: Floats) -> Floats:
    """`(num, num_centres)` squared."""
    squared = (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)
    return np.maximum(squared, 0.0)
