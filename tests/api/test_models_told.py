"""Models over the API: what each role is told, files that are whole and of this model alone, evaluations."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from api_clients import As
from made_models import REWARD, evaluated, held_out, made, of
from record import ADA, BO, CY
from tiny import tiny_folder

from tutelage.runs import evaluations
from tutelage.store.database import Store

HOSTILE = "<img src=x onerror=alert(1)>'\" &amp;"


@pytest.fixture
def models(store: Store) -> Store:
    """base → sft → judge → ppo."""
    workspace = store.workspace
    made(workspace, "sft", "sft", of("base", "starter-base"), of("data", "starter"), at=1, options={"epochs": 2})
    made(workspace, "judge", "reward", of("base", "sft"), at=2, config=REWARD)
    made(workspace, "ppo", "ppo", of("base", "sft"), of("reward", "judge"), at=3)
    held_out(workspace, "judge", 73, 100)
    return store


# The list and one ----------------------------------------------------------------------------------------------------


def test_models_are_listed_newest_first_and_starters_if_wanted(acting: As, models: Store) -> None:
    listed = acting(BO).get("/api/models").json()["records"]
    assert [(each["name"], each["kind"]) for each in listed] == [
        ("ppo", "language model"), ("judge", "reward model"), ("sft", "language model"),
    ]  # fmt: skip
    assert (listed[2]["method"], listed[2]["base"], listed[2]["data"]) == ("sft", "starter-base", "starter")
    assert listed[1]["held_out"]["accuracy"]["estimate"] == 0.73
    assert (listed[1]["held_out"]["num_comparisons"], listed[1]["answers"]) == (100, False)
    more = acting(BO).get("/api/models", params={"starters": True}).json()["records"]
    assert [each["name"] for each in more[3:]] == ["starter-base", "starter-chat"]
    assert {each["place"] for each in more[3:]} == {"starter"}


def test_the_list_goes_on_where_it_ended(acting: As, models: Store) -> None:
    first = acting(BO).get("/api/models", params={"limit": 2}).json()
    rest = acting(BO).get("/api/models", params={"limit": 2, "after": first["next"]}).json()
    assert [each["name"] for each in first["records"] + rest["records"]] == ["ppo", "judge", "sft"]
    assert rest["next"] is None


def test_one_model_says_what_was_made_with_it(acting: As, models: Store) -> None:
    told = acting(BO).get("/api/models/sft").json()
    assert {use["model"]: [step["role"] for step in use["path"]] for use in told["uses"]} == {
        "judge": ["base"], "ppo": ["base"]
    }  # fmt: skip
    assert told["folder"] == str((models.workspace / "models" / "sft").absolute())
    assert acting(CY).get("/api/models/sft").json()["folder"] == ""
    assert acting(BO).get("/api/models/starter-base").json()["model"]["place"] == "starter"


def test_a_model_made_without_the_record_has_its_lineage_all_the_same(acting: As, models: Store) -> None:
    made_from = acting(BO).get("/api/models/ppo/lineage").json()
    assert [(each["role"], each["name"]) for each in made_from["inputs"]] == [("base", "sft"), ("reward", "judge")]


def test_a_model_whose_folder_was_removed_is_remembered(acting: As, models: Store) -> None:
    acting(ADA).post("/api/models/rescan")
    folder = models.workspace / "models" / "ppo"
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    told = acting(BO).get("/api/models/ppo").json()["model"]
    assert (told["place"], told["method"], told["answers"]) == ("gone", "ppo", False)
    assert acting(BO).get("/api/models/ppo/files").status_code == 404
    assert [each["name"] for each in acting(BO).get("/api/models").json()["records"]][-1] == "ppo"


def test_a_damaged_origin_file_breaks_nothing(acting: As, models: Store) -> None:
    (models.workspace / "models" / "sft" / "tutelage_origin.json").write_text("{")
    (models.workspace / "models" / "odd").mkdir()
    listed = {each["name"]: each for each in acting(BO).get("/api/models").json()["records"]}
    assert listed["sft"]["note"] == "its tutelage_origin.json is damaged"
    assert listed["odd"]["kind"] == "other"
    assert acting(BO).get("/api/models/sft").status_code == 200


def test_a_name_of_any_letters_is_found(acting: As, models: Store) -> None:
    made(models.workspace, HOSTILE, "sft", at=9)
    answer = acting(BO).get("/api/models").json()["records"][0]
    assert answer["name"] == HOSTILE
    assert acting(BO).get("/api/models/" + HOSTILE.replace("%", "%25")).json()["model"]["name"] == HOSTILE


# Files ---------------------------------------------------------------------------------------------------------------


def test_a_download_is_the_folder_and_says_its_size(acting: As, store: Store) -> None:
    folder = tiny_folder(store.workspace / "models", name="tiny")
    answer = acting(BO).get("/api/models/tiny/download")
    told = acting(BO).get("/api/models/tiny/files").json()
    assert int(answer.headers["content-length"]) == len(answer.content) == told["archive_bytes"]
    assert answer.headers["content-disposition"] == "attachment; filename*=utf-8''tiny.tar"
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        files = {name: reader.read() for name in tar.getnames() if (reader := tar.extractfile(name))}
    assert files == {f"tiny/{path.name}": path.read_bytes() for path in folder.iterdir()}
    for file in told["files"]:
        one = acting(BO).get("/api/models/tiny/file", params={"name": file["name"]})
        assert one.content == (folder / file["name"]).read_bytes()
        assert one.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "name",
    [
        "../../tutelage.db",
        "/etc/passwd",
        "..",
        ".",
        "sub/../config.json",
        "./config.json",
        "config.json/",
        "link",
        "no",
    ],
)
def test_no_file_outside_the_model_is_sent(acting: As, models: Store, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (models.workspace / "models" / "sft" / "link").symlink_to(tmp_path / "secret")
    answer = acting(BO).get("/api/models/sft/file", params={"name": name})
    assert answer.status_code == 404
    assert "secret" not in acting(BO).get("/api/models/sft/files").text
    assert b"secret" not in acting(BO).get("/api/models/sft/download").content


@pytest.mark.parametrize("name", ["..", "%2e%2e", "..%2fruns", ".partial", "linked", "..%5cruns", "%00", "x" * 250])
def test_no_folder_outside_the_models_is_sent(acting: As, models: Store, tmp_path: Path, name: str) -> None:
    outside = tiny_folder(tmp_path, name="outside")
    (models.workspace / "models" / "linked").symlink_to(outside)
    (models.workspace / "models" / ".partial").mkdir()
    for what in ("", "/files", "/download", "/file?name=config.json"):
        assert acting(BO).get(f"/api/models/{name}{what}").status_code in (404, 422)
    assert "linked" not in acting(BO).get("/api/models").text


# Evaluations ---------------------------------------------------------------------------------------------------------


def test_the_leaderboard_is_told_to_everybody(acting: As, models: Store) -> None:
    evaluated(models.workspace, "r", ["starter-base", "sft"], {("sft", "starter-base"): (80, 10)})
    told = acting(CY).get("/api/leaderboard").json()
    assert (told["base"], told["bases"]) == ("starter-base", ["starter-base", "sft"])
    (row,) = told["tables"][0]["rows"]
    assert (row["model"], row["verdict"], row["evaluation"]) == ("sft", "better", "r")
    assert acting(CY).get("/api/leaderboard", params={"base": "nobody"}).json()["tables"] == []


def test_raters_are_told_numbers_and_not_who_or_where(acting: As, models: Store) -> None:
    evaluated(models.workspace, "r", ["starter-base", "sft"], {})
    record = evaluations.EvaluationFiles(models.workspace, "r").record
    record.parent.mkdir()
    record.write_text('{"by": "bo", "at_ms": 1}')
    whole, seen = (acting(person).get("/api/evaluations/r") for person in (BO, CY))
    assert whole.json()["by"] == "bo"
    assert "a secret one" in whole.text
    assert seen.json()["by"] == ""
    assert "a secret one" not in seen.text
    assert seen.json()["numbers"]["measures"][0]["label"] == "Stops by itself"
    (listed,) = acting(CY).get("/api/evaluations", params={"model": "sft"}).json()["records"]
    assert "measures" not in listed["numbers"]


def test_what_may_not_be_evaluated_is_an_error_at_its_field(acting: As, models: Store) -> None:
    for body, field in (
        ({"models": ["sft", "judge"]}, "models"),
        ({"models": ["sft", "ppo"], "prompts": "../x"}, "prompts"),
        ({"models": ["sft", "ppo"], "max_new_tokens": 10**6}, "max_new_tokens"),
        ({"models": [], "prompts": "sealed"}, "models"),
        ({"models": ["sft"], "out": "/etc/passwd"}, "out"),
    ):
        answer = acting(BO).post("/api/evaluations", json=body)
        assert answer.status_code == 422
        assert answer.json()["field"] == field


def test_an_evaluation_is_started_by_a_reviewer(acting: As, models: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluations, "spawn", lambda *_: 1)
    answer = acting(BO).post("/api/evaluations", json={"models": ["sft", "ppo"]})
    assert (answer.status_code, answer.json()["name"], answer.json()["by"]) == (201, "ppo-vs-sft", "bo")
    assert acting(BO).post("/api/evaluations/ppo-vs-sft/stop").status_code == 409
    log = acting(ADA).get("/api/audit").json()["records"]
    assert [each["subject"] for each in log if each["action"] == "evaluations.started"] == ["ppo-vs-sft"]
    assert acting(BO).get("/api/evaluation-prompts").json()[0]["name"] == "sealed"
