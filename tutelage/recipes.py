"""Options that the command line does not give: those of a recipe, and of the run that is resumed.

They are put among the tokens before these are parsed, so that every option is checked in one place. Leaves out what
the options mean (`tutelage.train.config`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError
from tutelage.train.config import TrainConfig


def _given_keys(tokens: Sequence[str]) -> set[str]:
    """Option names on the command line, as config keys."""
    names = (token[2:].partition("=")[0] for token in tokens if token.startswith("--"))
    return {name.removeprefix("no-").replace("-", "_") for name in names}


def _value_after(tokens: Sequence[str], name: str) -> str | None:
    for index, token in enumerate(tokens):
        if token == name and index + 1 < len(tokens):
            return tokens[index + 1]
        if token.startswith(name + "="):
            return token.partition("=")[2]
    return None


def _as_tokens(values: Mapping[str, Any]) -> list[str]:
    tokens: list[str] = []
    for key, value in values.items():
        name = key.replace("_", "-")
        if isinstance(value, bool):
            tokens.append(f"--{name}" if value else f"--no-{name}")
        elif isinstance(value, (list, tuple)):
            tokens += [f"--{name}={item}" for item in value]
        elif value is not None:
            tokens.append(f"--{name}={value}")
    return tokens


def _read_recipe(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no recipe {path}; check the path") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} is no readable YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must be a mapping of options to values")
    return content


def _recipe_options(path: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a recipe with dotted keys; raises ConfigError for a key nobody knows."""
    from tutelage.train.config import dotted, unknown_key

    options = dotted(_read_recipe(path))
    for key, value in options.items():
        if key not in known:
            raise unknown_key(key, known, str(path))
        if isinstance(value, bool) and known[key] is not bool:  # YAML reads a bare `yes` or `no` as one
            word = str(value).lower()
            raise ConfigError(f"{path}: '{key}' is {word}; put quotes around a text, or leave the key out")
    return options


def fill_in(tokens: list[str], cls: type[Any] | None) -> list[str]:
    """Put in the options of a recipe, and of the run that is resumed, where the command line does not give them."""
    from tutelage.train.api import saved_options
    from tutelage.train.config import known_keys

    recipe = _value_after(tokens, "--recipe")
    known = known_keys(TrainConfig) | (known_keys(cls) if cls else {})
    added = {} if recipe is None else _recipe_options(Path(recipe), known)
    out = _value_after(tokens, "--out") or added.get("out")
    resumes = any(token in ("--resume", "--resume=true") for token in tokens) or added.get("resume")
    if resumes and out is not None:
        workspace = _value_after(tokens, "--workspace") or added.get("workspace") or TrainConfig.workspace
        # The folder may have moved since: where the run was found counts, not where it was begun.
        added = saved_options(Path(workspace), str(out), cls) | added | {"workspace": str(workspace)}
    given = _given_keys(tokens)
    return [*tokens, *_as_tokens({key: value for key, value in added.items() if key not in given})]
