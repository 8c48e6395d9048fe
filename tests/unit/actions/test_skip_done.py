"""``--skip-done``: slices whose files are there are told as done, and not submitted."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from slurmslice.actions.find_done import YOUNG_S
from slurmslice.policy.circuit_breaker import FEWEST_FAILURES
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

COMMAND = ("--", "true", "{}")
FILES = ("--skip-done", "--check-file", "out-{}")


def write(folder: Path, *keys: int, text: str = "result", age_s: float = YOUNG_S + 60) -> None:
    """Write the result files of slices."""
    for key in keys:
        path = folder / f"out-{key}"
        path.write_text(text)
        os.utime(path, (time.time() - age_s,) * 2)


def test_done_slices_are_not_submitted(typed: Typed, engine: FakeEngine) -> None:
    """Empty and young files, folders and files of which one is missing show nothing."""
    write(typed.folder, 0, 1, 5)
    write(typed.folder, 2, text="")
    write(typed.folder, 3, age_s=10)
    (typed.folder / "out-4").mkdir()
    typed("run", "-a", "0-9", "--name", "x", *FILES, *COMMAND)
    assert [one["keys"] for one in typed.noted("done-before")] == ["0-1,5"]
    assert [one["keys"] for one in typed.noted("done-too-young")] == ["3"]
    assert [list(job.order.array) for job in engine.jobs.values()] == [[2, 3, 4, 6, 7, 8, 9]]
    assert "array" not in engine.jobs["100"].order.overrides, "the script leaves them out too"
    record = typed.json("status", "x")
    assert record["counts"] == {"PENDING": 7, "COMPLETED": 3}
    assert [record["slices"][0][name] for name in ("attempt", "evidence")] == [0, "check"]
    engine.end_all()
    typed("run", "x")
    assert typed.code == 0, typed.stderr
    typed("resubmit", "x", "--state", "COMPLETED", "5")
    assert list(engine.jobs[list(engine.jobs)[-1]].order.array) == [5]
    assert typed.json("status", "x")["counts"] == {"PENDING": 1, "COMPLETED": 9}


def test_all_done_makes_no_run(typed: Typed, engine: FakeEngine) -> None:
    """The line can be typed again in a finished folder; the exit code is 0."""
    write(typed.folder, *range(10))
    for verb in ("run", "render"):
        typed(verb, "-a", "0-9", "--name", "x", *FILES, *COMMAND)
        assert (typed.code, typed.noted("all-done-before")) == (0, [{"slices": 10}])
    assert not (typed.folder / "runs").exists()


def test_in_the_table_form_with_packs_chunks_and_a_canary(typed: Typed, engine: FakeEngine) -> None:
    """Two files for each slice; the canary is taken from the other slices."""
    write(typed.folder, *range(0, 20, 2))
    for key in range(0, 20, 4):
        (typed.folder / f"more-{key}").write_text("x")
        os.utime(typed.folder / f"more-{key}", (1, 1))
    engine.max_array_size = 3
    two = ("--check-file", "more-{}", "--pack", "2", "--canary", "2")
    typed("run", "-a", "0-19", "--name", "x", *FILES, *two, *COMMAND)
    assert [one["keys"] for one in typed.noted("done-before")] == ["0-16:4"]
    assert [one["keys"] for one in typed.noted("submitted")] == ["1,19"]
    typed("run", "x", "--canary", "none")
    assert typed.json("status", "x")["counts"]["COMPLETED"] == 5
    sent = [one["slices"] for one in typed.noted("submitted")]
    assert sum(sent) <= 13


def test_what_was_done_before_is_no_success_of_this_run(typed: Typed, engine: FakeEngine) -> None:
    """The circuit breaker does not count it."""
    write(typed.folder, *range(50))
    typed("run", "-a", f"0-{FEWEST_FAILURES + 99}", "--name", "x", *FILES, *COMMAND)
    for row in range(50, 50 + FEWEST_FAILURES):
        engine.end("100", row, State.FAILED, exit_code=1)
    typed("tick", "x")
    assert engine.held == ["100"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--skip-done",), "skip-done-without-file"),
        ((*FILES, "--check", 'test -e "out-$SLICE"'), "skip-done-with-check"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(
    typed: Typed, words: tuple[str, ...], code: str
) -> None:
    """Nothing is made."""
    typed("run", "-a", "0-9", *words, *COMMAND)
    assert (typed.code, typed.error) == (2, code)
