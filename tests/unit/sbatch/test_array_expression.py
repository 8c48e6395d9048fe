"""Array expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.errors import BadInputError
from slurmslice.sbatch.array_expression import compress_indices, parse_array
from tests.support.errors import raises_error


@pytest.mark.parametrize(
    ("text", "indices", "throttle"),
    [
        ("0-3", [0, 1, 2, 3], None),
        ("1,3,7-9", [1, 3, 7, 8, 9], None),
        ("0-10:5", [0, 5, 10], None),
        ("0-11:5", [0, 5, 10], None),
        ("5", [5], None),
        ("0-98%10", list(range(99)), 10),
        ("0-1%0", [0, 1], None),
        ("000-003", [0, 1, 2, 3], None),
        ("9,3-5", [9, 3, 4, 5], None),
        ("[0-3]%2", [0, 1, 2, 3], 2),
        ("[0-3%2]", [0, 1, 2, 3], 2),
        ("[0-1,5]", [0, 1, 5], None),
        (" 0-1", [0, 1], None),
    ],
)
def test_documented_forms_are_parsed(text: str, indices: list[int], throttle: int) -> None:
    """Each form of sbatch(1) --array gives its indices in order, and its throttle."""
    expression = parse_array(text)
    assert list(expression) == indices
    assert len(expression) == len(indices)
    assert expression.throttle == throttle


@pytest.mark.parametrize(
    "text",
    ["", "5-3", "a-b", "0-10:0", "1,,2", "0-", "-3", "1-2-3", "0-5%", "0-5%x", "1;2", "٣", "1 2",
     "0-98:2:3", "1.5", "0-5%-1", "1-5,3", "2,2",
     "0-3 ", "[]", "[", "]", "[0-3][5]", "0-[3]", "[[0-3]]", "[0-3]]",
     "0-" + "9" * 30, "9" * 5000, "0-1%" + "9" * 5000, "0-99999999999,100000000001"],
)  # fmt: skip
def test_malformed_text_is_refused(text: str) -> None:
    """Invalid text, and an index that occurs twice, is an error; nothing is guessed."""
    with pytest.raises(BadInputError):
        parse_array(text)


def test_backward_range_suggests_the_forward_one() -> None:
    """The hint names the range to type."""
    with raises_error(BadInputError, "backward-range", value="5-3") as caught:
        parse_array("5-3")
    assert "3-5" in caught.value.hint


@given(st.lists(st.integers(0, 400), unique=True, min_size=1))
def test_compress_keeps_every_index_in_order(indices: list[int]) -> None:
    """Parsing the compressed text returns the same indices in the same order."""
    assert list(compress_indices(indices)) == indices
    assert list(parse_array(str(compress_indices(indices)))) == indices


@given(st.lists(st.integers(0, 60), unique=True, min_size=1).map(sorted), st.integers(1, 9))
def test_throttle_is_written_and_read_back(indices: list[int], throttle: int) -> None:
    """%N is written and parsed back."""
    assert parse_array(str(compress_indices(indices, throttle))).throttle == throttle


def test_compress_writes_short_readable_text() -> None:
    """Consecutive indices become ranges, equal steps become steps, single indices stay."""
    assert str(compress_indices([3, 17])) == "3,17"
    assert str(compress_indices([3, 7, 11, 13, 20])) == "3,7,11,13,20"
    assert str(compress_indices(range(99))) == "0-98"
    assert str(compress_indices([0, 5, 10, 15])) == "0-15:5"
    assert str(compress_indices([0, 1, 2, 7, 9, 10])) == "0-2,7,9-10"
