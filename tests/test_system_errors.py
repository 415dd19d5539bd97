"""What the system refuses becomes one line that says where, why and what helps."""

from __future__ import annotations

import errno
import os

import pytest

from tutelage.errors import told_of_system


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EACCES, "have its permissions changed"),
        (errno.EROFS, "name a place that can be written to"),
        (errno.ENOTDIR, "a folder is needed"),
    ],
)
def test_a_refusal_of_the_system_says_what_helps(code: int, remedy: str) -> None:
    told = told_of_system(OSError(code, os.strerror(code), "a/b"))
    assert told.startswith(f"a/b: {os.strerror(code)}; ")
    assert remedy in told


def test_a_refusal_without_a_path_or_a_number_is_told_as_it_is() -> None:
    assert told_of_system(OSError("no such thing")) == "no such thing"
