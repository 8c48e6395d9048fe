"""The tables' escaping: readable for people, and exact after bash decodes it."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmslice.errors import BadInputError, DamagedRunError
from slurmslice.system.escaping import (
    escape,
    format_columns,
    format_row,
    octal_bytes,
    parse_field,
    parse_row,
    slice_table_header,
    unescape,
)
from tests.support.errors import raises_error

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
    """Any bytes except NUL, as Python strings; often text that looks like escapes."""
    return st.one_of(
        st.binary(max_size=most).map(lambda b: b.replace(b"\0", b"")),
        st.text(st.sampled_from("\\0123789tnrbcx\t\n '\"$`é\u202e\x85\x7f"), max_size=most).map(
            str.encode
        ),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map(str.encode),
    ).map(lambda b: b.decode("utf-8", "surrogateescape"))


@given(any_bytes())
def test_unescape_restores_the_bytes(value: str) -> None:
    """Escaping loses nothing, for any bytes."""
    assert to_bytes(unescape(escape(value))) == to_bytes(value)


@given(any_bytes())
def test_field_is_printable(value: str) -> None:
    """A field holds no control or invisible character, no tab and no newline."""
    field = escape(value)
    assert field.isprintable()
    field.encode("utf-8")  # raises for a byte that is not UTF-8


@pytest.mark.parametrize("value", ["", "17", "é ñ 日本", "a b", "x'\"$`*"])
def test_readable_text_is_not_escaped(value: str) -> None:
    """Names in every script of the world stay readable."""
    assert escape(value) == value


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("a\tb\nc\rd\\e", "a\\tb\\nc\\rd\\\\e"),
        ("\x01\x7f", "\\0001\\0177"),
        ("\udcff\udcfe", "\\0377\\0376"),
        ("\x85", "\\0302\\0205"),  # C1
        ("\u2028\u202e", "\\0342\\0200\\0250\\0342\\0200\\0256"),  # line end; right to left
        ("\x011", "\\00011"),  # a digit after an escape is not part of it
    ],
)
def test_escapes_are_those_of_bash(value: str, field: str) -> None:
    """The escapes are those of bash's %b. The expected text is written by hand."""
    assert escape(value) == field
    assert unescape(field) == value


@pytest.mark.parametrize("value", ["a\0b", "\ud800", chr(0xDC20)])
def test_nul_and_lone_surrogates_are_refused(value: str) -> None:
    """NUL and surrogates that represent no byte are refused, not dropped."""
    with raises_error(BadInputError, "control-character"):
        escape(value)


def test_octets_are_the_bytes_of_a_character() -> None:
    """A character has its UTF-8 bytes; a surrogate has the byte that it represents."""
    assert octal_bytes("é") == ["303", "251"]
    assert octal_bytes("\udc80") == ["200"]


@settings(max_examples=40)
@given(st.lists(st.lists(any_bytes(), min_size=1, max_size=4), min_size=1, max_size=40))
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_bash_restores_the_bytes(locale: str, rows: list[list[str]]) -> None:
    """Bash decodes each field to exactly its bytes in both locales, also empty fields."""
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
    """Any values form one line, which is parsed with or without its newline."""
    line = format_row(fields)
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert list(map(to_bytes, parse_row(line))) == list(map(to_bytes, fields))
    assert parse_row(line) == parse_row(line.removesuffix("\n"))


@given(st.lists(st.tuples(any_bytes(8), any_bytes(8)), min_size=1))
def test_format_columns_agrees_with_format_row(rows: list[tuple[str, str]]) -> None:
    """Rows written together equal rows written one by one."""
    assert format_columns(list(zip(*rows, strict=True))) == "".join(map(format_row, rows))


def test_slice_table_header() -> None:
    """Row and key are first and the log name is last, because the script relies on this order."""
    assert slice_table_header(("mass", "seed")) == ("row", "key", "mass", "seed", "log")


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
    """Text that ``escape`` never writes is damage, not a value."""
    with raises_error(DamagedRunError, "damaged-run", value=value):
        parse_field(field)


@given(st.binary(max_size=60))
def test_any_field_is_read_or_damaged(data: bytes) -> None:
    """Any field is read or reported as damaged; no other exception is raised."""
    try:
        value = parse_field(data)
    except DamagedRunError:
        return
    assert to_bytes(unescape(escape(value))) == to_bytes(value)
