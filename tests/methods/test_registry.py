"""Finding a method by name, by file and by entry point."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from tutelage.errors import ConfigError
from tutelage.methods import registry
from tutelage.methods.registry import METHODS, find_method, method
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
    before = dict(METHODS)
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
    method("dpo")(type("DPO", (), {}))
    with pytest.raises(ConfigError) as caught:
        find_method("stf")
    assert str(caught.value) == "unknown method 'stf'; did you mean 'sft'? There are: dpo, sft"


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
    with pytest.raises(ConfigError, match=r"did you mean 'packaged'\? There are: packaged, sft$"):
        find_method("packged")
    assert find_method("packaged").__module__ == "package_of_mine"
