"""What `--reward` may say: weights, sums, names, and the mistakes that are found before a model is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from asked import answer_to
from tiny import tiny_folder

from tutelage.errors import ConfigError, ModelError
from tutelage.models.ensemble import save_ensemble
from tutelage.rewards.spec import check_reward, make_reward, parse_specs


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a reward function and a workspace whose models are only their configs."""
    (tmp_path / "reward.py").write_text("def one(answer):\n    return 1.0\n", encoding="utf-8")
    for name, kind in (
        ("rm", "ForSequenceClassification"),
        ("rm-2", "ForSequenceClassification"),
        ("lm", "ForCausalLM"),
    ):
        folder = tmp_path / "workspace" / "models" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps({"architectures": [f"Llama{kind}"]}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "workspace"


def refused(*texts: str, workspace: Path = Path("workspace"), error=ConfigError) -> str:
    with pytest.raises(error) as found:
        check_reward(texts, workspace)
    return str(found.value)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["math"], [(1.0, "math")]),
        (["rm + 0.2*length:120"], [(1.0, "rm"), (0.2, "length:120")]),
        (["rm", "-0.1*length"], [(1.0, "rm"), (-0.1, "length")]),
        (["  2 * math  +  +.5*exact + 1e-3*rm"], [(2.0, "math"), (0.5, "exact"), (0.001, "rm")]),
        (["regex:a+b*c"], [(1.0, "regex:a+b*c")]),
        (["./reward.py:one"], [(1.0, "./reward.py:one")]),
    ],
)
def test_a_reward_is_weights_and_names(texts, expected):
    assert [(spec.weight, spec.text) for spec in parse_specs(texts)] == expected


@pytest.mark.parametrize("weight", ["0", "-0.0", "nan", "inf", "-inf", "1e999"])
def test_a_weight_that_is_no_weight_is_refused(weight):
    assert refused(f"{weight}*math").startswith(f"--reward {weight}*math: the weight is ")


@pytest.mark.parametrize("text", ["", "2*", "math + ", "math +  + exact"])
def test_an_empty_part_is_refused(text):
    assert "--reward has an empty part" in refused(text)
    assert refused().startswith("--reward is missing")


def test_a_sum_weighs_its_parts(world):
    made = make_reward(["math + -0.5*./reward.py:one", "2*exact"], workspace=world)
    assert made.names == ("math", "reward.py:one", "exact")
    assert made.weights == (1.0, -0.5, 2.0)
    right, wrong = made.judge([answer_to("42", reference="42"), answer_to("41", reference="42")])
    assert right.total == 1.0 - 0.5 + 2.0
    assert wrong.total == -0.5
    assert wrong.components == {"math": 0.0, "reward.py:one": 1.0, "exact": 0.0}
    assert made.first_model is None
    assert not made.has_model


def test_the_same_name_twice_is_told_apart(world):
    twice = ["length:10 + length:20 + length:40", "./reward.py:one", "reward.py:one"]
    assert make_reward(twice, workspace=world).names == (
        "length", "length-2", "length-3", "reward.py:one", "reward.py:one-2",
    )  # fmt: skip


def test_a_number_behind_a_name_does_not_meet_another_name(world, monkeypatch):
    monkeypatch.setattr("tutelage.rewards.models.load_model_reward", lambda *given: FakeModel(given[4]))
    made = make_reward(["rm + rm + rm-2", "workspace/models/rm"], workspace=world)
    assert made.names == ("rm", "rm-2", "rm-2-2", "rm-3")
    assert made.judge([answer_to("a")])[0].total == 4.0
    assert made.first_model == "rm"


class FakeModel:
    def __init__(self, name: str) -> None:
        self.name = name

    def score(self, answers):
        return [1.0] * len(answers)


def test_models_are_loaded_as_asked(world, monkeypatch):
    given = []
    monkeypatch.setattr("tutelage.rewards.models.load_model_reward", lambda *all_: given.append(all_) or FakeModel("m"))
    say = print
    make_reward(["rm"], workspace=world, ensemble_penalty=0.5, say=say, device="cpu")
    assert given == [("rm", world, 0.5, say, "rm", "cpu")]


@pytest.mark.parametrize("penalty", [-0.1, float("nan"), float("inf")])
def test_a_penalty_that_rewards_disagreement_is_refused(world, penalty):
    with pytest.raises(ConfigError, match=r"--ensemble-penalty is .*; it must be 0 or more"):
        make_reward(["math"], workspace=world, ensemble_penalty=penalty)


@pytest.mark.usefixtures("world")
def test_an_unknown_name_names_the_nearest_and_all():
    assert refused("maths") == (
        "--reward maths: did you mean 'math'? Checks are: math, exact, regex, format, length, overlong, json-schema, "
        "instructions, judge; as a model: no model 'maths'; known: starter-base, starter-chat, lm, rm, rm-2, a folder, "
        "or a hub id owner/name"
    )
    assert refused("rm-3").endswith("as a model: no model 'rm-3'; did you mean 'rm-2'?")
    assert "did you mean 'length'" in refused("rm + 0.1*lenght:120")


@pytest.mark.parametrize("name", ["lm", "starter-base"])
@pytest.mark.usefixtures("world")
def test_a_language_model_is_refused_before_it_is_loaded(name):
    message = f"'{name}' is a language model, not a reward model; train one with `tutelage train reward`"
    assert refused(name, error=ModelError) == message


def test_an_ensemble_is_looked_through(world):
    save_ensemble(world / "models" / "both", ["rm", "rm-2"], {})
    check_reward(["both"], world)
    save_ensemble(world / "models" / "mixed", ["rm", "lm"], {})
    assert refused("mixed", error=ModelError).startswith("'mixed' is a language model")
    (world / "models" / "rm-2" / "config.json").unlink()
    assert "member 'rm-2' is missing" in refused("both", error=ModelError)


@pytest.mark.usefixtures("world")
def test_names_of_checks_come_before_files():
    check_reward([r"regex:see reward\.py: it"], Path("workspace"))
    assert "there is no format 'a.py:b'" in refused("format:a.py:b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("regex:(", "is not a regular expression"),
        ("judge", "needs the file with its rubric after a colon: judge:FILE.yaml"),
        ("judge:none.yaml", "none.yaml cannot be read: No such file or directory"),
        ("json-schema:none.json", "none.json is no readable JSON schema"),
        ("json-schema:", "is no readable JSON schema"),
        ("./reward.py:two", "has no function 'two'; it has: one"),
    ],
)
@pytest.mark.usefixtures("world")
def test_mistakes_in_an_argument_are_found_before_a_run(text, message):
    assert message in refused(text)


def test_checking_needs_no_torch(world):
    tiny_folder(world / "models", name="whole")  # the kind of a real model is read without it too
    code = (
        "import sys; from pathlib import Path; from tutelage.rewards.spec import check_reward\n"
        "check_reward(['rm + math + reward.py:one'], Path('workspace'))\n"
        "try: check_reward(['whole'], Path('workspace'))\n"
        "except Exception as error: print(error)\n"
        "print('torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines() == [
        "'whole' is a language model, not a reward model; train one with `tutelage train reward`", "False",
    ]  # fmt: skip
