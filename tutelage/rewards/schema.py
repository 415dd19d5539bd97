"""Whether an answer is JSON that follows a schema in a file of the user's.

Whatever draft the schema names is used, 2020-12 where it names none. Nothing is fetched: a reference to another file or
address is refused at the start. Leaves out `format` (dates, addresses …), which JSON Schema only describes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tutelage.errors import ConfigError
from tutelage.rewards.instructions import pattern_problem, refuse_constant

_REFERENCES = {"$ref", "$dynamicRef", "$recursiveRef"}
_FENCE = re.compile(r"\A\s*```\w*[ \t]*\n(.*)\n[ \t]*```\s*\Z", re.DOTALL)


def follows_schema(file: str) -> Callable[[str], bool]:
    """A test of texts against the schema in `file`; a fence of backticks around the whole text is allowed.

    Raises ConfigError for a file that is no schema, and without the package jsonschema.
    """
    validator = _validator(file)

    def follows(text: str) -> bool:
        fenced = _FENCE.match(text)
        try:
            value = json.loads(fenced[1] if fenced else text, parse_constant=refuse_constant)
            return bool(validator.is_valid(value))
        except (ValueError, RecursionError):
            return False

    return follows


def _validator(file: str) -> Any:
    try:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry
    except ImportError as error:
        raise ConfigError(
            "--reward json-schema needs the package jsonschema; pip install 'tutelage[rewards]'"
        ) from error
    try:
        schema = json.loads(Path(file).read_text(encoding="utf-8"))
        if not isinstance(schema, dict):
            raise ValueError(f"it is a {type(schema).__name__}, not an object")
        chosen = validator_for(schema, default=Draft202012Validator)
        chosen.check_schema(schema)
    except (OSError, ValueError, SchemaError) as error:
        what = getattr(error, "message", str(error))
        raise ConfigError(f"--reward json-schema: {file} is no readable JSON schema: {what}") from error
    _check_keywords(schema, file)
    registry: Any = Registry()  # an empty one of our own: the default one would fetch addresses
    return chosen(schema, registry=registry)


def _check_keywords(schema: dict[str, Any], file: str) -> None:
    for key, value in _keywords({name: value for name, value in schema.items() if name != "$id"}):
        if key == "$id":
            raise ConfigError(f"--reward json-schema: {file} has an $id inside it ('{value}'); leave it out")
        if key in _REFERENCES and not _leads_somewhere(value, schema):
            raise ConfigError(
                f"--reward json-schema: {file} refers to '{value}', which is not in it; "
                "put it under $defs and refer to it as #/$defs/NAME"
            )
        if key == "pattern" and (problem := pattern_problem(value)):
            raise ConfigError(f"--reward json-schema: {file}: 'pattern' {problem}")


def _keywords(node: Any) -> Iterator[tuple[str, str]]:
    """Every key with a text, at whatever depth."""
    if isinstance(node, dict):
        for key, value in node.items():
            if isinstance(value, str):
                yield key, value
            yield from _keywords(value)
    elif isinstance(node, list):
        for value in node:
            yield from _keywords(value)


def _leads_somewhere(reference: str, schema: Any) -> bool:
    """Whether a reference is `#` or `#/a path` that exists in the schema."""
    if reference == "#":
        return True
    if not reference.startswith("#/"):
        return False
    node = schema
    for part in reference[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        elif isinstance(node, dict) and key in node:
            node = node[key]
        else:
            return False
    return True
