"""Preference methods and reward models from data to a saved model: references, sharing, resume, ensembles."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import tiny_folder, tiny_model
from torch.nn.functional import logsigmoid
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import tutelage
from tutelage.engine.forward import TreeEngine
from tutelage.engine.rows import pack
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import ConfigError, DataError, TrainingError, TutelageError
from tutelage.methods.describe import options_of
from tutelage.methods.registry import all_methods, find_method
from tutelage.models.load import load_model
from tutelage.models.reward import load_reward_model
from tutelage.score import score_records
from tutelage.train.observe import observe
from tutelage.train.reference import Precomputed, compute_logprobs
from tutelage.types import Comparison, Message

pytestmark = pytest.mark.slow  # whole runs

ROOT = Path(__file__).resolve().parents[2]
PAIRS = [
    {"prompt": f"What is {n}?", "chosen": f"It is {n} and dry.", "rejected": f"No {n * n} idea at all, sorry."}
    for n in range(8)
]
FAST: dict[str, Any] = {"batch_size": 4, "epochs": 1, "num_samples": 0, "precision": "fp32", "quiet": True}


def train(method: str, model: Path, out: str, **options: Any) -> tutelage.Run:
    workspace = model.parent / "workspace"
    return tutelage.train(method, model=model, out=out, workspace=workspace, **{"data": PAIRS} | FAST | options)


FIRST_LOSS = {
    "dpo": math.log(2), "cdpo": math.log(2), "robust-dpo": math.log(2), "dpop": math.log(2), "nca": 2 * math.log(2),
    "ipo": (1 / 0.2) ** 2, "sppo": 2 * 5.0**2, "hinge": 1.0, "apo-zero": 1.0, "apo-down": 1.0, "kto": 0.5,
}  # fmt: skip


@pytest.mark.parametrize("method", list(FIRST_LOSS))
def test_the_first_loss_is_known(tiny_llama: Path, method: str) -> None:
    """Where policy and reference are the same, every log ratio is 0."""
    run = train(method, tiny_llama, f"first-{method}")
    first = run.metrics[0]
    assert first["loss"] == pytest.approx(FIRST_LOSS[method], abs=1e-5)
    if method != "kto":
        assert first["margin"] == pytest.approx(0.0, abs=1e-5)
    assert run.metrics[1]["loss"] != first["loss"]


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "qwen3"])
def test_full_and_lora_begin_at_ln_2(tmp_path: Path, family: str) -> None:
    folder = tiny_folder(tmp_path, family)
    full = train("dpo", folder, "full", learning_rate=1e-3, data=PAIRS * 2)
    kept = train("dpo", folder, "kept", lora={"rank": 4}, learning_rate=1e-2, data=PAIRS * 2)
    off = train("dpo", folder, "off", lora={"rank": 4}, learning_rate=1e-2, data=PAIRS * 2, reference="adapter-off")
    for run in (full, kept, off):
        assert run.metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
        assert abs(run.metrics[-1]["margin"]) > 1e-4
    # Two ways to the same reference: they stay together after the adapter has moved.
    assert [line["loss"] for line in off.metrics] == pytest.approx([line["loss"] for line in kept.metrics], abs=1e-5)
    assert not (off.path / "reference.json").exists()


def test_the_reference_is_kept_and_does_not_move(tiny_llama: Path) -> None:
    before = load_model(str(tiny_llama), dtype="float32").model.state_dict()
    run = train("dpo", tiny_llama, "kept-reference", learning_rate=1e-2)
    facts = json.loads((run.path / "reference.json").read_text())
    assert (facts["num_trees"], facts["model"]) == (8, str(tiny_llama))
    after = load_model(str(tiny_llama), dtype="float32").model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(
        not torch.equal(before[n], t)
        for n, t in load_model(str(run.model_path), dtype="float32").model.state_dict().items()
    )


def test_another_model_as_the_reference(tmp_path: Path, tiny_llama: Path) -> None:
    other = tiny_folder(tmp_path, "llama", name="other", seed=5)
    run = train("dpo", tiny_llama, "other-reference", ref_model=str(other))
    assert run.metrics[0]["loss"] != pytest.approx(math.log(2), abs=1e-4)
    same = train("dpo", tiny_llama, "same-reference", ref_model=str(tiny_llama))
    assert same.metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_adapter_off_needs_an_adapter(tiny_llama: Path) -> None:
    with pytest.raises(ConfigError, match=r"--reference adapter-off needs fresh adapters; give --lora.rank 16"):
        train("dpo", tiny_llama, "no-adapter", reference="adapter-off")
    assert not (tiny_llama.parent / "workspace" / "runs").exists()  # a run that never began leaves its name free


# Sharing the prompt


def trees() -> list[Tree]:
    generator = torch.Generator().manual_seed(0)

    def ids(number: int) -> list[int]:
        return torch.randint(5, 290, (number,), generator=generator).tolist()

    values = {"rank": (0.0, 1.0), "strength": (1.0, 1.0)}
    return [
        Tree(Tokens.prompt(ids(3 + 5 * n)), (Tokens.completion(ids(2 + n)), Tokens.completion(ids(7 - n))), values)
        for n in range(4)
    ]


def separate_loss(model: Any, reference: Any, beta: float) -> torch.Tensor:
    """DPO by the book: each side alone through the model's own forward."""

    def total(net: Any, tree: Tree, side: int) -> torch.Tensor:
        ids = torch.tensor([tree.trunk.ids + tree.branches[side].ids])
        logprobs = net(input_ids=ids).logits[0, :-1].log_softmax(-1)
        return logprobs.gather(1, ids[0, 1:, None])[len(tree.trunk) - 1 :].sum()

    losses = []
    for tree in trees():
        with torch.no_grad():
            ref = total(reference, tree, 0) - total(reference, tree, 1)
        losses.append(-logsigmoid(beta * (total(model, tree, 0) - total(model, tree, 1) - ref)))
    return torch.stack(losses).sum()


@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gemma2", "mistral"])
def test_shared_prompts_give_the_gradients_of_separate_sequences(family: str) -> None:
    expected_model, model = tiny_model(family), tiny_model(family)
    reference = tiny_model(family, seed=1)
    expected = separate_loss(expected_model, reference, 0.3)
    expected.backward()
    packed, method = trees(), find_method("dpo")(beta=0.3)
    references = Precomputed(packed, compute_logprobs(TreeEngine(reference), packed, 1000, quiet=True))
    engine = TreeEngine(model)
    assert engine.path == "tree"
    loss = method.loss(observe(method, engine, pack(packed), references))
    loss.total.backward()
    assert float(loss.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    for (name, one), (_, other) in zip(model.named_parameters(), expected_model.named_parameters(), strict=True):
        assert one.grad is not None
        torch.testing.assert_close(
            one.grad, other.grad, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_scores_of_shared_prompts_are_those_of_separate_sequences(tmp_path: Path) -> None:
    for family in ("llama", "gemma3_text"):
        loaded = load_reward_model(str(tiny_folder(tmp_path, family)), dtype="float32")
        packed = trees()
        with torch.no_grad():
            found = TreeEngine(loaded.model).scores(pack(packed))
            plain = load_reward_model(str(tmp_path / f"tiny-{family}"), dtype="float32").model
            alone = [plain(input_ids=torch.tensor([path.ids])).logits[0, 0] for tree in packed for path in tree.paths()]
        torch.testing.assert_close(found, torch.stack(alone), rtol=1e-4, atol=1e-5)


# Reward models


def test_a_reward_model_is_read_by_transformers_and_scored(tiny_llama: Path) -> None:
    run = train("reward", tiny_llama, "rm", learning_rate=1e-3, val_frac=0.25, epochs=3)
    plain = AutoModelForSequenceClassification.from_pretrained(run.model_path, dtype=torch.float32).eval()
    assert plain.config.num_labels == 1
    report = json.loads((run.path / "held_out.json").read_text())
    assert 0 <= report["accuracy"]["estimate"] <= 1
    lines = (run.path / "held_out.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert {"val_loss", "val_accuracy", "accuracy", "margin"} <= run.metrics[-1].keys()
    record = Comparison(
        (Message("user", "What is 3?"),),
        ((Message("assistant", "It is 3 and dry."),), (Message("assistant", "No 9 idea at all, sorry."),)),
        (0, 1),
    )
    workspace = tiny_llama.parent / "workspace"
    (scored,) = score_records("rm", [record], workspace=workspace, quiet=True)
    ids = [torch.tensor([path.ids]) for path in scored.tree.paths()]
    with torch.no_grad():
        expected = [float(plain(input_ids=row).logits[0, 0]) for row in ids]
    assert scored.scores == pytest.approx(expected, abs=2e-2)  # scored in bf16
    # As docs/preference.md says to do it with transformers alone.
    tokenizer = AutoTokenizer.from_pretrained(run.model_path)
    messages = [{"role": "user", "content": "What is 3?"}, {"role": "assistant", "content": "It is 3 and dry."}]
    text = tokenizer.apply_chat_template(messages, tokenize=False).rstrip()
    with torch.no_grad():
        by_hand = plain(**tokenizer(text, return_tensors="pt", add_special_tokens=False)).logits[0, 0]
    assert float(by_hand) == pytest.approx(expected[0], abs=1e-5)


def test_an_ensemble_is_its_members(tiny_llama: Path) -> None:
    run = train("reward", tiny_llama, "team", ensemble=2, val_frac=0.25)
    workspace = tiny_llama.parent / "workspace"
    assert json.loads((run.model_path / "ensemble.json").read_text()) == {"members": ["team-seed0", "team-seed1"]}
    splits = [
        [json.loads(line)["key"] for line in (workspace / "runs" / f"team-seed{n}" / "held_out.jsonl").open()]
        for n in (0, 1)
    ]
    assert splits[0] == splits[1]  # what is held out is the same for all
    record = Comparison(
        (Message("user", "Q?"),), ((Message("assistant", "A."),), (Message("assistant", "B."),)), (0, 1)
    )
    (scored,) = score_records("team", [record], workspace=workspace, quiet=True)
    one, two = scored.by_member
    assert one != two
    assert scored.scores == pytest.approx([(a + b) / 2 for a, b in zip(one, two, strict=True)])
    assert scored.variances == pytest.approx([(a - b) ** 2 / 4 for a, b in zip(one, two, strict=True)])
    with pytest.raises(TutelageError, match="already"):
        train("reward", tiny_llama, "team", ensemble=2)


def test_lora_on_a_reward_model(tiny_llama: Path) -> None:
    run = train("reward", tiny_llama, "rm-lora", lora={"rank": 4}, learning_rate=1e-2)
    first = score_records("rm-lora", [as_record(PAIRS[0])], workspace=tiny_llama.parent / "workspace", quiet=True)
    assert len(first[0].scores) == 2
    assert (run.model_path / "adapter_config.json").is_file()


def as_record(pair: dict[str, str]) -> Comparison:
    answers = tuple((Message("assistant", pair[side]),) for side in ("chosen", "rejected"))
    return Comparison((Message("user", pair["prompt"]),), answers, (0, 1))


# Data


def test_a_rewrite_ranks_above_both(tiny_llama: Path) -> None:
    data = [pair | {"edited": f"It is {n}, and dry."} for n, pair in enumerate(PAIRS)]
    run = train("dpo", tiny_llama, "rewrites", data=data)
    assert run.metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)


def test_bad_records_are_named_or_left_out(tiny_llama: Path) -> None:
    data = [*PAIRS, {"prompt": "Q?", "chosen": "Same.", "rejected": "Same."}]
    with pytest.raises(DataError, match="record 9"):
        train("dpo", tiny_llama, "bad", data=data)
    run = train("dpo", tiny_llama, "dropped", data=data, bad_records="drop")
    assert len(run.metrics) == 2


def test_a_step_without_weight_says_so(tiny_llama: Path) -> None:
    data = [pair | {"strength": 0} for pair in PAIRS]
    with pytest.raises(TrainingError, match="step 1: the weights of the step add up to 0, so nothing can be learned"):
        train("dpo", tiny_llama, "weightless", data=data, strength="weight")


# Resume and own files


@pytest.mark.parametrize("method", ["dpo", "kto", "reward"])
def test_a_resumed_run_ends_the_same(tmp_path: Path, method: str) -> None:
    folder = tiny_folder(tmp_path, "llama")
    options: dict[str, Any] = {"epochs": 2, "learning_rate": 1e-3, "save_every": 1, "val_frac": 0.25}
    whole = train(method, folder, "whole", **options)
    half = stopped_after_two_steps(method, folder, options)
    finished = train(method, folder, half, resume=True, **options)
    one, two = (Path(run.model_path) / "model.safetensors" for run in (whole, finished))
    assert one.read_bytes() == two.read_bytes()


def stopped_after_two_steps(method: str, folder: Path, options: dict[str, Any]) -> str:
    from tutelage.train.loop import Loop

    record = Loop._record

    def stop(self: Loop, step: int, *rest: Any) -> None:
        record(self, step, *rest)
        if step == 2:
            self.save()
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_record", stop)
        with pytest.raises(KeyboardInterrupt):
            train(method, folder, "half", **options)
    return "half"


def test_the_example_of_the_documentation(tiny_llama: Path) -> None:
    """At the start both rewards are beta · (log 2 − log 2) = 0, so the loss is ln 2; and the file is short."""
    path = ROOT / "examples" / "my_loss.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    run = train(str(path), tiny_llama, "own", beta=0.2)
    assert run.metrics[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)
    assert run.config["beta"] == 0.2
    with pytest.raises(ConfigError, match=r"unknown key 'betta'; did you mean 'beta'\?"):
        train(str(path), tiny_llama, "own2", betta=0.2)
    page = (ROOT / "docs" / "new-method.md").read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8") in page


def test_the_documentation_names_every_method_and_option() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for name, cls in all_methods().items():
        if cls.__module__.startswith("tutelage."):
            assert f"| `{name}` |" in page, name
            assert all(f"`{option.name}" in page for option in options_of(cls)), name
            assert all(option.help.endswith((".", "usual.")) for option in options_of(cls)), name
