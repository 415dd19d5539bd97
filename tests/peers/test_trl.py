"""Our losses against those of TRL 1.16, run in its own environment: `make test-peers`.

Where the libraries differ on purpose, the difference itself is asserted.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from asking import PYTHON, ROOT, ask

from tutelage.methods.registry import LossBatch, find_method

pytestmark = pytest.mark.peers

CHOSEN, REJECTED = [-1.0, -2.5, -0.3, -4.0], [-2.0, -0.7, -1.9]
REF_CHOSEN, REF_REJECTED = -8.9, -4.1


def trl(*jobs: dict[str, Any]) -> list[float]:
    """What TRL's code gives for each job."""
    return ask("trl_losses.py", *jobs)


def batch() -> LossBatch:
    """The same pair as one tree; the reference's sums are spread over the tokens."""
    reference = [REF_CHOSEN / 4] * 4 + [REF_REJECTED / 3] * 3
    values = {"rank": torch.tensor([0.0, 1.0]), "strength": torch.ones(2), "good": torch.tensor([1.0, 0.0])}
    index = torch.tensor([0] * 4 + [1] * 3)
    return LossBatch(
        torch.tensor(CHOSEN + REJECTED),
        index,
        torch.tensor([0, 0]),
        torch.tensor(reference),
        values=values,
        context=0.4,
    )


def ours(method: str, **options: Any) -> float:
    loss = find_method(method)(**options).loss(batch())
    return float(loss.total) / loss.weight


def pair_job(loss_type: str, **options: Any) -> dict[str, Any]:
    sides = {"chosen": CHOSEN, "rejected": REJECTED, "ref_chosen": REF_CHOSEN, "ref_rejected": REF_REJECTED}
    return {"kind": "dpo", "loss_type": loss_type, "beta": 0.3, "label_smoothing": 0.0} | sides | options


SAME = [
    ("dpo", {}, pair_job("sigmoid")),
    ("dpo", {"length_normalised": True}, pair_job("sigmoid_norm")),
    ("robust-dpo", {"label_smoothing": 0.2}, pair_job("robust", label_smoothing=0.2)),
    ("ipo", {"average_logprobs": True}, pair_job("ipo")),
    ("hinge", {}, pair_job("hinge")),
    ("exo", {"label_smoothing": 0.01}, pair_job("exo_pair", label_smoothing=0.01)),
    ("nca", {}, pair_job("nca_pair")),
    ("sppo", {}, pair_job("sppo_hard")),
    ("apo-zero", {}, pair_job("apo_zero")),
    ("apo-down", {}, pair_job("apo_down")),
    ("discopop", {}, pair_job("discopop")),
]


def test_what_is_the_same_pair_by_pair() -> None:
    theirs = trl(*(job for _, _, job in SAME))
    for (method, options, _), expected in zip(SAME, theirs, strict=True):
        assert ours(method, beta=0.3, **options) == pytest.approx(expected, rel=1e-5), method


def test_a_method_file_under_the_jensen_shannon_divergence() -> None:
    (expected,) = trl(pair_job("sigmoid", f_divergence_type="js_divergence", beta=1.0))
    assert ours(str(ROOT / "examples" / "my_loss.py"), beta=1.0) == pytest.approx(expected, rel=1e-5)


def test_trl_averages_where_the_ipo_paper_sums() -> None:
    (average,) = trl(pair_job("ipo"))
    assert ours("ipo", beta=0.3) != pytest.approx(average, rel=0.1)


def test_trls_sigmoid_does_not_smooth_labels() -> None:
    plain, smoothed = trl(pair_job("sigmoid"), pair_job("sigmoid", label_smoothing=0.2))
    assert plain == smoothed
    assert ours("cdpo", beta=0.3, label_smoothing=0.2) != pytest.approx(plain, rel=0.01)


def test_kto_with_the_same_reference_point() -> None:
    job = {"kind": "kto", "kl": 0.4, "beta": 0.3, "desirable_weight": 1.2, "undesirable_weight": 0.8}
    sides = {"chosen": CHOSEN, "rejected": REJECTED, "ref_chosen": REF_CHOSEN, "ref_rejected": REF_REJECTED}
    (expected,) = trl(job | sides)
    method = find_method("kto")(beta=0.3, desirable_weight=1.2, undesirable_weight=0.8)
    loss = method.loss(batch())
    assert float(loss.total) / loss.weight == pytest.approx(expected, rel=1e-5)


def test_the_reward_models_loss_with_margin_and_centring() -> None:
    theirs = trl(
        {"kind": "reward", "chosen": 1.5, "rejected": 0.4},
        {"kind": "reward", "chosen": 1.5, "rejected": 0.4, "margin": 0.7},
        {"kind": "reward", "chosen": 1.5, "rejected": 0.4, "centre": 0.05},
    )
    nothing, tree = torch.empty(0), torch.tensor([0, 0])
    for options, strength, expected in zip(
        ({}, {"strength": "margin"}, {"centre": 0.05}), (1.0, 0.7, 1.0), theirs, strict=True
    ):
        values = {"rank": torch.tensor([0.0, 1.0]), "strength": torch.full((2,), strength)}
        seen = LossBatch(nothing, nothing.long(), tree, scores=torch.tensor([1.5, 0.4]), values=values)
        loss = find_method("reward")(**options).loss(seen)
        assert float(loss.total) / loss.weight == pytest.approx(expected, rel=1e-5)


def test_cpo_and_simpo_without_the_nll() -> None:
    sums, means = (sum(CHOSEN), sum(REJECTED)), (sum(CHOSEN) / 4, sum(REJECTED) / 3)
    cpo, simpo = trl(
        {"kind": "cpo", "loss_type": "sigmoid", "beta": 0.3, "simpo_gamma": 0, "chosen": sums[0], "rejected": sums[1]},
        {
            "kind": "cpo",
            "loss_type": "simpo",
            "beta": 2.0,
            "simpo_gamma": 1.0,
            "chosen": means[0],
            "rejected": means[1],
        },
    )
    assert ours("cpo", beta=0.3, alpha=0.0) == pytest.approx(cpo, rel=1e-5)
    assert ours("simpo", beta=2.0, gamma=1.0) == pytest.approx(
        simpo, rel=1e-5
    )  # theirs divides by beta and multiplies again


def test_the_odds_part_of_orpo() -> None:
    (theirs,) = trl({"kind": "orpo", "beta": 0.2, "chosen": sum(CHOSEN) / 4, "rejected": sum(REJECTED) / 3})
    nll = -sum(CHOSEN) / 4  # of the answer; TRL's covers the prompt as well, so it is left out of the comparison
    assert ours("orpo", odds_coef=0.2) - nll == pytest.approx(-theirs, rel=1e-5)


def test_it_is_the_version_that_is_written_about() -> None:
    found = subprocess.run(
        [PYTHON, "-c", "import trl; print(trl.__version__)"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("1.16")
    assert sys.executable != str(PYTHON)
