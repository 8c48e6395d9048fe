"""``--max-failures`` as a number or a share, and what becomes of the rest."""

from __future__ import annotations

import pytest

from slurmslice.policy.failure_limit import limit_in_slices, parse_failure_limit
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Held
from slurmslice.spec.run_spec import NO_LIMIT
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

COMMAND = ("--", "true", "{}")


def made(typed: Typed, *options: str, slices: int = 200) -> None:
    """Create and submit a run."""
    typed("run", "-a", f"0-{slices - 1}", "--name", "x", *options, *COMMAND)
    assert typed.code == 130, typed.stderr


def fail(engine: FakeEngine, job: str, rows: range) -> None:
    """Let slices fail."""
    for row in rows:
        engine.end(job, row, State.FAILED, exit_code=1)


def exit_code(typed: Typed) -> int:
    """Return what ``tick`` says about the run."""
    typed("tick", "x", "--exit-code")
    return typed.code


@pytest.mark.parametrize(
    ("text", "slices", "number"),
    [
        ("5%", 200, 10), ("5%", 201, 11), ("0.5%", 1000, 5), ("0.29%", 1_000_000, 2900),
        ("100%", 7, 7), ("1%", 3, 1), ("12", 3, 12), ("none", 9, NO_LIMIT),
    ],
)  # fmt: skip
def test_a_share_is_a_number_of_slices(text: str, slices: int, number: int) -> None:
    """It is rounded up, exactly, and is at least one slice."""
    assert limit_in_slices(parse_failure_limit(text), slices) == number


@pytest.mark.parametrize("text", ["0%", "101%", "%", "5 %", "-5%", "5%%", "1e1%", "100.5%"])
def test_a_bad_share_is_refused(typed: Typed, text: str) -> None:
    """Nothing is made."""
    typed("run", "-a", "0-9", f"--max-failures={text}", *COMMAND)
    assert typed.code == 2
    assert not (typed.folder / "runs").exists()


@pytest.mark.parametrize(
    ("limit", "failures"), [("5%", 10), ("7", 7), ("none", None)], ids=["share", "number", "none"]
)
def test_the_preview_tells_the_number(typed: Typed, limit: str, failures: int | None) -> None:
    """A share is told as slices. Nothing is made."""
    typed("run", "-a", "0-199", "--max-failures", limit, "--dry-run", *COMMAND)
    assert [one["failures"] for one in typed.noted("stop-rule")] == [failures]


def test_slices_that_are_repaired_do_not_count(typed: Typed, engine: FakeEngine) -> None:
    """20 of 200 need one more attempt each: 5 % is not reached. Ten that fail for good reach it."""
    made(typed, "--max-failures", "5%", "--max-attempts", "2")
    fail(engine, "100", range(20))
    assert exit_code(typed) == 4
    assert len(engine.jobs["101"].tasks) == 20
    fail(engine, "101", range(9))
    assert (exit_code(typed), engine.held) == (4, [])
    fail(engine, "101", range(9, 10))
    assert exit_code(typed) == 6
    assert set(engine.held) == {"100", "101"}


def test_the_share_is_recorded_and_changed(typed: Typed, engine: FakeEngine) -> None:
    """In run.json, by ``run RUN`` and in a settings file."""
    (typed.folder / "slurmslice.toml").write_text(
        '[policy]\nmax-failures = "5%"\ncancel-rest = true\n'
    )
    made(typed, slices=40)
    record = RunDirectory(typed.folder / "runs" / "x").read_record()
    assert (record.max_failures, record.cancel_rest) == ("5%", True)
    typed("run", "x", "--max-failures", "10%", "--hold-rest")
    fail(engine, "100", range(3))
    typed("tick", "x")
    assert (engine.held, engine.cancelled) == ([], [])
    fail(engine, "100", range(4))
    typed("tick", "x")
    assert (engine.held, engine.cancelled) == (["100"], [])


def test_the_rest_is_cancelled(typed: Typed, engine: FakeEngine) -> None:
    """What runs goes on; what waits for Slurm or for room does not start. The exit code is 6."""
    engine.most = 10
    made(typed, "--max-failures", "25%", "--cancel-rest", slices=12)
    for row in (8, 9):
        engine.run("100", row, node="n1")
    fail(engine, "100", range(2))
    assert (exit_code(typed), engine.cancelled) == (4, [])
    fail(engine, "100", range(2, 3))
    assert exit_code(typed) == 6
    assert typed.json("status", "x")["counts"] == {"RUNNING": 2, "FAILED": 3, "CANCELLED": 7}
    for row in (8, 9):
        engine.end("100", row, State.CANCELLED)
    assert exit_code(typed) == 6
    (held,) = [
        one for one in RunDirectory(typed.folder / "runs" / "x").events() if isinstance(one, Held)
    ]
    assert held.cancelled
    typed("resubmit", "x", "--state", "FAIL,CANCELLED", "--max-failures", "none")
    assert sum(len(job.tasks) for job in list(engine.jobs.values())[-1:]) == 10
    assert typed.json("status", "x")["counts"].get("CANCELLED") is None


def test_what_a_run_finds_by_itself_cancels_nothing(typed: Typed, engine: FakeEngine) -> None:
    """``--cancel-rest`` needs a limit that a person gave."""
    for words in (("--cancel-rest",), ("--cancel-rest", "--max-failures", "none")):
        typed("run", "-a", "0-9", "--name", "y", *words, *COMMAND)
        assert (typed.code, typed.error) == (2, "cancel-rest-without-limit")
    made(typed, slices=40)
    typed("run", "x", "--cancel-rest")
    assert (typed.code, typed.error) == (2, "cancel-rest-without-limit")
    fail(engine, "100", range(30))
    typed("tick", "x")
    assert (engine.held, engine.cancelled) == (["100"], [])
