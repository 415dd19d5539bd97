"""Distillation from prompts to a saved model: nothing to learn from oneself, a student that comes nearer, resume."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from killing import Killed, killing
from safetensors.torch import load_file
from tiny import VOCAB_SIZE, tiny_folder, tiny_model, tiny_tokenizer
from torch import Tensor

import tutelage
from tutelage.cli import main
from tutelage.engine.answer import OwnEngine
from tutelage.engine.forward import TreeEngine
from tutelage.engine.rows import pack
from tutelage.engine.tree import Tokens, Tree
from tutelage.errors import ConfigError, TrainingError, TutelageError
from tutelage.methods.registry import find_method
from tutelage.train.optimizer import MasterAdamW
from tutelage.train.teacher import Teacher

pytestmark = pytest.mark.slow  # whole runs

TIMING = ("seconds", "tokens_per_second")
FAST: dict[str, Any] = {
    "model": "student", "teacher": "teacher", "prompts": "prompts.jsonl", "prompts_per_step": 2, "group_size": 2,
    "max_new_tokens": 6, "num_samples": 0, "precision": "fp32", "quiet": True, "learning_rate": 1e-3, "save_every": 1,
}  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a student, a teacher twice as wide, and prompts; it is the current one."""
    tiny_folder(tmp_path, "llama", name="student")
    tiny_folder(tmp_path, "llama", name="teacher", seed=1, hidden_size=64)
    prompts = [{"prompt": f"What is {n}?"} for n in range(4)]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in prompts), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(out: str, **options: Any) -> tutelage.Run:
    return tutelage.train("distill", out=out, **(FAST | options))


def weights(run: tutelage.Run) -> dict[str, Tensor]:
    return load_file(run.model_path / "model.safetensors")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def without_timing(run: tutelage.Run) -> list[dict[str, Any]]:
    return [{key: value for key, value in line.items() if not key.endswith(TIMING)} for line in run.metrics]


# What a step is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_a_student_that_is_its_teacher_learns_nothing(world: Path, beta: float) -> None:
    """The divergence is 0, and so is the gradient, but for roundings."""
    line = train("same", teacher="student", beta=beta, max_steps=1).metrics[0]
    assert line["divergence"] == pytest.approx(0, abs=1e-6)
    assert line["loss"] == pytest.approx(0, abs=1e-6)
    assert line["grad_norm"] == pytest.approx(0, abs=1e-5)
    assert line["teacher_logprob"] == pytest.approx(-line["entropy"], abs=1e-5)


def test_what_is_written_each_step(world: Path) -> None:
    first = train("told", temperature=0.8, distill_temperature=0.8).metrics[0]
    assert {"loss", "divergence", "teacher_logprob", "entropy", "length", "stop_rate", "distinct"} <= first.keys()
    assert not [name for name in first if name.startswith(("reward", "kl", "num_groups_equal", "ptx", "value"))]
    assert (first["num_scored"], first["num_unscored"], first["num_updates"]) == (4, 0, 1)
    assert first["mismatch_kl"] == pytest.approx(0, abs=1e-6)
    assert first["divergence"] > 0
    assert first["grad_norm"] > 0


def test_the_trainers_logprobs_are_not_compared_with_a_sampler_at_another_temperature(world: Path) -> None:
    assert "mismatch_kl" not in train("cold", temperature=0.8, max_steps=1).metrics[0]


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_student_comes_nearer_to_the_teacher(world: Path, beta: float) -> None:
    options = {"beta": beta, "epochs": 40, "group_size": 8, "learning_rate": 3e-3, "schedule": "constant"}
    lines = train("nearer", save_every=0, **options).metrics
    assert len(lines) == 80
    first, last = lines[0]["divergence"], sum(line["divergence"] for line in lines[-5:]) / 5
    assert last < 0.6 * first
    assert lines[-1]["teacher_logprob"] > lines[0]["teacher_logprob"]


def test_distillation_lowers_the_reverse_kl_on_answers_that_nobody_trained_on(world: Path) -> None:
    run = train("nearer", beta=1.0, epochs=40, group_size=8, learning_rate=3e-3, save_every=0)
    teacher = tiny_model("llama", seed=1, hidden_size=64)
    before, after = tiny_model("llama"), tiny_model("llama")
    after.load_state_dict(weights(run))
    ids = torch.tensor([tiny_tokenizer("llama")("What is 9? It is").input_ids])

    def reverse_kl(model: Any) -> float:
        own, theirs = (one(ids).logits[0, -1].log_softmax(-1) for one in (model, teacher))
        return float((own.exp() * (own - theirs)).sum())

    with torch.no_grad():
        assert reverse_kl(after) < reverse_kl(before)


def test_the_teacher_stays_as_it_was_and_shares_nothing(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Teacher] = []
    original = Teacher.compare

    def watched(self: Teacher, student: TreeEngine, *args: Any) -> Any:
        seen.append(self)
        own = {parameter.data_ptr() for parameter in student.model.parameters()}
        assert own.isdisjoint(parameter.data_ptr() for parameter in self.engine.model.parameters())
        assert not self.engine.model.training
        return original(self, student, *args)

    monkeypatch.setattr(Teacher, "compare", watched)
    train("frozen", teacher="student", learning_rate=0.1)
    after = dict(seen[-1].engine.model.named_parameters())
    assert all(
        torch.equal(after[name], value) for name, value in load_file(world / "student/model.safetensors").items()
    )
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in after.values())


def test_with_an_adapter(world: Path) -> None:
    lines = train("adapted", lora={"rank": 4}, epochs=20, group_size=8, learning_rate=0.02, save_every=0).metrics
    assert sum(line["divergence"] for line in lines[-5:]) / 5 < 0.9 * lines[0]["divergence"]


def test_how_a_step_is_split_into_rows_and_updates(world: Path) -> None:
    """Rows change nothing but roundings; minibatches take more updates."""
    whole = train("whole", max_steps=1, group_size=4)
    rows = train("rows", max_steps=1, group_size=4, row_tokens=8)
    assert rows.metrics[0]["loss"] == pytest.approx(whole.metrics[0]["loss"], rel=1e-5)
    assert rows.metrics[0]["grad_norm"] == pytest.approx(whole.metrics[0]["grad_norm"], rel=1e-4)
    assert train("two", max_steps=1, minibatches=2).metrics[0]["num_updates"] == 2


# Paths and vocabularies ----------------------------------------------------------------------------------------------


def batch_and_method(temperature: float = 0.7) -> tuple[Any, Any]:
    trees = [
        Tree(Tokens.prompt((5, 9, 17)), (Tokens.completion((30, 41, 2)), Tokens.completion((7,)))),
        Tree(Tokens.prompt((8, 8)), (Tokens.completion((100, 2)),)),
    ]
    return pack(trees), find_method("distill")(beta=0.3, distill_temperature=temperature)


def gradients(student: Any, teacher: Teacher) -> tuple[Tensor, list[Tensor]]:
    batch, method = batch_and_method()
    _, found = teacher.compare(student, batch, method)
    parameters = [parameter for parameter in student.model.parameters() if parameter.requires_grad]
    return found["divergence"], list(torch.autograd.grad(found["divergence"].sum(), parameters))


@pytest.mark.parametrize("family", ["llama", "gemma2"])
@pytest.mark.parametrize("padded", ["student", "teacher", "both"])
def test_the_padded_path_gives_the_same_as_the_packed_one(family: str, padded: str) -> None:
    """Divergences and every gradient, also where only one of the two has to take the padded path."""
    student, teacher = tiny_model(family), tiny_model(family, seed=1)
    expected = gradients(TreeEngine(student), Teacher(TreeEngine(teacher), VOCAB_SIZE))
    engines = {}
    for name, seed in (("student", 0), ("teacher", 1)):
        model = tiny_model(family, seed=seed)
        if padded in (name, "both"):
            model._tutelage_tree_support = "for this test"
        engines[name] = TreeEngine(model)
        assert engines[name].path == ("padded" if padded in (name, "both") else "tree")
    found = gradients(engines["student"], Teacher(engines["teacher"], VOCAB_SIZE))
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
    for one, other in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_packed_divergences_are_those_of_the_models_own_logits() -> None:
    """By transformers alone, one sequence at a time: the positions that predict a sampled token, and no other."""
    student, teacher = tiny_model("llama"), tiny_model("llama", seed=1)
    batch, method = batch_and_method()
    _, found = Teacher(TreeEngine(tiny_model("llama", seed=1)), VOCAB_SIZE).compare(
        TreeEngine(tiny_model("llama")), batch, method
    )
    expected = []
    for prompt, answer in (((5, 9, 17), (30, 41, 2)), ((5, 9, 17), (7,)), ((8, 8), (100, 2))):
        ids = torch.tensor([prompt + answer])
        with torch.no_grad():
            own, theirs = (
                (model(ids).logits[0, len(prompt) - 1 : -1].double() / 0.7).softmax(-1) for model in (student, teacher)
            )
        mixture = 0.3 * theirs + 0.7 * own
        of_teacher = (theirs * (theirs / mixture).log()).sum(-1)
        expected += (0.3 * of_teacher + 0.7 * (own * (own / mixture).log()).sum(-1)).tolist()
    assert found["divergence"].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_teacher_with_more_rows_than_the_tokenizer_has_tokens(world: Path) -> None:
    """Families pad their embeddings differently; the tokens are the same, so only these are compared."""
    tiny_folder(world, "llama", name="wide", seed=1, hidden_size=64, vocab_size=VOCAB_SIZE + 24)
    run = train("shared", teacher="wide", epochs=20, group_size=8, learning_rate=3e-3, save_every=0)
    assert run.metrics[-1]["divergence"] < run.metrics[0]["divergence"]


def test_answers_with_a_token_the_teacher_does_not_have_are_counted_and_left_out(world: Path) -> None:
    """An untrained student with spare rows does sample them; they are no tokens, and the teacher has no such row."""
    tiny_folder(world, "llama", name="spare", vocab_size=VOCAB_SIZE + 24)
    line = train("left-out", model="spare", group_size=16, max_steps=1).metrics[0]
    assert line["num_unscored"] > 0
    assert line["num_scored"] + line["num_unscored"] == 32


def test_a_step_without_any_answer_to_learn_from_is_an_error(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.train.teacher._num_rows", lambda _: 3)
    with pytest.raises(
        TrainingError, match=r"^step 1: every answer, .* a token beyond the 3 that teacher and student "
    ):
        train("none")


def test_a_teacher_with_other_tokens_is_refused(world: Path) -> None:
    tiny_folder(world, "qwen2", name="stranger")
    with pytest.raises(ConfigError) as caught:
        train("o", teacher="stranger")
    assert str(caught.value).startswith("--teacher: stranger has other tokens than student (")
    assert str(caught.value).endswith(" have the same number in both); give a model with the same tokenizer")
    assert not (world / "workspace" / "runs" / "o").exists()


# Resume --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["sampling", "learning"])
def test_killed_in_the_middle_and_resumed_is_never_killed(
    world: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    options = {"epochs": 2, "minibatches": 2, "beta": 0.3}
    whole = train("whole", **options)
    with monkeypatch.context() as patch:
        if place == "sampling":
            patch.setattr(OwnEngine, "sample", killing(OwnEngine.sample, 3))
        else:
            patch.setattr(MasterAdamW, "step", killing(MasterAdamW.step, 4))
        with pytest.raises(Killed):
            train("killed", **options)
    killed = tutelage.train("distill", out="killed", resume=True, quiet=True)
    assert same(weights(killed), weights(whole))
    assert without_timing(killed) == without_timing(whole)


def test_another_teacher_cannot_take_over_a_run(world: Path) -> None:
    train("begun", max_steps=1)
    (world / "workspace/models/begun/model.safetensors").unlink()
    (world / "workspace/models/begun").rename(world / "gone")
    with pytest.raises(ConfigError, match=r"^--resume: 'teacher' was 'teacher' when run 'begun' was started and is "):
        tutelage.train("distill", out="begun", resume=True, teacher="student", quiet=True)


# Mistakes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"teacher": None}, "--teacher is missing; give a model whose answers are better and whose tokens the same"),
        ({"teacher": "techer"}, "no model 'techer'"),
        ({"prompts": None}, "--prompts is missing; give a file"),
        ({"prompts": "sealed"}, "'sealed' names the sealed prompts, which nothing is ever trained on"),
        ({"data": "x.jsonl"}, "--data is x.jsonl; distill answers prompts: give them by --prompts"),
        ({"reward": "math"}, "unknown key 'reward'; did you mean"),
        ({"kl_coef": 0.1}, "unknown key 'kl_coef'; did you mean"),
        ({"beta": 2.0}, "--beta is 2.0; it must be between 0, forward KL(teacher‖student), and 1"),
        ({"stop_on": ["kl-runway"]}, "--stop-on is 'kl-runway'; did you mean 'kl-runaway'?"),
    ],
)
def test_mistakes_are_found_before_anything_is_loaded(world: Path, options: dict[str, Any], message: str) -> None:
    given = {key: value for key, value in (FAST | options).items() if value is not None}
    with pytest.raises(TutelageError) as caught:
        tutelage.train("distill", out="o", **given)
    assert message in str(caught.value)
    assert not (world / "workspace" / "runs" / "o").exists()


def test_from_the_command_line(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = "train distill --model student --teacher teacher --prompts prompts.jsonl --out told --beta 1 --max-steps 1"
    small = "--max-new-tokens 4 --prompts-per-step 2 --num-samples 0 --precision fp32"
    with pytest.raises(SystemExit) as ended:
        main([*line.split(), *small.split()])
    assert ended.value.code in (0, None)
    assert "try it: tutelage chat told" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--prompts prompts.jsonl", "--teacher is missing; give a model"),
        ("--prompts prompts.jsonl --teacher teacher --reward math", "--reward"),
        ("--prompts prompts.jsonl --teacher teacher --beta 1.5", "--beta is 1.5; it must be between 0"),
    ],
)
def test_a_mistake_on_the_command_line(
    world: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "distill", "--model", "student", "--out", "o", *line.split()])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_the_list_of_methods_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (["methods"], ["methods", "distill"]):
        with pytest.raises(SystemExit):
            main(line)
        assert "distill" in capsys.readouterr().out
