"""Slice tables, and slices from ranges and lists."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.errors import BadInputError, DamagedRunError
from slurmslice.slices.keys import are_all_canonical
from slurmslice.slices.log_names import MAX_LOGS_PER_FOLDER
from slurmslice.slices.slice_table import SliceTable
from slurmslice.slices.sources.array_range import slices_from_range
from slurmslice.slices.sources.job_file import slices_from_job_file
from slurmslice.slices.sources.key_list import slices_from_key_list
from tests.support.errors import raises_error


def logs(table: SliceTable) -> list[str]:
    return [table.log_name(row) for row in range(len(table))]


def test_range_makes_one_slice_per_index() -> None:
    """The keys are the indices in order; the throttle is returned beside them."""
    table, throttle = slices_from_range("1,3,7-9%2")
    assert list(table.keys) == ["1", "3", "7", "8", "9"]
    assert throttle == 2


def test_range_keeps_leading_zeros() -> None:
    """000-098 names 000, 001 … 098, because files have such names."""
    table, _ = slices_from_range("000-098")
    assert table.keys[0] == "000"
    assert table.keys[-1] == "098"
    assert table.max_array_index is None


def test_canonical_keys_can_be_array_indices() -> None:
    """Canonical integers without columns can be array indices; names and 007 cannot."""
    assert slices_from_range("3-98")[0].max_array_index == 98
    assert SliceTable(("3", "x")).max_array_index is None
    assert SliceTable(("3",), {"mem": ("4",)}).max_array_index is None
    assert SliceTable(("٣",)).max_array_index is None


@given(st.lists(st.sampled_from(["0", "7", "10", "00", "07", "", "1\n2", "x", "-1", "٣", "9" * 9])
                | st.from_regex("[0-9]{1,11}", fullmatch=True), min_size=1))  # fmt: skip
def test_all_canonical_agrees_with_canonical(keys: list[str]) -> None:
    """Testing keys together gives the same answer as testing each, for any keys."""
    index = re.compile("0|[1-9][0-9]{0,8}", re.ASCII)
    assert are_all_canonical(keys) == all(index.fullmatch(key) for key in keys)


@pytest.mark.parametrize("data", [b"", b"\n", b"\n\n  \n"])
def test_an_empty_list_is_refused(data: bytes) -> None:
    """A list without a key is an error, not a run of nothing."""
    with raises_error(BadInputError, "no-slices", source="keys.txt"):
        slices_from_key_list(data, "keys.txt")


def test_duplicate_key_is_refused() -> None:
    """Keys are unique, and the error names the duplicate."""
    with raises_error(BadInputError, "duplicate-key", key="b", source="keys.txt"):
        slices_from_key_list(b"a\nb\nb\n", "keys.txt")


BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last_end", [b"", b"\n", b"\r\n"])
def test_a_list_from_windows_has_the_same_keys(mark: bytes, end: bytes, last_end: bytes) -> None:
    """A byte-order mark, and a carriage return at the end of every line, reach no key."""
    if last_end and last_end != end:
        return
    data = mark + end.join((b"a", b"", b"b")) + last_end
    assert list(slices_from_key_list(data, "f").keys) == ["a", "b"]
    jobs = slices_from_job_file(data, "f")
    assert [jobs.column_values(row) for row in range(2)] == [("a",), ("b",)]


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"a\r\nb\n", 1), (b"a\nb\r\nc\n", 2), (b"a\n\nb\rc\n", 3), (b"a\rb", 1), (b"a\r\r\nb", 1)],
)
def test_any_other_carriage_return_is_refused(data: bytes, line: int) -> None:
    """Nobody sees it, and a program would get it as a part of its argument."""
    for read in (slices_from_key_list, slices_from_job_file):
        with raises_error(BadInputError, "carriage-return", path="f", line=line):
            read(data, "f")
    keys = data.replace(b"\n\n", b"\n").replace(b"\n", b"\0")
    assert any("\r" in key for key in slices_from_key_list(keys, "f", nul=True).keys)


def test_keys_keep_blanks_and_last_line_end_is_optional() -> None:
    """Only line ends are removed; blanks are part of a key."""
    assert slices_from_key_list(b" a b \nc", "f").keys[:] == [" a b ", "c"]


@given(st.lists(st.binary(min_size=1).filter(lambda b: b"\0" not in b), min_size=1, unique=True))
def test_keys_hold_any_bytes_except_nul(keys: list[bytes]) -> None:
    """NUL-separated keys are exact, including newlines and invalid UTF-8."""
    table = slices_from_key_list(b"".join(key + b"\0" for key in keys), "f", nul=True)
    assert [os.fsencode(key) for key in table.keys] == keys


@given(st.lists(st.text(min_size=1).filter(lambda t: "\0" not in t), min_size=1, unique=True))
def test_log_names_are_safe_and_unique(keys: list[str]) -> None:
    """A log never leaves its folder, and names differ even if case is ignored."""
    names = logs(SliceTable(keys))
    assert len({name.casefold() for name in names}) == len(keys)
    assert all("/" not in name and not name.startswith((".", "-")) for name in names)
    assert all(name.isascii() and name.isprintable() and len(name) < 120 for name in names)


def test_log_is_named_after_a_safe_key() -> None:
    """Unsafe, long and ambiguous keys get a log named after their row."""
    keys = ("a", "../../x", "B", "b", ".", "x" * 300, "row-1", "7")
    assert logs(SliceTable(keys)) == [
        "a.log", "row-1.log", "row-2.log", "row-3.log", "row-4.log", "row-5.log", "row-6.log",
        "7.log",
    ]  # fmt: skip


def test_log_folders_are_limited_in_size() -> None:
    """More slices than the limit of a folder are split into folders of a thousand."""
    names = logs(slices_from_range("0-2500")[0])
    folders = [name.partition("/")[0] for name in names]
    assert names[1234] == "1/1234.log"
    assert max(folders.count(folder) for folder in set(folders)) <= MAX_LOGS_PER_FOLDER


def test_log_of_an_index_key_agrees_with_the_script() -> None:
    """The script knows only the index, so the folder depends on the key and not on the row."""
    assert logs(slices_from_range("5000-7500")[0])[:2] == ["5/5000.log", "5/5001.log"]
    named = SliceTable([f"k{n}" for n in range(5000, 7500)])
    assert named.log_name(1000) == "1/k6000.log"


def test_lazy_keys_are_a_sequence() -> None:
    """Index, negative index, slice and iteration all return the given keys."""
    keys = [f"k{n}" for n in range(2500)]
    found = SliceTable.read(SliceTable(keys).data, "slices.tsv").keys
    assert [found[row] for row in range(2500)] == list(found) == found[:] == keys
    assert (found[-1], found[998:1003:2]) == ("k2499", ["k998", "k1000", "k1002"])
    with pytest.raises(IndexError):
        found[2500]


def test_select_accepts_keys_and_ranges() -> None:
    """An exact key wins, then a range of keys; otherwise the error names the nearest key."""
    table, _ = slices_from_range("0-20")
    assert table.select(["3", "7-9"]) == [3, 7, 8, 9]
    assert SliceTable(("1-3", "1")).select(["1-3"]) == [0]
    assert slices_from_range("000-020")[0].select(["003-005"]) == [3, 4, 5]
    with raises_error(BadInputError, "unknown-slice", key="21"):
        table.select(["19-21"])
    with raises_error(BadInputError, "unknown-slice", key="alpa", nearest="alpha"):
        SliceTable(("alpha", "beta")).select(["alpa"])


@given(
    st.lists(
        st.tuples(*[st.binary(max_size=8).map(lambda b: os.fsdecode(b.replace(b"\0", b"")))] * 2),
        min_size=1, max_size=30, unique_by=lambda row: row[0],
    )
)  # fmt: skip
def test_table_survives_writing_and_reading(rows: list[tuple[str, str]]) -> None:
    """A table read from its file has the same keys, values and log names, in any order."""
    keys, values = (list(column) for column in zip(*rows, strict=True))
    made = SliceTable(keys, {"mass": values})
    found = SliceTable.read(made.data, "slices.tsv")
    assert found.columns == ("mass",)
    assert [os.fsencode(key) for key in found.keys] == [os.fsencode(key) for key in keys]
    for row in reversed(range(len(rows))):
        assert os.fsencode(found.column_values(row)[0]) == os.fsencode(values[row])
        assert found.row_of(found.keys[row]) == row
        assert found.log_name(row) == made.log_name(row)


def test_part_of_a_table_copies_its_lines() -> None:
    """A task table is the header and the lines of its rows, byte for byte."""
    table = SliceTable(("a", "b\n", "c"), {"mass": ("1", "2", "")})
    assert table.part([0, 2]) == b"row\tkey\tmass\tlog\n0\ta\t1\ta.log\n2\tc\t\tc.log\n"
    assert table.part(range(3)) == table.data


HEAD = b"row\tkey\tlog\n"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", 1),
        (HEAD + b"0\ta\ta.l", 2),
        (b"row\tkey\t\xff\tlog\n", 1),
        (HEAD + b"0\ta\ta.log\n1\tb\n", 3),
        (HEAD + b"0\ta\tb\tc\n1\tb\tb.log\n", 2),
        (HEAD + b"\n", 2),
        (HEAD + b"0\ta\ta.log\n1\t\\x\tb.log\n", 3),
    ],
)
def test_damaged_line_is_named(data: bytes, line: int) -> None:
    """A truncated or wrongly edited table is refused, and the error names the line."""

    def look() -> None:
        table = SliceTable.read(data, "submissions/001/tasks.tsv")
        assert list(zip(table.keys, logs(table), strict=True))

    with raises_error(DamagedRunError, "damaged-run", path="submissions/001/tasks.tsv", line=line):
        look()


@pytest.mark.parametrize(
    "text", ["000,005-006", "[000,005-006]%2", "[000,005-006%2]", " 000,005-006"]
)
def test_zeros_stay_in_every_form_of_a_range(text: str) -> None:
    """sbatch ignores brackets around a range."""
    table, _ = slices_from_range(text)
    assert list(table.keys) == ["000", "005", "006"]
