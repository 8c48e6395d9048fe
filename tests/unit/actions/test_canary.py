"""``--canary``: a few slices first, and the rest only when they are done."""

from __future__ import annotations

import pytest

from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import CanaryEnded
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.canary import canary_rows
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

COMMAND = ("--", "true", "{}")


def made(typed: Typed, *options: str, slices: int = 100) -> None:
    """Create a run and submit its canary."""
    typed("run", "-a", f"0-{slices - 1}", "--name", "x", "--mem", "4G", "-t", "60", *options,
          *COMMAND)  # fmt: skip
    assert typed.code == 130, typed.stderr


def keys(engine: FakeEngine) -> list[list[int]]:
    """Return the array indices of each submission; they are the keys."""
    return [list(job.order.array) for job in engine.jobs.values()]


def finish(engine: FakeEngine, job: str, state: State, *rows: int) -> None:
    """Let slices end."""
    for row in rows:
        engine.end(job, row, state, elapsed_s=90, exit_code=int(state is not State.COMPLETED))


def exit_code(typed: Typed) -> int:
    """Return what ``tick`` says about the run."""
    typed("tick", "x", "--exit-code")
    return typed.code


@pytest.mark.parametrize(
    ("text", "slices", "rows"),
    [
        ("3", 100, [0, 50, 99]), ("1", 100, [0]), ("2", 100, [0, 99]), ("5", 3, [0, 1, 2]),
        ("4", 10, [0, 3, 6, 9]), ("1", 1, [0]), ("5-5", 9, [5]), ("2,7", 9, [2, 7]),
        ("0-2", 9, [0, 1, 2]), ("none", 9, []), ("", 9, []),
    ],
)  # fmt: skip
def test_a_number_of_slices_is_spread_over_the_table(
    text: str, slices: int, rows: list[int]
) -> None:
    """The first and the last are among them. Keys are chosen as they are."""
    assert canary_rows(text, SliceTable([str(n) for n in range(slices)])) == rows


@pytest.mark.parametrize(
    ("text", "slices", "number"), [("10%", 200, 20), ("0%", 9, 1), ("1%", 9, 1), ("500%", 9, 9)]
)
@pytest.mark.parametrize("option", [("run", "--canary"), ("submit", "--only")])
def test_a_share_of_the_slices_is_refused_with_their_number(
    text: str, slices: int, number: int, option: tuple[str, str], typed: Typed
) -> None:
    """The error names what to type. A key with such a name is a key."""
    verb, name = option
    typed("render", "-a", f"0-{slices - 1}", "--name", "x", *COMMAND)
    new = ("-a", f"0-{slices - 1}", *COMMAND)
    told = typed(verb, name, text, *(new if verb == "run" else ("x",)))
    assert (typed.code, typed.error, typed.fields["value"]) == (2, "bad-number", text)
    assert f"{name} {number}" in told
    assert canary_rows("10%", SliceTable(["5%", "10%"])) == [1]


@pytest.mark.parametrize(("canary", "rest"), [("3", 97), ("0-9", 90), ("100", 0), ("*", 0)])
def test_a_canary_of_all_slices_holds_nothing_back(canary: str, rest: int, typed: Typed) -> None:
    """The preview tells how many slices wait for it."""
    typed("run", "--dry-run", "-a", "0-99", "--canary", canary, *COMMAND)
    assert [one["rest"] for one in typed.noted("canary")] == [rest]


@pytest.mark.parametrize("follower", [("run", "x"), ("tick", "x")])
def test_the_rest_follows_when_the_canary_is_done(
    typed: Typed, engine: FakeEngine, follower: tuple[str, ...]
) -> None:
    """Also in another process. What it used is compared with its requests."""
    made(typed, "--canary", "3")
    assert keys(engine) == [[0, 50, 99]]
    finish(engine, "100", State.COMPLETED, 0, 50)
    assert exit_code(typed) == 4
    typed("status", "x")
    assert [one["keys"] for one in typed.noted("canary-runs")] == ["0,50,99"]
    assert "canary" in typed.json("status", "x")["slices"][1]["reason"]
    assert len(engine.jobs) == 1
    engine.max_rss_bytes = 1 << 30
    finish(engine, "100", State.COMPLETED, 99)
    typed(*follower)
    rest = [key for key in range(100) if key not in {0, 50, 99}]
    assert keys(engine)[1:] == [rest]
    (done,) = typed.noted("canary-done")
    assert (done["slices"], done["max_elapsed_s"], done["time_limit_s"]) == (3, 90, 3600)
    assert done["max_rss_bytes"] == 1 << 30
    events = RunDirectory(typed.folder / "runs" / "x").events()
    assert len([one for one in events if isinstance(one, CanaryEnded)]) == 1
    typed("resubmit", "x", "--state", "COMPLETED", "0")
    assert len(engine.jobs) == 3, "a person runs a slice of the canary again"


def test_a_failed_canary_submits_nothing_else(typed: Typed, engine: FakeEngine) -> None:
    """The exit code is 6, and the text says what to type. After a repair all goes on."""
    made(typed, "--canary", "3")
    finish(engine, "100", State.COMPLETED, 0, 50)
    finish(engine, "100", State.FAILED, 99)
    typed("run", "x")
    assert (typed.code, len(engine.jobs)) == (6, 1)
    assert [one["keys"] for one in typed.noted("canary-failed")] == ["0,50,99"]
    assert "slurmslice resubmit x, then slurmslice run x" in " ".join(typed.stderr.split())
    assert exit_code(typed) == 6
    typed("resubmit", "x")
    assert keys(engine)[1:] == [[99]]
    assert exit_code(typed) == 4
    finish(engine, "101", State.COMPLETED, 99)
    typed("tick", "x")
    assert len(keys(engine)[2]) == 97


def test_a_failed_canary_is_told_once(typed: Typed, engine: FakeEngine) -> None:
    """It is the end of the run for the person who waits for a message."""
    made(typed, "--canary", "3", "--on-end", "cat >>told")
    finish(engine, "100", State.COMPLETED, 0, 50)
    typed("tick", "x")
    assert not (typed.folder / "told").exists()
    finish(engine, "100", State.FAILED, 99)
    for _ in range(2):
        typed("run", "x")
    assert (typed.folder / "told").read_text().count('"run": "x"') == 1


def test_a_repaired_canary_does_not_fail(typed: Typed, engine: FakeEngine) -> None:
    """Its own attempts go on; other slices wait."""
    made(typed, "--canary", "2", "--retry")
    finish(engine, "100", State.COMPLETED, 0)
    finish(engine, "100", State.OUT_OF_MEMORY, 99)
    assert exit_code(typed) == 4
    assert keys(engine) == [[0, 99], [99]]
    finish(engine, "101", State.COMPLETED, 99)
    typed("tick", "x")
    assert len(keys(engine)[2]) == 98


def test_a_cancelled_canary_stops_too(typed: Typed, engine: FakeEngine) -> None:
    """``resubmit`` needs the state then."""
    made(typed, "--canary", "1")
    typed("cancel", "x", "0")
    typed("run", "x")
    assert (typed.code, len(engine.jobs)) == (6, 1)
    assert "--state FAIL,CANCELLED" in typed.stderr


def test_a_person_goes_on_without_it(typed: Typed, engine: FakeEngine) -> None:
    """``--canary none``; another canary of an existing run is refused."""
    made(typed, "--canary", "3")
    typed("run", "x", "--canary", "5")
    assert (typed.code, typed.error) == (2, "canary-is-chosen")
    finish(engine, "100", State.FAILED, 0, 50, 99)
    typed("run", "x", "--canary", "none")
    assert len(keys(engine)[1]) == 97


def test_submit_and_its_preview_begin_with_the_canary(typed: Typed, engine: FakeEngine) -> None:
    """``render`` records it; ``submit`` sends these slices, and says that the others wait."""
    typed("render", "-a", "0-9", "--name", "x", "--canary", "2,7", *COMMAND)
    assert [one["keys"] for one in typed.noted("canary")] == ["2,7"]
    typed("submit", "x", "--dry-run")
    assert [one["keys"] for one in typed.noted("would-submit")] == ["2,7"]
    engine.on_wait = lambda: None
    typed("submit", "x")
    assert keys(engine) == [[2, 7]]
    assert [one["slices"] for one in typed.noted("waiting")] == [8]
    finish(engine, "100", State.COMPLETED, 2, 7)
    typed("submit", "x")
    assert keys(engine)[1] == [0, 1, 3, 4, 5, 6, 8, 9]


def test_in_chunks_and_with_different_requests(typed: Typed, engine: FakeEngine) -> None:
    """The rest is submitted in as many submissions as it needs."""
    (typed.folder / "t.csv").write_text(
        "key,mem\n" + "".join(f"k{n},{1 + n % 2}\n" for n in range(9))
    )
    engine.max_array_size = 3
    typed("run", "--table", "t.csv", "--name", "x", "--mem", "{mem}G", "--canary", "3", *COMMAND)
    assert sum(len(job.tasks) for job in engine.jobs.values()) == 3
    for job in list(engine.jobs):
        finish(engine, job, State.COMPLETED, *engine.jobs[job].tasks)
    typed("tick", "x")
    assert sum(len(job.tasks) for job in engine.jobs.values()) == 9


@pytest.mark.parametrize("text", ["0", "nobody", "3-200"])
def test_a_bad_canary_is_refused(typed: Typed, text: str) -> None:
    """Nothing is made."""
    typed("run", "-a", "0-9", "--canary", text, *COMMAND)
    assert typed.code == 2
    assert not (typed.folder / "runs").exists()
