"""Runs a Python file of the user's as a module: a method or a reward of one's own. It has the user's rights.

Leaves out isolation, and everything that came from somewhere else: a model's own code is another matter
(`--trust-remote-code`).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from tutelage.errors import ConfigError


def run_file(path: Path, name: str, where: str = "") -> ModuleType:
    """The module `name` made of the file, run anew each time; it can be found in `sys.modules` afterwards.

    Raises ConfigError with file and line for what keeps it from loading; `where` stands before the message.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ConfigError(f"{where}{path}:{error.lineno}: {error.msg}; correct the file") from error
    except ImportError as error:
        raise ConfigError(f"{where}{path}: {error}; install it, or correct the import") from error
    return module
