"""Memory and time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.errors import BadInputError
from slurmslice.sbatch.units import (
    format_memory,
    format_time,
    parse_duration,
    parse_memory,
    parse_time,
    scale_memory,
    scale_time,
)
from tests.support.errors import raises_error


@pytest.mark.parametrize(
    ("text", "mib"),
    [("4G", 4096), ("4g", 4096), ("4GB", 4096), ("4000", 4000), ("4000M", 4000), ("1T", 1 << 20),
     ("1025K", 2), ("0", 0), (" 100", 100), ("+100", 100), ("0100", 100), ("100Mb", 100)],
)  # fmt: skip
def test_memory_is_parsed_like_sbatch(text: str, mib: int) -> None:
    """Units count by 1024, a bare number is megabytes, and fractions of one are rounded up."""
    assert parse_memory(text) == mib


@pytest.mark.parametrize(
    "text", ["4Q", "", "G", "4 G", "-4G", "1.5G", "٤G", "4GG", "2x", "4G ", "1GiB", "1P", "++4"]
)
def test_invalid_memory_is_refused(text: str) -> None:
    """An invalid size is an error, not a default."""
    with raises_error(BadInputError, "bad-memory", value=text):
        parse_memory(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 1800), ("1:30", 90), ("1:00:00", 3600), ("1-0", 86400), ("1-2:30", 95400),
     ("2-03:04:05", 183845), ("1-", 86400), ("02-", 172800),
     ("-1", None), ("05", 300), ("UNLIMITED", None), ("infinite", None), ("0", None)],
)  # fmt: skip
def test_time_is_parsed_like_sbatch(text: str, seconds: int) -> None:
    """Every form of sbatch(1) --time is accepted: M, M:S, H:M:S, D-H, D-H:M, D-H:M:S."""
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "1:2:3:4:5",
        "1:2:3:4",
        "",
        "x",
        "-",
        "1::2",
        "1.5",
        "1h",
        " 5",
        "5 ",
        "+5",
        "1:",
        ":5",
        "1-1:",
        "1--1",
        "1--",
        "UNLIMITED ",
    ],
)
def test_invalid_time_is_refused(text: str) -> None:
    """An invalid limit is an error, not a default."""
    with raises_error(BadInputError, "bad-time", value=text):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0.2s", 0.2), ("90s", 90), ("1.5m", 90), ("2min", 120), ("1H", 3600), (".5d", 43200),
     ("30", 1800), ("0:20", 20), ("1:30:00", 5400), ("2-12", 216000)],
)  # fmt: skip
def test_a_duration_has_a_unit_or_is_a_time_of_sbatch(text: str, seconds: float) -> None:
    """A whole number without a unit is minutes, as for ``--time``."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["0.2", "1.5", ".5", "20."])
def test_a_bare_decimal_is_refused_with_both_readings(text: str) -> None:
    """Both suggestions can be typed, and differ."""
    with raises_error(BadInputError, "bad-time", value=text) as caught:
        parse_duration(text)
    both = [f"{text}s", f"{text}m"]
    assert all(one in caught.value.hint for one in both)
    assert parse_duration(both[1]) == 60 * parse_duration(both[0])


@pytest.mark.parametrize("text", ["", "0", "0s", "UNLIMITED", "1e3s", "5 s", "-1s", "1w", "s"])
def test_other_durations_are_refused(text: str) -> None:
    """The hint has forms that are accepted."""
    with raises_error(BadInputError, "bad-time"):
        parse_duration(text)


@given(st.integers(1, 10**7))
def test_memory_and_time_survive_writing_and_reading(number: int) -> None:
    """Both units survive formatting and parsing exactly."""
    assert parse_memory(format_memory(number)) == number
    assert parse_time(format_time(number)) == number


def test_a_factor_scales_and_an_amount_replaces() -> None:
    """``2x`` multiplies the old value and rounds up; any other text replaces it."""
    assert scale_memory("4G", "2x") == "8G"
    assert scale_memory("1500M", "1.5x") == "2250M"
    assert scale_memory("3M", "1.1x") == "4M"
    assert scale_memory("4G", "10G") == "10G"
    assert scale_time("1:00:00", "2x") == "02:00:00"
    assert scale_time("30", "1.5x") == "00:45:00"
    assert scale_time("30", "02:00:00") == "02:00:00"


def test_no_limit_cannot_be_multiplied() -> None:
    """A multiple of no limit is refused."""
    with raises_error(BadInputError, "cannot-multiply", option="time"):
        scale_time("UNLIMITED", "2x")


@pytest.mark.parametrize(
    ("text", "meant"),
    [("2h", "02:00:00"), ("5min", "00:05:00"), ("1 day", "1-00:00:00"), ("90s", "00:01:30"),
     ("1.5 hours", "01:30:00"), (" 5", "D-HH")],
)  # fmt: skip
def test_a_time_in_other_words_is_understood(text: str, meant: str) -> None:
    """It is refused, because sbatch refuses it; the hint has what to type."""
    with raises_error(BadInputError, "bad-time") as caught:
        parse_time(text)
    assert meant in caught.value.hint


@pytest.mark.parametrize(
    ("text", "meant"),
    [("4GiB", "4G"), ("4 GB", "4G"), ("1.5G", "1536M"), ("x2", "2x")],
)
def test_memory_in_other_words_is_understood(text: str, meant: str) -> None:
    """As for times."""
    with raises_error(BadInputError, "bad-memory") as caught:
        parse_memory(text)
    assert meant in caught.value.hint
