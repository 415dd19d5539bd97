"""What `tutelage best-of-n` does: several answers to each prompt, the best of them kept as a pair to fine-tune on.

It also says what the best of n would have been for every smaller n, without sampling again, and bounds how far picking
moves the distribution. Leaves out training on the result (`tutelage train sft`), and doing both in turns
(`tutelage train rejection`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from tutelage.data import load_prompts
from tutelage.engine.generate import Sampling
from tutelage.errors import ConfigError, DataError
from tutelage.evaluate.run import load_for_answers
from tutelage.rewards.base import Judgement
from tutelage.rewards.spec import check_reward, make_reward
from tutelage.stats.intervals import Interval, mean_interval
from tutelage.train.run_folder import strict_json
from tutelage.types import Answer
from tutelage.verbs import check_batch_size, check_num_samples, check_writable, sample_answers, write_file


class Best(NamedTuple):
    """One prompt's answers that could be scored, best first."""

    ranked: list[tuple[float, Answer]]

    @property
    def rewards(self) -> list[float]:
        return [reward for reward, _ in self.ranked]


def best_of_n_file(
    model: str, reward: Sequence[str], prompts: str, out: Path, sampling: Sampling, *, num_samples: int,
    min_reward: float | None, ensemble_penalty: float, all_answers: Path | None, batch_size: int, overwrite: bool,
    workspace: Path,
) -> int:  # fmt: skip
    """Sample, score, keep the best of each prompt, and write the file whole. Raises a TutelageError beforehand."""
    for file in (out, all_answers):
        if file is not None:
            check_writable(file, overwrite)
    check_batch_size(batch_size)
    check_num_samples(num_samples, sampling)
    if sampling.temperature == 0:
        raise ConfigError("--temperature is 0; to have something to choose from it must be above 0")
    check_reward(reward, workspace)
    asked = load_prompts(prompts)
    loaded = load_for_answers(model, workspace)
    answers, line = sample_answers(loaded, asked, sampling, num_samples=num_samples, batch_size=batch_size)
    print(line)
    del loaded
    judged = make_reward(reward, workspace=workspace, ensemble_penalty=ensemble_penalty).judge(answers)
    groups = [
        _ranked(answers[start : start + num_samples], judged[start : start + num_samples])
        for start in range(0, len(answers), num_samples)
    ]
    if all_answers is not None:
        write_file(all_answers, b"".join(strict_json(_line(*one)) for one in zip(answers, judged, strict=True)))
    kept = [group for group in groups if group.ranked and (min_reward is None or group.rewards[0] >= min_reward)]
    if not kept:
        raise DataError(
            f"none of {len(groups)} prompts has an answer to keep; lower --min-reward, or look at the reward"
        )
    write_file(out, b"".join(strict_json(_pair(*group.ranked[0], num_samples)) for group in kept))
    _print_summary(groups, num_samples)
    num_unscored = sum(one.total is None for one in judged)
    print(f"wrote {out}: the best answers to {len(kept)} of {len(groups)} prompts" + _left_out(num_unscored))
    return 0


def _left_out(num_unscored: int) -> str:
    return f"; {num_unscored} answers could not be scored" if num_unscored else ""


def _ranked(answers: Sequence[Answer], judged: Sequence[Judgement]) -> Best:
    scored = [(one.total, answer) for one, answer in zip(judged, answers, strict=True) if one.total is not None]
    return Best(sorted(scored, key=lambda one: -one[0]))


def _pair(reward: float, answer: Answer, num_samples: int) -> dict[str, Any]:
    messages = [{"role": message.role, "content": message.content} for message in answer.prompt.messages]
    made = {"model": answer.model, "reward": reward, "best_of": num_samples}
    return {"messages": [*messages, {"role": "assistant", "content": answer.text}], **made}


def _line(answer: Answer, judgement: Judgement) -> dict[str, Any]:
    return {
        "id": answer.prompt.id,
        "messages": [{"role": message.role, "content": message.content} for message in answer.prompt.messages],
        "answer": answer.text, "num_tokens": answer.num_tokens, "stopped": answer.stopped,
        "reward": judgement.total, "components": dict(judgement.components),
    }  # fmt: skip


def expected_best(rewards: Sequence[float], n: int) -> float:
    """Mean reward of the best of n draws without replacement from these N: Σ C(i−1, n−1)/C(N, n)·r_(i), r ascending.

    Unbiased for the best of n fresh answers (Nakano et al. 2021, appendix I). Needs n ≤ N.
    """
    ordered, total = sorted(rewards), math.comb(len(rewards), n)
    return sum(math.comb(i, n - 1) / total * reward for i, reward in enumerate(ordered))


def kl_bound(n: int) -> float:
    """log n − (n − 1)/n: at most so many nats lie between the best of n and the policy (Beirami et al. 2024)."""
    return math.log(n) - (n - 1) / n


def best_of_table(groups: Sequence[Best], num_samples: int) -> list[tuple[int, Interval]]:
    """(n, mean reward of the best of n with its interval over prompts) for n = 1, 2, 4 … N."""
    whole = [group.rewards for group in groups if len(group.rewards) == num_samples]
    sizes = sorted({2**power for power in range(num_samples.bit_length()) if 2**power <= num_samples} | {num_samples})
    if len(whole) < 2:
        return []
    return [(n, mean_interval([expected_best(rewards, n) for rewards in whole])) for n in sizes]


def _print_summary(groups: Sequence[Best], num_samples: int) -> None:
    table = Table("best of", "mean reward", "95 % interval", "KL at most, nats")
    for n, interval in best_of_table(groups, num_samples):
        bounds = f"{interval.low:+.3f} … {interval.high:+.3f}"
        table.add_row(str(n), f"{interval.estimate:+.3f}", bounds, f"{kl_bound(n):.2f}")
    if table.row_count:
        Console().print(table)
