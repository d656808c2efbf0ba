"""The parser of JSON from strangers: what it reads as `json` does, and what it refuses before building it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penalize.errors import ConfigError
from penalize.strict_json import MOST_DEPTH, MOST_DIGITS, parse

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_valid_json_is_read_as_json_reads_it(value):
    text = json.dumps(value)
    assert parse(text, "it") == value
    assert parse(text.encode(), "it") == value


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_anything_else_is_our_error_or_valid(text):
    try:
        value = parse(text, "it")
    except ConfigError as error:
        value = error
    assert isinstance(value, ConfigError | dict | list | str | int | float | None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "a": 1}', "it: the key 'a' stands twice in one object"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' stands twice"),
        ("NaN", "NaN is no JSON number"),
        ("[Infinity, -Infinity]", "Infinity is no JSON number"),
        ("1" * (MOST_DIGITS + 1), "a number of 41 characters; 40 are the most"),
        ("1." + "1" * MOST_DIGITS, "a number of 42 characters"),
        ("[" * (MOST_DEPTH + 1), "nested deeper than 64"),
        ("[" * 10**5, "nested deeper than 64"),
        ('{"a":' * 3000 + "1" + "}" * 3000, "nested deeper than 64"),
        ('"\\ud800"', "half of a surrogate pair"),
        ('{"\\udfff": 1}', "half of a surrogate pair"),
        (b"\xff", "not UTF-8"),
        ("\ufeff{}", "no JSON"),
        ("", "no JSON"),
        ('{"a": 1', "no JSON"),
        ("[" + "1," * 10**6 + "1]", "more than 1000000 values"),
        (b" " * (2**24 + 1), "more than 16777216 bytes"),
        (3, "expected JSON text, got int"),
    ],
    ids=range(18),
)
def test_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        parse(text, "it")


def test_brackets_in_strings_do_not_count():
    assert parse(json.dumps("[" * 100 + '\\"{'), "it") == "[" * 100 + '\\"{'
