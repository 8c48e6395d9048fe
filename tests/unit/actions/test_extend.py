"""``extend``: a run grows while files arrive, and is closed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from slurmslice.actions.open_run import open_run
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("clock")

RUN = ("--glob", "in/*", "--name", "x", "--", "true", "{}")
EXTEND = ("extend", "x", "--glob", "in/*")


def files(typed: Typed, *names: str) -> None:
    """Make input files."""
    for name in names:
        path = typed.folder / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)


def opened(typed: Typed, name: str = "x") -> Run:
    """Open the run that was typed."""
    return open_run(RunDirectory(typed.folder / "runs" / name))


def arrays(engine: FakeEngine) -> list[str]:
    """Return the array of each submission."""
    return [str(job.order.array) for job in engine.jobs.values()]


@pytest.mark.parametrize("more", [(), ("--open",)])
def test_what_is_new_is_added_and_submitted(
    typed: Typed, engine: FakeEngine, more: tuple[str, ...]
) -> None:
    """Old slices keep their rows, although new keys sort before them; nothing new exits 5."""
    files(typed, "b", "c")
    typed("submit", *more, *RUN)
    assert (typed(*EXTEND), typed.code, len(engine.jobs))[1:] == (5, 1)
    files(typed, "a", "d")
    (typed.folder / "in" / "b").unlink()
    typed(*EXTEND, "--dry-run")
    assert (typed.code, len(engine.jobs), len(opened(typed).table)) == (0, 1, 2)
    typed(*EXTEND, "--mem", "2G")
    assert typed.noted("slices-added") == [{"slices": 2, "keys": "in/a, in/d", "total": 4}]
    run = opened(typed)
    assert list(run.table.keys) == ["in/b", "in/c", "in/a", "in/d"]
    assert (typed.code, arrays(engine)) == (0, ["0-1", "0-1"])
    job = list(engine.jobs.values())[-1]
    assert job.order.overrides["mem"] == "2G"
    lines = (job.order.folder / "tasks.tsv").read_text().splitlines()
    assert [line.split("\t")[1] for line in lines] == ["key", "in/a", "in/d"]
    assert (typed(*EXTEND), typed.code, len(engine.jobs))[1:] == (5, 2)


def test_a_run_that_was_only_made_is_not_submitted(typed: Typed, engine: FakeEngine) -> None:
    """``submit`` then submits all slices."""
    files(typed, "a")
    typed("render", *RUN)
    files(typed, "b")
    typed(*EXTEND)
    assert (typed.code, len(engine.jobs)) == (0, 0)
    typed("submit", "x")
    assert sum(len(job.order.array) for job in engine.jobs.values()) == 2


def test_an_open_run_is_not_over(typed: Typed, engine: FakeEngine) -> None:
    """Exit code 4 and no step afterwards, until it is closed."""
    files(typed, "a")
    engine.on_wait = engine.end_all
    typed("run", "--open", "--then", "true", *RUN)
    assert (typed.code, len(typed.noted("run-open"))) == (4, 1)
    status = typed.json("status", "x")
    assert (status["finished"], status["open"]) == (False, True)
    typed("status", "x", "--exit-code")
    assert typed.code == 4
    assert not opened(typed).journal_state.then
    typed("extend", "x", "--close")
    assert (typed.code, len(typed.noted("run-closed"))) == (0, 1)
    assert opened(typed).journal_state.then
    typed("extend", "x", "--close")
    assert typed.code == 5


def test_unsettled_files_wait(typed: Typed) -> None:
    """``--settled`` leaves out what changed just now; also in the first line."""
    files(typed, "a", "b")
    os.utime(typed.folder / "in" / "a", (1, 1))
    typed("submit", "--settled", "10m", *RUN)
    assert (typed.code, typed.noted("files-not-settled")) == (0, [{"files": 1, "settled": "10m"}])
    assert list(opened(typed).table.keys) == ["in/a"]
    (typed.folder / "in" / "a").unlink()
    typed(*EXTEND, "--settled", "10m")
    assert typed.code == 5
    assert [one["reason"] for one in typed.noted("nothing-found")] == ["not-settled"]
    typed(*EXTEND)
    assert list(opened(typed).table.keys) == ["in/a", "in/b"]


@pytest.mark.parametrize(
    ("first", "more", "code"),
    [
        (("--glob", "in/*"), ("-a", "0-3"), "other-form"),
        (("--table", "t.csv", "--key", "k"), ("--table", "t.csv"), "other-form"),
        (("--grid", "a=1,2"), ("--grid", "a=1,2", "--grid", "b=1"), "other-columns"),
        (("--grid", "a=1,2"), (), "one-source"),
        (("-a", "0-3"), ("-a", "0-2000"), "beyond-array-size"),
        (("-a", "0-3"), ("-a", "0-3", "{}"), "too-many-words"),
        (("-a", "0-3"), ("-a", "0-3", "--settled", "1m"), "option-needs-another"),
    ],
)
def test_slices_of_another_kind_are_refused(
    typed: Typed, engine: FakeEngine, first: tuple[str, ...], more: tuple[str, ...], code: str
) -> None:
    """Nothing is added and nothing is submitted."""
    files(typed, "a")
    (typed.folder / "t.csv").write_text("k,v\na,1\n")
    typed("submit", *first, "--name", "x", "--", "true", "{}")
    before = len(opened(typed).table)
    typed("extend", "x", *more)
    assert (typed.code, typed.error) == (2, code)
    assert (len(opened(typed).table), len(engine.jobs)) == (before, 1)


def test_another_folder_is_refused(typed: Typed, tmp_path: Path) -> None:
    """Its relative paths are other files."""
    files(typed, "a")
    typed("submit", *RUN)
    os.chdir(typed.folder / "in")
    typed("extend", "x", "--glob", "*")
    assert (typed.code, typed.error) == (2, "other-folder")


@pytest.mark.parametrize(
    "text", ["echo $SLICE_COUNT", "echo ${SLURM_ARRAY_TASK_COUNT}", "echo $SLURM_ARRAY_TASK_MAX",
             "bash job.sh"],
)  # fmt: skip
def test_the_number_of_slices_may_not_be_used(typed: Typed, text: str) -> None:
    """In the command or in a file that it names; with ``--open`` before the run is made."""
    (typed.folder / "job.sh").write_text("echo $SLICE_COUNT\n")
    line = ("-a", "0-3", "--name", "x", "--shell", text)
    typed("submit", "--open", *line)
    assert (typed.code, typed.error) == (2, "growth-changes-value")
    typed("submit", *line)
    typed("extend", "x", "-a", "0-4")
    assert (typed.code, typed.error) == (2, "growth-changes-value")
    assert len(opened(typed).table) == 4


def test_a_row_that_the_script_cannot_know_may_not_be_used(typed: Typed) -> None:
    """In the direct form the script computes it from the number."""
    line = ("-a", "0-3", "--name", "x", "--shell", "echo $SLICE_ROW")
    typed("submit", *line)
    typed("extend", "x", "-a", "0-4")
    assert typed.code == 0
    typed("extend", "x", "-a", "7")
    assert (typed.code, typed.error) == (2, "growth-changes-value")


def test_a_range_grows(typed: Typed, engine: FakeEngine) -> None:
    """The index stays the key; an open range takes any number."""
    typed("submit", "-a", "0-3", "--name", "x", "--", "true", "{}")
    typed("extend", "x", "-a", "0-5")
    assert (typed.code, arrays(engine)) == (0, ["0-3", "4-5"])
    typed("submit", "--open", "-a", "0-3", "--name", "y", "--", "true", "{}")
    typed("extend", "y", "-a", "5000-5001")
    assert (typed.code, list(opened(typed, "y").table.keys)[-2:]) == (0, ["5000", "5001"])


def test_the_first_line_is_the_same_run_after_a_growth(typed: Typed, engine: FakeEngine) -> None:
    """With the slices that the run has now; other slices are refused with the way to add them."""
    files(typed, "b")
    typed("submit", *RUN)
    files(typed, "a")
    typed("submit", *RUN)
    assert (typed.code, typed.error, "slurmslice extend x --glob" in typed.stderr) == (
        2, "run-differs", True,
    )  # fmt: skip
    typed(*EXTEND)
    typed("submit", *RUN)
    assert (typed.code, len(engine.jobs)) == (0, 2)


def test_a_process_that_follows_sees_the_growth(typed: Typed) -> None:
    """Its table and its states have the new rows after the next look."""
    files(typed, "a")
    typed("submit", *RUN)
    run = opened(typed)
    files(typed, "b")
    typed(*EXTEND)
    run.reload()
    assert (len(run.table), len(run.statuses), run.journal_state.holder) == (2, 2, [1, 2])


def test_a_changed_further_table_is_refused(typed: Typed) -> None:
    """Its digest is in the journal, as that of the first one is in the record."""
    files(typed, "a")
    typed("submit", *RUN)
    files(typed, "b")
    typed(*EXTEND)
    table = typed.folder / "runs" / "x" / "slices-002.tsv"
    table.write_text(table.read_text().replace("in/b", "in/B"))
    typed("status", "x")
    assert (typed.code, typed.error) == (2, "table-changed")


def test_a_file_without_its_decision_is_nothing(typed: Typed, engine: FakeEngine) -> None:
    """It is that of a killed process, and the next one replaces it."""
    files(typed, "a")
    typed("submit", *RUN)
    (typed.folder / "runs" / "x" / "slices-002.tsv").write_text("torn")
    typed("status", "x")
    assert typed.code == 0
    files(typed, "b")
    typed(*EXTEND)
    assert (typed.code, list(opened(typed).table.keys)) == (0, ["in/a", "in/b"])
