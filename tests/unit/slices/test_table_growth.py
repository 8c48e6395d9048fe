"""What is new in the source of a run's slices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable
from slurmslice.slices.sources.job_file import slices_from_job_file
from slurmslice.slices.table_growth import changed_part, compare_tables
from tests.support.errors import raises_error


def lines(*commands: str) -> SliceTable:
    """Return the slices of a job file."""
    return slices_from_job_file("\n".join(commands).encode(), "jobs")


def test_a_key_that_is_there_stays() -> None:
    """Only unknown keys are new, in their order; a slice that is gone stays."""
    old = SliceTable(("a", "b"), {"x": ("1", "2")})
    new = SliceTable(("c", "b", "0"), {"x": ("3", "2", "4")})
    found = compare_tables(old, new, by_place=False)
    assert (dict(found.added), dict(found.changed), found.gone) == (
        {"c": ("3",), "0": ("4",)}, {}, 1,
    )  # fmt: skip
    grown = old.changed_by(changed_part(old, found, direct=False))
    assert list(grown.keys) == ["a", "b", "c", "0"]
    assert [grown.column_values(row) for row in range(4)] == [("1",), ("2",), ("3",), ("4",)]
    assert grown.part([0, 1]) == old.data


def test_columns_are_found_by_name() -> None:
    """Another order of the columns changes no slice; other columns are refused."""
    old = SliceTable(("a",), {"x": ("1",), "y": ("2",)})
    assert not compare_tables(old, SliceTable(("a",), {"y": ("2",), "x": ("1",)}), by_place=False)
    with raises_error(BadInputError, "other-columns"):
        compare_tables(old, SliceTable(("a",), {"x": ("1",)}), by_place=False)


def test_names_of_logs_stay_apart() -> None:
    """A new key that differs from an old one only in case gets a name by its row."""
    old = SliceTable(("a", "b"))
    found = compare_tables(old, SliceTable(("A", "c")), by_place=False)
    grown = old.changed_by(changed_part(old, found, direct=False))
    assert [grown.log_name(row) for row in range(4)] == ["a.log", "b.log", "row-2.log", "c.log"]


@pytest.mark.parametrize(("first", "folders"), [(10, False), (1200, True)])
def test_the_script_finds_the_log_of_an_index(first: int, folders: bool) -> None:
    """In the direct form the folders are those of the first slices, also above a thousand."""
    old = SliceTable([str(n) for n in range(first)])
    new = SliceTable([str(n) for n in range(2500)])
    found = compare_tables(old, new, by_place=False)
    grown = old.changed_by(changed_part(old, found, direct=True))
    assert grown.log_name(2400) == ("2/2400.log" if folders else "2400.log")


@pytest.mark.parametrize(
    ("new", "added", "changed", "gone"),
    [
        (("a", "b", "c"), {}, {}, 0),
        (("a", "b", "c", "d"), {"4": "d"}, {}, 0),
        (("a", "new", "b", "c"), {"4": "new"}, {}, 0),
        (("new", "a", "b", "c", "d"), {"4": "new", "5": "d"}, {}, 0),
        (("c", "a", "b"), {}, {}, 0),
        (("a", "c"), {}, {}, 1),
        (("a", "B", "c"), {}, {1: "B"}, 0),
        (("a", "B", "C", "d"), {"4": "d"}, {1: "B", 2: "C"}, 0),
        (("a", "b", "c", "a"), {"4": "a"}, {}, 0),
        (("# a comment", "a", "b", "c", "d"), {"5": "d"}, {}, 0),
    ],
)
def test_an_inserted_line_shifts_nobody(
    new: tuple[str, ...], added: dict[str, str], changed: dict[int, str], gone: int
) -> None:
    """Lines are matched by content; new ones get free numbers as keys."""
    found = compare_tables(lines("a", "b", "c"), lines(*new), by_place=True)
    assert {key: values[0] for key, values in found.added.items()} == added
    assert {row: values[0] for row, values in found.changed.items()} == changed
    assert found.gone == gone


@pytest.mark.parametrize("new", [("a", "X", "B", "c"), ("X", "c")])
def test_lines_that_may_be_anybodys_are_refused(new: tuple[str, ...]) -> None:
    """Lines were changed, and others inserted or deleted, at the same place."""
    with raises_error(BadInputError, "ambiguous-lines"):
        compare_tables(lines("a", "b", "c"), lines(*new), by_place=True)


@given(
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=12),
    st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=12),
)
def test_no_matched_line_changes_its_key(before: list[str], now: list[str]) -> None:
    """Any two files: as many slices keep each content as both files have lines with it."""
    old = lines(*before)
    try:
        found = compare_tables(old, lines(*now), by_place=True)
    except BadInputError:
        return
    grown = old.changed_by(changed_part(old, found, direct=False))
    after = [grown.column_values(row)[0] for row in range(len(grown))]
    assert len(set(grown.keys)) == len(grown)
    for row, text in enumerate(before):
        assert after[row] == text or before.count(text) > now.count(text)
    assert all(after.count(text) >= now.count(text) for text in now)


def product_of(*rows: str, seeds: str = "12") -> SliceTable:
    """Return the slices of a table without ``--key`` beside a grid."""
    keys = [f"{at},s={seed}" for at in range(len(rows)) for seed in seeds]
    return SliceTable(keys, {"x": [row for row in rows for _ in seeds], "s": [*seeds] * len(rows)})


@pytest.mark.parametrize(
    ("new", "added", "changed"),
    [
        (product_of("a", "n", "b", "c"), {"3,s=1": "n", "3,s=2": "n"}, {}),
        (product_of("a", "B", "c"), {}, {2: "B", 3: "B"}),
        (product_of("c", "a"), {}, {}),
        (product_of("n", "a", "b", "c", seeds="23"), {
            "3,s=2": "n", "3,s=3": "n", "0,s=3": "a", "1,s=3": "b", "2,s=3": "c",
        }, {}),
    ],
)  # fmt: skip
def test_rows_without_a_key_beside_a_grid_are_matched_by_content(
    new: SliceTable, added: dict[str, str], changed: dict[int, str]
) -> None:
    """An inserted row shifts no result; a new value of the grid belongs to the right row."""
    found = compare_tables(product_of("a", "b", "c"), new, by_place=True)
    assert {key: values[0] for key, values in found.added.items()} == added
    assert {row: values[0] for row, values in found.changed.items()} == changed


def test_a_grid_that_shares_no_value_is_refused() -> None:
    """Nobody knows then which row of the table is whose."""
    with raises_error(BadInputError, "ambiguous-lines"):
        compare_tables(product_of("a", "b"), product_of("b", "a", seeds="34"), by_place=True)
