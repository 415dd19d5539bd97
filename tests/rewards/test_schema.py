"""Answers that follow a JSON schema, and schemas that cannot be used."""

import json
import sys

import pytest

from tutelage.errors import ConfigError
from tutelage.rewards.schema import follows_schema

RECIPE = {
    "type": "object",
    "required": ["name", "minutes"],
    "properties": {"name": {"$ref": "#/$defs/text"}, "minutes": {"type": "number", "minimum": 1}},
    "$defs": {"text": {"type": "string", "pattern": "^[A-Z]"}},
}


@pytest.fixture
def written(tmp_path):
    def write(schema) -> str:
        file = tmp_path / "schema.json"
        file.write_text(schema if isinstance(schema, str) else json.dumps(schema), encoding="utf-8")
        return str(file)

    return write


def refused(file: str) -> str:
    with pytest.raises(ConfigError) as error:
        follows_schema(file)
    return str(error.value).replace(file, "FILE")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"name": "Soup", "minutes": 20}', True),
        ('```json\n{"name": "Soup", "minutes": 20}\n```\n', True),
        ('{"name": "soup", "minutes": 20}', False),
        ('{"name": "Soup", "minutes": 0}', False),
        ('{"name": "Soup"}', False),
        ('{"name": "Soup", "minutes": NaN}', False),
        ('Here: {"name": "Soup", "minutes": 20}', False),
        ("", False),
        ("[" * 100_000, False),
    ],
)
def test_an_answer_follows_the_schema_or_not(written, text, expected):
    assert follows_schema(written(RECIPE))(text) is expected


def test_the_draft_that_the_schema_names_is_used(written):
    tuple_of_two = {"items": [{"type": "string"}, {"type": "number"}]}
    draft_7 = {"$schema": "http://json-schema.org/draft-07/schema#"} | tuple_of_two
    follows = follows_schema(written(draft_7))
    assert follows('["a", 1]')
    assert not follows('["a", "b"]')
    assert "is no readable JSON schema" in refused(written(tuple_of_two))  # in 2020-12 that is prefixItems


def test_a_schema_that_refers_to_itself(written):
    tree = {"type": "array", "items": {"$ref": "#"}}
    follows = follows_schema(written(tree))
    assert follows("[[], [[]]]")
    assert not follows("[[], [1]]")


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/x.json", "other.json", "#/$defs/nothing", "#name"])
def test_a_reference_out_of_the_file_is_refused_at_the_start(written, reference):
    assert refused(written({"properties": {"a": {"$ref": reference}}})) == (
        f"--reward json-schema: FILE refers to '{reference}', which is not in it; "
        "put it under $defs and refer to it as #/$defs/NAME"
    )


def test_every_way_to_refer_elsewhere_is_refused(written):
    assert "refers to 'http://127.0.0.1:9/x'" in refused(written({"$dynamicRef": "http://127.0.0.1:9/x"}))
    inner = {"$id": "http://127.0.0.1:9/y", "$ref": "#/$defs/a"}
    message = "--reward json-schema: FILE has an $id inside it ('http://127.0.0.1:9/y'); leave it out"
    assert refused(written({"$defs": {"a": {"type": "string"}}, "items": inner})) == message
    top = {"$id": "http://127.0.0.1:9/z", "$defs": {"a": {"type": "string"}}, "items": {"$ref": "#/$defs/a"}}
    assert follows_schema(written(top))('["a"]')


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "Expecting property name"),
        ("[1]", "it is a list, not an object"),
        ({"type": "objekt"}, "'objekt' is not valid under any of the given schemas"),
        ({"properties": {"a": {"pattern": "(a+)+$"}}}, "FILE: 'pattern' repeats a group that itself repeats"),
    ],
)
def test_a_file_that_is_no_schema_is_refused(written, schema, message):
    assert message in refused(written(schema))


def test_a_missing_file_is_named(tmp_path):
    assert "FILE is no readable JSON schema: [Errno 2]" in refused(str(tmp_path / "no.json"))


def test_without_the_package_the_extra_is_named(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    assert refused(written(RECIPE)) == (
        "--reward json-schema needs the package jsonschema; pip install 'tutelage[rewards]'"
    )
