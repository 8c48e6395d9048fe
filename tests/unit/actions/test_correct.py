"""``extend`` corrects a run: changed lines of a job file, or cells of a table."""

from __future__ import annotations

import pytest

from slurmslice.actions.open_run import open_run
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("clock")

FROM = ("--job-file", "jobs")
EXTEND = ("extend", "x", *FROM)


def jobs(typed: Typed, *lines: str) -> None:
    """Write the job file."""
    (typed.folder / "jobs").write_text("".join(f"{line}\n" for line in lines))


def opened(typed: Typed) -> Run:
    """Open the run that was typed."""
    return open_run(RunDirectory(typed.folder / "runs" / "x"))


def values(typed: Typed) -> dict[str, str]:
    """Return the command of each slice by its key."""
    table = opened(typed).table
    return {key: table.column_values(row)[0] for row, key in enumerate(table.keys)}


def sent(engine: FakeEngine) -> list[list[str]]:
    """Return the commands of each submission, by its task table."""
    tables = [(job.order.folder / "tasks.tsv").read_text() for job in engine.jobs.values()]
    return [[line.split("\t")[2] for line in table.splitlines()[1:]] for table in tables]


def test_pending_slices_go_in_anew(typed: Typed, engine: FakeEngine) -> None:
    """The others stay in the queue; an inserted line is new; no task table changes."""
    jobs(typed, "a", "b", "c")
    typed("submit", *FROM, "--name", "x")
    jobs(typed, "new", "a", "B", "c")
    typed(*EXTEND, "--dry-run")
    assert (typed.code, values(typed), engine.cancelled) == (
        0, {"1": "a", "2": "b", "3": "c"}, [],
    )  # fmt: skip
    typed(*EXTEND)
    assert typed.code == 0
    assert values(typed) == {"1": "a", "2": "B", "3": "c", "4": "new"}
    assert [(job, tuple(indices or ())) for job, indices in engine.cancelled] == [("100", (1,))]
    assert sent(engine)[0] == ["a", "b", "c"]
    assert sorted(line for table in sent(engine)[1:] for line in table) == ["B", "new"]
    jobs_before = len(engine.jobs)
    typed(*EXTEND)
    assert (typed.code, len(engine.jobs)) == (5, jobs_before)


@pytest.mark.parametrize(
    ("more", "code", "again"),
    [((), 2, []), (("--keep",), 5, []), (("--again", "2"), 0, ["B"]), (("--again", "1"), 2, [])],
)
def test_a_slice_that_is_done_stops_it(
    typed: Typed, engine: FakeEngine, more: tuple[str, ...], code: int, again: list[str]
) -> None:
    """Until the person says if it runs again or keeps its old values."""
    jobs(typed, "a", "b")
    typed("submit", *FROM, "--name", "x")
    engine.end_all()
    jobs(typed, "a", "B")
    typed(*EXTEND, *more)
    assert (typed.code, typed.error) == (code, "slices-changed" if code == 2 else "")
    assert sent(engine)[1:] == ([again] if again else [])
    assert values(typed)["2"] == ("B" if again else "b")


def test_a_running_slice_is_not_run_beside_itself(typed: Typed, engine: FakeEngine) -> None:
    """``--again`` names slices that are done."""
    jobs(typed, "a", "b")
    typed("submit", *FROM, "--name", "x")
    engine.run("100", 1)
    jobs(typed, "a", "B")
    typed(*EXTEND, "--again", "2")
    assert (typed.code, typed.error) == (2, "slices-changed")


def test_a_failed_slice_gets_the_new_values_next_time(typed: Typed, engine: FakeEngine) -> None:
    """It is not submitted by itself."""
    jobs(typed, "a", "b")
    typed("submit", *FROM, "--name", "x")
    engine.end_all(State.FAILED)
    jobs(typed, "a", "B")
    typed(*EXTEND)
    assert (len(engine.jobs), values(typed)["2"]) == (1, "B")
    typed("resubmit", "x")
    assert sent(engine)[1] == ["a", "B"]
    (told,) = typed.json("explain", "x", "2")
    assert [one["columns"]["job"] for one in told["attempts"]] == ["b", "B"]
    assert "had job=b" in typed("explain", "x", "2")
    assert "had" not in typed("explain", "x", "1")


def test_a_run_that_was_only_made_is_corrected(typed: Typed, engine: FakeEngine) -> None:
    """The first task table has old values and never changes: the script by hand is fenced."""
    jobs(typed, "a", "b")
    typed("render", *FROM, "--name", "x")
    jobs(typed, "a", "B")
    typed(*EXTEND)
    run = opened(typed)
    assert (run.directory.is_fenced(1), len(engine.jobs)) == (True, 0)
    typed("submit", "x")
    assert (typed.code, sent(engine)) == (0, [["a", "B"]])
    assert [job.order.number for job in engine.jobs.values()] == [2]


def test_a_cell_of_a_table_is_corrected_by_its_key(typed: Typed, engine: FakeEngine) -> None:
    """Also if the rows have another order now."""
    (typed.folder / "t.csv").write_text("k,v\na,1\nb,2\n")
    line = ("--table", "t.csv", "--key", "k")
    typed("submit", *line, "--name", "x", "--", "true", "{v}")
    (typed.folder / "t.csv").write_text("k,v\nb,2\na,9\n")
    typed("extend", "x", *line)
    assert typed.code == 0
    table = opened(typed).table
    assert [table.column_values(row) for row in range(2)] == [("a", "9"), ("b", "2")]
    assert (engine.jobs["101"].order.folder / "tasks.tsv").read_text().splitlines()[1].split("\t")[
        1:4
    ] == ["a", "a", "9"]
