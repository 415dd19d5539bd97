"""The house: rooms import only from rooms before them, nothing runs code from data, and four files reach the network.

The walk reads every import, those inside functions and under TYPE_CHECKING included. `tutelage/__init__.py` is the door
and belongs to no room.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import tutelage

PACKAGE = Path(tutelage.__file__).parent
ORDER = (
    "errors", "types", "own_code", "stats", "data", "models", "store", "engine", "rewards", "methods", "train",
    "evaluate", "feedback", "runs", "serve", "api", "studio", "client",
)  # fmt: skip
VERBS = ("verbs", "workspace", "verdicts", "score", "best", "chat", "demo", "recipes", "cli", "__main__")
FLOOR = {room: number for number, room in enumerate(ORDER)} | dict.fromkeys(VERBS, len(ORDER))
FILES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

RUNS_CODE = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
REQUESTS = {"requests", "httpx", "aiohttp", "urllib3", "urllib.request", "http.client", "socketserver", "ftplib"}
MAY_FETCH = {Path("models/load.py"), Path("models/starter.py"), Path("rewards/judge.py"), Path("client/http.py")}
CALLS_THAT_RUN_CODE = {"eval", "exec", "torch.load", "os.system", "os.popen", "yaml.load", "yaml.unsafe_load"}
OPTIONS_THAT_RUN_CODE = {"shell", "allow_pickle", "weights_only"}


def parsed(file: Path) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"), filename=str(file))


def room_of(file: Path) -> str:
    """The room of a file of the package: its folder, or itself where it stands at the top."""
    return file.with_suffix("").parts[0]


def imported(tree: ast.AST, file: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted module or name) of every import, wherever it stands."""
    package = ["tutelage", *file.parent.parts]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("import_module"):
            yield from ((node.lineno, arg.value) for arg in node.args if isinstance(arg, ast.Constant))


def dotted(node: ast.expr) -> str:
    """`torch.load` for that expression; empty for what is no plain name."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


def imports_from_below(tree: ast.AST, file: Path) -> list[str]:
    """What is wrong with the imports of a file, a line each."""
    here = room_of(file)
    rooms = ((line, name.split(".")[1]) for line, name in imported(tree, file) if name.startswith("tutelage."))
    wrong = {(line, room) for line, room in rooms if room in FLOOR and FLOOR[room] > FLOOR[here]}
    return [f"{file}:{line}: {here} imports {room}, a room below it" for line, room in sorted(wrong)]


def code_runners(tree: ast.AST, file: Path) -> list[str]:
    """Where a file could run code that it was given as data."""
    wrong = [f"{file}:{line}: {name}" for line, name in imported(tree, file) if name.split(".")[0] in RUNS_CODE]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            options = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
            risky = [name for name in OPTIONS_THAT_RUN_CODE if options.get(name) is (name != "weights_only")]
            called = [name for name in CALLS_THAT_RUN_CODE if dotted(node.func) == name]
            wrong += [f"{file}:{node.lineno}: {name}" for name in [*called, *risky]]
    return wrong


def test_every_file_has_a_room() -> None:
    rooms = {room_of(file) for file in FILES} - {"__init__"}
    assert rooms == set(FLOOR)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_a_room_imports_only_rooms_before_it(file: Path) -> None:
    if file != Path("__init__.py"):
        assert imports_from_below(parsed(file), file) == []


@pytest.mark.parametrize(
    "source",
    [
        "from tutelage.train.api import train",
        "def late():\n    import tutelage.train.loop",
        "from tutelage import train",
        "from ..train import loop",
        "from .. import train",
        "if TYPE_CHECKING:\n    from tutelage.train.config import TrainConfig",
        "import importlib\nimportlib.import_module('tutelage.train')",
    ],
)
def test_the_walk_sees_every_way_to_import(source: str) -> None:
    file = Path("data/load.py")
    line = source.count("\n") + 1
    assert imports_from_below(ast.parse(source), file) == [f"data/load.py:{line}: data imports train, a room below it"]
    assert imports_from_below(ast.parse(source), Path("evaluate/run.py")) == []


@pytest.mark.parametrize("file", FILES, ids=str)
def test_nothing_runs_code_from_data(file: Path) -> None:
    assert code_runners(parsed(file), file) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "eval(text)",
        "subprocess.run(line, shell=True)",
        "numpy.load(path, allow_pickle=True)",
        "fetch(weights_only=False)",
    ],
)
def test_the_walk_sees_what_runs_code(source: str) -> None:
    assert code_runners(ast.parse(source), Path("data/load.py")) != []


def test_the_walk_lets_harmless_namesakes_pass() -> None:
    harmless = "model.eval()\nspec.loader.exec_module(module)\nyaml.safe_load(text)\nsubprocess.run(line, shell=False)"
    assert code_runners(ast.parse(harmless), Path("data/load.py")) == []


@pytest.mark.parametrize("file", FILES, ids=str)
def test_only_four_files_know_the_network(file: Path) -> None:
    names = {name for _, name in imported(parsed(file), file)}
    allowed = REQUESTS if file in MAY_FETCH else set()
    assert names & REQUESTS <= allowed
    if file not in MAY_FETCH:
        assert not {name for name in names if name.split(".")[0] == "huggingface_hub"}


@pytest.mark.parametrize("file", FILES, ids=str)
def test_nothing_is_left_for_later(file: Path) -> None:
    text = (PACKAGE / file).read_text(encoding="utf-8")
    assert re.findall(r"\b(?:TODO|FIXME|XXX|HACK|NotImplementedError)\b", text) == []
