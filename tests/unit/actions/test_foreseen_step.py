"""``--dry-run`` of ``tick`` and ``run RUN`` shows the step that the command would do, whole."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmslice.actions.steward import ensure_steward
from slurmslice.engines.protocol import SubmitRequest, TaskLimits
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed
from tests.unit.actions.test_bad_nodes import end
from tests.unit.actions.test_dry_run import written

pytestmark = pytest.mark.usefixtures("interrupted")

LINE = ("run", "-a", "0-29", "--name", "x", "--mem", "4G", "-t", "60")
COMMAND = ("--", "true", "{}")
Setup = Callable[[FakeEngine], None]


def shown(typed: Typed) -> list[list[str]]:
    """Return the options of each sbatch line on stdout, without names and places."""
    lines = [shlex.split(line) for line in typed.stdout.splitlines() if line.startswith("sbatch")]
    return [[word for word in words if _matters(word)] for words in lines]


def _matters(word: str) -> bool:
    return word.startswith("--") and not word.startswith(("--job-name", "--output", "--parsable"))


def sent(orders: list[SubmitRequest]) -> list[list[str]]:
    """Return the same of submissions."""
    return [[word for word in order.overrides.to_argv() if _matters(word)] for order in orders]


def by_cause(engine: FakeEngine) -> None:
    """Fail slices by causes that have a ladder, and by one that has none."""
    engine.end("100", 0, State.OUT_OF_MEMORY)
    engine.end("100", 1, State.TIMEOUT)
    engine.end("100", 2, State.NODE_FAIL, node="n3")
    engine.end("100", 3, State.FAILED, exit_code=1)


def bad_node(engine: FakeEngine) -> None:
    """Fail all slices of one node of ten, while others do well."""
    engine.limited = TaskLimits(1001, nodes=10)
    now = int(time.time()) - 3600
    end(engine, "100", range(8, 30), State.COMPLETED, "n1", now)
    end(engine, "100", range(8), State.FAILED, "n3", now + 1)


def out_of_memory(engine: FakeEngine) -> None:
    """Fail all slices by their memory."""
    for index in range(10):
        engine.end("100", index, State.OUT_OF_MEMORY)


def little_room(engine: FakeEngine) -> None:
    """Leave room for three tasks."""
    out_of_memory(engine)
    engine.most = 23


def no_room(engine: FakeEngine) -> None:
    """Leave no room."""
    by_cause(engine)
    engine.most = 26


CASES: dict[str, tuple[tuple[str, ...], Setup, int]] = {
    "ladders of causes": (("--retry",), by_cause, 3),
    "a step of the person": (("--on", "exit:1=--mem=9G -p fat"), by_cause, 1),
    "attempts used up": (("--max-attempts", "1"), by_cause, 0),
    "a budget that is too small": (("--retry", "--budget", "0.01x"), by_cause, 0),
    "a throttle": (("--retry", "--throttle", "25"), out_of_memory, 1),
    "a throttle for two of three": (("--retry", "--throttle", "28"), by_cause, 2),
    "room for some": (("--retry",), little_room, 1),
    "room for none": (("--retry",), no_room, 0),
    "too many failures": (("--retry", "--max-failures", "1"), by_cause, 0),
    "a node that breaks slices": (("--retry",), bad_node, 1),
    "a canary that is not done": (("--retry", "--canary", "2"), by_cause, 1),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("verb", ["tick", "run"])
def test_the_step_that_is_shown_is_the_step_that_is_done(
    case: str, verb: str, typed: Typed, engine: FakeEngine, tmp_path: Path
) -> None:
    """The same arrays with the same requests, in the same order; and nothing is written before."""
    options, setup, submissions = CASES[case]
    typed(*LINE, *options, *COMMAND)
    if "--canary" in options:
        engine.end("100", 0, State.OUT_OF_MEMORY)
    else:
        setup(engine)
    then, before = written(tmp_path), len(engine.jobs)
    typed(verb, "x", "--dry-run")
    assert typed.code == 0, typed.stderr
    foreseen, waiting = shown(typed), typed.noted("would-wait")
    assert written(tmp_path) == then
    assert len(engine.jobs) == before
    assert not engine.held + engine.cancelled + engine.throttled + engine.announced
    typed(verb, "x")
    done = [job.order for job in list(engine.jobs.values())[before:]]
    assert foreseen == sent(done)
    assert len(done) == submissions
    left = typed.json("status", "x")["slices"]
    assert sum(one["slices"] for one in waiting) == sum(one["state"] == "WAITING" for one in left)


def test_the_end_of_a_canary_is_foreseen(typed: Typed, engine: FakeEngine) -> None:
    """The rest follows, and the comparison with its requests is shown."""
    typed(*LINE, "--canary", "2", *COMMAND)
    for index in list(engine.jobs["100"].tasks):  # an hour ago: its result is certain
        times = {"started_at": time.time() - 3600, "ended_at": time.time() - 3590}
        engine.end("100", index, State.COMPLETED, **times)
    typed("tick", "x", "--dry-run")
    assert [one["slices"] for one in typed.noted("canary-done")] == [2]
    assert [one["slices"] for one in typed.noted("would-submit")] == [28]
    assert len(engine.jobs) == 1


def test_the_repairs_are_shown_with_their_causes_and_what_stays_failed(
    typed: Typed, engine: FakeEngine
) -> None:
    """Each cause with its next request, and the reason to leave a slice."""
    typed(*LINE, "--retry", *COMMAND)
    by_cause(engine)
    typed("tick", "x", "--dry-run")
    (told,) = typed.noted("attempts-left")
    assert {one["cause"]: (one["keys"], one["changes"]) for one in told["repairs"]} == {
        "oom": ("0", {"mem": "8G"}),
        "timeout": ("1", {"time": "01:30:00"}),
        "node": ("2", {"exclude": "n3"}),
    }
    assert [(one["cause"], one["keys"]) for one in told["not_repaired"]] == [("exit:1", "3")]


def test_without_a_policy_it_says_that_failed_slices_stay_failed(
    typed: Typed, engine: FakeEngine
) -> None:
    """Nothing would be submitted, and the line that would repair them is named."""
    typed(*LINE, *COMMAND)
    by_cause(engine)
    typed("tick", "x", "--dry-run")
    assert typed.noted("repairs-off") == [{"slices": 4, "keys": "0-3"}]
    assert typed.noted("nothing-to-submit") == [{"run": "x"}]


def test_typed_rules_count_in_the_dry_run_and_are_not_recorded(
    typed: Typed, engine: FakeEngine, tmp_path: Path
) -> None:
    """``run RUN --on … --dry-run`` shows the repairs by the changed policy."""
    typed(*LINE, *COMMAND)
    by_cause(engine)
    then = written(tmp_path)
    typed("run", "x", "--on", "exit:1=--mem=9G", "--dry-run")
    assert [one["keys"] for one in typed.noted("would-submit")] == ["3"]
    assert written(tmp_path) == then


def test_in_an_unattended_run_tick_does_what_the_steward_does(
    typed: Typed, engine: FakeEngine
) -> None:
    """It submits also what nobody has queued. Without a steward that is left to a person."""
    typed("render", "-a", "0-2", "--name", "x", *COMMAND)
    typed("submit", "x", "0")
    typed("tick", "x", "--dry-run")
    assert typed.noted("nothing-to-submit")
    typed("tick", "x")
    assert len(engine.jobs) == 1
    run = Run(RunDirectory(typed.folder / "runs" / "x"), engine)
    ensure_steward(run)
    typed("tick", "x", "--dry-run")
    assert [one["keys"] for one in typed.noted("would-submit")] == ["1-2"]
    typed("tick", "x")
    assert [list(job.order.array) for job in engine.jobs.values()] == [[0], [1, 2]]


@pytest.mark.parametrize("verb", ["tick", "run"])
def test_the_step_afterwards_is_foreseen(
    verb: str, typed: Typed, engine: FakeEngine, tmp_path: Path
) -> None:
    """When all is done and repaired, and not before; a dry run does not start it."""
    typed(*LINE, "--then", "true", *COMMAND)
    typed(verb, "x", "--dry-run")
    assert not typed.noted("would-run-then")
    for index in engine.jobs["100"].tasks:
        times = {"started_at": time.time() - 3600, "ended_at": time.time() - 3590}
        engine.end("100", index, State.COMPLETED, **times)
    then = written(tmp_path)
    typed(verb, "x", "--dry-run")
    assert [one["command"] for one in typed.noted("would-run-then")] == ["true"]
    assert written(tmp_path) == then


def test_slices_that_wait_for_another_run_are_foreseen_to_wait(
    typed: Typed, engine: FakeEngine
) -> None:
    """Until that one is done; then the dry run shows their submission."""
    typed("run", "-a", "0", "--name", "first", *COMMAND)
    typed(*LINE, "--after", "first", *COMMAND)
    typed("tick", "x", "--dry-run")
    assert [one["slices"] for one in typed.noted("would-wait")] == [30]
    times = {"started_at": time.time() - 3600, "ended_at": time.time() - 3590}
    engine.end("100", 0, State.COMPLETED, **times)
    typed("tick", "x", "--dry-run")
    assert [one["slices"] for one in typed.noted("would-submit")] == [30]
    assert len(engine.jobs) == 1
