"""The loop of methods that learn from their own answers: sample → score → look back → advantages → learn.

A step changes nothing before it learns, so one that is interrupted while sampling is taken again from its beginning,
with the same draws. Everything a resumed run needs beside weights and moments stands in `LoopState.extra`.
Leaves out: what is learned from an advantage (`methods`), sampling and scoring (`rollouts`), the teacher (`teacher`),
the critic (`critic`).
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tutelage.engine.forward import TreeEngine
from tutelage.engine.rows import ROW_MULTIPLE, pack, split_by_budget
from tutelage.engine.tree import Tree, TreeBatch
from tutelage.errors import TrainingError
from tutelage.methods.policy import Rollouts, k3
from tutelage.methods.registry import LossBatch
from tutelage.stats.intervals import mean_interval
from tutelage.train.alarms import Alarm, Watch
from tutelage.train.critic import Critic, PretrainingMix
from tutelage.train.loop import AbandonedStepError, Loop, Sums
from tutelage.train.progress import Progress
from tutelage.train.rollouts import Actor, Clock, Group, PromptItem, Scored, flat_index
from tutelage.train.teacher import Teacher


@dataclass
class ReferencePolicy:
    """The policy that KL is measured against: another model, or the same one with its adapter off."""

    engine: TreeEngine
    adapter_off: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass
class Experience:
    """A step's answers, ready to be learned from: a tree a prompt, and what was found of every answer."""

    groups: list[Group]
    trees: list[Tree]
    sequence_index: Tensor
    group_index: Tensor
    rewards: Tensor
    """Shaped and shifted, `(num_sequences,)`."""
    tokens: dict[str, Tensor] = field(default_factory=dict)
    """By name, `(num_tokens,)` each, on the CPU."""

    def split(self, values: Tensor) -> list[Tensor]:
        """`(num_tokens,)` → one tensor a tree."""
        return list(values.split([tree.num_trained_tokens for tree in self.trees]))


@dataclass
class Part:
    """One tree to learn from, without the answers that have nothing to teach, and how much was left out."""

    tree: Tree | None
    idle_sequences: int
    idle_tokens: int


@dataclass
class OnlineLoop(Loop):
    """One run of a method that samples."""

    actor: Actor = None  # type: ignore[assignment]
    reference: ReferencePolicy | None = None
    teacher: Teacher | None = None
    critic: Critic | None = None
    mix: PretrainingMix | None = None
    watch: Watch = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.actor.on_progress = self._abandon_if_asked
        self.device = next(self.engine.model.parameters()).device

    def _abandon_if_asked(self, _: int = 0) -> None:
        if self.interrupt.requested:
            raise AbandonedStepError

    # What a checkpoint holds -----------------------------------------------------------------------------------------
    def _tensors(self) -> dict[str, Tensor]:
        return super()._tensors() | (self.critic.tensors() if self.critic else {})

    def _load(self, tensors: dict[str, Tensor]) -> None:
        if self.critic:
            self.critic.load(tensors)
        super()._load({name: tensor for name, tensor in tensors.items() if not name.startswith("critic.")})

    def restore(self) -> None:
        super().restore()
        self.watch.replay(self.folder.read_metrics())

    @property
    def kl_coef(self) -> float:
        return self.state.extra.get("kl_coef", self.method.kl_coef)

    # The step --------------------------------------------------------------------------------------------------------
    def train_step(self, step: int) -> dict[str, float]:
        clock = Clock()
        groups, num_dropped = self._collect(step, clock)
        begun = time.perf_counter()
        experience = self._experience(step, groups)
        kl = self._look_back(experience)
        parts = self._parts(experience)
        metrics = self._learn(step, parts)
        self._adapt_kl(kl, len(experience.rewards))
        num_tokens = sum(tree.num_tokens for tree in experience.trees)
        clock.add("learning", begun, num_tokens)
        return {
            **metrics,
            **self._describe(groups, experience, kl),
            "num_groups_dropped": num_dropped,
            "num_tokens_step": num_tokens,
            "num_trained_tokens_step": sum(part.tree.num_trained_tokens for part in parts if part.tree),
            **clock.metrics(),
        }

    # 1. Sample and score ---------------------------------------------------------------------------------------------
    def _collect(self, step: int, clock: Clock) -> tuple[list[Group], int]:
        """(groups to learn from, number that were dropped): where the method refills, others take their place."""
        indices = self.plan.records(step)
        groups = self._rollout(indices, step, clock, 0)
        if not self.method.refills:
            return groups, 0
        kept, num_sampled, more = [g for g in groups if g.has_spread], len(groups), 0
        generator = np.random.default_rng([self.config.seed, 4, step])
        while len(kept) < len(indices) and more < self.method.max_refills:
            more += 1
            chosen = generator.integers(len(self.dataset.train), size=len(indices) - len(kept)).tolist()
            found = self._rollout(chosen, step, clock, num_sampled * self.method.group_size)
            num_sampled += len(found)
            kept += [group for group in found if group.has_spread]
        return (kept or groups), num_sampled - len(kept)

    def _rollout(self, indices: Sequence[int], step: int, clock: Clock, first: int) -> list[Group]:
        items: list[PromptItem] = [self.dataset.train[index] for index in indices]  # type: ignore[misc]
        self._abandon_if_asked()
        groups = self.actor.rollout(items, step, clock, first)
        return groups if self.teacher is None else [self.teacher.known(group) for group in groups]

    def _experience(self, step: int, groups: Sequence[Group]) -> Experience:
        groups = [group for group in groups if group.scored]
        if not groups:
            raise self._none_to_learn_from(step)
        trees = [group.tree() for group in groups]
        scored = [one for group in groups for one in group.scored]
        totals = torch.tensor([float(one.judgement.total or 0.0) for one in scored])
        lengths = torch.tensor([len(one.completion.sampled) for one in scored])
        stopped = torch.tensor([one.completion.stopped for one in scored])
        shifted = totals - self._shift(totals)
        sequence_index, group_index = flat_index(trees)
        rewards = self.method.shape(shifted, lengths, stopped)
        found = torch.cat([tree.token_values["rollout_logprobs"] for tree in trees])
        return Experience(groups, trees, sequence_index, group_index, rewards, {"rollout_logprobs": found})

    def _none_to_learn_from(self, step: int) -> TrainingError:
        first = self.dataset.places[self.plan.records(step)[0]]
        if self.teacher is not None:
            return TrainingError(
                f"step {step}: every answer, or its prompt, has a token beyond the {self.teacher.num_vocab} that "
                f"{self.method.teacher} and {self.config.model} share, e.g. to {first}; give another --teacher"
            )
        return TrainingError(
            f"step {step}: none of the answers could be scored; look at the reward "
            f"({', '.join(self.method.reward)}) and at the prompts, e.g. {first}"
        )

    def _shift(self, totals: Tensor) -> float:
        """A reward model's zero is arbitrary: what the first step's answers, the reference's own, got on average."""
        if not self.actor.reward.has_model:
            return 0.0
        if "reward_shift" not in self.state.extra:
            self.state.extra["reward_shift"] = float(totals.mean())
        return self.state.extra["reward_shift"]

    # 2. Look back: the logprobs of before the update, the reference's, the critic's values ---------------------------
    @torch.no_grad()
    def _look_back(self, experience: Experience) -> list[float]:
        """Put into `experience.tokens` what the advantages and the loss need; returns the KL of each answer in nats."""
        tokens, method = experience.tokens, self.method
        needs_old = self.teacher is None and (
            method.num_updates > 1 or (method.needs_reference and method.kl_in_reward)
        )
        if needs_old and method.old_logprobs == "sampler":
            tokens["old_logprobs"] = tokens["rollout_logprobs"]
        elif needs_old:
            tokens["old_logprobs"] = self._each(experience.trees, self._logprobs_of(self.engine))
        if self.reference is not None:
            with self.reference.adapter_off():
                tokens["ref_logprobs"] = self._each(experience.trees, self._logprobs_of(self.reference.engine))
        if self.critic is not None:
            tokens["old_values"] = self._each(experience.trees, self.critic.values, self.critic.engine.row_tokens)
        old = tokens.get("old_logprobs", tokens["rollout_logprobs"])
        moved = old - tokens["ref_logprobs"] if self.reference is not None else torch.zeros_like(old)
        rollouts = Rollouts(
            experience.rewards, experience.group_index, experience.sequence_index, moved, self.kl_coef,
            tokens.get("old_values"),
        )  # fmt: skip
        tokens |= method.advantages(rollouts)
        return rollouts.sum_by_sequence(moved).tolist() if self.reference is not None else []

    def _logprobs_of(self, engine: TreeEngine) -> Callable[[TreeBatch], Tensor]:
        return lambda batch: engine.logprobs(batch, temperature=self.method.temperature).logprobs

    def _each(self, trees: Sequence[Tree], of: Callable[[TreeBatch], Tensor], row_tokens: int = 0) -> Tensor:
        """A number for every trained token of the trees, in their order, `(num_tokens,)` fp32 on the CPU."""
        found: dict[int, Tensor] = {}
        for row in split_by_budget(trees, row_tokens or self.row_tokens):
            values = of(pack(row, multiple=ROW_MULTIPLE).to(self.device)).cpu()
            parts = values.split([tree.num_trained_tokens for tree in row])
            found |= {id(tree): part for tree, part in zip(row, parts, strict=True)}
        return torch.cat([found[id(tree)] for tree in trees])

    def _adapt_kl(self, kl: Sequence[float], num_sequences: int) -> None:
        if kl and hasattr(self.method, "next_kl_coef"):
            following = self.method.next_kl_coef(self.kl_coef, statistics.fmean(kl), num_sequences)
            self.state.extra["kl_coef"] = following

    # 3. What is left to learn from -----------------------------------------------------------------------------------
    def _parts(self, experience: Experience) -> list[Part]:
        """The trees without answers that have no gradient: these cost no backward pass."""
        split = {name: experience.split(values) for name, values in experience.tokens.items()}
        rewards = experience.rewards.split([len(tree.branches) for tree in experience.trees])
        return [
            self._part(tree, rewards[index].tolist(), {name: parts[index] for name, parts in split.items()})
            for index, tree in enumerate(experience.trees)
        ]

    def _part(self, tree: Tree, rewards: list[float], tokens: Mapping[str, Tensor]) -> Part:
        bounds = np.cumsum([0, *map(len, tree.branches)]).tolist()
        spans = [slice(start, end) for start, end in itertools.pairwise(bounds)]
        all_teach = self.method.has_kl_loss or self.critic is not None
        kept = [i for i, span in enumerate(spans) if all_teach or bool(tokens["advantages"][span].any())]
        idle = [span.stop - span.start for i, span in enumerate(spans) if i not in kept]
        if not kept:
            return Part(None, len(idle), sum(idle))
        chosen = {name: torch.cat([values[spans[i]] for i in kept]) for name, values in tokens.items()}
        branches = tuple(tree.branches[i] for i in kept)
        values = {"reward": tuple(rewards[i] for i in kept)}
        return Part(Tree(tree.trunk, branches, values, chosen), len(idle), sum(idle))

    # 4. Learn --------------------------------------------------------------------------------------------------------
    def _learn(self, step: int, parts: list[Part]) -> dict[str, float]:
        rate, sums, totals = self._learning_rate(step), Sums(), _Totals()
        for number, minibatch in self._minibatches(step, len(parts)):
            chosen = [parts[index] for index in minibatch]
            trees = [part.tree for part in chosen if part.tree is not None]
            if not trees:
                continue
            if self.critic is None or step > self.critic.warmup_steps:
                weight = self._weight(chosen)
                if self.mix is not None:
                    totals.mix_norm = self.mix.accumulate(self.engine, self.optimizer, step, number, weight)
                totals.loss += self._backward(step, trees, sums)
                totals.weight += weight
                totals.norms.append(self._update(step, rate, weight))
            if self.critic is not None:
                sums.add(self.critic.learn(self.method, trees, self._critic_rate(step), self.config.max_grad_norm))
        return {
            "loss": totals.loss / totals.weight if totals.weight else 0.0,
            "learning_rate": rate,
            "grad_norm": statistics.fmean(totals.norms) if totals.norms else 0.0,
            "num_updates": len(totals.norms),
            **({"ptx_grad_share": totals.mix_norm / totals.norms[-1]} if self.mix and totals.norms else {}),
            **sums.means(),
        }

    def _minibatches(self, step: int, num_parts: int) -> Iterator[tuple[int, list[int]]]:
        """(number, indices of parts) of each update of the step, in a fresh order each pass."""
        count = min(self.method.minibatches, num_parts)
        for epoch in range(self.method.inner_epochs):
            order = np.random.default_rng([self.config.seed, 3, step, epoch]).permutation(num_parts)
            for place, chosen in enumerate(np.array_split(order, count)):
                yield epoch * count + place, chosen.tolist()

    def _weight(self, parts: Sequence[Part]) -> float:
        """What the minibatch's losses are divided by, those answers included that cost nothing."""
        trees = [part.tree for part in parts if part.tree is not None]
        sequences = float(sum(len(tree.branches) for tree in trees))
        tokens = float(sum(tree.num_trained_tokens for tree in trees))
        if self.method.counts_idle:
            sequences += sum(part.idle_sequences for part in parts)
            tokens += sum(part.idle_tokens for part in parts)
        return float(self.method.weight(sequences, tokens))

    def _backward(self, step: int, trees: list[Tree], sums: Sums) -> float:
        total = 0.0
        for row in split_by_budget(trees, self.row_tokens):
            batch = pack(row, multiple=ROW_MULTIPLE).to(self.device)
            seen = self._see(batch)
            loss = self.method.loss(seen)
            if not math.isfinite(value := float(loss.total.detach())):
                raise self._stop(step, f"the loss is {value}", row)
            loss.total.backward()
            total += value
            sums.add(loss.metrics)
            if self.method.loss_temperature == self.method.temperature:
                sums.add(_mismatch(seen.logprobs, batch))
        return total

    def _see(self, batch: TreeBatch) -> LossBatch:
        """What the loss sees: the policy's logprobs, or how far it is from a teacher at each token."""
        tokens = batch.token_values
        if self.teacher is None:
            logprobs = self.engine.logprobs(batch, temperature=self.method.loss_temperature).logprobs
        else:
            logprobs, compared = self.teacher.compare(self.engine, batch, self.method)
            tokens = {**tokens, **compared}
        return LossBatch(
            logprobs, batch.sequence_index, batch.tree_index, tokens.get("ref_logprobs"), None, batch.values, tokens
        )

    def _update(self, step: int, rate: float, weight: float) -> float:
        try:
            return self.optimizer.step(rate, self.config.max_grad_norm, weight)
        except TrainingError as error:
            raise self._stop(step, str(error), []) from None

    def _critic_rate(self, step: int) -> float:
        assert self.critic is not None
        return self.critic.learning_rate * self._learning_rate(step) / self.learning_rate

    def _stop(self, step: int, what: str, trees: list[Tree]) -> TrainingError:
        places = ", ".join(self.dataset.places[index] for index in self.plan.records(step)[:4])
        saved = f"the last checkpoint is that of step {self.last_saved}" if self.last_saved > 0 else "no checkpoint yet"
        return TrainingError(
            f"step {step}: {what} (prompts {places} …); start again under another --out with a lower --learning-rate; "
            f"{saved}"
        )

    # 5. What a person reads ------------------------------------------------------------------------------------------
    def _describe(self, groups: Sequence[Group], experience: Experience, kl: Sequence[float]) -> dict[str, float]:
        scored = [one for group in experience.groups for one in group.scored]
        lengths = [len(one.completion.sampled) for one in scored]
        found: dict[str, float] = {
            **(self._describe_rewards(groups, scored, lengths) if self.teacher is None else {}),
            "num_scored": len(scored),
            "num_unscored": sum(group.num_unscored for group in groups),
            "length": statistics.fmean(lengths),
            "stop_rate": statistics.fmean(one.completion.stopped for one in scored),
            # Every token was drawn from the policy, so −log π of it is an unbiased estimate of the entropy there.
            "entropy": -float(experience.tokens["rollout_logprobs"].mean()),
            "distinct": distinct_share([one.completion.sampled for one in scored]),
        }
        if kl:
            interval = mean_interval(kl) if len(kl) > 1 else (kl[0], math.nan, math.nan)
            found |= {"kl": interval[0], "kl_low": interval[1], "kl_high": interval[2], "kl_coef": self.kl_coef}
            moved = experience.tokens["ref_logprobs"] - experience.tokens.get(
                "old_logprobs", experience.tokens["rollout_logprobs"]
            )
            found["kl_per_token"] = float(k3(moved).mean())
        return found

    def _describe_rewards(
        self, groups: Sequence[Group], scored: Sequence[Scored], lengths: Sequence[int]
    ) -> dict[str, float]:
        totals = [float(one.judgement.total or 0.0) for one in scored]
        found: dict[str, float] = {
            "reward": statistics.fmean(totals),
            "reward_std": statistics.pstdev(totals),
            **self._by_component(groups),
            "num_groups_equal": sum(not group.has_spread for group in groups),
        }
        if len(set(lengths)) > 1 and found["reward_std"] > 0:
            found["length_reward_slope"] = statistics.linear_regression(lengths, totals).slope
        spreads = [one.judgement.spread for one in scored if one.judgement.spread is not None]
        if spreads:
            found["ensemble_spread"] = statistics.fmean(spreads)
        return found

    def _by_component(self, groups: Sequence[Group]) -> dict[str, float]:
        by_name: dict[str, list[float]] = {}
        for one in (one for group in groups for one in group.scored):
            for name, value in one.judgement.components.items():
                by_name.setdefault(name, []).append(value)
        return {f"reward/{name}": statistics.fmean(values) for name, values in by_name.items()}

    def _record(self, step: int, metrics: dict[str, float], step_seconds: float, progress: Progress) -> None:
        super()._record(step, metrics, step_seconds, progress)
        for alarm in self.watch.look(step, metrics):
            self._raise_alarm(alarm)

    def _raise_alarm(self, alarm: Alarm) -> None:
        self.say(f"warning at step {alarm.step}: {alarm.name}: {alarm.message}")
        self.folder.append_sample({"step": alarm.step, "warning": alarm.name, "message": alarm.message})
        if self.watch.stops(alarm):
            self.state.stopped_early = True

    def _is_sample_step(self, step: int, validated: bool) -> bool:
        return bool(self.method.answer_every) and step % self.method.answer_every == 0

    def _is_save_step(self, step: int) -> bool:
        # While something is wrong no checkpoint is written, so that the newest one is the last good one.
        return super()._is_save_step(step) and not self.watch.is_alarmed

    def _settle(self) -> None:
        if not self.state.stopped_early:
            return
        from tutelage.train.checkpoint import load_checkpoint

        checkpoint = load_checkpoint(self.folder.checkpoints, log=self.say) if self.config.checkpoint_every else None
        if checkpoint is None:
            self.say("stopped by a warning, and there is no earlier checkpoint: the weights are those of the last step")
            return
        self._load(checkpoint.tensors)
        self.say(f"stopped by a warning; the weights are those of step {checkpoint.step}, the last good checkpoint")


@dataclass
class _Totals:
    loss: float = 0.0
    weight: float = 0.0
    mix_norm: float = 0.0
    norms: list[float] = field(default_factory=list)


def _mismatch(logprobs: Tensor, batch: TreeBatch) -> dict[str, tuple[float, float]]:
    """How far the trainer's logprobs of the same tokens are from the sampler's, before any update."""
    before = batch.token_values.get("old_logprobs", logprobs.detach())
    gap = before - batch.token_values["rollout_logprobs"]
    return {"mismatch_kl": (float(k3(gap).sum()), float(len(gap)))}


def distinct_share(answers: Sequence[Sequence[int]], n: int = 4) -> float:
    """Distinct n-grams of tokens over all of them, across the answers of a step; 1 when there are none.

    It falls when a policy says the same to every prompt as well as when it repeats itself.
    """
    counts: Counter[tuple[int, ...]] = Counter()
    for ids in answers:
        counts.update(tuple(ids[start : start + n]) for start in range(len(ids) - n + 1))
    return len(counts) / counts.total() if counts else 1.0
