"""Readers of a person's slices: tables, patterns, grids, job files, computed columns."""

from __future__ import annotations

import csv
import importlib
import io
import itertools
import os
import pkgutil
import random
import resource
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.errors import BadInputError
from slurmslice.slices import sources
from slurmslice.slices.slice_table import SliceTable
from slurmslice.slices.sources.columns import add_computed_columns
from slurmslice.slices.sources.delimited_table import SEPARATORS, slices_from_table
from slurmslice.slices.sources.file_paths import natural_sort_key, slices_from_paths
from slurmslice.slices.sources.grid import slices_from_grid
from slurmslice.slices.sources.input_form import InputForm
from slurmslice.slices.sources.job_file import slices_from_job_file
from slurmslice.slices.sources.registry import FORMS
from slurmslice.spec.command import JOB_COMMAND, slice_argv
from tests.support.errors import raises_error

Rows = list[tuple[str, ...]]


def rows(table: SliceTable) -> Rows:
    return [(key, *table.column_values(row)) for row, key in enumerate(table.keys)]


# -- input forms -----------------------------------------------------------------------------


def test_each_input_form_is_registered() -> None:
    """The registry holds the form of every module, and no two forms share an option's name."""
    modules = [
        importlib.import_module(f"{sources.__name__}.{found.name}")
        for found in pkgutil.iter_modules(sources.__path__)
    ]
    described = [
        value for m in modules for value in vars(m).values() if isinstance(value, InputForm)
    ]
    assert {id(form) for form in described} == {id(form) for form in FORMS}
    names = [option.name for form in FORMS for option in (form.option, *form.modifiers)]
    assert len(names) == len(set(names))
    assert all(form.flag in form.option.flags for form in FORMS)


# -- tables ----------------------------------------------------------------------------------


def test_first_line_names_the_columns() -> None:
    """Without --key, the row number from 0 is the key; with it, a column is, and stays a column."""
    data = b"name,mass\na,1\nb,2\n"
    table = slices_from_table(data, "x.csv", None)
    assert table.columns == ("name", "mass")
    assert rows(table) == [("0", "a", "1"), ("1", "b", "2")]
    assert rows(slices_from_table(data, "x.csv", "name")) == [("a", "a", "1"), ("b", "b", "2")]


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b'x\n"a,b"\n', ["a,b"]),
        (b'x\n"a\nb"\nc\n', ["a\nb", "c"]),
        (b'x\n"a\r\nb"\nc\n', ["a\r\nb", "c"]),
        (b'x\n"say ""hi"""\n', ['say "hi"']),
        (b"\xef\xbb\xbfx\na\n", ["a"]),
        (b"x\r\na\r\nb\r\n", ["a", "b"]),
        (b"x\na\n\n\nb\n\n", ["a", "b"]),
        (b'x\n""\na\n', ["a"]),
        (b"x\na", ["a"]),
        (b"x\n a \n", [" a "]),
        (b"x\n\xff\xe9\n", ["\udcff\udce9"]),
        (b"x\n1;2\n", ["1;2"]),
    ],
)
def test_csv_values_are_exact(data: bytes, values: list[str]) -> None:
    """Quotes, line ends in values, BOM, CRLF, blank lines and any bytes are read exactly."""
    assert [row[1] for row in rows(slices_from_table(data, "x.csv", None))] == values


def test_tsv_has_tabs_and_no_quotes() -> None:
    """In TSV, a quote and a comma are ordinary characters."""
    table = slices_from_table(b'a\tb\r\n"x\ty,z\r\n', "x.TSV", None)
    assert rows(table) == [("0", '"x', "y,z")]


@pytest.mark.parametrize("source", ["standard input", "x.txt"])
def test_header_decides_the_format_without_a_suffix(source: str) -> None:
    """If no suffix decides, only a tab in the first line means TSV."""
    assert rows(slices_from_table(b'a\tb\n1\t"2\n', source, None)) == [("0", "1", '"2')]
    assert rows(slices_from_table(b'a,b\n1,"2\t"\n', source, None)) == [("0", "1", "2\t")]


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        (b"", "blank-header", 1),
        (b"\nx\na\n", "blank-header", 1),
        (b"a,b\n1,2\n3\n", "uneven-table", 3),
        (b'a,b\n1,"2\n\n3"\n\n4,5,6\n', "uneven-table", 6),
        (b"a,b\n1,2,3\n", "uneven-table", 2),
        (b'a\n1\n"2\n3\n', "bad-table-line", 3),  # a quote that is never closed
        (b'a\n1\n"2"3\n', "bad-table-line", 3),  # text after a closing quote
        (b"a\n1\r2\n", "bad-table-line", 2),
        (b"a\n1\n" + b"x" * 200_000, "bad-table-line", 3),
        (b"a\n1\n2\0\n", "nul-byte", 3),
        (b"\xff\xfea\0\n\0", "nul-byte", 1),  # UTF-16
        (b"a;b\n1,5;2\n", "wrong-separator", 1),
        (b"a\tb\n1\t2\n", "wrong-separator", 1),
    ],
)
def test_invalid_table_line_is_named(data: bytes, code: str, line: int) -> None:
    """An invalid table is an error that names the line as an editor counts, from 1."""
    with raises_error(BadInputError, code, path="x.csv", line=line):
        slices_from_table(data, "x.csv", None)


@pytest.mark.parametrize(
    ("data", "code", "column"),
    [
        (b"a,,b\n1,2,3\n", "unnamed-column", 2),
        (b"a,halo mass\n1,2\n", "bad-column-name", "halo mass"),
        (b"a,2nd\n1,2\n", "bad-column-name", "2nd"),
        (b'"a,b"\n1,2\n', "bad-column-name", "a,b"),
        (b"Mass,mass\n1,2\n", "duplicate-column", "mass"),
        (b"a,Slice\n1,2\n", "reserved-column-name", "Slice"),
        (b"a,row\n1,2\n", "reserved-column-name", "row"),
        (b"a,Count\n1,2\n", "reserved-column-name", "Count"),
        (b"attempt,b\n1,2\n", "reserved-column-name", "attempt"),
    ],
)
def test_invalid_column_name_is_refused(data: bytes, code: str, column: str | int) -> None:
    """The error names the column and its place, and suggests a similar valid name."""
    with raises_error(BadInputError, code, column=column) as caught:
        slices_from_table(data, "x.csv", None)
    assert "x.csv, line 1" in str(caught.value)
    assert column != "2nd" or "n2nd" in caught.value.hint


def test_table_without_rows_is_refused() -> None:
    """A header alone is an error."""
    with raises_error(BadInputError, "no-slices", source="x.csv"):
        slices_from_table(b"x\n", "x.csv", None)


def test_commas_in_a_tsv_file_are_refused() -> None:
    """The error names the separator that was found, and the option that accepts it."""
    with raises_error(BadInputError, "wrong-separator", line=1, separator="comma") as caught:
        slices_from_table(b"a,b\n1,2\n", "x.tsv", None)
    assert "--sep comma" in caught.value.hint
    table = slices_from_table(b"a,b\n1,2\n", "x.tsv", None, separator=",")
    assert rows(table) == [("0", "1", "2")]


@pytest.mark.parametrize(
    ("separator", "data"),
    [
        ("blanks", b"id  sample\tsex\n  1 NA1   F\n2\tNA2 M  \n\n"),
        ("blanks", b"\xef\xbb\xbfid sample sex\r\n1 NA1 F\r\n2 NA2 M\r\n"),
        ("semicolon", b'id;sample;sex\n1;"NA1";F\n2;NA2;M\n'),
        ("bar", b"id|sample|sex\n1|NA1|F\n2|NA2|M"),
        ("tab", b"id\tsample\tsex\n1\tNA1\tF\n2\tNA2\tM\n"),
    ],
)
def test_a_typed_separator_decides(separator: str, data: bytes) -> None:
    """It decides whatever the file's name is, and the columns have the same values."""
    for name in ("x.csv", "x.tsv", "config.txt", "standard input"):
        sign = SEPARATORS[separator]
        table = slices_from_table(data, name, "id", separator=sign)
        assert rows(table) == [("1", "1", "NA1", "F"), ("2", "2", "NA2", "M")]


@pytest.mark.parametrize("separator", SEPARATORS)
def test_a_file_without_a_header(separator: str) -> None:
    """Its columns have numbers from 1, its first line is a slice, and blank rows are none."""
    sign = SEPARATORS[separator]
    data = f"{sign}{sign}\n7{sign}a{sign}b\n\n8{sign}c{sign}d\n".encode()
    table = slices_from_table(data, "x.csv", "c1", separator=sign, header=False)
    assert list(table.columns) == ["c1", "c2", "c3"]
    assert rows(table) == [("7", "7", "a", "b"), ("8", "8", "c", "d")]
    with raises_error(BadInputError, "no-slices"):
        slices_from_table(b" \n", "x.csv", None, separator=sign, header=False)


def test_a_header_of_numbers_is_probably_none() -> None:
    """The hint says how to read a file without a header."""
    with raises_error(BadInputError, "bad-column-name", column="1") as caught:
        slices_from_table(b"1,2.5\n2,-3e4\n", "x.csv", None)
    assert "--no-header" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("x.csv", b"id,file\nA,a\n,\nB,b\n"),
        ("x.csv", b'id,file\r\nA,a\r\n" ", \r\n\r\nB,b\r\n,\r\n'),
        ("x.csv", b'id,file\nA,a\n"",""\nB,b\n,,,\n'),
        ("x.tsv", b"id\tfile\nA\ta\n\t\nB\tb\n  \t\n"),
    ],
)
@pytest.mark.parametrize("key", [None, "id"])
def test_rows_of_blank_cells_are_no_slices(name: str, data: bytes, key: str | None) -> None:
    """A spreadsheet writes such rows."""
    table = slices_from_table(data, name, key)
    assert [row[1:] for row in rows(table)] == [("A", "a"), ("B", "b")]


def test_a_blank_header_is_no_row_to_skip() -> None:
    """The first row would be taken for the names of the columns."""
    with raises_error(BadInputError, "unnamed-column", column=1):
        slices_from_table(b",\nA,a\n", "x.csv", None)


@pytest.mark.parametrize(
    ("key", "code", "hint"),
    [
        ("nmae", "unknown-column", "name"),
        ("xyz", "unknown-column", "name, mass"),
        ("mass", "duplicate-key", ""),
    ],
)
def test_key_column_must_exist_and_be_unique(key: str, code: str, hint: str) -> None:
    """The key column exists, and its values are unique."""
    with raises_error(BadInputError, code) as caught:
        slices_from_table(b"name,mass\na,1\nb,1\n", "x.csv", key)
    assert hint in caught.value.hint


VALUES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=20))
def test_quoted_csv_is_read_exactly(records: Rows) -> None:
    """A CSV file with quotes around every value returns exactly these values.

    Rows of blank values are no slices.
    """
    records.append(("last", ""))
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows([("a", "b"), *records])
    data = text.getvalue().encode()
    filled = [record for record in records if "".join(record).strip(" \t\r\n")]
    assert [row[1:] for row in rows(slices_from_table(data, "x.csv", None))] == filled


@given(st.binary(max_size=60), st.sampled_from(["x.csv", "x.tsv", "-"]))
def test_any_bytes_are_a_table_or_bad_input(data: bytes, source: str) -> None:
    """Any content is read or refused as bad input; no other exception is raised."""
    try:
        table = slices_from_table(b"a,b\n" + data, source, None)
    except BadInputError:
        return
    assert len(table) > 0


def test_table_longer_than_a_block_is_read() -> None:
    """Rows after the first block are read too, and errors in them are found."""
    lines = [b"a,b", *(b"%d,x" % n for n in range(25_000))]
    table = slices_from_table(b"\n".join(lines), "x.csv", "a")
    assert rows(table)[24_999] == ("24999", "24999", "x")
    with raises_error(BadInputError, "uneven-table", line=25002):
        slices_from_table(b"\n".join([*lines, b"x"]), "x.csv", None)


# -- files -----------------------------------------------------------------------------------


def test_paths_are_slices() -> None:
    """The key is the path; name, stem and parent are columns; numbers sort by value."""
    table = slices_from_paths(["d/p-10.tar.gz", "d/p-2.h5", "x", "d/e/"], "*")
    assert table.columns == ("name", "stem", "parent")
    assert rows(table) == [
        ("d/e/", "e", "e", "d"),
        ("d/p-2.h5", "p-2.h5", "p-2", "d"),
        ("d/p-10.tar.gz", "p-10.tar.gz", "p-10.tar", "d"),
        ("x", "x", "x", "."),
    ]


@given(st.lists(st.text("ab01٣.", max_size=5), unique=True), st.randoms())
def test_file_order_does_not_depend_on_the_file_system(
    names: list[str], chance: random.Random
) -> None:
    """The slices have one order for any order of the files; a1 is before a01."""
    mixed = list(names)
    chance.shuffle(mixed)
    assert sorted(mixed, key=natural_sort_key) == sorted(names, key=natural_sort_key)


def test_pattern_without_match_is_refused() -> None:
    """A pattern that matches nothing is an error."""
    with raises_error(BadInputError, "no-match", pattern="*.h5"):
        slices_from_paths([], "*.h5")


# -- grids -----------------------------------------------------------------------------------


def test_a_grid_is_every_combination() -> None:
    """The last axis varies fastest; the key holds all values; the arithmetic is returned."""
    table, arithmetic = slices_from_grid(["lr=0.1,0.01", "seed=0-1"])
    assert arithmetic == "lr (2) × seed (2) = 4"
    assert rows(table) == [
        ("lr=0.1,seed=0", "0.1", "0"),
        ("lr=0.1,seed=1", "0.1", "1"),
        ("lr=0.01,seed=0", "0.01", "0"),
        ("lr=0.01,seed=1", "0.01", "1"),
    ]
    assert table.log_name(0) == "lr=0.1,seed=0.log"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x=0-3", "0 1 2 3"),
        ("x=08-11", "08 09 10 11"),
        ("x=0-10:5,20", "0 5 10 20"),
        ("x=a-c,1-b,-1,1e-3", "a-c 1-b -1 1e-3"),
        ("x=a=b", "a=b"),
        (r"x=a\,b,c", "a,b c"),
        ("x=C:\\d,\\\\", "C:\\d \\"),
        ("x=a\\\\,b\\\\\\,c\\", "a\\ b\\,c\\"),
        ("x=٣-٤", "٣-٤"),
    ],
)
def test_the_values_of_an_axis(text: str, values: str) -> None:
    """A value is a range only if both ends are digits; leading zeros are kept."""
    assert [row[1] for row in rows(slices_from_grid([text])[0])] == values.split()


@pytest.mark.parametrize(
    ("texts", "code", "fields"),
    [
        (["lr"], "missing-equals", {"option": "grid", "value": "lr"}),
        (["l r=1"], "bad-column-name", {"column": "l r"}),
        (["=1"], "unnamed-column", {}),
        (["lr=1", "LR=2"], "duplicate-column", {"column": "LR"}),
        (["lr=1", "lr=2"], "duplicate-column", {"column": "lr"}),
        (["lr="], "empty-value", {"column": "lr"}),
        (["lr=1,,2"], "empty-value", {"column": "lr"}),
        (["lr=1,1"], "duplicate-key", {"key": "lr=1"}),
        (["lr=3-1"], "backward-range", {"value": "3-1"}),
        (["lr=0-99999999"], "too-many-slices", {"slices": 100_000_000}),
        (["a=0-9999", "b=0-9999"], "too-many-slices", {"slices": 100_000_000}),
    ],
)
def test_invalid_grid_is_refused(texts: list[str], code: str, fields: dict[str, object]) -> None:
    """An invalid axis is an error, and a huge grid is refused before it is built."""
    with raises_error(BadInputError, code, **fields):
        slices_from_grid(texts)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_a_grid_has_all_combinations_in_order(sizes: list[int]) -> None:
    """A grid has as many slices as the product of its axes, each once, ordered like digits."""
    axes = [f"a{at}=0-{size - 1}" for at, size in enumerate(sizes)]
    found = [tuple(map(int, row[1:])) for row in rows(slices_from_grid(axes)[0])]
    assert found == list(itertools.product(*map(range, sizes)))


# -- job files -------------------------------------------------------------------------------


def test_dsq_job_file_is_read_unchanged() -> None:
    """Comments and blank lines are skipped; the key is the line number; the line is the command."""
    data = b"\xef\xbb\xbf# a comment\r\n\r\n  echo 'a b' | wc  \r\n  # still a command\r\nx"
    table = slices_from_job_file(data, "jobs.txt")
    assert rows(table) == [("3", "echo 'a b' | wc"), ("4", "# still a command"), ("5", "x")]
    assert slice_argv(JOB_COMMAND, "3", {"job": "-x; y"}) == ["bash", "-c", "--", "-x; y"]


@pytest.mark.parametrize(
    ("data", "code", "fields"),
    [
        (b"a\n#DISBATCH PREFIX x\n", "disbatch-directive", {"path": "jobs.txt", "line": 2}),
        (b"a\n\nb\0c\n", "nul-byte", {"path": "jobs.txt", "line": 3}),
        (b"# nothing\n\n", "no-slices", {"source": "jobs.txt"}),
    ],
)
def test_invalid_job_file_is_refused(data: bytes, code: str, fields: dict[str, object]) -> None:
    """A directive, NUL and a file without commands are refused; the error names the line."""
    with raises_error(BadInputError, code, **fields):
        slices_from_job_file(data, "jobs.txt")


# -- computed columns ------------------------------------------------------------------------


TABLE = SliceTable(("7", "x\ty"), {"mass": ("1", "\udcff")})


def test_column_template_uses_earlier_columns() -> None:
    """Templates can use slice, row, columns and earlier computed columns, all as text."""
    texts = [
        "out=out/{{ slice }}-{{ mass }}.h5",
        "twice={{ out }}{{ out }}\n",
        "n={{ row|int + 1 }}",
    ]
    table = add_computed_columns(TABLE, texts)
    assert table.columns == ("mass", "out", "twice", "n")
    assert rows(table) == [
        ("7", "1", "out/7-1.h5", "out/7-1.h5out/7-1.h5\n", "1"),
        ("x\ty", "\udcff", "out/x\ty-\udcff.h5", "out/x\ty-\udcff.h5" * 2 + "\n", "2"),
    ]
    assert [table.log_name(row) for row in range(2)] == [TABLE.log_name(row) for row in range(2)]


def test_computed_column_prevents_keys_as_indices() -> None:
    """Keys that could be array indices cannot be, once there is a column."""
    table = SliceTable(("1", "2"))
    assert table.max_array_index == 2
    assert add_computed_columns(table, ["a={{ slice }}"]).max_array_index is None


@pytest.mark.parametrize(
    ("texts", "code", "column"),
    [
        (["a b=1"], "bad-column-name", "a b"),
        (["row=1"], "reserved-column-name", "row"),
        (["MASS=1"], "duplicate-column", "MASS"),
        (["a=1", "A=2"], "duplicate-column", "A"),
        (["a={{ x"], "bad-column-template", "a"),
        (["a={{" + 5000 * "(" + "1" + 5000 * ")" + "}}"], "bad-column-template", "a"),
        (["a={{ [1, 2]|random }}"], "bad-column-template", "a"),  # a removed filter
    ],
)
def test_invalid_computed_column_is_refused(texts: list[str], code: str, column: str) -> None:
    """An invalid name and an invalid template are refused."""
    with raises_error(BadInputError, code, column=column):
        add_computed_columns(TABLE, texts)


def test_computed_column_needs_a_name() -> None:
    """The error names the option and its value."""
    with raises_error(BadInputError, "missing-equals", option="column", value="out"):
        add_computed_columns(TABLE, ["out"])


@pytest.mark.parametrize(
    ("texts", "key", "keyword"),
    [
        (["a={{ 'x'|center(200000) }}"], "7", "200,000"),
        (["a={{ nothing }}"], "7", "'nothing'"),
        (["a={{ b }}", "b=1"], "7", "'b'"),
        (["a={{ 1 // (row|int - 1) }}"], "x\ty", ""),
        (["a={{ ''.__class__.__mro__ }}"], "7", ""),
        (["a={{ '\\0' }}"], "7", ""),
        (["a={% include 'x' %}"], "7", ""),
    ],
)
def test_a_template_that_fails_names_slice_and_column(
    texts: list[str], key: str, keyword: str
) -> None:
    """An unknown value, an impossible value and an escape from the sandbox are refused."""
    with raises_error(BadInputError, "column-failed", column="a", key=key) as caught:
        add_computed_columns(TABLE, texts)
    assert keyword in caught.value.message


BOMBS = (
    ("{{ 'a' * 10**10 }}", "memory"),
    ("{{ 'a'|center(10**10) }}", "memory"),
    ("{{ '%010000000000d' % 1 }}", ""),
    ("{{ '{:010000000000d}'.format(1) }}", ""),
    ("{% set n = namespace(a='aaaa') %}{% for i in range(60) %}{% set n.a = n.a ~ n.a %}"
     "{% endfor %}{{ n.a }}", "memory"),
    ("{% for i in range(99999) %}{{ 'a' * 10**6 }}{% endfor %}", "memory"),
    ("{{ range(10**9)|list }}", "Range"),
    ("{{ 10**(10**9) }}", "digits"),
    ("{% set n = namespace(a=7) %}{% for i in range(60) %}{% set n.a = n.a * n.a %}{% endfor %}",
     "digits"),
    ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "CPU"),
)  # fmt: skip


@pytest.mark.parametrize(("text", "keyword"), BOMBS)
def test_template_memory_and_time_are_limited(
    text: str, keyword: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A template with excessive memory or time is refused, and the error names the slice."""
    monkeypatch.setattr("slurmslice.slices.sources.expression_limits.MAX_CPU_S", 1)
    before = resource.getrlimit(resource.RLIMIT_AS)
    with raises_error(BadInputError, "column-failed", column="a", key="7") as why:
        add_computed_columns(TABLE, [f"a={text}"])
    assert keyword in str(why.value)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0, 0)
    assert (
        rows(add_computed_columns(TABLE, ["a={{ 2 * 3 }}{{ 'ab' * 2 }}{{ 2**10 }}"]))[0][2]
        == "6abab1024"
    )


ESCAPES = (
    "{{ ''.__class__ }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''['__class__'] }}",
    "{{ slice['__cla' ~ 'ss__'] }}",
    "{{ '{0.__class__}'.format(slice) }}",
    "{{ '{0.__class__.__init__.__globals__}'.format_map({'0': slice}) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(slice) }}",
    "{{ ('{0.__class__}'|attr('format'))(slice) }}",
    "{{ ['{0.__class__}']|map(attribute='__class__')|first }}",
    "{{ [slice]|map('attr', '__class__')|first }}",
    "{{ [slice, row]|sort(attribute='__class__') }}",
    "{{ ([slice]|groupby('__class__')|first)[0] }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{{ joiner.__init__ }}",
    "{{ namespace.__dict__ }}",
    "{{ self.__init__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ dict.__base__ }}",
    "{{ range.__call__ }}",
    "{% macro m() %}{% endmacro %}{{ m._func.__globals__ }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for x in [1] recursive %}{{ loop._iterator.__class__ }}{% endfor %}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.environ }}",
    "{% extends 'x' %}",
    "{{ config }}",
    "{{ environment }}",
    "{{ slice.mro() }}",
)


@pytest.mark.parametrize("text", ESCAPES)
def test_template_cannot_leave_the_sandbox(text: str) -> None:
    """Known escapes from Jinja's sandbox are refused, and the error names the slice."""
    with raises_error(BadInputError, "column-failed", column="a", key="7"):
        add_computed_columns(TABLE, [f"a={text}"])


@given(st.binary(max_size=8).map(lambda b: os.fsdecode(b.replace(b"\0", b""))))
def test_values_are_never_templates(value: str) -> None:
    """A value passes through a template unchanged, even if it looks like a template."""
    for text in (value, f"{{{{ 7 * 7 }}}}{value}{{% x %}}"):
        table = SliceTable(("k",), {"a": (text,)})
        assert os.fsencode(
            add_computed_columns(table, ["b={{ a }}"]).column_values(0)[1]
        ) == os.fsencode(text)
