"""What a model's name means, and the list of models there are."""

from __future__ import annotations

import pytest
from tiny import tiny_folder, tiny_model, tiny_tokenizer

from tutelage.errors import ModelError
from tutelage.models.adapt import LoraConfig, add_lora
from tutelage.models.find import list_models, num_parameters, resolve_model
from tutelage.models.folder import write_origin
from tutelage.models.save import save_model
from tutelage.models.starter import starter_folder


def test_a_name_is_a_folder_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_folder(tmp_path, name="starter-base")
    found = resolve_model("starter-base", tmp_path / "workspace")
    assert (found.origin, str(found.path)) == ("folder", "starter-base")


def test_then_a_model_of_the_workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "helper").mkdir()  # a folder by chance, with no model in it
    folder = tiny_folder(tmp_path / "workspace" / "models", name="helper")
    found = resolve_model("helper", tmp_path / "workspace")
    assert (found.origin, found.path) == ("workspace", folder)


def test_then_a_starter_model_fetched_or_not():
    found = resolve_model("starter-chat", None)
    assert (found.origin, found.path, found.hub_id) == ("starter", None, None)
    starter_folder("starter-chat").mkdir(parents=True)
    assert resolve_model("starter-chat", None).path == starter_folder("starter-chat")


def test_then_a_hub_id():
    found = resolve_model("HuggingFaceTB/SmolLM2-135M", None)
    assert (found.origin, found.path, found.hub_id) == ("hub", None, "HuggingFaceTB/SmolLM2-135M")


def test_a_folder_without_a_model_is_left_to_loading_to_explain(tmp_path):
    (tmp_path / "empty").mkdir()
    assert resolve_model(str(tmp_path / "empty"), None).path == tmp_path / "empty"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("starter-bse", "no model 'starter-bse'; did you mean 'starter-base'?"),
        ("helpr", "no model 'helpr'; did you mean 'helper'?"),
        ("zzz", "no model 'zzz'; known: starter-base, starter-chat, helper, a folder, or a hub id owner/name"),
        ("", "no model ''; known: starter-base, starter-chat, helper, a folder, or a hub id owner/name"),
        ("./a/b", "./a/b: no such folder; check the path, or give a hub id as owner/name"),
        ("../helper", "../helper: no such folder; check the path, or give a hub id as owner/name"),
    ],
)
def test_a_name_that_means_nothing_is_one_line(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    tiny_folder(tmp_path / "workspace" / "models", name="helper")
    with pytest.raises(ModelError) as error:
        resolve_model(name, tmp_path / "workspace")
    assert str(error.value) == message


def test_a_file_is_not_a_model(tmp_path):
    (tmp_path / "model.gguf").touch()
    with pytest.raises(ModelError) as error:
        resolve_model(f"{tmp_path}/model.gguf", None)
    assert str(error.value) == (
        f"{tmp_path}/model.gguf is a file; a model is a folder with config.json, a tokenizer and safetensors weights"
    )


def test_the_list_has_the_workspace_and_the_starter_models(tmp_path):
    models = tmp_path / "models"
    folder = tiny_folder(models, name="helper")
    write_origin(folder, {"base": "starter-base", "method": "sft"})
    adapted = add_lora(tiny_model("llama"), LoraConfig(rank=2))
    save_model(adapted, tiny_tokenizer(), models / "adapted", origin={})
    (models / ".half.partial-host-1").mkdir()
    adapter, helper, base, chat = list_models(tmp_path)
    assert [info.name for info in (adapter, helper, base, chat)] == [
        "adapted",
        "helper",
        "starter-base",
        "starter-chat",
    ]
    assert [info.kind for info in (adapter, helper, base)] == ["adapter", "language model", "language model"]
    assert [info.origin for info in (adapter, helper)] == ["unknown", "sft from starter-base"]
    assert base.origin == "starter: Gemma 3 270M, base, not fetched yet"
    assert base.path is None
    assert base.size_bytes == 0
    assert helper.num_parameters == sum(p.numel() for p in tiny_model("llama").parameters())
    assert helper.size_bytes == sum(file.stat().st_size for file in folder.iterdir())
    # Rank 2 on 2 layers: q, o 32→32; k, v 32→16; gate, up 32→64; down 64→32. Each costs 2·(in + out).
    assert adapter.num_parameters == 2 * 2 * (2 * 64 + 2 * 48 + 2 * 96 + 96)


def test_parameters_of_a_damaged_model_are_unknown_rather_than_an_error(tmp_path):
    folder = tiny_folder(tmp_path)
    (folder / "model.safetensors").write_bytes(b"\x00")
    assert num_parameters(folder) is None
    (folder / "model.safetensors").unlink()
    assert num_parameters(folder) is None


def test_the_list_without_a_workspace_is_the_starter_models(tmp_path):
    assert [info.name for info in list_models(tmp_path / "absent")] == ["starter-base", "starter-chat"]
