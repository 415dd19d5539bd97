"""What is wrong with a value of a request is said in plain words, with what would be right."""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

import pytest
from api_clients import As
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from record import ADA

from tutelage.api.problems import PLAIN, said_of


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")

    at_least: int = Field(1, ge=1)
    more_than: float = Field(1, gt=0)
    at_most: int = Field(1, le=9)
    less_than: float = Field(1, lt=9, allow_inf_nan=False)
    text: str = Field("abc", min_length=2, max_length=4)
    some: list[int] = Field([1], min_length=1, max_length=2)
    one_of: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    yes: bool = True
    facts: dict[str, int] = {}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"at_least": 0}, "give at least 1"), ({"more_than": 0}, "give more than 0"),
        ({"at_most": 10}, "give at most 9"), ({"less_than": 9}, "give less than 9"),
        ({"less_than": "inf"}, "give a number that ends"), ({"text": "a"}, "give at least 2 characters"),
        ({"text": "abcde"}, "give at most 4 characters"), ({"text": 1}, "give a text"),
        ({"some": []}, "give at least 1"), ({"some": [1, 2, 3]}, "give at most 2"), ({"some": 1}, "give a list"),
        ({"one_of": "c"}, "give 'a' or 'b'"), ({"colour": "c"}, "give 'red' or 'blue'"),
        ({"at_least": "x"}, "give a whole number"), ({"at_least": 1.5}, "give a whole number"),
        ({"at_least": []}, "give a whole number"), ({"more_than": "x"}, "give a number"),
        ({"more_than": []}, "give a number"), ({"yes": "perhaps"}, "give true or false"),
        ({"yes": []}, "give true or false"), ({"facts": 1}, "give an object"),
        ({"other": 1}, "this is not permitted here"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_what_would_be_right(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Asked.model_validate(given)
    (error,) = caught.value.errors()
    assert error["type"] in PLAIN
    assert said_of(error) == said


def test_a_form_hears_it_with_the_field(acting: As) -> None:
    answer = acting(ADA).post("/api/invitations", json={"role": "rater", "note": "", "days": 0})
    assert answer.status_code == 422
    told = answer.json()
    assert (told["error"], told["field"]) == ("give at least 1", "days")
    named = acting(ADA).post("/api/snapshots", json={"name": "bad name!"}).json()
    assert named["error"] == "use letters, digits and . _ - only, and begin with a letter or a digit"
    assert acting(ADA).post("/api/pairs", json={}).json()["error"] == "this is missing"
