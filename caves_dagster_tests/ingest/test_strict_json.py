"""Strict JSON: what no message may contain, wherever in it it stands."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from caves_dagster.ingest.strict_json import MAX_DEPTH, MAX_INTEGER_DIGITS, check
from caves_dagster.shop import InvalidEvent

CLASSES = ("ENCODING", "SYNTAX", "DUPLICATE_KEY", "NUMBER_RANGE", "NESTING")


def refused(value: bytes) -> tuple[str, str]:
    """Class and path of the refusal."""
    with pytest.raises(InvalidEvent) as caught:
        check(value)
    return caught.value.failure_class, caught.value.path


# --- what passes


@pytest.mark.parametrize(
    "value",
    [
        b"{}",
        b"null",
        b' \t\r\n {"a" : [ 1 , -0 , 1.50 , 1e5 , 1E-400 , true , null ] } \n',
        '{"Rosé 🌸": "Château", "日本": ["\u2028"]}'.encode(),
        rb'{"a": "\u00e9\ud83c\udf78\u0000\\ud800\/"}',
        b'{"a": {"a": {"a": 1}}, "b": [{"a": 1}, {"a": 2}]}',
        b'{"a": 1, "A": 2}',
        b"1.7976931348623157e308",
        b"-" + b"9" * MAX_INTEGER_DIGITS,
        b"0." + b"1" * 5000,
    ],
)
def test_strict_json_passes(value: bytes) -> None:
    check(value)


# --- encoding


@pytest.mark.parametrize(
    "value",
    [
        b'{"a": "Ros\xe9"}',
        b'{"Ros\xe9": 1}',
        b'"\xc0\xaf"',  # an overlong slash
        b'"\xed\xa0\x80"',  # half of a surrogate pair, as bytes
        b'"\xf4\x90\x80\x80"',  # beyond U+10FFFF
        b'{"a": "\xf0\x9f\x8d"}',  # three of four bytes
        b"\xff\xfe{\x00}\x00",
    ],
)
def test_invalid_utf_8_is_refused(value: bytes) -> None:
    assert refused(value) == ("ENCODING", "$")


def test_the_reason_names_the_byte_that_is_no_utf_8() -> None:
    with pytest.raises(InvalidEvent, match="byte 4: 0xe9"):
        check(b'"Ros\xe9"')


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (rb'{"a": ["x", "\ud83c"]}', "$.a[1]"),
        (rb'{"a": "\udf78\ud83c"}', "$.a"),
        (rb'{"a": {"\ud800": 1}}', "$.a"),
        (rb'"\uDFFF"', "$"),
    ],
)
def test_half_a_surrogate_pair_is_refused_where_it_stands(value: bytes, path: str) -> None:
    assert refused(value) == ("ENCODING", path)


# --- syntax


@pytest.mark.parametrize(
    "value",
    [
        b" ",
        b"{",
        b'{"a": 1,}',
        b"[1,]",
        b"{'a': 1}",
        b"{a: 1}",
        b'{"a": 1} {"a": 1}',
        b'{"a": 01}',
        b'{"a": +1}',
        b'{"a": .5}',
        b'{"a": 5.}',
        b'{"a": 0x10}',
        b'{"a": 1_000}',
        '{"a": ١}'.encode(),
        b'{"a": "tab\there"}',
        b'{"a": "\x00"}',
        rb'{"a": "\x41"}',
        rb'{"a": "\u12"}',
        b"{} // why",
        b"\xef\xbb\xbf{}",  # a byte order mark
        "\u00a0{}".encode(),
    ],
)
def test_what_only_looks_like_json_is_refused(value: bytes) -> None:
    assert refused(value)[0] == "SYNTAX"


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_know_are_refused_where_they_stand(constant: str) -> None:
    assert refused(f'{{"a": [1, {{"b": {constant}}}]}}'.encode()) == ("SYNTAX", "$.a[1].b")


# --- duplicate keys


@pytest.mark.parametrize(
    ("value", "path"),
    [
        (b'{"a": 1, "a": 1}', "$"),
        (b'{"a": {"b": 1, "c": 2, "b": 3}}', "$.a"),
        (b'[0, {"x": [{"b": 1, "b": 1}]}]', "$[1].x[0]"),
        (rb'{"\u0061": 1, "a": 2}', "$"),
        (b'{"": 1, "": 2}', "$"),
    ],
)
def test_a_duplicate_key_is_refused_and_its_object_named(value: bytes, path: str) -> None:
    assert refused(value) == ("DUPLICATE_KEY", path)


def test_the_first_of_two_faults_is_named() -> None:
    assert refused(b'{"a": 1e400, "b": {"c": 1, "c": 1}}') == ("NUMBER_RANGE", "$.a")
    assert refused(b'{"a": {"c": 1, "c": 1}, "b": 1e400}') == ("DUPLICATE_KEY", "$.a")


# --- numbers


@pytest.mark.parametrize(
    "number", ["1e400", "-1e400", "1" * (MAX_INTEGER_DIGITS + 1), "-" + "9" * 5000, "9" * 400 + ".5"]
)
def test_a_number_out_of_range_is_refused_where_it_stands(number: str) -> None:
    assert refused(f'{{"a": {{"b": [{number}]}}}}'.encode()) == ("NUMBER_RANGE", "$.a.b[0]")


# --- nesting


def nested(depth: int) -> bytes:
    return b'{"a":[' * (depth // 2) + b"[]" * (depth % 2) + b"]}" * (depth // 2)


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH])
def test_nesting_up_to_the_limit_passes(depth: int) -> None:
    check(nested(depth))
    # Beside many others, so that counting brackets does not settle it.
    check(b"[" + b"[]," * 100 + nested(depth - 1) + b"]")


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 500, 5_000, 2_000_000])
def test_deeper_nesting_is_refused(depth: int) -> None:
    assert refused(nested(depth)) == ("NESTING", "$")


def test_many_brackets_side_by_side_are_not_deep() -> None:
    check(b"[" + b"[]," * 1000 + b'"{[{["]')


def test_brackets_in_strings_are_not_nesting() -> None:
    check(b'"' + b"[{" * 500 + b'"')


# --- one fault behind another: what was refused must not hide what breaks the second look at it


@pytest.mark.parametrize("fault", ["1e400", "NaN", '{"a": 1, "a": 2}', "9" * 60])
@pytest.mark.parametrize(
    ("rest", "failure_class"),
    [("", "SYNTAX"), (", nonsense]", "SYNTAX"), (", " + "[" * 100_000 + "]" * 100_000 + "]", "NESTING")],
)
def test_a_refused_value_before_a_broken_rest_is_refused_all_the_same(
    fault: str, rest: str, failure_class: str
) -> None:
    assert refused(f"[{fault}{rest}".encode())[0] == failure_class


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def numbers(item: Any) -> list[int | float]:
    """Every number in a JSON value."""
    if isinstance(item, dict):
        item = list(item.values())
    if isinstance(item, list):
        return [number for child in item for number in numbers(child)]
    return [item] if isinstance(item, int | float) and not isinstance(item, bool) else []


@given(JSON_VALUES, st.booleans())
@example(10**38, False)
@example([math.inf], True)
def test_a_json_value_passes_unless_a_number_is_out_of_range(value: Any, escaped: bool) -> None:
    fits = all(
        math.isfinite(number) if isinstance(number, float) else len(str(abs(number))) <= MAX_INTEGER_DIGITS
        for number in numbers(value)
    )
    sent = json.dumps(value, ensure_ascii=escaped).encode()
    if fits:
        check(sent)
    else:
        assert refused(sent)[0] in {"SYNTAX", "NUMBER_RANGE"}


@given(st.binary(max_size=60) | st.text('{}[]":,\\u0123 eE-+.NaN"é', max_size=60).map(str.encode))
@example(b"[1e999")
@example(rb'{"\ud800":1,"\ud800":NaN}')
def test_any_bytes_pass_or_are_refused(value: bytes) -> None:
    try:
        check(value)
    except InvalidEvent as invalid:
        verdict = (invalid.failure_class, invalid.path[0])
    else:
        verdict = ("JSON", "$")
        json.loads(value)
    assert verdict in {(name, "$") for name in (*CLASSES, "JSON")}
