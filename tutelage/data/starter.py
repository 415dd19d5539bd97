"""The starter files that ship inside the package: pairs to train on, prompts to compare answers to, sealed prompts to
report on, general text.

Leaves out: reading them as records (`tutelage.data.load`); here they are only found and opened.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from tutelage.data.files import open_stream
from tutelage.data.raw import RawFile
from tutelage.errors import DataError

STARTER = "starter"
SEALED = "sealed"
COMPARE = "compare"


def open_pairs() -> list[RawFile]:
    """The starter pairs, one file a category, in name order."""
    return _open_all("pairs_")


def pair_files() -> list[Path]:
    """The files of the starter pairs, in name order."""
    folder = Path(str(files("tutelage.data").joinpath("starter")))
    return sorted(folder.glob("pairs_*.jsonl"))


def open_sealed() -> list[RawFile]:
    """The sealed prompts, which are never trained on."""
    return _open_all("sealed_")


def open_compare() -> list[RawFile]:
    """The comparison prompts: to sample answers for people to compare, and to learn on by reward."""
    return _open_all("compare_")


def open_general() -> list[RawFile]:
    """Original prose, for measuring that general language ability is kept."""
    return _open_all("general_")


def _open_all(prefix: str) -> list[RawFile]:
    found = [file for file in files("tutelage.data").joinpath("starter").iterdir() if _is_named(file, prefix)]
    if not found:
        raise DataError(f"this installation holds no {prefix}*.jsonl; install tutelage again", file=STARTER)
    return [_open(file) for file in sorted(found, key=lambda file: file.name)]


def _is_named(file: Traversable, prefix: str) -> bool:
    return file.name.startswith(prefix) and file.name.endswith(".jsonl")


def _open(file: Traversable) -> RawFile:
    return open_stream(f"{STARTER}/{file.name}", lambda: file.open("rb"), ".jsonl")
