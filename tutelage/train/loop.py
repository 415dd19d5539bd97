"""The one training loop: batches → loss → step, with checkpoints, validation, early stopping and exact resume.

It does not know which method runs. A loss comes as a sum and a weight; gradients of the sums are added up over the rows
of a step and divided once by the step's whole weight. Leaves out reading options (`config`) and finding models (`api`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from tutelage.engine.forward import TreeEngine
from tutelage.engine.rows import ROW_MULTIPLE, pack, split_by_budget
from tutelage.engine.tree import Tree, TreeBatch
from tutelage.errors import TrainingError
from tutelage.methods.registry import Loss
from tutelage.train.checkpoint import load_checkpoint, pack_rng_state, restore_rng_state, save_checkpoint
from tutelage.train.config import TrainConfig
from tutelage.train.dataset import Dataset, Item, StepPlan
from tutelage.train.interrupt import Interrupt, graceful_interrupt
from tutelage.train.observe import is_context, observe
from tutelage.train.optimizer import MasterAdamW
from tutelage.train.progress import Progress
from tutelage.train.reference import References
from tutelage.train.run_folder import RunFolder
from tutelage.train.schedule import learning_rate_at
from tutelage.train.trackers import Tracker


@dataclass
class LoopState:
    """What a resumed run must know besides weights, moments and random states."""

    step: int = 0
    num_tokens: int = 0
    seconds: float = 0.0
    best_step: int = 0
    best_val_loss: float = math.inf
    bad_evals: int = 0
    stopped_early: bool = False
    extra: dict[str, float] = field(default_factory=dict)
    """What a kind of loop keeps of its own: a KL coefficient, a shift of rewards."""
    ended: bool = False
    """The weights are the final ones and the final samples are written: only the model folder may be missing."""


class AbandonedStepError(Exception):
    """Someone asked to stop before the step had changed anything; the next start takes it again from its beginning."""


class Sums:
    """Metrics added up as (sum, weight) over the rows of a step."""

    def __init__(self) -> None:
        self._parts: dict[str, tuple[float, float]] = {}

    def add(self, metrics: Mapping[str, tuple[float, float]]) -> None:
        for name, (part, share) in metrics.items():
            total, weight = self._parts.get(name, (0.0, 0.0))
            self._parts[name] = (total + part, weight + share)

    def means(self) -> dict[str, float]:
        return {name: total / weight for name, (total, weight) in self._parts.items() if weight}


def _to_train(trees: Sequence[Tree]) -> list[Tree]:
    return [tree for tree in trees if not is_context(tree)]


@dataclass
class Loop:
    """One run: everything it works on, made by `tutelage.train.api`."""

    config: TrainConfig
    method: Any
    engine: TreeEngine
    optimizer: MasterAdamW
    dataset: Dataset
    folder: RunFolder
    learning_rate: float
    trackers: Sequence[Tracker] = ()
    references: References | None = None
    take_samples: Callable[[], list[Mapping[str, Any]]] | None = None
    say: Callable[[str], None] = print
    quiet: bool = False
    state: LoopState = field(default_factory=LoopState)

    def __post_init__(self) -> None:
        self.plan = StepPlan(len(self.dataset.train), self.config)
        self.warmup_steps = round(self.config.warmup_frac * self.plan.num_steps)
        self.row_tokens = self.config.row_tokens or self.engine.row_tokens
        self.last_saved = -1
        self.interrupt = Interrupt()

    # 1. Where to start -----------------------------------------------------------------------------------------------
    def restore(self) -> None:
        """Go back to the newest whole checkpoint, or to the start when there is none."""
        checkpoint = load_checkpoint(self.folder.checkpoints, log=self.say)
        if checkpoint is None:
            self.folder.rewind(0)
            self.say("no checkpoint yet; starting from the first step")
            return
        self._load(checkpoint.tensors)
        restore_rng_state(checkpoint.state["rng"])
        self.state = LoopState(**checkpoint.state["loop"])
        self.last_saved = self.state.step
        self.folder.rewind(self.state.step)
        self.say(f"resuming after step {self.state.step} of {self.plan.num_steps}")

    def _tensors(self) -> dict[str, torch.Tensor]:
        """Everything that changes from step to step and that a checkpoint must hold."""
        return self.optimizer.tensors()

    def _load(self, tensors: dict[str, torch.Tensor]) -> None:
        self.optimizer.load(tensors)

    # 2. One step -----------------------------------------------------------------------------------------------------
    def train_step(self, step: int) -> dict[str, float]:
        """Accumulate the gradients of every row of the step, then update once."""
        trees = [tree for index in self.plan.records(step) for tree in self.dataset.train[index]]
        context = self._context(trees)
        total, weight, num_tokens, num_trained = 0.0, 0.0, 0, 0
        sums = Sums()
        for row in split_by_budget(_to_train(trees), self.row_tokens):
            batch, loss = self._loss(row, context)
            if not math.isfinite(value := float(loss.total.detach())):
                raise self._stop(step, f"the loss is {value}", row)
            loss.total.backward()
            total, weight = total + value, weight + loss.weight
            num_tokens, num_trained = num_tokens + batch.num_tokens, num_trained + batch.num_targets
            sums.add(loss.metrics)
        if not weight > 0:
            raise self._stop(step, f"the weights of the step add up to {weight:g}, so nothing can be learned", trees)
        rate = self._learning_rate(step)
        try:
            norm = self.optimizer.step(rate, self.config.max_grad_norm, weight)
        except TrainingError as error:
            raise self._stop(step, str(error), trees) from None
        return {
            "loss": total / weight,
            "learning_rate": rate,
            "grad_norm": norm,
            "num_tokens_step": num_tokens,
            "num_trained_tokens_step": num_trained,
            **sums.means(),
        }

    def _loss(self, trees: list[Tree], context: float) -> tuple[TreeBatch, Loss]:
        batch = pack(trees, multiple=ROW_MULTIPLE).to(next(self.engine.model.parameters()).device)
        seen = observe(self.method, self.engine, batch, self.references, context)
        return batch, self.method.loss(seen)

    @torch.no_grad()
    def _context(self, trees: Sequence[Tree]) -> float:
        """The number that a method needs of the whole step before its loss; 0 where it needs none."""
        total = weight = 0.0
        for row in split_by_budget([tree for tree in trees if is_context(tree)], self.row_tokens):
            batch = pack(row, multiple=ROW_MULTIPLE).to(next(self.engine.model.parameters()).device)
            part = self.method.context(observe(self.method, self.engine, batch, self.references))
            total, weight = total + float(part.total), weight + part.weight
        return total / weight if weight else 0.0

    def _learning_rate(self, step: int) -> float:
        return learning_rate_at(
            step, peak=self.learning_rate, num_steps=self.plan.num_steps, warmup_steps=self.warmup_steps,
            schedule=self.config.schedule, min_frac=self.config.min_learning_rate_frac,
        )  # fmt: skip

    def _stop(self, step: int, what: str, trees: list[Tree]) -> TrainingError:
        """The error for a step that cannot be taken, naming the records of these trees."""
        wanted = {id(tree) for tree in trees}
        indices = [i for i in self.plan.records(step) if any(id(tree) in wanted for tree in self.dataset.train[i])]
        places = ", ".join(self.dataset.places[index] for index in sorted(indices))
        saved = f"the last checkpoint is that of step {self.last_saved}" if self.last_saved > 0 else "no checkpoint yet"
        return TrainingError(
            f"step {step}: {what} ({places}); look at these records, or start again under another --out with a lower "
            f"--learning-rate; {saved}"
        )

    # 3. Validation and early stopping --------------------------------------------------------------------------------
    @torch.no_grad()
    def validation(self) -> dict[str, float]:
        """The loss and the method's metrics over all validation records, weighted as one step would be."""
        self.engine.model.eval()
        total = weight = 0.0
        sums = Sums()
        for start in range(0, len(self.dataset.val), self.config.batch_size):
            items: list[Item] = self.dataset.val[start : start + self.config.batch_size]
            trees = [tree for item in items for tree in item]
            context = self._context(trees)
            for row in split_by_budget(_to_train(trees), self.row_tokens):
                _, loss = self._loss(row, context)
                total, weight = total + float(loss.total), weight + loss.weight
                sums.add(loss.metrics)
        self.engine.model.train()
        if not (math.isfinite(total) and weight > 0):
            raise TrainingError(
                f"the validation loss after step {self.state.step} is {total:g} over a weight of {weight:g}; start "
                "again under another --out with a lower --learning-rate, or with other validation data"
            )
        return {"val_loss": total / weight} | {f"val_{name}": value for name, value in sums.means().items()}

    def _is_eval_step(self, step: int) -> bool:
        if not self.dataset.val:
            return False
        due = step % self.config.eval_every == 0 if self.config.eval_every else self.plan.ends_epoch(step)
        return due or step == self.plan.num_steps

    def _validate(self, step: int) -> dict[str, float]:
        found, state = self.validation(), self.state
        loss = found["val_loss"]
        if loss < state.best_val_loss:
            state.best_val_loss, state.best_step, state.bad_evals = loss, step, 0
            if self.config.patience:
                best = {"val_loss": loss}
                save_checkpoint(self.folder.path / "best", step, self.optimizer.masters, best, keep_last=1)
        else:
            state.bad_evals += 1
        return found

    # 4. Checkpoints --------------------------------------------------------------------------------------------------
    def save(self) -> None:
        """Write a checkpoint of the current step, unless it is there already."""
        if self.last_saved == self.state.step:
            return
        self.folder.sync()
        saved = {"loop": vars(self.state), "rng": pack_rng_state()}
        folder, keep = self.folder.checkpoints, self.config.keep_last
        save_checkpoint(folder, self.state.step, self._tensors(), saved, keep_last=keep)
        self.last_saved = self.state.step

    # 5. The loop -----------------------------------------------------------------------------------------------------
    def run(self) -> bool:
        """Train to the end; False when someone interrupted it (a checkpoint was written then)."""
        self.engine.model.train()
        start = time.perf_counter() - self.state.seconds
        with graceful_interrupt() as interrupt, Progress(self.plan.num_steps, self.state.step, self.quiet) as progress:
            self.interrupt = interrupt
            while not self._is_over():
                step, begun = self.state.step + 1, time.perf_counter()
                try:
                    metrics = self.train_step(step)
                except AbandonedStepError:
                    self.save()
                    return False
                step_seconds = time.perf_counter() - begun
                self.state.step = step
                self.state.num_tokens += int(metrics["num_tokens_step"])
                validated = self._is_eval_step(step)
                if validated:
                    metrics |= self._validate(step)
                    self.state.stopped_early = 0 < self.config.patience <= self.state.bad_evals
                self.state.seconds = time.perf_counter() - start
                self._record(step, metrics, step_seconds, progress)
                if self._is_over():
                    break
                if self._is_sample_step(step, validated):
                    self._sample(step)
                if interrupt.requested or self._is_save_step(step):
                    self.save()
                if interrupt.requested:
                    return False
        self._end()
        return True

    def _is_sample_step(self, step: int, validated: bool) -> bool:
        return validated

    def _is_save_step(self, step: int) -> bool:
        return bool(self.config.checkpoint_every) and step % self.config.checkpoint_every == 0

    def _is_over(self) -> bool:
        return self.state.stopped_early or self.state.step >= self.plan.num_steps

    def _end(self) -> None:
        """Settle which weights are the result, sample from them, and save them before the model folder is written."""
        if self.state.ended:
            return
        self._settle()
        self._sample(self.state.step)
        self.state.ended = True
        if self.config.checkpoint_every:
            self.save()

    def _settle(self) -> None:
        """Decide whose weights are the result."""
        if self.state.stopped_early and self.state.step < self.plan.num_steps:
            self.say(f"stopped early: no better validation loss in {self.config.patience} validations")
        self._restore_best()

    def _record(self, step: int, metrics: dict[str, float], step_seconds: float, progress: Progress) -> None:
        line = {
            "step": step, **metrics, "step_seconds": step_seconds,
            "tokens_per_second": metrics["num_tokens_step"] / step_seconds,
            "num_tokens": self.state.num_tokens, "seconds": self.state.seconds,
        }  # fmt: skip
        self.folder.append_metrics(line)
        for tracker in self.trackers:
            tracker.log(step, {key: float(value) for key, value in line.items() if key != "step"})
        progress.update(step, line)

    def _sample(self, step: int) -> None:
        for sample in self.take_samples() if self.take_samples else ():
            self.folder.append_sample({"step": step, **sample})

    def _restore_best(self) -> None:
        """With early stopping, the best weights are the result."""
        if not self.config.patience or self.state.best_step == self.state.step:
            return
        best = load_checkpoint(self.folder.path / "best", log=self.say)
        if best is None:
            raise TrainingError(f"the best weights are no longer in {self.folder.path}/best; restore that folder")
        # A GPU may not repeat a validation that was better before a kill; its weights are still the best there are.
        with torch.no_grad():
            for name, tensor in best.tensors.items():
                self.optimizer.masters[name].copy_(tensor)
        self.optimizer.publish()
        self.say(f"keeping the weights of step {best.step}, validation loss {best.state['val_loss']:.4f}")
