"""`tutelage.train` as a user calls it: the run it returns, adapters, what it refuses, and what it leaves behind."""

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny import VOCAB_SIZE, tiny_folder, tiny_tokenizer
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

import tutelage
from tutelage.errors import ConfigError, DataError, ModelError, TrainingError, TutelageError
from tutelage.methods import registry
from tutelage.models.load import load_model
from tutelage.models.template import end_of_turn_id, ensure_chat_template
from tutelage.train import api, prepare
from tutelage.train.config import build_config
from tutelage.train.dropout import disable_dropout, dropout_line
from tutelage.train.loop import Loop
from tutelage.train.space import MARGIN_BYTES

pytestmark = pytest.mark.slow  # whole runs

PAIRS = [{"prompt": f"What is {number}?", "completion": f"It is {number} and dry."} for number in range(8)]
FAST: dict[str, Any] = {"batch_size": 4, "epochs": 1, "num_samples": 0, "precision": "fp32"}


def train(folder: Path, model: Path | str, out: str = "mine", **options: Any) -> tuple[api.Run, list[str]]:
    """A run on eight pairs in memory, with what was said."""
    said: list[str] = []
    values = FAST | {"model": str(model), "data": "in memory", "out": out, "workspace": folder / "workspace"} | options
    run = api.train("sft", build_config(values), source=PAIRS, say=said.append)
    return run, said


def plain(path: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


# As in a notebook


def test_a_list_of_dicts_becomes_a_model(tmp_path: Path, tiny_llama: Path) -> None:
    workspace = tmp_path / "workspace"
    run = tutelage.train("sft", model=tiny_llama, data=PAIRS, workspace=workspace, **FAST)
    assert isinstance(run, tutelage.Run)
    # Named after the model and the method.
    assert run == tutelage.Run(
        "tiny-llama-sft", workspace / "runs" / "tiny-llama-sft", workspace / "models" / "tiny-llama-sft", finished=True
    )
    assert [line["step"] for line in run.metrics] == [1, 2]
    assert run.final_loss == run.metrics[1]["loss"]
    assert run.config["data"] == "in memory"
    assert (run.config["method"], run.config["batch_size"], run.config["lora.rank"]) == ("sft", 4, 0)
    assert run.config["learning_rate"] == 2e-5  # the method's own
    origin = json.loads((run.model_path / "tutelage_origin.json").read_text())
    assert origin == {
        "kind": "trained", "run": "tiny-llama-sft", "method": "sft", "base": str(tiny_llama), "data": "in memory",
        "steps": 2, "tokens": run.metrics[-1]["num_tokens"], "data_sha256": run.config["data_sha256"],
        "inputs": [{"role": "base", "name": str(tiny_llama)}, {"role": "data", "name": "in memory"}],
        "options": {"batch_size": 4, "epochs": 1, "precision": "fp32"},
    }  # fmt: skip
    answer = load_model("tiny-llama-sft", workspace=workspace).model(torch.tensor([[1, 2]])).logits
    assert answer.shape == (1, 2, 296)


def test_twice_in_one_notebook(tmp_path: Path, tiny_llama: Path) -> None:
    options: dict[str, Any] = {"model": str(tiny_llama), "workspace": str(tmp_path / "workspace"), **FAST}
    first = tutelage.train("sft", data=PAIRS, out="first", **options)
    file = tmp_path / "pairs.jsonl"
    file.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    second = tutelage.train("sft", data=file, out="second", **options)
    third = tutelage.train("sft", data=iter(PAIRS), out="third", **options)
    first_weights = (first.model_path / "model.safetensors").read_bytes()
    for other in (second, third):
        assert (other.model_path / "model.safetensors").read_bytes() == first_weights
    assert second.config["data"] == str(file)


FIRST_CALL = """
import sys
import time
import tutelage
assert not {"torch", "transformers"} & set(sys.modules)
pairs = [{"prompt": f"What is {number}?", "completion": "Dry."} for number in range(4)]
for out in ("first", "second"):
    options = {"data": pairs, "out": out, "workspace": sys.argv[2], "num_samples": 1}
    run = tutelage.train("sft", model=sys.argv[1], quiet=True, **options)
assert run.finished
import tutelage.train.loop
assert callable(tutelage.train) and tutelage.train.loop.Loop and tutelage.Run is type(run)
"""


def test_quiet_prints_nothing_and_the_first_call_is_like_the_second(tmp_path: Path, tiny_llama: Path) -> None:
    command = [sys.executable, "-c", FIRST_CALL, str(tiny_llama), str(tmp_path / "workspace")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_a_loud_run_prints(tmp_path: Path, tiny_llama: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    run = tutelage.train("sft", model=tiny_llama, data=PAIRS, out="mine", workspace=tmp_path / "workspace", **FAST)
    printed = capfd.readouterr()
    assert printed.out == ""
    lines = [line.partition("  ")[0] for line in printed.err.splitlines()]
    assert lines == [
        f"{tiny_llama} has no chat template; it gets ours", "step 1/2", "step 2/2", f"saved {run.model_path}"
    ]  # fmt: skip


def test_going_on_from_python(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = tmp_path / "workspace"
    options: dict[str, Any] = FAST | {"epochs": 3, "workspace": workspace, "quiet": True}
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "run", lambda _: False)
        run = tutelage.train("sft", model=tiny_llama, data=PAIRS, out="mine", **options)
    assert not run.finished
    with pytest.raises(ConfigError) as caught:
        tutelage.train("sft", out="mine", resume=True, workspace=workspace)
    assert str(caught.value) == "train(\"sft\"): the data of run 'mine' stood in no file; give the same data again"
    run = tutelage.train("sft", out="mine", data=PAIRS, resume=True, workspace=workspace, quiet=True)
    assert run.finished
    assert len(run.metrics) == 6  # three epochs of two steps, as it was begun


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epoch": 2}, "train(\"sft\"): unknown key 'epoch'; did you mean 'epochs'?"),
        ({"lora": {"range": 2}}, "train(\"sft\"): unknown key 'lora.range'; did you mean 'lora.rank'?"),
        ({"epochs": "two"}, "train(\"sft\"): 'epochs' is 'two'; it must be a whole number"),
        ({"model": None}, "train(\"sft\"): 'model' is missing; give --model"),
        ({"data": None}, "--data is missing; give a data file, or `starter`"),
    ],
)
def test_mistakes_in_a_call(options: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"model": "m", "data": "d", "out": "o"}
    with pytest.raises(ConfigError) as caught:
        tutelage.train("sft", **(values | options))
    assert str(caught.value) == message


# What it is for

LESSONS = [
    {"prompt": "Is it cold?", "completion": "Yes."},
    {"prompt": "What is the weather like in the north?", "completion": "It is cold and dry, and then it rains."},
    {"prompt": "Name three things.", "completion": "Bread, butter and tea."},
    {"prompt": "Thank you for the letter.", "completion": "You are welcome, and the answer is short."},
]


def stop_rate(folder: Path, prompts: Sequence[str]) -> tuple[list[str], float]:
    """Greedy answers of the saved model by plain transformers, and the share that ended by themselves."""
    model, tokenizer = plain(folder), AutoTokenizer.from_pretrained(folder)
    ensure_chat_template(tokenizer)
    end, answers, stopped = end_of_turn_id(tokenizer), [], 0
    for prompt in prompts:
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        output = model.generate(ids, max_new_tokens=60, do_sample=False, eos_token_id=end, pad_token_id=end)[0]
        new = output[ids.shape[1] :].tolist()
        stopped += new[-1] == end
        answers.append(tokenizer.decode([token for token in new if token != end]))
    return answers, stopped / len(prompts)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gemma3_text"])
def test_fifty_steps_learn_four_answers_word_for_word_and_when_to_stop(tmp_path: Path, family: str) -> None:
    folder = tiny_folder(tmp_path, family, seed=3)
    prompts, answers = [pair["prompt"] for pair in LESSONS], [pair["completion"] for pair in LESSONS]
    assert stop_rate(folder, prompts)[1] == 0.0
    options: dict[str, Any] = {"batch_size": 4, "epochs": 50, "learning_rate": 1e-2, "num_samples": 0}
    run = tutelage.train("sft", model=folder, data=LESSONS, workspace=tmp_path / "workspace", quiet=True, **options)
    assert len(run.metrics) == 50
    assert run.metrics[0]["loss"] > 4.0
    assert run.final_loss < 0.1
    assert stop_rate(run.model_path, prompts) == (answers, 1.0)


# Adapters


def test_lora_leaves_the_base_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loops: list[Loop] = []
    run_loop = Loop.run
    monkeypatch.setattr(Loop, "run", lambda self: (loops.append(self), run_loop(self))[1])
    base = tiny_folder(tmp_path, "qwen2")
    before = digests(base)
    run, _ = train(tmp_path, base, lora={"rank": 4}, learning_rate=1e-2)
    assert digests(base) == before
    original = plain(base).state_dict()
    inside = loops[0].engine.model.get_base_model().state_dict()
    for name, tensor in inside.items():
        if "lora_" not in name:
            assert torch.equal(tensor, original[name.replace(".base_layer", "")]), name
    saved = load_file(run.model_path / "adapter_model.safetensors")
    assert all("lora_" in name for name in saved)
    assert any(tensor.abs().max() > 1e-3 for name, tensor in saved.items() if "lora_B" in name)
    assert not (run.model_path / "model.safetensors").exists()
    config = json.loads((run.model_path / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (4, 8, str(base))


def test_the_learning_rate_of_adapters_is_ten_times_as_high(tmp_path: Path, tiny_llama: Path) -> None:
    adapter, _ = train(tmp_path, tiny_llama, lora={"rank": 2})
    assert adapter.config["learning_rate"] == pytest.approx(2e-4)
    further, _ = train(tmp_path, adapter.model_path, "further")
    assert further.config["learning_rate"] == pytest.approx(2e-4)
    own, _ = train(tmp_path, tiny_llama, "own", lora={"rank": 2}, learning_rate=1e-5)
    assert own.config["learning_rate"] == 1e-5


def test_merged_and_unmerged_give_the_same_logits(tmp_path: Path) -> None:
    base = tiny_folder(tmp_path, "gemma3_text")
    options: dict[str, Any] = {"lora": {"rank": 4, "dropout": 0.2}, "learning_rate": 1e-2}
    adapter, _ = train(tmp_path, base, "adapter", **options)
    merged, _ = train(tmp_path, base, "merged", merge_lora=True, **options)
    ids = torch.tensor([tiny_tokenizer("gemma3_text").encode("What is the weather like in the north?")])
    with torch.no_grad():
        with_adapter = PeftModel.from_pretrained(plain(base), adapter.model_path).eval()(ids).logits
        whole = plain(merged.model_path)(ids).logits
        untrained = plain(base)(ids).logits
    torch.testing.assert_close(whole, with_adapter, rtol=1e-4, atol=1e-4)
    assert (whole - untrained).abs().max() > 0.1


def test_an_adapter_is_trained_further(tmp_path: Path, tiny_llama: Path) -> None:
    options: dict[str, Any] = {"learning_rate": 1e-2, "epochs": 4}
    first, _ = train(tmp_path, tiny_llama, "first", lora={"rank": 4, "dropout": 0.1}, **options)
    kept = digests(first.model_path)
    second, _ = train(tmp_path, "first", "second", **options)
    assert digests(first.model_path) == kept
    # It goes on where the first ended, far below where that began.
    assert second.metrics[0]["loss"] < first.metrics[0]["loss"] - 1
    assert second.final_loss < first.final_loss
    old = load_file(first.model_path / "adapter_model.safetensors")
    new = load_file(second.model_path / "adapter_model.safetensors")
    assert {name: tensor.shape for name, tensor in old.items()} == {name: tensor.shape for name, tensor in new.items()}
    config = json.loads((second.model_path / "adapter_config.json").read_text())
    assert config["lora_dropout"] == 0.1
    assert config["base_model_name_or_path"] == str(tiny_llama)
    merged, _ = train(tmp_path, "second", "merged", merge_lora=True)
    assert (merged.model_path / "model.safetensors").exists()


def test_two_adapters_on_one_model(tmp_path: Path, tiny_llama: Path) -> None:
    train(tmp_path, tiny_llama, "first", lora={"rank": 2})
    with pytest.raises(ConfigError) as caught:
        train(tmp_path, "first", "second", lora={"rank": 2})
    already = "the model has an adapter already"
    assert str(caught.value) == f"{already}; merge it first, or go on training it with lora.rank 0"


# Dropout


def gpt2_folder(folder: Path) -> Path:
    """A tiny GPT-2, whose config asks for dropout in three places unless told otherwise."""
    path = folder / "tiny-gpt2"
    tokenizer = tiny_tokenizer("llama")
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "n_positions": 128, "n_embd": 32, "n_layer": 2, "n_head": 2}
    GPT2LMHeadModel(GPT2Config(**sizes, **ends)).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def without_dropout(path: Path, *names: str) -> Path:
    """A copy of a model folder whose config has no dropout."""
    copy = path.with_name(f"{path.name}-dry")
    copy.mkdir()
    for file in path.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | dict.fromkeys(names, 0.0)))
    return copy


@pytest.mark.parametrize("lora", [0, 2])
def test_a_models_own_dropout_is_turned_off(tmp_path: Path, lora: int) -> None:
    gpt2 = gpt2_folder(tmp_path), ("attn_pdrop", "embd_pdrop", "resid_pdrop"), 0.1
    llama = tiny_folder(tmp_path, "llama", attention_dropout=0.5), ("attention_dropout",), 0.5
    for number, (folder, names, rate) in enumerate((gpt2, llama)):
        wet, said = train(tmp_path, folder, f"wet-{number}", lora={"rank": lora}, learning_rate=1e-2)
        (line,) = [line for line in said if line.startswith("the model's own dropout")]
        rates = {f"{name} {rate}" for name in names}
        inside = line.removeprefix("the model's own dropout is turned off for training (").removesuffix(")")
        assert set(inside.split(", ")) == rates
        dry, said = train(
            tmp_path, without_dropout(folder, *names), f"dry-{number}", lora={"rank": lora}, learning_rate=1e-2
        )
        assert not [line for line in said if line.startswith("the model's own dropout")]
        assert [line["loss"] for line in wet.metrics] == [line["loss"] for line in dry.metrics]
        if not lora:
            config = json.loads((wet.model_path / "config.json").read_text())
            assert {config[name] for name in names} == {0.0}


def test_the_line_about_dropout() -> None:
    assert dropout_line({"attn_pdrop": 0.1, "resid_pdrop": 0.25}) == (
        "the model's own dropout is turned off for training (attn_pdrop 0.1, resid_pdrop 0.25)"
    )


def test_modules_without_a_config_entry_are_found_and_adapters_are_left_alone(tmp_path: Path, tiny_llama: Path) -> None:
    adapter, _ = train(tmp_path, tiny_llama, lora={"rank": 2, "dropout": 0.3})
    model = load_model(str(adapter.model_path)).model
    assert disable_dropout(model) == {}
    rates = {module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    assert rates == {0.3}
    model.get_base_model().model.extra = nn.Dropout(0.4)
    assert disable_dropout(model) == {"extra": 0.4}
    assert disable_dropout(model) == {}


def test_loras_dropout_stays(tmp_path: Path, tiny_llama: Path) -> None:
    losses = {}
    for dropout in (0.0, 0.5):
        run, said = train(
            tmp_path, tiny_llama, f"d{dropout}", lora={"rank": 4, "dropout": dropout}, learning_rate=1e-2, epochs=2
        )
        assert not [line for line in said if line.startswith("the model's own dropout")]
        losses[dropout] = [line["loss"] for line in run.metrics]
    assert losses[0.0][0] == losses[0.5][0]  # B is 0 at the start, so nothing is dropped from
    assert losses[0.0][-1] != losses[0.5][-1]


# Refused, and nothing left behind


def listing(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with a model that somebody made."""
    path = tmp_path / "workspace"
    tiny_folder(path / "models", "llama", name="taken")
    return path


Change = Callable[[Path], Mapping[str, Any]]


def model_without(name: str) -> Change:
    def change(folder: Path) -> Mapping[str, Any]:
        model = tiny_folder(folder, "llama", name="damaged")
        for path in model.glob(name):
            path.unlink()
        return {"model": str(model)}

    return change


def pickled(folder: Path) -> Mapping[str, Any]:
    model = tiny_folder(folder, "llama", name="pickled")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    return {"model": str(model)}


def data_with(text: str) -> Change:
    def change(folder: Path) -> Mapping[str, Any]:
        (folder / "bad.jsonl").write_text(text)
        return {"data": str(folder / "bad.jsonl")}

    return change


GOOD = json.dumps(PAIRS[0]) + "\n"
MISTAKES: dict[str, tuple[Change, type[TutelageError], str]] = {
    "name taken": (lambda _: {"out": "taken"}, ModelError, "already exists; choose another --out name or remove it"),
    "name of a starter": (
        lambda _: {"out": "starter-base"}, ModelError,
        "'starter-base' is the name of a starter model; choose another --out name",
    ),
    "name that leads elsewhere": (lambda _: {"out": "../mine"}, ModelError, "'../mine' cannot name a model"),
    "unknown model": (lambda _: {"model": "no/such/folder"}, ModelError, "no/such/folder"),
    "no tokenizer": (model_without("tokenizer*"), ModelError, "tokenizer"),
    "no weights": (model_without("*.safetensors"), ModelError, "safetensors"),
    "no config": (model_without("config.json"), ModelError, "config.json"),
    "pickle only": (pickled, ModelError, "pickle"),
    "no data file": (lambda _: {"data": "nowhere.jsonl"}, DataError, "nowhere.jsonl"),
    "empty data": (data_with(""), DataError, "the file is empty"),
    "ends with the user": (
        data_with('{"messages": [{"role": "user", "content": "Hello?"}]}\n'), DataError, "bad.jsonl:1"
    ),
    "long record": (
        data_with(GOOD + json.dumps({"prompt": "a", "completion": "and " * 600})), DataError, "bad.jsonl:2: has ",
    ),
    "nothing left": (lambda _: {"max_tokens": 2, "too_long": "drop"}, DataError, "nothing is left to train on"),
    "bad validation data": (lambda _: {"val_data": "nowhere.jsonl"}, DataError, "nowhere.jsonl"),
    "unknown layers": (
        lambda _: {"lora.rank": 2, "lora.target_modules": "q_prj"}, ConfigError,
        "lora.target_modules 'q_prj' names no linear layer",
    ),
    "nothing to merge": (
        lambda _: {"merge_lora": True}, ConfigError, "has no adapter to merge; give --lora.rank 16, or leave it out"
    ),
    "unknown tracker": (
        lambda _: {"tracker": "tensorbord"}, ConfigError, "unknown tracker 'tensorbord'; did you mean 'tensorboard'?"
    ),
    "unknown method": (lambda _: {"method": "stf"}, ConfigError, "unknown method 'stf'; did you mean 'sft'?"),
    "nothing to resume": (lambda _: {"resume": True}, ConfigError, "holds no run to resume"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path, workspace: Path, tiny_llama: Path, name: str
) -> None:
    change, kind, part = MISTAKES[name]
    data = tmp_path / "pairs.jsonl"
    data.write_text("".join(json.dumps(pair) + "\n" for pair in PAIRS))
    values = (
        FAST | {"model": str(tiny_llama), "data": str(data), "out": "mine", "workspace": workspace} | change(tmp_path)
    )
    method = str(values.pop("method", "sft"))
    before = listing(workspace)
    with pytest.raises(kind) as caught:
        api.train(method, build_config(FAST | values), quiet=True)
    message = str(caught.value)
    assert part in message
    assert "\n" not in message
    assert listing(workspace) == before


def test_a_run_of_that_name_is_there_already(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(_: Loop) -> bool:
        raise MemoryError

    monkeypatch.setattr(Loop, "run", crash)
    with pytest.raises(MemoryError):
        train(tmp_path, tiny_llama)
    monkeypatch.setattr(prepare, "load_for_training", None)  # said at once, before the model is loaded
    with pytest.raises(ConfigError) as caught:
        train(tmp_path, tiny_llama)
    path = tmp_path / "workspace" / "runs" / "mine"
    assert str(caught.value) == f"{path} already holds a run; go on with it by --resume, or choose another --out"


def test_bad_data_is_found_before_a_model_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "load_for_training", None)
    config = build_config({"model": "m", "data": "nowhere.jsonl", "out": "o", "workspace": tmp_path})
    with pytest.raises(DataError, match="nowhere"):
        api.train("sft", config)


def megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.0f} MB"


def free_disk(monkeypatch: pytest.MonkeyPatch, free_bytes: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free_bytes))


def bytes_of(model: Path) -> tuple[int, int]:
    """What is saved of a model in fp32, with its tokenizer and the margin, and what one checkpoint of it takes."""
    parameters = list(plain(model).parameters())
    num_weights = sum(parameter.numel() for parameter in parameters)
    saved = 4 * num_weights + 150 * VOCAB_SIZE + 1_000_000 + MARGIN_BYTES
    return saved, 12 * num_weights + 4 * len(parameters)  # each tensor has a step of its own


@pytest.mark.parametrize("num_checkpoints", [0, 1, 3])
def test_a_full_disk_is_found_out_before_the_first_step(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch, num_checkpoints: int
) -> None:
    # Four steps: no checkpoint, one at the end alone, or one after each, of which two are kept and a third is written.
    options = {"epochs": 2, "save_every": {0: 0, 1: 200, 3: 1}[num_checkpoints], "keep_last": 2}
    saved, checkpoint = bytes_of(tiny_llama)
    needed = saved + num_checkpoints * checkpoint
    free_disk(monkeypatch, needed - 1)
    with pytest.raises(TrainingError) as caught:
        train(tmp_path, tiny_llama, **options)
    fewer = "write fewer checkpoints (--keep-last 1 or --save-every 0), or " if num_checkpoints else ""
    assert str(caught.value) == (
        f"the run needs about {megabytes(needed)} on the disk of {tmp_path / 'workspace'} and {megabytes(needed - 1)} "
        f"are free; free some space, or {fewer}choose another --workspace"
    )
    assert caught.value.exit_code == 2
    assert not (tmp_path / "workspace").exists()
    free_disk(monkeypatch, needed)
    assert train(tmp_path, tiny_llama, **options)[0].finished


def test_adapters_need_little_room_and_merged_ones_a_whole_model(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, _ = bytes_of(tiny_llama)
    options: dict[str, Any] = {"lora.rank": 1, "save_every": 0}
    free_disk(monkeypatch, saved - 1)
    assert train(tmp_path, tiny_llama, "adapter", **options)[0].finished
    with pytest.raises(TrainingError, match=r"^the run needs about "):
        train(tmp_path, tiny_llama, "merged", merge_lora=True, **options)
    free_disk(monkeypatch, saved)
    assert train(tmp_path, tiny_llama, "merged", merge_lora=True, **options)[0].finished


def test_a_resumed_run_needs_room_only_for_what_is_still_to_be_written(
    tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"epochs": 4, "save_every": 1, "keep_last": 2}  # eight steps
    step = Loop.train_step
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "train_step", lambda self, number: step(self, number) if number < 5 else 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(tmp_path, tiny_llama, **options)
    saved, checkpoint = bytes_of(tiny_llama)
    before = listing(tmp_path / "workspace")
    assert "runs/mine/checkpoints/step-00000004" in before
    needed = saved + checkpoint  # two are there, and each is removed when a newer one is whole
    free_disk(monkeypatch, needed - 1)
    with pytest.raises(TrainingError) as caught:
        train(tmp_path, tiny_llama, resume=True, **options)
    assert str(caught.value) == (
        f"the run needs about {megabytes(needed)} on the disk of {tmp_path / 'workspace'} and {megabytes(needed - 1)} "
        "are free; free some space, or write fewer checkpoints (--keep-last 1 or --save-every 0)"
    )
    assert listing(tmp_path / "workspace") == before
    with monkeypatch.context() as patch:
        free_disk(monkeypatch, needed)
        patch.setattr(api, "_save", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train(tmp_path, tiny_llama, resume=True, **options)
    free_disk(monkeypatch, saved - 1)  # only the model is missing
    with pytest.raises(TrainingError, match=r" are free; free some space$"):
        train(tmp_path, tiny_llama, resume=True, **options)
    free_disk(monkeypatch, saved)
    assert train(tmp_path, tiny_llama, resume=True, **options)[0].finished


def test_a_method_of_ones_own(tmp_path: Path, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))  # it is gone again after this test
    file = tmp_path / "halved.py"
    file.write_text(
        "from tutelage.methods.registry import Loss, method\n"
        "from tutelage.methods.sft import SFT\n\n"
        '@method("halved")\n'
        "class Halved(SFT):\n"
        "    learning_rate = 3e-5\n\n"
        "    def loss(self, batch):\n"
        "        loss = super().loss(batch)\n"
        '        return Loss(loss.total / 2, loss.weight, {"sequences": (float(len(batch.tree_index)), 1.0)})\n'
    )
    values = FAST | {"model": str(tiny_llama), "data": "in memory", "workspace": tmp_path / "workspace"}
    whole = api.train("sft", build_config(values | {"out": "whole"}), source=PAIRS, quiet=True)
    half = api.train(str(file), build_config(values | {"out": "half"}), source=PAIRS, quiet=True)
    assert half.metrics[0]["loss"] == pytest.approx(whole.metrics[0]["loss"] / 2)
    assert half.metrics[0]["sequences"] == 4.0
    assert half.config["learning_rate"] == 3e-5
    assert half.config["method"] == str(file)
