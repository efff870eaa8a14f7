"""pydantic's findings as sentences: where the mistake stands, what is there, what was expected."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from inboxd.jobs.findings import JSON, findings


class Wheel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    inches: int
    brand: str | None = None


def _list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


class Car(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str = Field("", pattern="^[a-z]*$")
    doors: bool | int = 4
    colour: Literal["red", "blue"] = "red"
    paint: str = Field("", alias="coat")
    wheels: dict[str, Annotated[list[Wheel], BeforeValidator(_list)]] = {}
    spare: Wheel | None = None


def told(written: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Car.model_validate(written)
    return [str(finding) for finding in findings(caught.value, written, Car)]


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({"name": 3}, "name: found 3; expected a string"),
        ({"name": "s3cret"}, "name: found a string; expected a string that must match pattern '^[a-z]*$'"),
        ({"doors": "four"}, "doors: found a string; expected a boolean or an integer"),
        ({"colour": "rot"}, "colour: found 'rot'; expected 'red' or 'blue'"),
        ({"colour": ["s3cret"]}, "colour: found an array; expected 'red' or 'blue'"),
        ({"coat": None}, "coat: found null; expected a string"),
        ({"spare": {}}, "spare.inches: this key is missing"),
        ({"spare": 3}, "spare: found 3; expected an object"),
        ({"spare": b""}, "spare: found a bytes; expected an object"),
        ({"wheels": {"left": {"inches": "big"}}}, "wheels.left.inches: found a string; expected an integer"),
        ({"wheels": {"left": [{"inches": "big"}]}}, "wheels.left.0.inches: found a string; expected an integer"),
        ({"wheel": {}}, 'wheel: unknown key; did you mean "wheels"?'),
        ({"coats": ""}, 'coats: unknown key; did you mean "coat"?'),
        ({"spare": {"inches": 3, "brant": ""}}, 'spare.brant: unknown key; did you mean "brand"?'),
        ({"wheels": {"left": [{"inches": 3, "brant": ""}]}}, 'wheels.left.0.brant: unknown key; did you mean "brand"?'),
        ({"zebra": ""}, "zebra: unknown key"),
    ],
)
def test_a_mistake_is_one_sentence_at_the_key_that_was_written(written: Any, sentence: str) -> None:
    assert told(written) == [sentence]


def test_every_mistake_is_told() -> None:
    assert len(told({"name": 3, "zebra": 1, "spare": {}})) == 3


def test_types_are_called_as_the_format_calls_them() -> None:
    with pytest.raises(ValidationError) as caught:
        Car.model_validate({"spare": 3})
    (finding,) = findings(caught.value, {"spare": 3}, Car, {**JSON, dict: "a table"})
    assert finding.text == "found 3; expected a table"
