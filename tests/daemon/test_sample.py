"""What is made from the config's models, the sample and the schema, and the lines in which keys stand."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from inboxd.daemon.config import Config, ConfigError, parse, sample, schema
from inboxd.daemon.tomllines import lines
from inboxd.jobs.api import Policy
from inboxd.jobs.units import Rate

TRICKY = '''\
a = """
b = 1
"""  # c = 2
"d.e" = 'x = """'
"quo\\"te" = """"a" or "b""""
f.g = [  # [h]
  { i = 1 },
  "]",
]
[ j . "k" ]
l = { m = 1 }
[[n]]
o = '\\'
'''
# DEL is the one character that JSON takes as it is and TOML does not.
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"))
VALUES = st.one_of(
    st.integers(-(2**63), 2**63),
    st.booleans(),
    TEXT,
    st.lists(st.one_of(TEXT, st.integers(0, 9))),
    st.floats(allow_nan=False, allow_infinity=False),
)


def toml(table: dict[str, Any]) -> str:
    """Write a flat table, a line for each key; strings, numbers and arrays look the same in JSON."""
    shown = {json.dumps(key, ensure_ascii=False): json.dumps(value, ensure_ascii=False) for key, value in table.items()}
    return "".join(f"{key} = {value}\n" for key, value in shown.items())


def uncommented() -> str:
    """Give the sample with every key that is a comment in force."""
    wanted = (line.removeprefix("# ") for line in sample().splitlines())
    return "\n".join(line for line in wanted if line.startswith("[") or " = " in line)


def test_the_sample_gives_the_defaults_back() -> None:
    assert parse(sample(), "inboxd.toml") == Config()


def test_the_sample_writes_amounts_as_people_do() -> None:
    written = dict(
        line.partition("  # ")[0].rstrip().split(" = ", 1) for line in sample().splitlines() if " = " in line
    )
    assert (written["drain"], written["quiet"], written["max_body"]) == ('"20s"', '"500ms"', '"64 MiB"')
    assert written["backoff"] == '{ first = "1s", factor = 2.0, max = "10m" }'


def test_the_examples_in_the_sample_are_valid() -> None:
    config = parse(uncommented(), "inboxd.toml")
    assert [api.name for api in config.apis] == ["shop"]
    assert config.defaults.rate == Rate(50.0, 1.0)


def test_every_key_stands_in_the_sample() -> None:
    known = {".".join(key) for key in lines(uncommented())}
    defaults = {f"defaults.{name}" for name in Policy.model_fields}
    assert {*Config.model_fields, *defaults, "api.shop.base_url", "api.shop.headers", "log.file"} <= known


def test_every_key_of_the_sample_says_what_it_is_for() -> None:
    own, _, _ = sample().partition("# [api.shop]")
    assert [line for line in own.splitlines() if " = " in line and "  # " not in line] == []


def test_the_schema_names_every_key_and_no_name_of_an_api() -> None:
    found = schema()
    json.dumps(found)
    assert set(found["properties"]) == set(Config.model_fields)
    api = found["$defs"]["Api"]
    assert "name" not in {*api["properties"], *api["required"]}
    assert api["required"] == ["base_url"]


def test_making_the_schema_leaves_the_next_one_whole() -> None:
    assert schema() == schema()


def test_lines_are_found_among_strings_arrays_and_comments() -> None:
    assert lines(TRICKY) == {
        ("a",): 1,
        ("d.e",): 4,
        ('quo"te',): 5,
        ("f",): 6,
        ("f", "g"): 6,
        ("j",): 10,
        ("j", "k"): 10,
        ("j", "k", "l"): 11,
        ("n",): 12,
        ("n", "o"): 13,
    }


@given(st.dictionaries(TEXT, VALUES, max_size=8))
def test_the_line_of_any_key_is_found(table: dict[str, Any]) -> None:
    assert lines(toml(table)) == {(key,): number for number, key in enumerate(table, 1)}


@given(st.dictionaries(st.sampled_from([*Config.model_fields, "x"]), VALUES, max_size=8))
def test_any_values_give_a_config_or_mistakes_with_their_lines(table: dict[str, Any]) -> None:
    told = ""
    try:
        parse(toml(table), "inboxd.toml")
    except ConfigError as error:
        told = str(error)
    numbers = [int(line.split(":")[1]) for line in told.splitlines()]
    assert all(0 < number <= len(table) for number in numbers)
    assert ("x" in table) <= bool(told)
