"""The verb ``gather``: what is joined, in which order, in which form; what is missing."""

from __future__ import annotations

import csv
import json

import pytest

from slurmslice.reports.joined import join_csv
from slurmslice.run.slice_logs import SliceLog
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

NEW = ("run", "-a", "8-11", "--name", "x", "--check-file", "out-{}.csv")


@pytest.fixture
def joined(typed: Typed, engine: FakeEngine) -> Typed:
    """A run of four slices that are done; their logs say ``log of KEY``."""
    typed(*NEW, "--", "true", "{}")
    engine.end_all()
    typed("status", "x")
    for key in range(8, 12):
        log = typed.folder / "runs" / "x" / "submissions" / "001" / "logs" / f"{key}.log"
        log.write_text(f"log of {key}\n")
    return typed


def results(typed: Typed, **texts: str) -> None:
    """Write the check files of slices 8 to 11; by default with one record each."""
    for key in range(8, 12):
        text = texts.get(f"k{key}", f"a,b\n{key},{key * key}\n")
        (typed.folder / f"out-{key}.csv").write_text(text)


# -- what is joined --------------------------------------------------------------------------


def test_logs_are_joined_in_the_order_of_the_table(joined: Typed) -> None:
    """Not in that of their names; a text without a line end at its end gets one."""
    path = joined.folder / "runs" / "x" / "submissions" / "001" / "logs" / "8.log"
    path.write_text("log of 8")
    joined("gather", "x")
    assert (joined.code, joined.stdout) == (0, "log of 8\nlog of 9\nlog of 10\nlog of 11\n")
    joined("gather", "x", "9-10", "--key")
    assert joined.stdout == "9\tlog of 9\n10\tlog of 10\n"


@pytest.mark.parametrize("links", [False, True])
@pytest.mark.parametrize("missing", [(), ("--missing-ok",)])
def test_a_result_is_not_replaced_by_the_joined_ones(
    missing: tuple[str, ...], links: bool, joined: Typed
) -> None:
    """``-o`` names the file of a slice: the result of that slice would be lost."""
    results(joined)
    name = "out-9.csv"
    if links:
        (joined.folder / "link").symlink_to(name)
    joined("gather", "x", "--check-file", *missing, "-o", "link" if links else name)
    assert (joined.code, joined.error) == (2, "bad-output-file")
    assert (joined.folder / name).read_text() == "a,b\n9,81\n"


def test_a_long_header_is_shown_in_part(joined: Typed) -> None:
    """An error is read by a person, and a header can be binary data without a line end."""
    results(joined, k9="a" * 100_000 + "\n")
    joined("gather", "x", "--check-file", "--csv")
    assert (joined.code, joined.error) == (2, "csv-headers-differ")
    assert len(joined.stderr) < 2000


def test_logs_in_a_shared_file_are_found(joined: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one place that finds the log of a slice is asked."""
    monkeypatch.setattr(SliceLog, "read", lambda self, offset=0: iter([b"from a section\n"]))
    joined("gather", "x")
    assert joined.stdout == "from a section\n" * 4


def test_files_become_one_csv(joined: Typed) -> None:
    """One header; the records are unchanged, quoted line ends too."""
    results(joined, k9='a,b\r\n"1\n2",3\r\n\n', k10="\ufeffa,b\n5,6")
    joined("gather", "x", "--check-file", "--csv", "--key")
    assert joined.code == 0
    assert list(csv.reader(joined.stdout.splitlines(True))) == [
        ["slice", "a", "b"], ["8", "8", "64"], ["9", "1\n2", "3"], ["10", "5", "6"],
        ["11", "11", "121"],
    ]  # fmt: skip
    joined("gather", "x", "--file", "./out-{}.csv", "--csv")
    assert joined.stdout.startswith("a,b\n8,64\n")


def test_a_key_is_a_cell_whatever_it_holds() -> None:
    """Commas and quotes do not make a new column."""
    texts = [("a,b", [b"n\n1\n"]), ('"c"', [b"n\n2\n"])]
    rows = list(csv.reader(b"".join(join_csv(texts, with_key=True)).decode().splitlines()))
    assert rows == [["slice", "n"], ["a,b", "1"], ['"c"', "2"]]


def test_a_large_cell_is_a_cell() -> None:
    """Other readers of this process keep their limit."""
    usual, large = csv.field_size_limit(), b'a\n"' + b"x" * 200_000 + b'"\n'
    assert b"".join(join_csv([("k", [large])], with_key=False)) == large
    assert csv.field_size_limit() == usual


def test_json_lines(joined: Typed) -> None:
    """Each line is one value; the key becomes a member."""
    results(joined, **{f"k{key}": f'{{"v": {key}}}\n\n{{"v": 0}}' for key in range(8, 12)})
    joined("gather", "x", "--check-file", "--json-lines", "--key")
    values = [json.loads(line) for line in joined.stdout.splitlines()]
    assert values[:3] == [{"slice": "8", "v": 8}, {"slice": "8", "v": 0}, {"slice": "9", "v": 9}]
    assert len(values) == 8


# -- what is missing -------------------------------------------------------------------------


def test_missing_slices_are_named_and_nothing_is_joined(typed: Typed, engine: FakeEngine) -> None:
    """Unless the person says that this is all right."""
    typed(*NEW, "--", "true", "{}")
    for index in (8, 9, 11):
        engine.end("100", index, State.COMPLETED)
    engine.end("100", 10, State.FAILED, exit_code=1)
    typed("status", "x")
    results(typed)
    (typed.folder / "out-9.csv").unlink()
    typed("gather", "x", "--check-file", "-o", "all.csv")
    assert (typed.code, typed.stdout) == (1, "")
    (note,) = typed.noted("gather-missing")
    assert note["keys"] == {"there is no file": "9", "FAILED": "10"}
    assert not (typed.folder / "all.csv").exists()
    typed("gather", "x", "--check-file", "-o", "all.csv", "--csv", "--missing-ok")
    assert (typed.code, len(typed.noted("gather-missing"))) == (0, 1)
    assert (typed.folder / "all.csv").read_text() == "a,b\n8,64\n11,121\n"


# -- refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form", "error", "key"),
    [
        ("a,c\n1,2\n", "--csv", "csv-headers-differ", "10"),
        ("", "--csv", "csv-headers-differ", "10"),
        ('a,b\n"1,2\n', "--csv", "bad-csv", "10"),  # a quote that is never closed
        ("a,b\n1\r2,3\n", "--csv", "bad-csv", "10"),
        ("\xff[" * 9000, "--json-lines", "bad-json-line", "10"),
        ("{}\nnot json\n", "--json-lines", "bad-json-line", "10"),
    ],
)
def test_a_text_that_does_not_fit_is_refused_by_its_key(
    text: str, form: str, error: str, key: str, joined: Typed
) -> None:
    """The file of an earlier call stays as it was, and no half file is left."""
    other = "a,b\n1,2\n" if form == "--csv" else "{}\n"
    results(joined, k8=other, k9=other, k10=text, k11=other)
    (joined.folder / "all").write_text("earlier\n")
    before = sorted(joined.folder.iterdir())
    joined("gather", "x", "--check-file", form, "-o", "all")
    assert (joined.code, joined.error, joined.fields["key"]) == (2, error, key)
    assert (joined.folder / "all").read_text() == "earlier\n"
    assert sorted(joined.folder.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--csv", "--json-lines"), "options-conflict"),
        (("--check-file", "--file", "x-{}"), "options-conflict"),
        (("--file", "same.csv"), "file-for-all"),
        (("--file", "{nothing}.csv"), "unknown-column"),
        (("-o", "."), "bad-output-file"),
        (("-o", "no/such/folder"), "bad-output-file"),
        (("-o", "/dev/null"), "bad-output-file"),
        (("-o", "runs/x/run.json"), "bad-output-file"),
        (("-o", "runs/x/submissions/001/logs/8.log"), "bad-output-file"),
    ],
)
def test_bad_input(options: tuple[str, ...], error: str, joined: Typed) -> None:
    """Nothing is written."""
    joined("gather", "x", *options)
    assert (joined.code, joined.error, joined.stdout) == (2, error, "")


def test_a_column_of_that_name_is_not_added_twice(joined: Typed) -> None:
    """The reader could not tell them apart."""
    results(joined, **{f"k{key}": "slice,b\n1,2\n" for key in range(8, 12)})
    joined("gather", "x", "--check-file", "--csv", "--key")
    assert joined.error == "duplicate-column"


def test_a_run_without_a_check_file(typed: Typed, engine: FakeEngine) -> None:
    """The other way is named."""
    typed("run", "-a", "0-3", "--name", "y", "--", "true", "{}")
    engine.end_all()
    typed("gather", "y", "--check-file")
    assert typed.error == "no-check-file"
