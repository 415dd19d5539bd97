"""The loop against plain transformers and plain torch: the same losses, norms and weights, whatever the rows."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_folder, tiny_tokenizer
from torch import nn
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from tutelage.data.load import load_conversations
from tutelage.data.render import render_conversation
from tutelage.errors import TrainingError
from tutelage.methods.registry import Loss, LossBatch
from tutelage.methods.sft import SFT
from tutelage.models.template import end_of_turn_id, ensure_chat_template
from tutelage.train import api, trackers
from tutelage.train.api import Run
from tutelage.train.checkpoint import load_checkpoint
from tutelage.train.config import build_config
from tutelage.train.dataset import StepPlan
from tutelage.train.loop import Loop
from tutelage.train.optimizer import MasterAdamW
from tutelage.train.trackers import TrackedRun

PAIRS = [
    {"prompt": "Is it cold?", "completion": "Yes."},
    {"prompt": "What is the weather like in the north?", "completion": "It is cold and dry, and then it rains."},
    {"prompt": "Name three things.", "completion": "Bread, butter and tea."},
    {"prompt": "Thank you for the letter.", "completion": "You are welcome, and the answer is short."},
    {"prompt": "Capital of France?", "completion": "Paris."},
    {"prompt": "Mix vinegar and baking soda.", "completion": "Scrub, rinse and dry the pan."},
]
TIMING = ("step_seconds", "tokens_per_second", "seconds")


def write(path: Path, pairs: Sequence[Mapping[str, str]]) -> Path:
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return path


def train(folder: Path, model: Path, out: str = "mine", **options: Any) -> tuple[Run, list[str]]:
    """A run in fp32 on six pairs, with what was said."""
    said: list[str] = []
    if "data" not in options:
        options["data"] = str(write(folder / "pairs.jsonl", PAIRS))
    values = {"model": str(model), "out": out, "workspace": folder / "workspace", "precision": "fp32", "num_samples": 0}
    run = api.train("sft", build_config(values | options), say=said.append)
    return run, said


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def weights(run: Run) -> dict[str, torch.Tensor]:
    model = AutoModelForCausalLM.from_pretrained(run.model_path, dtype=torch.float32)
    return dict(model.named_parameters())


def assert_same_weights(a: Run, b: Run, **tolerance: float) -> None:
    other = weights(b)
    for name, tensor in weights(a).items():
        torch.testing.assert_close(tensor, other[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


def losses(run: Run) -> list[float]:
    return [line["loss"] for line in run.metrics]


# An independent reference: one sequence at a time through plain transformers


def sequences(folder: Path, pairs: Sequence[Mapping[str, str]]) -> list[tuple[list[int], list[bool]]]:
    """(ids, trained) of each pair, rendered with the folder's tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ensure_chat_template(tokenizer)
    end = end_of_turn_id(tokenizer)
    rendered = [render_conversation(tokenizer, one, end)[0] for one in load_conversations(list(pairs))]
    return [(list(one.ids), list(one.mask)) for one in rendered]


def plain_model(folder: Path) -> Any:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.set_attn_implementation("eager")
    return model.eval()


def plain_loss(model: Any, examples: Sequence[tuple[list[int], list[bool]]]) -> torch.Tensor:
    """The sum of -log p over trained tokens, divided by how many there are."""
    total, count = torch.zeros(()), 0
    for ids, mask in examples:
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :-1]
        labels = torch.tensor([token if trained else -100 for token, trained in zip(ids, mask, strict=True)][1:])
        total = total + functional.cross_entropy(logits, labels, reduction="sum")
        count += sum(mask[1:])
    return total / count


# Golden


def test_the_first_loss_worked_out_by_hand(tmp_path: Path) -> None:
    model = tiny_folder(tmp_path, "llama")
    run, _ = train(tmp_path, model, batch_size=6, epochs=1)
    coder = tiny_tokenizer("llama")
    total, count = 0.0, 0
    for pair in PAIRS:
        question = coder.encode(f"<s>User:\n{pair['prompt']}\n\nAssistant:\n", add_special_tokens=False)
        answer = coder.encode(f"{pair['completion']}</s>", add_special_tokens=False)
        with torch.no_grad():
            logprobs = plain_model(model)(torch.tensor([question + answer])).logits[0].log_softmax(-1)
        for place, token in enumerate(answer, start=len(question)):
            total -= float(logprobs[place - 1, token])
        count += len(answer)
    (line,) = run.metrics
    assert line["loss"] == pytest.approx(total / count, rel=1e-5)
    assert line["num_trained_tokens_step"] == count


FAMILIES = ("llama", "qwen2", "gemma2", "gemma3_text")  # untied, tied with biases, soft-capped, sliding


@pytest.mark.parametrize("family", FAMILIES)
def test_three_steps_are_those_of_plain_torch(tmp_path: Path, family: str) -> None:
    folder = tiny_folder(tmp_path, family)
    options = {"learning_rate": 1e-2, "warmup_frac": 0.67, "weight_decay": 0.1, "max_grad_norm": 1.0, "row_tokens": 60}
    run, _ = train(tmp_path, folder, batch_size=6, epochs=3, **options)
    # 3 steps, round(0.67 * 3) = 2 of them warm-up: half the peak, the peak; then the cosine is half way down.
    rates = [0.5e-2, 1e-2, 0.5e-2]
    model, examples = plain_model(folder), sequences(folder, PAIRS)
    parameters = dict(model.named_parameters())
    decayed = [p for name, p in parameters.items() if name.endswith("proj.weight")]
    others = [p for name, p in parameters.items() if not name.endswith("proj.weight")]
    adam = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}])
    for rate, line in zip(rates, run.metrics, strict=True):
        loss = plain_loss(model, examples)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        assert norm.item() > 1.0  # clipping does something
        for group in adam.param_groups:
            group["lr"] = rate
        adam.step()
        adam.zero_grad()
        assert line["loss"] == pytest.approx(loss.item(), rel=1e-4)
        assert line["grad_norm"] == pytest.approx(norm.item(), rel=1e-3)
        assert line["learning_rate"] == pytest.approx(rate)
    # Adam divides by the gradient's size, so the few weights whose gradient is nearly 0 are at the mercy of rounding.
    trained = weights(run)
    for name, expected in parameters.items():
        gap = (trained[name] - expected.detach()).abs()
        assert (gap > 2e-4).float().mean().item() < 0.01, name
        assert gap.mean().item() < 2e-5, name


# Rows and batches


def test_the_row_budget_changes_no_result(tmp_path: Path) -> None:
    model = tiny_folder(tmp_path, "gemma3_text")
    options = {"batch_size": 4, "epochs": 2, "learning_rate": 1e-3, "val_frac": 0.2}
    small, _ = train(tmp_path, model, "small", row_tokens=1, **options)  # a row for each pair
    large, _ = train(tmp_path, model, "large", row_tokens=10_000, **options)  # one row a step
    for a, b in zip(small.metrics, large.metrics, strict=True):
        assert a == pytest.approx({**b, **{key: a[key] for key in TIMING}}, rel=1e-4)
    assert_same_weights(small, large, rtol=1e-3, atol=1e-4)


def test_each_step_is_divided_by_its_own_tokens_also_the_short_last_one(tmp_path: Path) -> None:
    # 6 pairs in batches of 4: 4 and 2. The rate is too small to change a weight, so the losses are those of the start.
    model = tiny_folder(tmp_path, "llama")
    config = {"batch_size": 4, "epochs": 2, "learning_rate": 1e-12}
    run, _ = train(tmp_path, model, row_tokens=50, **config)
    examples, plan = sequences(model, PAIRS), StepPlan(6, build_config({"model": "", "data": "", "out": ""} | config))
    assert [len(plan.records(step)) for step in range(1, 5)] == [4, 2, 4, 2]
    for line in run.metrics:
        chosen = [examples[index] for index in plan.records(line["step"])]
        assert line["loss"] == pytest.approx(plain_loss(plain_model(model), chosen).item(), rel=1e-5)
        assert line["num_tokens_step"] == sum(len(ids) for ids, _ in chosen)
        assert line["num_trained_tokens_step"] == sum(sum(mask) for _, mask in chosen)


@pytest.mark.parametrize(("options", "num_steps"), [({"epochs": 3}, 6), ({"epochs": 3, "max_steps": 4}, 4)])
def test_number_of_steps(tmp_path: Path, options: dict[str, int], num_steps: int) -> None:
    run, _ = train(tmp_path, tiny_folder(tmp_path), batch_size=4, **options)
    assert [line["step"] for line in run.metrics] == list(range(1, num_steps + 1))


def test_all_assistant_turns_of_a_conversation_are_learned(tmp_path: Path) -> None:
    turns = [("user", "Dry?"), ("assistant", "Yes."), ("user", "Cold?"), ("assistant", "No, and it rains.")]
    record = {"messages": [{"role": role, "content": content} for role, content in turns]}
    run, _ = train(tmp_path, tiny_folder(tmp_path), data=str(write(tmp_path / "turns.jsonl", [record])), epochs=1)
    coder = tiny_tokenizer("llama")
    answers = [
        coder.encode(f"{content}</s>", add_special_tokens=False) for role, content in turns if role == "assistant"
    ]
    assert run.metrics[0]["num_trained_tokens_step"] == sum(map(len, answers))


# What is recorded


def test_every_field_of_a_line(tmp_path: Path) -> None:
    run, _ = train(tmp_path, tiny_folder(tmp_path), batch_size=2, epochs=2, eval_every=3, val_frac=0.34)
    fields = ["step", "loss", "learning_rate", "grad_norm", "num_tokens_step", "num_trained_tokens_step"]
    times = ["step_seconds", "tokens_per_second", "num_tokens", "seconds"]
    # 4 training records, 2 steps an epoch. Validation is due after step 3, and after the last one.
    assert [list(line) for line in run.metrics] == [
        [*fields, *times], [*fields, *times], [*fields, "val_loss", *times], [*fields, "val_loss", *times],
    ]  # fmt: skip
    assert [line["step"] for line in run.metrics] == [1, 2, 3, 4]
    num_tokens, seconds = 0, 0.0
    for line in run.metrics:
        num_tokens += line["num_tokens_step"]
        assert line["num_tokens"] == num_tokens
        assert line["tokens_per_second"] == pytest.approx(line["num_tokens_step"] / line["step_seconds"])
        assert line["seconds"] >= seconds + line["step_seconds"] > seconds
        seconds = line["seconds"]
    raw = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in raw] == run.metrics


def test_metrics_of_a_method_are_averaged_over_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[tuple[float, float]] = []
    sft_loss = SFT.loss

    def with_metric(self: SFT, batch: LossBatch) -> Loss:
        pair = (float(len(rows) + 1), float(len(batch.tree_index)))
        rows.append(pair)
        return sft_loss(self, batch)._replace(metrics={"height": pair})

    monkeypatch.setattr(SFT, "loss", with_metric)
    run, _ = train(tmp_path, tiny_folder(tmp_path), batch_size=6, epochs=1, row_tokens=60)
    assert len(rows) > 2
    assert sum(weight for _, weight in rows) == 6
    assert run.metrics[0]["height"] == pytest.approx(sum(value for value, _ in rows) / 6)


def test_trackers_get_every_line_and_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorder:
        def __init__(self, run: TrackedRun) -> None:
            self.run, self.lines, self.closed = run, [], False  # type: ignore[var-annotated]
            made.append(self)

        def log(self, step: int, metrics: Mapping[str, float]) -> None:
            self.lines.append({"step": step, **metrics})

        def close(self) -> None:
            self.closed = True

    made: list[Recorder] = []
    monkeypatch.setitem(trackers.TRACKERS, "recorder", Recorder)
    run, _ = train(tmp_path, tiny_folder(tmp_path), batch_size=4, epochs=1, tracker="recorder")
    (recorder,) = made
    assert recorder.lines == run.metrics
    assert recorder.closed
    assert recorder.run == TrackedRun(run.path, "mine", run.config, 0)


def test_samples_at_each_validation_and_at_the_end(tmp_path: Path) -> None:
    options = {"batch_size": 2, "epochs": 2, "val_frac": 0.34, "eval_every": 3, "num_samples": 2, "sample_tokens": 5}
    run, _ = train(tmp_path, tiny_folder(tmp_path), **options)
    samples = [json.loads(line) for line in (run.path / "samples.jsonl").read_text().splitlines()]
    assert [sample["step"] for sample in samples] == [3, 3, 4, 4]
    assert all(list(sample) == ["step", "prompt", "answer", "stopped"] for sample in samples)
    assert samples[0]["prompt"] == samples[2]["prompt"] != samples[1]["prompt"]
    none, _ = train(tmp_path, tiny_folder(tmp_path), "none", batch_size=2)
    assert not (none.path / "samples.jsonl").exists()


def test_prompts_without_room_in_the_context_are_not_sampled(tmp_path: Path) -> None:
    model = tiny_folder(tmp_path, max_position_embeddings=100)
    pairs = write(tmp_path / "short.jsonl", PAIRS[:1])
    run, _ = train(tmp_path, model, data=str(pairs), num_samples=4, sample_tokens=90)
    assert run.finished
    assert not (run.path / "samples.jsonl").exists()


# Seeds


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    model = tiny_folder(tmp_path, "qwen2")
    options: dict[str, Any] = {"batch_size": 2, "learning_rate": 1e-3, "precision": "bf16", "epochs": 2}
    for extra in ({}, {"lora.rank": 2, "lora.dropout": 0.5}):
        name = "adapter_model.safetensors" if extra else "model.safetensors"
        runs = [
            train(tmp_path, model, f"{out}-{len(extra)}", seed=seed, **options, **extra)[0]
            for out, seed in (("a", 1), ("b", 1), ("c", 2))
        ]
        first, again, other = (digest(run.model_path / name) for run in runs)
        assert first == again
        assert first != other


# Validation and early stopping


def test_the_validation_loss_is_that_of_the_saved_model(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path, "gemma3_text")
    held_out = PAIRS[4:]
    val_data = str(write(tmp_path / "val.jsonl", held_out))
    data = str(write(tmp_path / "train.jsonl", PAIRS[:4]))
    run, _ = train(tmp_path, folder, data=data, val_data=val_data, batch_size=1, epochs=2, row_tokens=40)
    assert [line["step"] for line in run.metrics if "val_loss" in line] == [4, 8]
    with torch.no_grad():
        expected = plain_loss(plain_model(run.model_path), sequences(folder, held_out))
    assert run.metrics[-1]["val_loss"] == pytest.approx(expected.item(), rel=1e-4)


def test_validation_draws_no_random_numbers_and_drops_nothing(tmp_path: Path) -> None:
    model = tiny_folder(tmp_path)
    options: dict[str, Any] = {"batch_size": 2, "lora.rank": 2, "lora.dropout": 0.5, "learning_rate": 1e-2}
    val_data = str(write(tmp_path / "val.jsonl", PAIRS[:2]))
    often, _ = train(tmp_path, model, "often", val_data=val_data, eval_every=1, **options)
    never, _ = train(tmp_path, model, "never", **options)
    assert losses(often) == losses(never)
    merged, _ = train(tmp_path, model, "merged", val_data=val_data, merge_lora=True, **options)
    with torch.no_grad():
        expected = plain_loss(plain_model(merged.model_path), sequences(model, PAIRS[:2]))
    assert merged.metrics[-1]["val_loss"] == pytest.approx(expected.item(), rel=1e-4)


# Far too high a rate: after step 2 the validation loss is worse than before.
WORSE: dict[str, Any] = {
    "learning_rate": 0.1, "schedule": "constant", "warmup_frac": 0, "batch_size": 2, "val_frac": 0.34, "eval_every": 1,
    "epochs": 10,
}  # fmt: skip


def test_early_stopping_keeps_the_best_weights(tmp_path: Path) -> None:
    folder = tiny_folder(tmp_path)
    run, said = train(tmp_path, folder, patience=3, **WORSE)
    found = [line["val_loss"] for line in run.metrics]
    assert len(found) == 5  # of 20: the best, and three that were no better
    assert min(found) == found[1]
    assert said[1:] == [
        "stopped early: no better validation loss in 3 validations",
        f"keeping the weights of step 2, validation loss {found[1]:.4f}",
        f"saved {run.model_path}",
    ]
    # What is held out of six records under seed 0, drawn again here.
    held_out = sorted(np.random.default_rng([0, 1]).permutation(6)[:2].tolist())
    with torch.no_grad():
        kept = plain_loss(plain_model(run.model_path), sequences(folder, [PAIRS[index] for index in held_out]))
    assert kept.item() == pytest.approx(found[1], rel=1e-4)
    assert json.loads((run.model_path / "tutelage_origin.json").read_text())["steps"] == 5


def test_the_best_weights_are_kept_when_the_steps_run_out_first(tmp_path: Path) -> None:
    run, said = train(tmp_path, tiny_folder(tmp_path), max_steps=3, patience=9, **WORSE)
    found = [line["val_loss"] for line in run.metrics]
    assert len(found) == 3
    assert said[1:] == [
        f"keeping the weights of step 2, validation loss {found[1]:.4f}", f"saved {run.model_path}",
    ]  # fmt: skip


def test_without_patience_the_last_weights_are_kept(tmp_path: Path) -> None:
    run, said = train(tmp_path, tiny_folder(tmp_path), max_steps=3, **WORSE)
    assert not (run.path / "best").exists()
    assert said[1:] == [f"saved {run.model_path}"]


# Losses that are not finite


def poisoned(folder: Path, text: str) -> Path:
    """A model folder whose embedding of one token is NaN, so that a record with this token spoils its row."""
    path = tiny_folder(folder, "llama", name=f"poisoned-{ord(text)}")
    (token,) = tiny_tokenizer("llama").encode(text, add_special_tokens=False)
    tensors = load_file(path / "model.safetensors")
    tensors["model.embed_tokens.weight"][token] = float("nan")
    save_file(tensors, path / "model.safetensors", metadata={"format": "pt"})
    return path


def failure(folder: Path, model: Path, **options: Any) -> str:
    with pytest.raises(TrainingError) as caught:
        train(folder, model, **options)
    assert not (folder / "workspace" / "models").exists()
    return str(caught.value)


REMEDY = "look at these records, or start again under another --out with a lower --learning-rate"


def test_a_loss_that_is_not_finite_names_the_record(tmp_path: Path) -> None:
    data = write(tmp_path / "pairs.jsonl", [*PAIRS, {"prompt": "Odd?", "completion": "~"}])
    model = poisoned(tmp_path, "~")
    # A row for each pair: record 7 alone is named.
    assert failure(tmp_path, model, data=str(data), batch_size=7, row_tokens=1) == (
        f"step 1: the loss is nan ({data}:7); {REMEDY}; no checkpoint yet"
    )
    assert not (tmp_path / "workspace" / "runs" / "mine" / "metrics.jsonl").exists()
    # One row for all of them: any of them may be it.
    places = ", ".join(f"{data}:{line}" for line in range(1, 8))
    assert failure(tmp_path, model, out="one-row", data=str(data), batch_size=7, row_tokens=999) == (
        f"step 1: the loss is nan ({places}); {REMEDY}; no checkpoint yet"
    )


def test_the_last_checkpoint_is_named_and_whole(tmp_path: Path) -> None:
    data = write(tmp_path / "pairs.jsonl", [*PAIRS, {"prompt": "Odd?", "completion": "~"}])
    config = build_config({"model": "", "data": "", "out": "", "batch_size": 1, "seed": 3})
    assert [StepPlan(7, config).records(step) for step in (4, 5)] == [[1], [6]]
    message = failure(tmp_path, poisoned(tmp_path, "~"), data=str(data), batch_size=1, seed=3, save_every=2)
    assert message == f"step 5: the loss is nan ({data}:7); {REMEDY}; the last checkpoint is that of step 4"
    run_path = tmp_path / "workspace" / "runs" / "mine"
    assert len((run_path / "metrics.jsonl").read_text().splitlines()) == 4
    checkpoint = load_checkpoint(run_path / "checkpoints", log=print)
    assert checkpoint is not None
    assert checkpoint.step == 4
    bad = [name for name, tensor in checkpoint.tensors.items() if not tensor.isfinite().all()]
    assert all("embed" in name for name in bad), bad


def test_a_gradient_that_is_not_finite_names_the_records_of_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MasterAdamW, "gradient_norm", lambda self: float("inf"))
    data = tmp_path / "pairs.jsonl"
    assert failure(tmp_path, tiny_folder(tmp_path), batch_size=6) == (
        f"step 1: the gradient norm is inf ({', '.join(f'{data}:{line}' for line in range(1, 7))}); {REMEDY}; "
        "no checkpoint yet"
    )


def test_a_validation_loss_that_is_not_finite(tmp_path: Path) -> None:
    val_data = str(write(tmp_path / "val.jsonl", [{"prompt": "Odd?", "completion": "~"}]))
    assert failure(tmp_path, poisoned(tmp_path, "~"), val_data=val_data, batch_size=3, eval_every=2, patience=1) == (
        "the validation loss after step 2 is nan over a weight of 2; start again under another --out with a lower "
        "--learning-rate, or with other validation data"
    )


# Precision and memory


def test_bf16_computes_in_bf16_on_fp32_masters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[Loop] = []
    monkeypatch.setattr(Loop, "run", lambda self: (loops.append(self), run_loop(self))[1])
    folder = tiny_folder(tmp_path)
    run, _ = train(tmp_path, folder, precision="bf16", learning_rate=1e-5, batch_size=2)
    (loop,) = loops
    assert {p.dtype for p in loop.engine.model.parameters()} == {torch.bfloat16}
    assert {tensor.dtype for tensor in loop.optimizer.tensors().values()} == {torch.float32}
    for name, parameter in loop.optimizer.parameters.items():
        assert torch.equal(parameter, loop.optimizer.masters[name].bfloat16()), name
    # Steps of 1e-5 are far below bf16's resolution and are kept all the same.
    moved = [not torch.equal(master, master.bfloat16().float()) for master in loop.optimizer.masters.values()]
    assert all(moved)
    saved = load_file(run.model_path / "model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.bfloat16}
    reference, _ = train(tmp_path, folder, "fp32", learning_rate=1e-5, batch_size=2)
    assert losses(run) == pytest.approx(losses(reference), rel=2e-2)


run_loop = Loop.run


@pytest.mark.parametrize("lora", [{}, {"lora.rank": 4, "lora.dropout": 0.3}])
def test_gradient_checkpointing_changes_no_result(tmp_path: Path, lora: dict[str, float]) -> None:
    folder = tiny_folder(tmp_path, "qwen3")
    options: dict[str, Any] = {"batch_size": 3, "epochs": 2, "learning_rate": 1e-3, "merge_lora": bool(lora)} | lora
    plain, _ = train(tmp_path, folder, "plain", **options)
    twice, _ = train(tmp_path, folder, "twice", gradient_checkpointing=True, **options)
    assert losses(plain) == pytest.approx(losses(twice), rel=1e-5)
    assert_same_weights(plain, twice, rtol=1e-4, atol=1e-5)


def test_gradient_checkpointing_computes_activations_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    forward = LlamaDecoderLayer.forward
    monkeypatch.setattr(LlamaDecoderLayer, "forward", lambda *a, **k: (calls.append(1), forward(*a, **k))[1])
    folder = tiny_folder(tmp_path)
    counts = []
    for out, checkpointing in (("plain", False), ("twice", True)):
        train(tmp_path, folder, out, gradient_checkpointing=checkpointing, batch_size=6, epochs=1)
        counts.append(len(calls))
        calls.clear()
    # Beside training, the engine compares its two paths, which costs both the same; the 2 layers run once more.
    assert counts[1] == counts[0] + 2
