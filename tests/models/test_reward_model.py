"""Reward models: a fresh head, scores that transformers agrees with, saving whole and as adapters, ensembles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_folder, tiny_model, tiny_tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from tutelage.errors import ConfigError, ModelError
from tutelage.models.adapt import LoraConfig, add_lora, is_reward_model, merge_lora
from tutelage.models.ensemble import read_ensemble, save_ensemble
from tutelage.models.find import kind_of, list_models, resolve_model
from tutelage.models.folder import read_origin
from tutelage.models.load import load_model
from tutelage.models.reward import load_reward_model, score_head
from tutelage.models.save import save_model, saved_bytes
from tutelage.models.template import end_of_turn_id, ensure_chat_template

ANSWERS = ([7, 8, 9, 10, 11, 12], [20, 21, 22], [30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41])


def reward(folder: Path, **options: Any) -> Any:
    return load_reward_model(str(folder), **({"dtype": "float32", "device": "cpu"} | options))


def ended(tokenizer: Any) -> list[list[int]]:
    """Answers of 6, 3 and 12 tokens, each with the token that ends a turn behind them."""
    return [[*ids, end_of_turn_id(tokenizer)] for ids in ANSWERS]


def padded(model: Any, tokenizer: Any, rows: list[list[int]], side: str = "right") -> torch.Tensor:
    """Scores `(num_rows,)` by transformers' own forward, on one padded batch."""
    batch = tokenizer.pad({"input_ids": rows}, padding_side=side, return_tensors="pt")
    with torch.no_grad():
        return model(**batch).logits[:, 0]


def by_hand(model: Any, rows: list[list[int]]) -> torch.Tensor:
    """Last hidden state times the head, each row alone and unpadded."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    with torch.no_grad():
        hidden = [inner.get_decoder()(input_ids=torch.tensor([row])).last_hidden_state[0, -1] for row in rows]
        return torch.stack([state @ score_head(model).weight[0] for state in hidden])


def same(scores: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal up to the order of additions, which differs with the shape of a batch and where weights lie in memory."""
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)


def trained(model: Any) -> Any:
    """`model` with adapters and a score head that are no longer what they began as."""
    adapted = add_lora(model, LoraConfig(rank=2))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.02)
        score_head(adapted).weight.add_(0.25)
    return adapted


def failure(folder: Path | str, **options: Any) -> str:
    with pytest.raises(ModelError) as error:
        load_reward_model(str(folder), **options)
    return str(error.value)


# Scores


def test_the_score_is_read_at_the_end_of_the_turn(tmp_path, family):
    loaded = reward(tiny_folder(tmp_path, family))
    rows = ended(loaded.tokenizer)
    expected = by_hand(loaded.model, rows)
    assert expected.unique().numel() == len(rows)
    same(padded(loaded.model, loaded.tokenizer, rows), expected)


def test_neither_padding_nor_company_changes_a_score(tmp_path, family):
    loaded = reward(tiny_folder(tmp_path, family))
    rows = ended(loaded.tokenizer)
    together = padded(loaded.model, loaded.tokenizer, rows)
    left = padded(loaded.model, loaded.tokenizer, rows, side="left")
    alone = torch.cat([padded(loaded.model, loaded.tokenizer, [row]) for row in rows])
    same(left, together)
    same(alone, together)


def test_the_decoder_is_the_language_models(tmp_path, family):
    folder = tiny_folder(tmp_path, family)
    ours, theirs = reward(folder).model, tiny_model(family)
    assert is_reward_model(ours)
    assert not is_reward_model(theirs)
    state = theirs.get_decoder().state_dict()
    assert ours.get_decoder().state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in ours.get_decoder().state_dict().items())
    assert not any(parameter.is_meta for parameter in [*ours.parameters(), *ours.buffers()])
    assert ours.config is ours.get_decoder().config


# The fresh head


def test_the_head_is_drawn_with_variance_one_over_dim_plus_one(tmp_path):
    model = reward(tiny_folder(tmp_path, "llama"), seed=3).model
    generator = torch.Generator().manual_seed(3)
    expected = torch.randn(1, 32, generator=generator) / 33**0.5
    # Divided by the size of what the final norm gives: of a unit vector, the root mean square of its weights.
    size = model.model.norm.weight.detach().square().mean().sqrt()
    torch.testing.assert_close(score_head(model).weight.detach(), expected / size, rtol=1e-4, atol=1e-6)
    assert score_head(model).bias is None
    wide = reward(tiny_folder(tmp_path, "llama", name="wide", hidden_size=4096, num_hidden_layers=1)).model
    size = float(wide.model.norm.weight.detach().square().mean().sqrt())
    assert float(score_head(wide).weight.detach().std()) * 4097**0.5 * size == pytest.approx(1.0, abs=0.05)


def test_the_seed_alone_decides_the_head_and_nothing_else_is_drawn(tmp_path):
    folder = tiny_folder(tmp_path, "qwen3")
    before = torch.get_rng_state()
    one, same, other = (reward(folder, seed=seed).model for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(score_head(one).weight, score_head(same).weight)
    assert not torch.equal(score_head(one).weight, score_head(other).weight)


def test_the_head_is_drawn_in_fp32_and_then_rounded(tmp_path):
    folder = tiny_folder(tmp_path, "llama")
    exact, rounded = reward(folder).model, reward(folder, dtype="bfloat16").model
    assert {parameter.dtype for parameter in rounded.parameters()} == {torch.bfloat16}
    # Rounded once; the norm's own weights, which the head is divided by, were rounded before (1 part in 256).
    torch.testing.assert_close(score_head(exact).weight, score_head(rounded).weight.float(), rtol=1 / 100, atol=1e-4)


def test_the_tokenizer_gets_a_template_and_a_pad_token_that_ends_no_answer(tmp_path):
    folder = tiny_folder(tmp_path, "qwen2")
    tokenizer = tiny_tokenizer("qwen2")
    tokenizer.pad_token = "<|im_end|>"  # as SmolLM2's own file has it
    tokenizer.save_pretrained(folder)
    loaded = reward(folder)
    assert loaded.tokenizer.chat_template is not None
    assert (loaded.tokenizer.pad_token, loaded.model.config.pad_token_id) == ("<|endoftext|>", 0)
    assert end_of_turn_id(loaded.tokenizer) == 2


def test_a_vocabulary_without_a_token_for_padding(tmp_path):
    folder = tiny_folder(tmp_path, "llama")
    file = folder / "tokenizer.json"
    file.write_text(file.read_text().replace("<pad>", "<fim>"))
    config = json.loads((folder / "tokenizer_config.json").read_text()) | {"pad_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert failure(folder) == (
        "the tokenizer has no token to pad with except '</s>', which ends an answer, so the end of a padded answer "
        "cannot be found; add a pad token to the tokenizer and a row for it to the model's embedding, and save both"
    )


# Whole models


def test_a_saved_reward_model_is_the_same_to_the_bit(tmp_path, family):
    loaded = reward(tiny_folder(tmp_path, family))
    save_model(loaded.model, loaded.tokenizer, tmp_path / "saved", origin={"method": "reward"}, dtype="float32")
    again = reward(tmp_path / "saved", seed=9, fresh_head=False)
    state = loaded.model.state_dict()
    assert again.model.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.model.state_dict().items())
    rows = ended(loaded.tokenizer)
    expected = padded(loaded.model, loaded.tokenizer, rows)
    same(padded(again.model, again.tokenizer, rows), expected)
    attention = loaded.model.config._attn_implementation
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved", attn_implementation=attention)
    same(padded(plain, AutoTokenizer.from_pretrained(tmp_path / "saved"), rows), expected)


def test_what_a_saved_reward_model_says_of_itself(tmp_path):
    loaded = reward(tiny_folder(tmp_path, "gemma3_text"), dtype="bfloat16")
    save_model(loaded.model, loaded.tokenizer, tmp_path / "saved", origin={})
    config = AutoConfig.from_pretrained(tmp_path / "saved")
    assert config.architectures == ["Gemma3TextForSequenceClassification"]
    assert (config.num_labels, config.id2label, config.problem_type) == (1, {0: "LABEL_0"}, "regression")
    assert (config.pad_token_id, config.eos_token_id, config.dtype) == (0, 2, torch.bfloat16)
    assert sorted(path.name for path in (tmp_path / "saved").iterdir()) == [
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "tutelage_origin.json",
    ]
    assert load_file(tmp_path / "saved" / "model.safetensors")["score.weight"].shape == (1, 32)
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").chat_template == loaded.tokenizer.chat_template


# Adapters


def test_adapters_train_the_projections_and_the_head(tmp_path, family):
    loaded = reward(tiny_folder(tmp_path, family))
    rows = ended(loaded.tokenizer)
    expected = padded(loaded.model, loaded.tokenizer, rows)
    model = add_lora(loaded.model, LoraConfig(rank=2))
    same(padded(model, loaded.tokenizer, rows), expected)
    in_full = {name for name, parameter in model.named_parameters() if parameter.requires_grad and "lora_" not in name}
    assert in_full == {"base_model.model.score.modules_to_save.default.weight"}
    adapted = {name.split(".lora_A")[0].rpartition(".")[2] for name, _ in model.named_parameters() if "lora_A" in name}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert score_head(model).weight.requires_grad


def test_the_head_gets_no_adapter_even_when_named(tmp_path):
    model = reward(tiny_folder(tmp_path, "llama")).model
    with pytest.raises(ConfigError) as error:
        add_lora(model, LoraConfig(rank=2, target_modules="q_proj,score"))
    assert str(error.value) == (
        "lora.target_modules 'score' names no linear layer; "
        "known: down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"
    )


def test_a_saved_adapter_brings_its_head(tmp_path, family):
    folder = tiny_folder(tmp_path, family)
    loaded = reward(folder)
    fresh = padded(loaded.model, loaded.tokenizer, ended(loaded.tokenizer))
    model = trained(loaded.model)
    expected = padded(model, loaded.tokenizer, ended(loaded.tokenizer))
    same(by_hand(model, ended(loaded.tokenizer)), expected)
    assert (expected - fresh).abs().min() > 1e-3
    save_model(model, loaded.tokenizer, tmp_path / "adapter", origin={})
    assert read_origin(tmp_path / "adapter")["base_model"] == str(folder.resolve())
    again = reward(tmp_path / "adapter", seed=9, fresh_head=False)
    assert torch.equal(score_head(again.model).weight, score_head(model).weight)
    same(padded(again.model, again.tokenizer, ended(again.tokenizer)), expected)
    assert score_head(again.model).weight.requires_grad


def test_an_adapter_on_a_reward_model(tmp_path):
    loaded = reward(tiny_folder(tmp_path, "llama"), seed=5)
    save_model(loaded.model, loaded.tokenizer, tmp_path / "whole", origin={}, dtype="float32")
    whole = reward(tmp_path / "whole")
    model = trained(whole.model)
    expected = padded(model, whole.tokenizer, ended(whole.tokenizer))
    save_model(model, whole.tokenizer, tmp_path / "adapter", origin={})
    again = reward(tmp_path / "adapter", fresh_head=False)
    same(padded(again.model, again.tokenizer, ended(again.tokenizer)), expected)


def test_an_adapter_without_a_head_needs_a_base_that_has_one(tmp_path):
    folder = tiny_folder(tmp_path, "llama")
    loaded = reward(folder)
    save_model(trained(loaded.model), loaded.tokenizer, tmp_path / "adapter", origin={})
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({name: tensor for name, tensor in load_file(file).items() if "score" not in name}, file)
    assert failure(tmp_path / "adapter") == (
        f"{tmp_path}/adapter is an adapter, and its base model cannot be loaded: '{folder}' is a language model, not a "
        "reward model; train one with `tutelage train reward`"
    )


def test_merging_keeps_the_scores(tmp_path, family):
    loaded = reward(tiny_folder(tmp_path, family))
    rows = ended(loaded.tokenizer)
    model = trained(loaded.model)
    expected = padded(model, loaded.tokenizer, rows)
    save_model(model, loaded.tokenizer, tmp_path / "merged", origin={}, dtype="float32", merge=True)
    assert not (tmp_path / "merged" / "adapter_config.json").exists()
    attention = loaded.model.config._attn_implementation
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged", attn_implementation=attention)
    same(padded(plain, loaded.tokenizer, rows), expected)
    again = reward(tmp_path / "merged", fresh_head=False)
    same(padded(again.model, again.tokenizer, rows), expected)


def test_what_an_adapter_with_a_head_will_take(tmp_path):
    loaded = reward(tiny_folder(tmp_path, "llama"))
    model = trained(loaded.model)
    num_trained = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name) + 32
    assert saved_bytes(model, loaded.tokenizer) == 4 * num_trained + 150 * 296 + 1_000_000


def test_an_adapter_on_a_language_model_is_merged_before_the_head(tmp_path, family):
    base = load_model(str(tiny_folder(tmp_path, family)), dtype="float32")
    ensure_chat_template(base.tokenizer)
    tuned = add_lora(base.model, LoraConfig(rank=2))
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.02)
    save_model(tuned, base.tokenizer, tmp_path / "tuned", origin={"method": "sft"})
    loaded = reward(tmp_path / "tuned")
    assert not hasattr(loaded.model, "peft_config")
    merged = merge_lora(tuned).get_decoder().state_dict()
    assert all(torch.equal(tensor, merged[name]) for name, tensor in loaded.model.get_decoder().state_dict().items())
    # An adapter on that names the folder of the first one, and finds its way back through it.
    model = trained(loaded.model)
    expected = padded(model, loaded.tokenizer, ended(loaded.tokenizer))
    save_model(model, loaded.tokenizer, tmp_path / "judge", origin={"method": "reward"})
    assert read_origin(tmp_path / "judge")["base_model"] == str(tmp_path / "tuned")
    again = reward(tmp_path / "judge", fresh_head=False)
    same(padded(again.model, again.tokenizer, ended(again.tokenizer)), expected)


# Mistakes


def test_scoring_needs_a_trained_head(tmp_path):
    folder = tiny_folder(tmp_path / "models", name="helper")
    assert failure("helper", workspace=tmp_path, fresh_head=False) == (
        "'helper' is a language model, not a reward model; train one with `tutelage train reward`"
    )
    base = load_model(str(folder))
    save_model(add_lora(base.model, LoraConfig(rank=2)), base.tokenizer, tmp_path / "adapter", origin={})
    assert failure(tmp_path / "adapter", fresh_head=False) == (
        f"'{tmp_path}/adapter' is a language model, not a reward model; train one with `tutelage train reward`"
    )
    (tmp_path / "empty").mkdir()
    assert failure(tmp_path / "empty", fresh_head=False) == (
        f"{tmp_path}/empty has no config.json; it is not a Hugging Face model folder"
    )


def test_a_classifier_with_more_labels(tmp_path):
    folder = tiny_folder(tmp_path)
    config = AutoConfig.from_pretrained(folder, num_labels=3)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    assert failure(folder) == (
        f"{folder} is a classifier with 3 labels, and a reward model has one; give a reward model or a language model"
    )


def test_families_without_a_plain_score_head(tmp_path):
    from transformers import BertConfig, CohereConfig

    small = {"vocab_size": 296, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    # Cohere has no sequence classification; BERT's head is called classifier.
    for name, config in (("cohere", CohereConfig(**small)), ("bert", BertConfig(**small, is_decoder=True))):
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / name)
        tiny_tokenizer().save_pretrained(tmp_path / name)
        assert failure(tmp_path / name) == (
            f"{tmp_path}/{name}: the family '{name}' has no sequence classification in transformers that reads a plain "
            "`score` head; start from a model of another family, such as Llama, Qwen, Gemma or Mistral"
        )


def test_a_reward_model_that_lost_its_head(tmp_path):
    loaded = reward(tiny_folder(tmp_path))
    save_model(loaded.model, loaded.tokenizer, tmp_path / "saved", origin={})
    file = tmp_path / "saved" / "model.safetensors"
    save_file({name: tensor for name, tensor in load_file(file).items() if "score" not in name}, file, {"format": "pt"})
    assert failure(tmp_path / "saved") == (
        f"{tmp_path}/saved lacks 1 tensors of a llama reward model, the first is score.weight; "
        "fetch or save the model again"
    )


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])  # with a language-model head of its own, and tied
@pytest.mark.parametrize("adapted", [False, True])
def test_a_reward_model_is_no_language_model(tmp_path, family, adapted):
    loaded = reward(tiny_folder(tmp_path, family))
    model = trained(loaded.model) if adapted else loaded.model
    save_model(model, loaded.tokenizer, tmp_path / "models" / "judge", origin={})
    with pytest.raises(ModelError) as error:
        load_model("judge", workspace=tmp_path)
    assert str(error.value) == "'judge' is a reward model: it scores answers and writes none; give a language model"


def test_the_list_knows_reward_models_and_ensembles(tmp_path):
    loaded = reward(tiny_folder(tmp_path))
    models = tmp_path / "workspace" / "models"
    save_model(loaded.model, loaded.tokenizer, models / "judge-seed0", origin={})
    save_model(
        trained(loaded.model), loaded.tokenizer, models / "judge-seed1", origin={"method": "reward", "base": "b"}
    )
    save_ensemble(models / "judge", ["judge-seed0", "judge-seed1"], {"method": "reward", "base": "b"})
    listed = {info.name: info for info in list_models(tmp_path / "workspace")}
    kinds = {name: info.kind for name, info in listed.items() if name.startswith("judge")}
    assert kinds == {"judge": "ensemble", "judge-seed0": "reward model", "judge-seed1": "reward model"}
    assert (listed["judge"].origin, listed["judge"].num_parameters) == ("reward from b", None)
    assert (listed["judge-seed1"].origin, listed["judge-seed0"].origin) == ("reward from b", "unknown")


# Ensembles


def ensemble(tmp_path: Path, *members: str) -> Path:
    for name in members:
        tiny_folder(tmp_path / "models", name=name)
    save_ensemble(tmp_path / "models" / "judge", members, {"method": "reward"})
    return tmp_path / "models" / "judge"


def test_an_ensemble_names_the_models_beside_it(tmp_path):
    folder = ensemble(tmp_path, "judge-seed0", "judge-seed1")
    assert sorted(path.name for path in folder.iterdir()) == ["ensemble.json", "tutelage_origin.json"]
    assert json.loads((folder / "ensemble.json").read_text()) == {"members": ["judge-seed0", "judge-seed1"]}
    assert read_ensemble(folder) == [tmp_path / "models" / "judge-seed0", tmp_path / "models" / "judge-seed1"]
    assert read_origin(folder) == {"method": "reward"}
    assert resolve_model("judge", tmp_path).path == folder
    assert resolve_model(str(folder), None).origin == "folder"
    assert kind_of(folder) == "ensemble"
    assert read_ensemble(tmp_path / "models" / "judge-seed0") is None


def test_an_ensemble_is_loaded_member_by_member(tmp_path):
    ensemble(tmp_path, "judge-seed0", "judge-seed1")
    assert failure("judge", workspace=tmp_path) == (
        "'judge' is an ensemble of 2 reward models; load its members one by one: judge-seed0, judge-seed1"
    )
    with pytest.raises(ModelError) as error:
        load_model("judge", workspace=tmp_path)
    assert str(error.value) == (
        "'judge' is an ensemble of reward models, which write no answers; give a language model"
    )


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ([], "an ensemble needs at least one member, and there are none"),
        (["one", "one"], "'one' is a member twice; name each reward model once"),
        (["../one"], "'../one' cannot be a member; members are names of folders in {models}"),
        (["two"], "member 'two' is missing; put the reward model back in {models}/two, or train it again"),
        (["old"], "member 'old' is an ensemble itself; name its members instead"),
    ],
)
def test_members_that_cannot_be(tmp_path, members, problem):
    models = tmp_path / "models"
    tiny_folder(models, name="one")
    save_ensemble(models / "old", ["one"], {})
    expected = f"{models}/judge: {problem.format(models=models)}"
    with pytest.raises(ModelError) as error:
        save_ensemble(models / "judge", members, {})
    assert str(error.value) == expected
    assert not (models / "judge").exists()
    (models / "judge").mkdir()
    (models / "judge" / "ensemble.json").write_text(json.dumps({"members": members}))
    with pytest.raises(ModelError) as error:
        read_ensemble(models / "judge")
    assert str(error.value) == expected


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"members": "one"}', '{"members": [1]}'])
def test_a_damaged_ensemble(tmp_path, text):
    file = tmp_path / "ensemble.json"
    file.write_text(text)
    with pytest.raises(ModelError) as error:
        read_ensemble(tmp_path)
    assert str(error.value).startswith(f"{file} is damaged (")
    assert str(error.value).endswith('); it holds {"members": ["NAME", ...]}')
