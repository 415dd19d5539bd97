"""What is told to the libraries below: once, early, and never against the user's word."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tutelage.engine.memory import KEPT_KERNELS, bound_kernel_cache

pytestmark = pytest.mark.slow  # processes of their own

CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"


def test_the_kernel_cache_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CAPACITY, "0")  # so that what the call sets is undone afterwards
    monkeypatch.delenv(CAPACITY)
    bound_kernel_cache()
    assert os.environ[CAPACITY] == str(KEPT_KERNELS)


def test_a_users_own_bound_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CAPACITY, "7")
    bound_kernel_cache()
    assert os.environ[CAPACITY] == "7"


SHAPES = """
import os
os.environ["ONEDNN_VERBOSE"] = "profile_create"
from tutelage.engine import memory
memory.KEPT_KERNELS = {kept}
memory.bound_kernel_cache()
import torch
weight = torch.ones(8, 16, 3, 3)
for _ in range(2):
    for rows in range(100, 110):
        torch.nn.functional.conv2d(torch.ones(2, 16, rows, 64), weight)
"""


# Convolutions, since oneDNN computes those on every processor it is built for.
@pytest.mark.parametrize(("kept", "misses"), [(200, 10), (5, 20)])
def test_onednn_heeds_it(kept: int, misses: int) -> None:
    """Ten shapes twice: with room for all, each is prepared once; with room for five, each time."""
    script = [sys.executable, "-c", SHAPES.format(kept=kept)]
    environment = {name: value for name, value in os.environ.items() if name != CAPACITY}
    output = subprocess.run(script, capture_output=True, text=True, check=True, env=environment).stdout
    assert output.count("create:cache_miss,cpu,convolution") == misses
