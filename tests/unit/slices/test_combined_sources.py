"""Sources that combine: axes beside a file, a list or a table, and keys from any column."""

from __future__ import annotations

import itertools
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.cli.options.parameters import with_options
from slurmslice.cli.options.slice_options import SLICE_OPTIONS, read_slices
from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import checked_table
from slurmslice.slices.sources.axes import Axis, combine, with_item
from slurmslice.slices.sources.input_form import FormSlices
from tests.support.errors import raises_error
from tests.unit.slices.test_sources import rows


def read_typed(*words: str) -> FormSlices:
    """Return the slices of a typed line."""
    command = click.command(with_options(lambda **_: None, SLICE_OPTIONS))
    return read_slices(command.make_context("x", list(words)).params)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with files, a list and a table."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.h5", "a.h5"):
        Path(name).touch()
    Path("list").write_text("x\ny z\n")
    Path("t.csv").write_text("name,m\nhalo,1\nvoid,2\n")


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize(
    ("line", "columns", "expected"),
    [
        ("--glob *.h5 --grid n=1,2", "name stem parent item n", [
            (f"{stem}.h5,n={n}", f"{stem}.h5", stem, ".", f"{stem}.h5", n)
            for stem in "ab" for n in "12"
        ]),
        ("--slices-from list --grid n=7", "item n", [("x,n=7", "x", "7"), ("y z,n=7", "y z", "7")]),
        ("--table t.csv --key name --grid n=7", "name m n",
         [("halo,n=7", "halo", "1", "7"), ("void,n=7", "void", "2", "7")]),
        ("--table t.csv --grid n=7", "name m n",
         [("0,n=7", "halo", "1", "7"), ("1,n=7", "void", "2", "7")]),
        ("--zip a=1,2 --zip b=3,4", "a b", [("a=1,b=3", "1", "3"), ("a=2,b=4", "2", "4")]),
        ("--grid n=7,8 --zip a=1 --zip b=3", "a b n",
         [("a=1,b=3,n=7", "1", "3", "7"), ("a=1,b=3,n=8", "1", "3", "8")]),
        ("--glob *.h5 --key stem", "name stem parent item",
         [("a", "a.h5", "a", ".", "a.h5"), ("b", "b.h5", "b", ".", "b.h5")]),
        ("-a 8-9 --column id=p{{slice}} --key id", "item id",
         [("p8", "8", "p8"), ("p9", "9", "p9")]),
        ("--table t.csv --grid n=7 --column id={{name}}{{n}} --key id", "name m n id",
         [("halo7", "halo", "1", "7", "halo7"), ("void7", "void", "2", "7", "void7")]),
        ("--table t.csv --key name --column x={{m}}", "name m x",
         [("halo", "halo", "1", "1"), ("void", "void", "2", "2")]),
    ],
)  # fmt: skip
def test_sources_combine(line: str, columns: str, expected: list[tuple[str, ...]]) -> None:
    """The source varies slowest, the last axis fastest; each part of the key has its columns."""
    found = read_typed(*line.split())
    assert list(found.table.columns) == columns.split()
    assert rows(found.table) == expected
    assert found.numbers is None


@given(st.integers(1, 4), st.lists(st.integers(1, 3), max_size=2), st.integers(0, 3))
def test_combined_slices_are_the_product(lines: int, sizes: list[int], zipped: int) -> None:
    """Each combination occurs once, ordered like digits."""
    source = FormSlices(with_item(checked_table([f"k{n}" for n in range(lines)], "x")), "x")
    axes = [Axis(("a", "b"), tuple((str(n), str(n)) for n in range(zipped)))] if zipped else []
    axes += [Axis((f"g{at}",), tuple((str(n),) for n in range(s))) for at, s in enumerate(sizes)]
    found = [row[1:] for row in rows(combine(source, axes).table)] if axes else []
    parts = [[(f"k{n}",) for n in range(lines)], *(axis.rows for axis in axes)]
    expected = [tuple(itertools.chain(*some)) for some in itertools.product(*parts)]
    assert found == (expected if axes else [])


def test_equal_keys_of_combinations_are_refused() -> None:
    """Values with commas may give the same key twice."""
    with raises_error(BadInputError, "duplicate-key"):
        read_typed("--grid", r"x=a\,y=b,a", "--grid", r"y=c,b\,y=c")


def test_a_huge_combination_is_refused_before_it_is_built() -> None:
    """As a huge grid is."""
    with raises_error(BadInputError, "too-many-slices"):
        read_typed("--zip", "a=0-9999", "--grid", "b=0-9999")
