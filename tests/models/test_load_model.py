"""Loading: every family, adapters, and one line for everything that can be wrong with a folder."""

from __future__ import annotations

import copy
import copyreg
import json
import shutil

import pytest
import torch
from tiny import tiny_folder, tiny_model, tiny_tokenizer
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from tutelage.errors import ConfigError, ModelError
from tutelage.models.adapt import LoraConfig, add_lora
from tutelage.models.load import load_model, load_tokenizer
from tutelage.models.save import save_model
from tutelage.models.template import ensure_chat_template


def failure(name: object, **options: object) -> str:
    with pytest.raises(ModelError) as error:
        load_model(str(name), **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_family_loads_as_it_was(tmp_path, family):
    folder = tiny_folder(tmp_path, family)
    loaded = load_model(str(folder), dtype="float32", device="cpu")
    ids = torch.tensor([loaded.tokenizer("How do you clean a dirty pan?")["input_ids"]])
    assert torch.equal(loaded.model(ids).logits, tiny_model(family)(ids).logits)
    assert (loaded.name, loaded.path) == (str(folder), folder)
    assert not loaded.model.training


def test_sdpa_is_used_except_where_it_would_drop_the_soft_cap(tmp_path):
    attention = {
        family: load_model(str(tiny_folder(tmp_path, family))).model.config._attn_implementation
        for family in ("llama", "gemma2", "gemma3_text")
    }
    assert attention == {"llama": "sdpa", "gemma2": "eager", "gemma3_text": "sdpa"}


def test_weights_are_bf16_unless_told_otherwise(tiny_llama):
    assert {p.dtype for p in load_model(str(tiny_llama)).model.parameters()} == {torch.bfloat16}
    assert {p.dtype for p in load_model(str(tiny_llama), dtype="float32").model.parameters()} == {torch.float32}


def test_a_workspace_name_loads(tmp_path):
    folder = tiny_folder(tmp_path / "models", name="helper")
    assert load_model("helper", workspace=tmp_path).path == folder


def test_generation_stops_at_eos_and_at_the_end_of_a_turn(tmp_path):
    folder = tiny_folder(tmp_path, "gemma3_text")
    assert load_model(str(folder)).model.generation_config.eos_token_id == [2]
    tokenizer = tiny_tokenizer("gemma")
    ensure_chat_template(tokenizer)
    tokenizer.save_pretrained(folder)
    config = load_model(str(folder)).model.generation_config
    assert config.eos_token_id == [2, tokenizer.convert_tokens_to_ids("<end_of_turn>")]
    assert (config.bos_token_id, config.pad_token_id) == (1, 0)


def test_pad_is_moved_off_eos_in_tokenizer_and_configs(tmp_path):
    folder = tiny_folder(tmp_path, "qwen2", pad_token_id=2)
    tokenizer = tiny_tokenizer("qwen2")
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder)
    loaded = load_model(str(folder))
    assert loaded.tokenizer.pad_token == "<|endoftext|>"
    assert loaded.model.config.pad_token_id == loaded.model.generation_config.pad_token_id == 0


def test_an_adapter_loads_on_its_base(tmp_path, tiny_llama):
    base = load_model(str(tiny_llama), dtype="float32")
    model = add_lora(base.model, LoraConfig(rank=4))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.01)
    ids = torch.tensor([[5, 6, 7, 8]])
    expected = model(ids).logits
    save_model(model, base.tokenizer, tmp_path / "adapter", origin={"method": "sft"})
    loaded = load_model(str(tmp_path / "adapter"), dtype="float32")
    assert torch.equal(loaded.model(ids).logits, expected)
    assert not torch.equal(tiny_model("llama")(ids).logits, expected)
    trainable = {name.split(".")[-3] for name, p in loaded.model.named_parameters() if p.requires_grad}
    assert trainable == {"lora_A", "lora_B"}


def test_an_adapter_without_its_base_is_one_line(tmp_path, tiny_llama):
    base = load_model(str(tiny_llama))
    save_model(add_lora(base.model, LoraConfig(rank=2)), base.tokenizer, tmp_path / "adapter", origin={})
    shutil.rmtree(tiny_llama)
    assert failure(tmp_path / "adapter") == (
        f"{tmp_path}/adapter is an adapter, and its base model cannot be loaded: "
        f"{tiny_llama}: no such folder; check the path, or give a hub id as owner/name"
    )


def test_no_config(tiny_llama):
    (tiny_llama / "config.json").unlink()
    assert failure(tiny_llama) == f"{tiny_llama} has no config.json; it is not a Hugging Face model folder"


def test_no_tokenizer(tiny_llama):
    (tiny_llama / "tokenizer.json").unlink()
    assert failure(tiny_llama) == (
        f"{tiny_llama} has no tokenizer; copy tokenizer.json and tokenizer_config.json from the base model"
    )


def test_no_weights(tiny_llama):
    (tiny_llama / "model.safetensors").unlink()
    assert failure(tiny_llama) == f"{tiny_llama} has no weights; a model folder needs model.safetensors"


@pytest.mark.parametrize("pickle", ["pytorch_model.bin", "model.pt", "weights.pkl"])
def test_pickle_only(tiny_llama, pickle):
    (tiny_llama / "model.safetensors").rename(tiny_llama / pickle)
    assert failure(tiny_llama) == (
        f"{tiny_llama} is pickle-only ({pickle}), and a pickle can run code when it is opened; "
        "convert the weights to safetensors"
    )


def test_a_pickle_beside_safetensors_is_never_opened(tiny_llama):
    (tiny_llama / "pytorch_model.bin").write_bytes(b"not a pickle at all")
    load_model(str(tiny_llama))


def test_truncated_weights(tiny_llama):
    file = tiny_llama / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    assert failure(tiny_llama) == (
        f"{file} is damaged: {len(whole) - 100:,} bytes where its header says {len(whole):,}; "
        "fetch or save the model again"
    )
    file.write_bytes(whole[:50])
    assert failure(tiny_llama) == (
        f"{file} is damaged (its header is longer than the file); fetch or save the model again"
    )
    file.write_bytes(b"")
    assert failure(tiny_llama).startswith(f"{file} is damaged (")


def test_a_missing_shard(tiny_llama):
    tiny_model("llama").save_pretrained(tiny_llama, max_shard_size="50KB")
    shards = sorted(tiny_llama.glob("model-*.safetensors"))
    assert len(shards) > 1
    shards[1].unlink()
    (tiny_llama / "model.safetensors").unlink(missing_ok=True)
    assert failure(tiny_llama) == (
        f"{tiny_llama} lacks {shards[1].name}, which its index names; fetch or save the model again"
    )


def test_a_missing_tensor_is_not_filled_with_noise(tiny_llama):
    config = json.loads((tiny_llama / "config.json").read_text())
    (tiny_llama / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 3}))
    assert failure(tiny_llama) == (
        f"{tiny_llama} lacks 9 tensors of a llama language model, the first is "
        "model.layers.2.input_layernorm.weight; "
        "fetch or save the model again, or give a causal language model"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{", "is damaged (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
        ("{}", "names no model_type"),
    ],
)
def test_a_damaged_config(tiny_llama, text, problem):
    (tiny_llama / "config.json").write_text(text)
    assert failure(tiny_llama) == f"{tiny_llama}/config.json {problem}; fetch or save the model again"


def test_a_damaged_tokenizer(tiny_llama):
    file = tiny_llama / "tokenizer.json"
    file.write_text(file.read_text()[:1000])
    assert failure(tiny_llama).startswith(f"{tiny_llama}: the tokenizer cannot be loaded (")


def test_an_architecture_that_is_no_language_model(tiny_llama):
    (tiny_llama / "config.json").write_text('{"model_type": "vit"}')
    assert failure(tiny_llama).startswith(f"{tiny_llama}: the model cannot be loaded (")
    (tiny_llama / "config.json").write_text('{"model_type": "no-such-architecture"}')
    assert failure(tiny_llama).startswith(f"{tiny_llama}: the ")


def test_a_tokenizer_of_another_model(tmp_path):
    folder = tiny_folder(tmp_path, "llama", vocab_size=100)
    assert failure(folder) == (
        f"{folder}: the tokenizer has 296 tokens and the model 100; use the tokenizer that belongs to the model"
    )


def test_code_in_the_folder_is_not_run(tiny_llama):
    config = json.loads((tiny_llama / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModelForCausalLM": "own.Own"}}
    (tiny_llama / "config.json").write_text(json.dumps(config))
    (tiny_llama / "own.py").write_text(f"open({str(tiny_llama / 'ran')!r}, 'w')\nclass Own: pass\n")
    assert failure(tiny_llama) == (
        f"{tiny_llama} needs Python code of its own (model type 'own'); "
        "set trust_remote_code if you have read that code and trust it"
    )
    assert not (tiny_llama / "ran").exists()


def test_unknown_dtype_and_device(tiny_llama):
    with pytest.raises(ConfigError) as error:
        load_model(str(tiny_llama), dtype="int3")
    assert str(error.value) == "dtype 'int3' is unknown; known: bfloat16, float16, float32"
    with pytest.raises(ConfigError, match="device 'gpu9' cannot be used here"):
        load_model(str(tiny_llama), device="gpu9")


def test_a_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    def unreachable(*args: object, **kwargs: object) -> str:
        raise OSError("Could not connect to the hub.\nMore lines.")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    assert failure("owner/name") == (
        "owner/name could not be fetched from the hub (Could not connect to the hub); check the id, the network and "
        "your access, or give a folder or a starter model"
    )


def test_pickles_and_second_copies_are_never_fetched(monkeypatch, tiny_llama):
    asked: dict[str, list[str]] = {}

    def snapshot(hub_id: str, **options: list[str]) -> str:
        asked.update(options)
        return str(tiny_llama)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    load_model("owner/name")
    assert not {"*.bin", "*.pt", "*.py"} & set(asked["allow_patterns"])
    assert asked["ignore_patterns"] == ["consolidated*", "*/*"]


def test_a_tokenizer_is_parsed_once_and_belongs_to_its_model_alone(tiny_llama):
    first, second = (load_tokenizer(tiny_llama, trust_remote_code=False) for _ in range(2))
    first.add_tokens(["<new>"])
    assert len(first) == len(second) + 1
    third = copy.deepcopy(first)  # what is copied later is copied
    third.add_tokens(["<newer>"])
    assert len(third) == len(first) + 1
    assert Tokenizer not in copyreg.dispatch_table
    assert second("Hello there").input_ids == AutoTokenizer.from_pretrained(tiny_llama)("Hello there").input_ids
