"""The probe of the circuit breaker, on the fake cluster: pause, try three slices, go on or hold."""

from __future__ import annotations

from typing import Any

import pytest

from slurmslice.actions import circuit_breaker
from slurmslice.actions.circuit_breaker import PROBES
from slurmslice.actions.open_run import open_run
from slurmslice.actions.steward import wake_now
from slurmslice.errors import NoAnswerError
from slurmslice.policy.circuit_breaker import LAST_ENDS
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Held
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

COMMAND = ("--", "true", "{}")
OOM = State.OUT_OF_MEMORY


def start(typed: Typed, slices: int, *options: str) -> None:
    """Submit slices."""
    typed("run", "-a", f"0-{slices - 1}", "--name", "x", "--mem", "1G", *options, *COMMAND)
    assert typed.code == 130, typed.stderr


def end(engine: FakeEngine, rows: Any, state: State, **facts: Any) -> None:
    """End slices in their newest jobs; they took 10 seconds."""
    for index in rows:
        job = next(one for one in reversed(engine.jobs) if index in engine.jobs[one].tasks)
        code = int(state is State.FAILED)
        engine.end(job, index, state, exit_code=code, started_at=100, ended_at=110, **facts)


def holds(typed: Typed) -> list[Held]:
    """Return the holds in the journal."""
    events = RunDirectory(typed.folder / "runs" / "x").events()
    return [event for event in events if isinstance(event, Held)]


def probed(engine: FakeEngine) -> list[int]:
    """Return the slices of the newest job."""
    return list(list(engine.jobs.values())[-1].order.array)


def step(typed: Typed) -> int:
    """Do one step, and return the exit code."""
    typed("tick", "x", "--exit-code")
    return typed.code


def fail_after_success(typed: Typed, engine: FakeEngine) -> None:
    """Let 5 slices of 100 succeed, and the next 50 fail; 45 are pending in one array."""
    start(typed, 100)
    end(engine, range(5), State.COMPLETED)
    end(engine, range(5, 5 + LAST_ENDS), State.FAILED)


def test_repairs_are_tried_before_the_rest(typed: Typed, engine: FakeEngine) -> None:
    """All exceed their memory: three get more. They are done, so the others get it too."""
    start(typed, 30, "--retry")
    end(engine, range(30), OOM)
    assert step(typed) == 4
    assert typed.noted("run-paused")[0]["keys"] == "5, 15, 25"
    assert probed(engine) == [5, 15, 25]
    assert engine.jobs["101"].order.overrides["mem"] == "2G"
    assert step(typed) == 4
    assert len(engine.jobs) == 2
    assert typed.json("status", "x")["stopped"] is None
    end(engine, probed(engine), State.COMPLETED)
    assert step(typed) == 4
    assert typed.noted("probe-done")[0]["slices"] == PROBES
    assert len(probed(engine)) == 27
    end(engine, probed(engine), State.COMPLETED)
    assert step(typed) == 0


def test_a_failed_probe_holds_the_rest(typed: Typed, engine: FakeEngine) -> None:
    """One of three is enough. Then only a person goes on."""
    start(typed, 30, "--retry")
    end(engine, range(30), OOM)
    step(typed)
    end(engine, [5, 15], State.COMPLETED)
    end(engine, [25], OOM)
    assert step(typed) == 6
    assert [event.probe for event in holds(typed)] == ["5,15,25", ""]
    assert typed.json("status", "x")["stopped"]
    assert step(typed) == 6
    assert len(engine.jobs) == 2
    typed("run", "x", "--max-failures", "none")
    again = [len(job.order.array) for job in list(engine.jobs.values())[2:]]
    assert sorted(again) == [1, 27]  # the failed one gets more than the others


def test_without_success_and_repair_nothing_is_tried(typed: Typed, engine: FakeEngine) -> None:
    """The same would fail again, so it is held at once."""
    start(typed, 30, "--max-attempts", "3")
    end(engine, range(30), State.FAILED)
    assert step(typed) == 6
    assert len(engine.jobs) == 1


def test_after_a_success_pending_slices_are_tried(typed: Typed, engine: FakeEngine) -> None:
    """They are taken out of their held array. After a good probe it is released."""
    fail_after_success(typed, engine)
    assert step(typed) == 4
    assert engine.held == ["100"]
    assert engine.cancelled == [("100", (62, 77, 92))]
    assert step(typed) == 4
    assert probed(engine) == [62, 77, 92]
    assert engine.held == ["100"]
    assert engine.released == []
    end(engine, [62, 77, 92], State.COMPLETED)
    assert step(typed) == 4
    assert engine.released == ["100"]
    slices = typed.json("status", "x")["slices"]
    assert {one["attempt"] for one in slices} == {1}
    assert [one["state"] for one in slices[55:]].count("COMPLETED") == PROBES
    end(engine, (n for n in range(55, 100) if n not in {62, 77, 92}), State.COMPLETED)
    assert step(typed) == 1  # old failures do not trip it again


@pytest.mark.parametrize(("state", "code"), [(State.COMPLETED, 4), (State.FAILED, 6)])
def test_a_probed_slice_may_have_begun_already(
    typed: Typed, engine: FakeEngine, state: State, code: int
) -> None:
    """It started in its array just before that was held. It tells as much as a new attempt."""
    fail_after_success(typed, engine)
    step(typed)
    end(engine, [62], state)
    step(typed)
    if state is State.COMPLETED:
        assert probed(engine) == [77, 92]
        end(engine, [77, 92], State.COMPLETED)
    assert step(typed) == code
    assert bool(engine.released) is (state is State.COMPLETED)


def test_a_file_system_that_stays_away(typed: Typed, engine: FakeEngine) -> None:
    """The probe fails too: the run is held, and its array stays held."""
    fail_after_success(typed, engine)
    step(typed)
    step(typed)
    end(engine, [62], State.FAILED)
    assert step(typed) == 6
    assert engine.released == []
    assert typed.json("status", "x")["stopped"]


def test_few_failures_after_a_success_pause_nothing(typed: Typed, engine: FakeEngine) -> None:
    """Six of the last fifty succeeded."""
    start(typed, 100)
    end(engine, range(6), State.COMPLETED)
    end(engine, range(6, 50), State.FAILED)
    assert step(typed) == 4
    assert holds(typed) == []


def test_a_killed_pause_is_finished_by_the_next_step(
    typed: Typed, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal names the probe before anything is cancelled."""
    fail_after_success(typed, engine)

    def silent(*_: object) -> None:
        raise NoAnswerError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(circuit_breaker, "cancel_in_engine", silent)
        step(typed)
    assert len(holds(typed)) == 1
    assert engine.cancelled == []
    step(typed)
    step(typed)
    assert probed(engine) == [62, 77, 92]


def test_a_probe_on_a_bad_node_says_nothing(typed: Typed, engine: FakeEngine) -> None:
    """Its repair is tried, and decides."""
    start(typed, 30, "--retry")
    end(engine, range(30), OOM)
    step(typed)
    end(engine, [5, 15], State.COMPLETED)
    end(engine, [25], State.NODE_FAIL, node="n1")
    assert step(typed) == 4
    assert probed(engine) == [25]
    end(engine, [25], State.COMPLETED)
    step(typed)
    assert len(probed(engine)) == 27


@pytest.mark.parametrize(("nodes", "pauses"), [(("n1", "n2"), True), (("n1", "n1"), False)])
@pytest.mark.parametrize(
    "words",
    ["Disk quota exceeded", "No space left on device", "Stale file handle"],
)
def test_a_file_system_that_fails_on_two_nodes(
    typed: Typed, engine: FakeEngine, nodes: tuple[str, str], pauses: bool, words: str
) -> None:
    """Two failures pause the run if they are on two nodes: then it is no fault of a node."""
    start(typed, 30)
    for index, node in enumerate(nodes):
        log = typed.folder / "runs" / "x" / "submissions" / "001" / "logs" / f"{index}.log"
        log.parent.mkdir(exist_ok=True)
        log.write_text(f"x: {words}\n")
        end(engine, [index], State.FAILED, node=node)
    end(engine, [2], State.COMPLETED)
    step(typed)
    assert bool(holds(typed)) is pauses


def test_the_probe_keeps_the_throttle(typed: Typed, engine: FakeEngine) -> None:
    """It waits until one of the slices that run has ended."""
    start(typed, 100, "--throttle", "2")
    end(engine, range(5), State.COMPLETED)
    end(engine, range(5, 5 + LAST_ENDS), State.FAILED)
    for index in (98, 99):
        engine.run("100", index, started_at=50)
    for _ in range(3):
        step(typed)
    assert len(holds(typed)) == 1
    assert len(engine.jobs) == 1
    end(engine, [98], State.COMPLETED)
    step(typed)
    assert engine.jobs["101"].order.array.throttle == 1
    assert len(probed(engine)) == PROBES


def test_each_end_of_a_probe_wakes_the_steward(typed: Typed, engine: FakeEngine) -> None:
    """It would sleep until the held array ends, which waits for it."""
    fail_after_success(typed, engine)
    step(typed)
    step(typed)
    run = open_run(RunDirectory(typed.folder / "runs" / "x"))
    wake = wake_now(run)
    assert "afterany:101" in wake.dependency


def test_a_limit_of_a_person_replaces_the_probe(typed: Typed, engine: FakeEngine) -> None:
    """``--max-failures N`` holds, and ``none`` never does."""
    start(typed, 100, "--max-failures", "50")
    end(engine, range(5), State.COMPLETED)
    end(engine, range(5, 5 + LAST_ENDS), State.FAILED)
    assert step(typed) == 6
    assert [event.probe for event in holds(typed)] == [""]
