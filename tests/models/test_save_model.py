"""Saving: an ordinary folder that plain transformers reads, written whole or not at all."""

from __future__ import annotations

import errno
import json
import os

import pytest
import torch
from peft import AutoPeftModelForCausalLM
from safetensors import safe_open
from safetensors.torch import load_file
from tiny import tiny_folder, tiny_model, tiny_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from tutelage.errors import ModelError
from tutelage.models.adapt import LoraConfig, add_lora
from tutelage.models.folder import read_origin
from tutelage.models.load import load_model
from tutelage.models.save import check_output_name, save_model, saved_bytes
from tutelage.models.template import ensure_chat_template

IDS = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]])


def chat_tokenizer(family: str):
    tokenizer = tiny_tokenizer(family)
    ensure_chat_template(tokenizer)
    return tokenizer


def trained_adapter(family: str = "llama"):
    model = add_lora(tiny_model(family), LoraConfig(rank=4))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.02)
    return model


def test_plain_transformers_reads_every_family(tmp_path, family):
    model, tokenizer = tiny_model(family), chat_tokenizer(family)
    save_model(model, tokenizer, tmp_path / "saved", origin={}, dtype="float32")
    again = AutoModelForCausalLM.from_pretrained(
        tmp_path / "saved", attn_implementation=model.config._attn_implementation
    )
    assert torch.equal(again(IDS).logits, model(IDS).logits)
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").chat_template == tokenizer.chat_template


def test_the_folder_holds_safetensors_and_no_pickle(tmp_path, monkeypatch):
    (tmp_path / "LICENSE").touch()  # of the folder that one happens to stand in, not of the model
    monkeypatch.chdir(tmp_path)
    save_model(tiny_model("qwen2"), chat_tokenizer("qwen2"), tmp_path / "saved", origin={"method": "sft"})
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "tutelage_origin.json",
    ]
    assert read_origin(tmp_path / "saved") == {"method": "sft"}


def test_weights_become_bf16_and_the_model_in_memory_stays_fp32(tmp_path):
    model = tiny_model("gemma3_text")
    save_model(model, chat_tokenizer("gemma3_text"), tmp_path / "saved", origin={})
    state = load_file(tmp_path / "saved" / "model.safetensors")
    assert {tensor.dtype for tensor in state.values()} == {torch.bfloat16}
    assert json.loads((tmp_path / "saved" / "config.json").read_text())["dtype"] == "bfloat16"
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    for name, tensor in state.items():
        assert torch.equal(tensor, model.state_dict()[name].bfloat16())


@pytest.mark.parametrize(("family", "tied"), [("gemma3_text", True), ("llama", False)])
def test_tied_embeddings_are_stored_once_and_stay_tied(tmp_path, family, tied):
    save_model(tiny_model(family), chat_tokenizer(family), tmp_path / "saved", origin={})
    with safe_open(tmp_path / "saved" / "model.safetensors", "pt") as file:
        assert ("lm_head.weight" in file.keys()) is not tied  # noqa: SIM118
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "saved")
    assert (again.lm_head.weight is again.get_input_embeddings().weight) is tied


def test_saving_twice_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        save_model(tiny_model("llama"), chat_tokenizer("llama"), tmp_path / name, origin={"method": "sft"})
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name


def test_generation_stops_at_the_end_of_a_turn(tmp_path):
    save_model(tiny_model("gemma2"), chat_tokenizer("gemma2"), tmp_path / "saved", origin={})
    config = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert (config["eos_token_id"], config["pad_token_id"], config["bos_token_id"]) == ([2, 4], 0, 1)


def test_a_temperature_without_sampling_does_not_stop_the_save(tmp_path):
    model = tiny_model("llama")
    model.generation_config.temperature = 0.7
    save_model(model, chat_tokenizer("llama"), tmp_path / "saved", origin={})
    assert json.loads((tmp_path / "saved" / "generation_config.json").read_text())["do_sample"] is True


def test_a_saved_tokenizer_is_the_same_tokenizer(tmp_path):
    tokenizer = chat_tokenizer("gemma3_text")
    save_model(tiny_model("gemma3_text"), tokenizer, tmp_path / "saved", origin={})
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")
    text = "<start_of_turn>user\nHow do you  clean 😀 a pan?<end_of_turn>\n"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert again.special_tokens_map == tokenizer.special_tokens_map
    # Saved once more from what was loaded, it is still the same.
    save_model(tiny_model("gemma3_text"), again, tmp_path / "again", origin={})
    for name in ("tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "saved" / name).read_bytes()
    assert AutoTokenizer.from_pretrained(tmp_path / "again")(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_licences_travel_with_what_is_made_from_a_model(tmp_path):
    folder = tiny_folder(tmp_path)
    (folder / "NOTICE").write_text("terms apply")
    (folder / "GEMMA_TERMS.html").write_text("<p>terms</p>")
    loaded = load_model(str(folder))
    save_model(loaded.model, loaded.tokenizer, tmp_path / "saved", origin={})
    assert (tmp_path / "saved" / "NOTICE").read_text() == "terms apply"
    assert (tmp_path / "saved" / "GEMMA_TERMS.html").read_text() == "<p>terms</p>"


def test_an_adapter_is_saved_as_an_adapter_that_names_its_base(tmp_path):
    folder = tiny_folder(tmp_path)
    loaded = load_model(str(folder), dtype="float32")
    model = add_lora(loaded.model, LoraConfig(rank=2))
    save_model(model, loaded.tokenizer, tmp_path / "adapter", origin={"method": "sft"})
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert not (tmp_path / "adapter" / "model.safetensors").exists()
    assert read_origin(tmp_path / "adapter") == {"method": "sft", "base_model": str(folder.resolve())}
    # peft alone reads it too.
    again = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter", dtype=torch.float32)
    assert torch.equal(again(IDS).logits, model(IDS).logits)


def test_an_adapter_of_a_starter_or_hub_model_names_it_by_name(tmp_path):
    starter = tiny_folder(tmp_path)
    (starter / "tutelage_origin.json").write_text('{"kind": "starter", "name": "starter-base"}')
    hub = tiny_folder(tmp_path / "models--owner--tiny" / "snapshots", name="0123abcd")
    for number, (folder, name) in enumerate(((starter, "starter-base"), (hub, "owner/tiny"))):
        loaded = load_model(str(folder))
        save_model(add_lora(loaded.model, LoraConfig(rank=2)), loaded.tokenizer, tmp_path / f"out{number}", origin={})
        assert read_origin(tmp_path / f"out{number}")["base_model"] == name


def test_merged_saving_gives_a_whole_model_with_the_adapters_effect(tmp_path):
    model = trained_adapter()
    expected = model(IDS).logits
    save_model(model, chat_tokenizer("llama"), tmp_path / "merged", origin={}, dtype="float32", merge=True)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    torch.testing.assert_close(again(IDS).logits, expected, rtol=1e-5, atol=1e-5)
    assert (expected - tiny_model("llama")(IDS).logits).abs().max() > 1e-2
    assert not (tmp_path / "merged" / "adapter_config.json").exists()


def test_an_existing_path_is_refused(tmp_path):
    (tmp_path / "saved").mkdir()
    with pytest.raises(ModelError) as error:
        save_model(tiny_model("llama"), tiny_tokenizer(), tmp_path / "saved", origin={})
    assert str(error.value) == f"{tmp_path}/saved already exists; choose another --out name or remove it"


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    model = tiny_model("llama")

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(model, "save_pretrained", full)
    with pytest.raises(ModelError, match=r"saved: the disk is full, [0-9.,]+ MB needed, [0-9.,]+ MB free; free some"):
        save_model(model, tiny_tokenizer(), tmp_path / "saved", origin={})
    assert list(tmp_path.iterdir()) == []


def test_space_is_counted_before_anything_is_written(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("tutelage.models.folder.check_space", lambda folder, needed: asked.append(needed))
    model = tiny_model("llama")
    save_model(model, tiny_tokenizer(), tmp_path / "saved", origin={}, dtype="float32")
    # 4 bytes a number, 150 bytes for each of 296 tokens, 1 MB for the small files.
    assert asked == [4 * sum(p.numel() for p in model.parameters()) + 150 * 296 + 1_000_000]
    assert sum(file.stat().st_size for file in (tmp_path / "saved").iterdir()) < asked[0]


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])  # with a head of its own, and tied to the embedding
@pytest.mark.parametrize(("merge", "dtype", "itemsize"), [(False, "float32", 4), (True, "bfloat16", 2)])
def test_what_a_folder_will_take_is_known_beforehand(tmp_path, family, merge, dtype, itemsize):
    whole, adapted, tokenizer = tiny_model(family), trained_adapter(family), chat_tokenizer(family)
    num_weights = sum(parameter.numel() for parameter in whole.parameters())
    num_added = sum(parameter.numel() for name, parameter in adapted.named_parameters() if "lora_" in name)
    beside = 150 * len(tokenizer) + 1_000_000
    assert saved_bytes(whole, tokenizer, dtype=dtype) == num_weights * itemsize + beside
    expected = (num_weights * itemsize if merge else num_added * 4) + beside
    assert saved_bytes(adapted, tokenizer, dtype=dtype, merge=merge) == expected
    save_model(adapted, tokenizer, tmp_path / "saved", origin={}, dtype=dtype, merge=merge)
    taken = sum(path.stat().st_size for path in (tmp_path / "saved").iterdir())
    assert expected - beside < taken < expected


@pytest.mark.parametrize("name", ["helper", "a", "Qwen3-0.6B_v2.1", "7b"])
def test_good_output_names(tmp_path, name):
    assert check_output_name(tmp_path, name) == tmp_path / "models" / name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../up", "a/b", "a\\b", ".hidden", "-dash", "a b", "é", "a..b", "a" * 101, "a\n"]
)
def test_bad_output_names(tmp_path, name):
    with pytest.raises(ModelError) as error:
        check_output_name(tmp_path, name)
    assert str(error.value) == (
        f"'{name}' cannot name a model; use up to 100 letters, digits, '.', '_' and '-', "
        "beginning with a letter or digit"
    )


def test_taken_output_names(tmp_path):
    tiny_folder(tmp_path / "models", name="helper")
    with pytest.raises(ModelError) as error:
        check_output_name(tmp_path, "helper")
    assert str(error.value) == f"{tmp_path}/models/helper already exists; choose another --out name or remove it"
    with pytest.raises(ModelError) as error:
        check_output_name(tmp_path, "starter-base")
    assert str(error.value) == "'starter-base' is the name of a starter model; choose another --out name"
