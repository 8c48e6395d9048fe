"""``submit`` with a line that describes a new run: it is made and submitted, and nobody waits."""

from __future__ import annotations

import pytest

from slurmslice.run.directory import RunDirectory
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

LINE = ("-a", "0-4", "--name", "x", "--mem", "4G")
COMMAND = ("--", "true", "{}")


def arrays(engine: FakeEngine) -> list[str]:
    """Return the array of each submission."""
    return [str(job.order.array) for job in engine.jobs.values()]


@pytest.mark.parametrize(
    ("line", "submitted"),
    [
        ((*LINE, *COMMAND), ["0-4"]),
        ((*LINE, "--only", "2", *COMMAND), ["0-1"]),
        ((*LINE, "--only", "3-4", *COMMAND), ["3-4"]),
        (("--grid", "a=1,2", "--name", "x", "--shell", "echo $SLICE"), ["0-1"]),
        ((*LINE, "--dry-run", *COMMAND), []),
    ],
)
def test_a_new_run_is_submitted(
    typed: Typed, engine: FakeEngine, line: tuple[str, ...], submitted: list[str]
) -> None:
    """With all or a few slices; a dry run makes nothing."""
    typed("submit", *line)
    assert (typed.code, arrays(engine)) == (0, submitted)
    assert (typed.folder / "runs/x").exists() is bool(submitted)


def test_only_job_ids_are_on_stdout(typed: Typed, engine: FakeEngine) -> None:
    """A line for each array, also for an existing run.

    The same line submits nothing twice: it prints the jobs that have not ended.
    """
    typed("submit", *LINE, "--parsable", "--only", "2", *COMMAND)
    assert typed.stdout == "100\n"
    engine.max_array_size = 2
    typed("submit", "x", "--parsable")
    assert typed.stdout == "101\n102\n"
    typed("submit", *LINE, "--parsable", *COMMAND)
    assert (typed.code, typed.stdout, len(engine.jobs)) == (0, "100\n101\n102\n", 3)


def test_the_policy_is_recorded_for_later(typed: Typed, engine: FakeEngine) -> None:
    """``tick`` repairs by it. Typed again, the line changes it."""
    typed("submit", *LINE, "--retry", *COMMAND)
    record = RunDirectory(typed.folder / "runs/x").read_record()
    assert (record.retry, record.max_attempts) == (True, 4)
    typed("submit", *LINE, "--retry", "--max-attempts", "2", *COMMAND)
    assert typed.json("status", "x")["max_attempts"] == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("x", "-a", "0-1"), "option-not-allowed"),
        (("x", "--glob", "*.h5"), "unknown-option"),
        (("y", "-a", "0-1", *COMMAND), "usage"),
        (COMMAND, "one-source"),
        (LINE, "no-command"),
        ((*LINE, "--test-only", *COMMAND), "option-not-allowed"),
        ((*LINE, "--retry", "--max-attempts", "1", *COMMAND), "options-conflict"),
    ],
)
def test_lines_that_mix_both_are_refused(
    typed: Typed, engine: FakeEngine, words: tuple[str, ...], code: str
) -> None:
    """An existing run and a new one, or half of a new one: nothing is submitted."""
    typed("render", "-a", "0-4", "--name", "x", *COMMAND)
    typed("submit", *words)
    assert (typed.code, typed.error, arrays(engine)) == (2, code, [])


def test_a_slice_after_the_dashes(typed: Typed, engine: FakeEngine) -> None:
    """``submit RUN -- KEY`` submits this slice alone, also if its key begins with a dash."""
    (typed.folder / "keys").write_text("-3\n-2\n-1\n")
    typed("render", "--slices-from", "keys", "--name", "x", "--", "echo", "n={}")
    typed("submit", "x", "--", "-2")
    assert typed.code == 0
    states = {one["key"]: one["state"] for one in typed.json("status", "x")["slices"]}
    assert states == {"-3": "WAITING", "-2": "PENDING", "-1": "WAITING"}
