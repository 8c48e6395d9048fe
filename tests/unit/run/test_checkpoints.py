"""Checkpoints: what is recorded before an attempt, and what counts as a change."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.run.checkpoints import (
    format_identities,
    identify,
    identify_all,
    parse_identities,
)
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import CommandWords
from slurmslice.spec.run_spec import RunSpec

numbers = st.integers(0, 10**6)


@given(st.dictionaries(numbers, st.tuples(numbers, st.integers(-(10**18), 10**18))))
def test_a_record_survives_the_file_and_a_torn_one_says_nothing(
    found: dict[int, tuple[int, int]],
) -> None:
    """Each prefix of the file is no record."""
    data = format_identities(found)
    assert parse_identities(data) == found
    assert all(parse_identities(data[:cut]) is None for cut in range(len(data) - 1))


@pytest.mark.parametrize("data", [b"", b"\xff\nend\n", b"1\t2\nend\n", b"a\tb\tc\nend\n", b"{}"])
def test_a_damaged_record_says_nothing(data: bytes) -> None:
    """No answer is no information."""
    assert parse_identities(data) is None


def test_what_is_a_checkpoint(tmp_path: Path) -> None:
    """A file with content, or a folder; through a link too. A pipe is none, and blocks nobody."""
    path = tmp_path / "a"
    assert identify(str(path)) is None
    path.touch()
    assert identify(str(path)) is None
    path.write_text("x")
    known = identify(str(path))
    assert known is not None
    (tmp_path / "link").symlink_to(path)
    assert identify(str(tmp_path / "link")) == known
    assert identify(str(tmp_path)) is not None
    os.mkfifo(tmp_path / "pipe")
    assert identify(str(tmp_path / "pipe")) is None
    assert identify(str(path / "below")) is None
    assert identify("a\0b") is None


def test_size_and_time_make_a_change(tmp_path: Path) -> None:
    """Another inode alone is none: some file systems give inodes anew."""
    path = tmp_path / "a"
    path.write_text("x")
    os.utime(path, ns=(1, 1))
    before = identify(str(path))
    other = tmp_path / "b"
    other.write_text("y")
    os.utime(other, ns=(1, 1))
    other.rename(path)
    assert identify(str(path)) == before
    os.utime(path, ns=(1, 2))
    assert identify(str(path)) != before


def test_only_existing_files_are_recorded(tmp_path: Path) -> None:
    """By key and column, in folders that exist or not; relative to the working directory."""
    table = SliceTable(["1", "2", "3"], {"set": ["a", "a", "b"]})
    spec = RunSpec(name="x", command=CommandWords(("true",)), source="", work_dir=str(tmp_path),
                   checkpoint="ck/{set}/{}.cpt")  # fmt: skip
    (tmp_path / "ck" / "a").mkdir(parents=True)
    (tmp_path / "ck" / "a" / "2.cpt").write_text("12345")
    found = identify_all(spec, table, [2, 1, 0])
    assert {row: size for row, (size, _) in found.items()} == {1: 5}
