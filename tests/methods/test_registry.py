"""Finding a method by name, by file and by entry point."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tutelage.cli import main
from tutelage.errors import ConfigError
from tutelage.methods import registry
from tutelage.methods.registry import METHODS, all_methods, find_method
from tutelage.methods.sft import SFT

MINE = """
from tutelage.methods.registry import Loss, method
from tutelage.methods.sft import SFT

@method("{name}")
class {cls}(SFT):
    summary = "mine"

    def loss(self, batch):
        return Loss(total=-{factor} * batch.logprobs.sum(), weight=1.0)
"""


@pytest.fixture(autouse=True)
def _same_registry_afterwards() -> Iterator[None]:
    before = all_methods()
    yield
    METHODS.clear()
    METHODS.update(before)


def write(path: Path, *names: str, factor: int = 1) -> str:
    text = "\n".join(MINE.format(name=name, cls=f"Mine{index}", factor=factor) for index, name in enumerate(names))
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_sft_is_there() -> None:
    assert find_method("sft") is SFT
    assert SFT.name == "sft"
    assert SFT.learning_rate == 2e-5


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown method 'stf'; did you mean 'sft'\? There are: apo-down, .*, sft, "):
        find_method("stf")


def test_every_method_tells_what_it_is() -> None:
    for name, cls in all_methods().items():
        assert cls.name == name
        assert all((cls.summary, cls.paper, cls.formula, cls.learns_from)), name
        assert cls.epochs >= 1
        assert cls.learning_rate > 0
        assert cls() == cls()  # a frozen dataclass whose every option has a default


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("    beta: float\n    learning_rate = 1e-6", "method 'mine': its option 'beta' has no default; give it one"),
        ("    beta: float = 1.0", "method 'mine' has no learning_rate; give the class one, e.g. learning_rate = 1e-6"),
    ],
)
def test_a_method_that_lacks_something(tmp_path: Path, body: str, text: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f'from tutelage.methods import method\n\n@method("mine")\nclass Mine:\n{body}\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        find_method(str(path))
    assert str(caught.value) == text


def test_a_method_file_that_python_cannot_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("x = 1\ndef (:\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=f"^{path}:2: invalid syntax; correct the file$"):
        find_method(str(path))
    path.write_text("import no_such_module\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=f"^{path}: No module named 'no_such_module'; install it"):
        find_method(str(path))


def test_a_method_in_a_file_of_ones_own(tmp_path: Path) -> None:
    found = find_method(write(tmp_path / "mine.py", "mine"))
    assert (found.__name__, found.name, found.summary) == ("Mine0", "mine", "mine")
    assert find_method("mine") is found


def test_a_file_may_build_on_a_method_that_was_not_imported_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    METHODS.pop("sft")
    monkeypatch.delitem(sys.modules, "tutelage.methods.sft")
    assert find_method(write(tmp_path / "mine.py", "mine")).name == "mine"
    assert "sft" in METHODS


def test_a_file_can_be_edited_and_run_again(tmp_path: Path) -> None:
    first = find_method(write(tmp_path / "mine.py", "mine"))
    second = find_method(write(tmp_path / "mine.py", "mine", factor=22))
    assert first is not second
    assert find_method("mine") is second
    assert find_method(write(tmp_path / "mine.py", "renamed")).name == "renamed"


def test_a_file_may_replace_a_method_by_name(tmp_path: Path) -> None:
    found = find_method(write(tmp_path / "mine.py", "sft"))
    assert found.__name__ == "Mine0"


def test_files_of_one_name_in_two_folders(tmp_path: Path) -> None:
    for folder, name in (("a", "left"), ("b", "right")):
        (tmp_path / folder).mkdir()
        assert find_method(write(tmp_path / folder / "mine.py", name)).name == name


@pytest.mark.parametrize(("names", "count"), [((), 0), (("one", "two"), 2)])
def test_a_file_defines_exactly_one_method(tmp_path: Path, names: tuple[str, ...], count: int) -> None:
    path = write(tmp_path / "mine.py", *names)
    with pytest.raises(ConfigError) as caught:
        find_method(path)
    assert str(caught.value) == (f'{path} registers {count} methods; it needs exactly one class under @method("name")')


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"^there is no method file nowhere/mine\.py; check the path$"):
        find_method("nowhere/mine.py")


def test_a_method_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "package_of_mine.py", "packaged")
    monkeypatch.syspath_prepend(str(tmp_path))
    entry = EntryPoint(name="packaged", value="package_of_mine:Mine0", group="tutelage.methods")
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry] if group == entry.group else [])
    with pytest.raises(ConfigError, match=r"did you mean 'packaged'\? There are: .*, packaged, .*r-dpo, "):
        find_method("packged")
    assert find_method("packaged").__module__ == "package_of_mine"


@pytest.mark.parametrize("name", registry.all_methods())
def test_the_command_line_reads_the_options_of_every_method(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The options of a base class too, whatever the method's own file imports."""
    with pytest.raises(SystemExit) as ended:
        main(["train", name, "--model", "m", "--out", "o"])
    assert ended.value.code == 2
    online = find_method(name).online
    assert f"{'--prompts' if online else '--data'} is missing" in capsys.readouterr().err
