"""What runs in a process of its own for `sft.py`: preparing the data, and each contestant.

    python sft_contestants.py PART JOB_FOLDER ROUND

prints one line of JSON. `settings.json` in the job folder holds what all share; `prepare` adds `job.json` with the
token ids and masks of every step. Contestants train all weights on the CPU at a constant learning rate and save no
checkpoints. Leaves out GPUs, LoRA, and packing that changes which conversations share a step.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import peak_rss_gb, versions
from trl_watch import gaps, watch

MAX_TOKENS = 2048
LENGTHS = (100, 500)
"""Shortest and longest conversation, in tokens under the model's own chat template."""
LENGTH_MEDIAN, LENGTH_SPREAD = 280, 0.45
"""The lengths allowed are log-normal, as those of real conversations are: many short, few long."""


@dataclass(frozen=True)
class Contestant:
    """Who runs, and what is set besides data, batch size, steps, learning rate, longest conversation and not saving."""

    what: str
    settings: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


NO_CHECKPOINTING = {"gradient_checkpointing": False}
BF16 = NO_CHECKPOINTING | {"bf16": False, "model_init_kwargs": {"dtype": "bfloat16"}}
KEEP_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "2147483647", "MALLOC_TOP_PAD_": "67108864"}
CONTESTANTS = {
    "ours": Contestant("Tutelage, its defaults: bf16 compute, fp32 master weights"),
    "trl-default": Contestant("TRL, its defaults: fp32 weights, bf16 autocast, gradient checkpointing"),
    "trl-autocast": Contestant("TRL: fp32 weights, bf16 autocast, no checkpointing", NO_CHECKPOINTING),
    "trl-bf16": Contestant("TRL: bf16 weights, no checkpointing", BF16),
    "trl-bf16-autocast": Contestant("TRL: bf16 weights and autocast, no checkpointing", BF16 | {"bf16": True}),
    "trl-bf16-malloc": Contestant("TRL: bf16 weights, no checkpointing, glibc keeps memory", BF16, KEEP_MEMORY),
    "trl-bf16-flat": Contestant(
        "TRL: bf16 weights, no checkpointing, padding-free", BF16 | {"padding_free": True, "max_length": None}
    ),
    "naive": Contestant("a plain transformers loop: bf16 weights, padded batch, full logits, torch AdamW"),
}


# The data ------------------------------------------------------------------------------------------------------------
def build_chats(pairs: Sequence[Any], num_tokens: Callable[[list[Any]], int], num: int, seed: int) -> list[list[Any]]:
    """Conversations of 100 to 500 tokens: shuffled pairs, joined as further turns up to a drawn length."""
    draw = random.Random(seed)
    waiting = [list(pair.messages) for pair in pairs if pair.messages[0].role == "user"]
    draw.shuffle(waiting)
    shortest, longest = LENGTHS
    chats: list[list[Any]] = []
    while len(chats) < num and waiting:
        drawn = min(max(draw.lognormvariate(0, LENGTH_SPREAD) * LENGTH_MEDIAN, shortest), longest)
        chat = waiting.pop()
        while waiting and num_tokens(chat + waiting[-1]) <= (longest if num_tokens(chat) < shortest else drawn):
            chat = chat + waiting.pop()
        if shortest <= num_tokens(chat) <= longest:
            chats.append(chat)
    if len(chats) < num:
        sys.exit(f"the data gives {len(chats)} conversations of the {num} needed; give more --data or fewer --steps")
    return chats


def prepare(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Write the conversations, and the batch of every step as Tutelage will draw it; returns a description."""
    from transformers import AutoTokenizer

    from tutelage.data.load import load_conversations
    from tutelage.data.render import render_conversation
    from tutelage.methods.sft import SFT
    from tutelage.models.starter import ensure_starter
    from tutelage.models.template import end_of_turn_id, ensure_chat_template, ensure_pad_token
    from tutelage.train.config import build_config
    from tutelage.train.dataset import Limit, StepPlan, make_dataset
    from tutelage.types import Conversation

    model_folder = ensure_starter(settings["model"])
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    ensure_chat_template(tokenizer)
    ensure_pad_token(tokenizer)
    end = end_of_turn_id(tokenizer)

    def num_tokens(chat: list[Any]) -> int:
        return sum(len(part.ids) for part in render_conversation(tokenizer, Conversation(tuple(chat)), end))

    num = settings["steps"] * settings["batch_size"]
    chats = build_chats(load_conversations(settings["data"]), num_tokens, num, settings["seed"])
    lines = [{"messages": [{"role": turn.role, "content": turn.content} for turn in chat]} for chat in chats]
    data = folder / "conversations.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines))

    config = build_config(our_options(settings, folder, "0"))
    dataset = make_dataset(config, SFT(), tokenizer, Limit(MAX_TOKENS, ""), load_conversations(data))
    plan = StepPlan(len(dataset.train), config)
    steps = range(1, settings["steps"] + 1)
    items = [[dataset.train[index] for index in plan.records(step)] for step in steps]
    batches = [[path for item in batch for tree in item for path in tree.paths()] for batch in items]
    plain = [[{"ids": path.ids, "trained": path.mask} for path in batch] for batch in batches]
    job = {"model_folder": str(model_folder), "pad_token_id": tokenizer.pad_token_id, "batches": plain}
    (folder / "job.json").write_text(json.dumps(job))
    return describe(batches, chats) | {"model_folder": str(model_folder)}


def describe(batches: Sequence[Sequence[Any]], chats: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """The mix: how many conversations, of how many answers, how long, and how much of it is trained on."""
    lengths = sorted(len(path) for batch in batches for path in batch)
    answers = [sum(turn.role == "assistant" for turn in chat) for chat in chats]
    return {
        "num_conversations": len(lengths),
        "tokens_min_median_max": [lengths[0], statistics.median(lengths), lengths[-1]],
        "tokens_deciles": statistics.quantiles(lengths, n=10),
        "conversations_by_num_answers": {str(num): answers.count(num) for num in sorted(set(answers))},
        "num_tokens_by_step": [sum(len(path) for path in batch) for batch in batches],
        "num_trained_tokens_by_step": [sum(sum(path.mask) for path in batch) for batch in batches],
    }


# The contestants -----------------------------------------------------------------------------------------------------
def our_options(settings: dict[str, Any], folder: Path, round_name: str) -> dict[str, Any]:
    """Tutelage's defaults but for what every contestant shares."""
    shared = {key: settings[key] for key in ("model", "batch_size", "learning_rate", "seed")}
    constant = {"epochs": 1, "schedule": "constant", "warmup_frac": 0.0}
    saving_nothing = {"save_every": 0, "num_samples": 0}
    places = {"data": str(folder / "conversations.jsonl"), "out": "ours", "workspace": str(folder / round_name)}
    return shared | constant | saving_nothing | places


def run_ours(settings: dict[str, Any], folder: Path, round_name: str) -> dict[str, Any]:
    """Train as a user would from Python; the times are those of the run's own metrics."""
    from tutelage.train.api import train_from_python

    metrics = train_from_python("sft", quiet=True, **our_options(settings, folder, round_name)).metrics
    return {
        "step_seconds": gaps([0.0, *(line["seconds"] for line in metrics)]),
        "losses": [line["loss"] for line in metrics],
        "num_trained_tokens": [line["num_trained_tokens_step"] for line in metrics],
        "versions": versions("tutelage", "torch", "transformers"),
    }


def run_trl(settings: dict[str, Any], folder: Path, own: dict[str, Any]) -> dict[str, Any]:
    """Train with SFTTrainer on the same ids and labels, in the same order; `own` are the contestant's settings."""
    from datasets import Dataset
    from transformers import AutoTokenizer, PrinterCallback
    from trl import SFTConfig, SFTTrainer

    job = json.loads((folder / "job.json").read_text())
    shared = {
        "output_dir": str(folder / "trl"), "per_device_train_batch_size": settings["batch_size"],
        "max_steps": settings["steps"], "learning_rate": settings["learning_rate"], "max_length": MAX_TOKENS,
        "lr_scheduler_type": "constant", "train_sampling_strategy": "sequential", "use_cpu": True,
        "save_strategy": "no", "logging_steps": 1, "report_to": "none", "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }  # fmt: skip
    chats = [chat for batch in job["batches"] for chat in batch]
    columns = {"input_ids": [chat["ids"] for chat in chats], "labels": [labels_of(chat) for chat in chats]}
    trainer = SFTTrainer(
        job["model_folder"],
        args=SFTConfig(**shared | own),
        train_dataset=Dataset.from_dict(columns),
        processing_class=AutoTokenizer.from_pretrained(job["model_folder"]),
    )
    trainer.remove_callback(PrinterCallback)
    times, losses, num_trained = watch(trainer, lambda batch: int((batch["labels"][:, 1:] != -100).sum()))
    trainer.train()
    return {
        "step_seconds": gaps(times),
        "losses": losses,
        "num_trained_tokens": num_trained[: settings["steps"]],
        "versions": versions("trl", "torch", "transformers", "accelerate"),
    }


def run_naive(settings: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The loop most people would write first."""
    import torch
    from torch.nn.utils.rnn import pad_sequence
    from transformers import AutoModelForCausalLM

    def padded(rows: Iterator[list[int]], value: int) -> torch.Tensor:
        return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)

    job = json.loads((folder / "job.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(job["model_folder"], dtype=torch.bfloat16).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings["learning_rate"], weight_decay=0.0)
    times, losses, num_trained = [time.perf_counter()], [], []
    for batch in job["batches"]:
        input_ids = padded((chat["ids"] for chat in batch), job["pad_token_id"])
        attention_mask = padded(([1] * len(chat["ids"]) for chat in batch), 0)
        labels = padded((labels_of(chat) for chat in batch), -100)
        loss = model(input_ids=input_ids, attention_mask=attention_mask, labels=labels, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        num_trained.append(int((labels[:, 1:] != -100).sum()))
        times.append(time.perf_counter())
    return {
        "step_seconds": gaps(times),
        "losses": losses,
        "num_trained_tokens": num_trained,
        "versions": versions("torch", "transformers"),
    }


def labels_of(chat: dict[str, Any]) -> list[int]:
    """Ids where trained on, -100 elsewhere."""
    return [token if trained else -100 for token, trained in zip(chat["ids"], chat["trained"], strict=True)]


def run_contestant(part: str, settings: dict[str, Any], folder: Path, round_name: str) -> dict[str, Any]:
    """The contestant's report, with the peak memory of this process."""
    if part == "ours":
        report = run_ours(settings, folder, round_name)
    elif part == "naive":
        report = run_naive(settings, folder)
    else:
        report = run_trl(settings, folder, CONTESTANTS[part].settings)
    import torch

    return report | {"peak_rss_gb": peak_rss_gb(), "threads": torch.get_num_threads()}


def main() -> None:
    part, folder, round_name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    settings = json.loads((folder / "settings.json").read_text())
    report = prepare(settings, folder) if part == "prepare" else run_contestant(part, settings, folder, round_name)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
