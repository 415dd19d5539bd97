"""Fixtures that several rooms share; the factories behind them are in `tiny.py`, the workspace's in `record.py`."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from tiny import FAMILIES, tiny_folder

pytest_plugins = ["record", "browsing"]
torch.set_num_threads(1)
settings.register_profile("here", deadline=None)  # a deadline is wall time, and a neighbour's work is in it
settings.load_profile("here")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job, whose children ignore Ctrl-C too
    signal.signal(signal.SIGINT, signal.default_int_handler)


WHOLE = frozenset({"api", "client", "serve", "studio", "workspace"})
"""Rooms whose tests run a server, a browser or a verb as a whole."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what `make test-fast` can do without: whole things, and the record's second database.

    The files with long tests go first, so that what is left at the end is short and all workers end together.
    """
    long = {item.path for item in items if "slow" in item.keywords}
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
        if item.path.parent.name in WHOLE or any(type(each) is str and each == "postgresql" for each in parameters):
            item.add_marker("slow")
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each model family in turn."""
    return str(request.param)


@pytest.fixture
def tiny_llama(tmp_path: Path) -> Path:
    """A Hugging Face folder with a tiny Llama and its tokenizer."""
    return tiny_folder(tmp_path, "llama")


@pytest.fixture(autouse=True)
def _own_cache(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each test an empty cache, apart from the user's; tests of the real starter models use the user's."""
    if "starter" not in request.keywords:
        monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
