"""The tables' escaping: what a person can review, and what bash gives back byte for byte."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmslice.errors import BadInput, DamagedRun
from slurmslice.tables import (
    escape,
    format_columns,
    format_row,
    octets,
    parse_row,
    read_field,
    slice_header,
    unescape,
)
from tests.errors import raises_error

BASH = os.environ.get("SLURMSLICE_BASH", "bash")

DECODE = r"""
while mapfile -t -n 1 line && [[ ${line+set} ]]; do
  rest=${line[0]}$'\t'
  while [[ $rest ]]; do
    printf -v value %b "${rest%%$'\t'*}"
    printf '%s\0' "$value"
    rest=${rest#*$'\t'}
  done
done
"""


def to_bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def any_bytes(most: int = 40) -> st.SearchStrategy[str]:
    """Any bytes but NUL, as Python holds them; often text that looks like escapes."""
    return st.one_of(
        st.binary(max_size=most).map(lambda b: b.replace(b"\0", b"")),
        st.text(st.sampled_from("\\0123789tnrbcx\t\n '\"$`é\u202e\x85\x7f"), max_size=most).map(
            str.encode
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map(str.encode),
    ).map(lambda b: b.decode("utf-8", "surrogateescape"))


@given(any_bytes())
def test_a_value_comes_back_as_the_bytes_it_was(value: str) -> None:
    """Escaping loses nothing, whatever the bytes are."""
    assert to_bytes(unescape(escape(value))) == to_bytes(value)


@given(any_bytes())
def test_a_field_can_be_reviewed_in_a_terminal(value: str) -> None:
    """A field holds nothing that a terminal would act on or hide, and no tab or newline."""
    field = escape(value)
    assert field.isprintable()
    field.encode("utf-8")  # and no byte that is not UTF-8


@pytest.mark.parametrize("value", ["", "17", "é ñ 日本", "a b", "x'\"$`*"])
def test_what_can_be_read_is_left_as_it_is(value: str) -> None:
    """Escapes are for what needs them: names in any script of the world stay readable."""
    assert escape(value) == value


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("a\tb\nc\rd\\e", "a\\tb\\nc\\rd\\\\e"),
        ("\x01\x7f", "\\0001\\0177"),
        ("\udcff\udcfe", "\\0377\\0376"),
        ("\x85", "\\0302\\0205"),  # C1
        ("\u2028\u202e", "\\0342\\0200\\0250\\0342\\0200\\0256"),  # ends a line; turns it round
        ("\x011", "\\00011"),  # a digit after an escape is not part of it
    ],
)
def test_the_escapes(value: str, field: str) -> None:
    """The escapes are bash's %b and no others: written out here, not made by the code."""
    assert escape(value) == field
    assert unescape(field) == value


@pytest.mark.parametrize("value", ["a\0b", "\ud800", chr(0xDC20)])
def test_what_no_variable_can_hold_is_refused(value: str) -> None:
    """NUL and surrogates that stand for no byte are refused, not dropped."""
    with raises_error(BadInput, "control-character"):
        escape(value)


def test_octets_are_the_bytes_of_a_character() -> None:
    """A character gives its UTF-8 bytes, a surrogate the byte that it stands for."""
    assert octets("é") == ["303", "251"]
    assert octets("\udc80") == ["200"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(any_bytes(), min_size=1, max_size=4), min_size=1, max_size=40))
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_bash_gives_back_the_bytes(locale: str, rows: list[list[str]]) -> None:
    """Bash decodes each field to exactly its bytes, empty ones too, in either locale."""
    done = subprocess.run(
        [BASH, "-c", DECODE],
        input="".join(map(format_row, rows)).encode(),
        env={"LC_ALL": locale, "PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    assert done.stdout == b"".join(to_bytes(value) + b"\0" for row in rows for value in row)


@given(st.lists(any_bytes(), min_size=1))
def test_a_row_is_one_line(fields: list[str]) -> None:
    """A row is one line, whatever its values, and is read back with or without its newline."""
    line = format_row(fields)
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert list(map(to_bytes, parse_row(line))) == list(map(to_bytes, fields))
    assert parse_row(line) == parse_row(line.removesuffix("\n"))


@given(st.lists(st.tuples(any_bytes(8), any_bytes(8)), min_size=1))
def test_columns_give_the_lines_that_rows_give(rows: list[tuple[str, str]]) -> None:
    """Many rows written at a time are what each by itself is."""
    assert format_columns(list(zip(*rows, strict=True))) == "".join(map(format_row, rows))


def test_the_header_of_a_slice_table() -> None:
    """Row and key come first and the log name last: the script goes by that order."""
    assert slice_header(("mass", "seed")) == ("row", "key", "mass", "seed", "log")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"a\\x41", b"\\x"),
        (b"a\\0", b"\\0"),
        (b"a\\0400", b"\\0"),
        (b"a\\0000", b"\\0000"),
        (b"a\\", b"\\"),
        (b"key\r", "\r"),
        (b"a\tb", "\t"),
        (b"\xff", b"\xff"),
    ],
)
def test_a_damaged_field_is_refused(field: bytes, value: object) -> None:
    """What ``escape`` would never have written is damage, not a value."""
    with raises_error(DamagedRun, "damaged-run", value=value):
        read_field(field)


@given(st.binary(max_size=60))
def test_reading_fails_only_as_damage(data: bytes) -> None:
    """Whatever stands in a field, it is read or called damaged; nothing else is raised."""
    try:
        value = read_field(data)
    except DamagedRun:
        return
    assert to_bytes(unescape(escape(value))) == to_bytes(value)
