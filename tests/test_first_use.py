"""What a first user stumbles over: what is not said, and what could be meant by a slip."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slurmslice.errors import BadInput, EngineError
from slurmslice.run import Run
from slurmslice.states import State
from slurmslice.verbs.poll import poll
from slurmslice.verbs.submit import failed, submit, waiting
from tests.fakes import FakeEngine

NewRun = Callable[..., Run]
ALL = waiting(None)
FAILED = failed(None, None)


def ended(run: Run, engine: FakeEngine, state: State, **what: int) -> None:
    """Submit everything, let all of it end so, and look."""
    submit(run, ALL, {}, "submit")
    for index in engine.jobs["100"].tasks:
        engine.end("100", index, state, **what)
    poll(run)


def changes(run: Run, **wanted: str) -> dict[str, str]:
    """What a resubmission of what failed gives beside the script."""
    fed = submit(run, FAILED, wanted, "resubmit")
    fed.check(passing=False)
    (taken,) = fed.taken
    return dict(taken.draft.batch.changes)


# -- a multiple of what nobody asked for -----------------------------------------------------


def test_twice_the_memory_that_slurm_gave(new_run: NewRun, engine: FakeEngine) -> None:
    """``--mem 2x`` where no --mem was given: twice what accounting says the slice had."""
    run = new_run("0-1")
    ended(run, engine, State.OUT_OF_MEMORY, requested_mem_bytes=950 << 20)
    assert changes(run, mem="2x") == {"mem": "1900M"}
    engine.end_all(State.OUT_OF_MEMORY)
    poll(run)
    assert changes(run, mem="2x") == {"mem": "3800M"}


def test_each_slice_has_twice_its_own(new_run: NewRun, engine: FakeEngine) -> None:
    """Slices to which Slurm gave different memory go in with different requests."""
    run = new_run("0-1")
    submit(run, ALL, {}, "submit")
    for index, gigabytes in enumerate((1, 3)):
        engine.end("100", index, State.OUT_OF_MEMORY, requested_mem_bytes=gigabytes << 30)
    poll(run)
    fed = submit(run, FAILED, {"mem": "2x"}, "resubmit")
    assert [dict(taken.draft.batch.changes)["mem"] for taken in fed.taken] == ["2G", "6G"]


def test_twice_the_time_of_the_partition(new_run: NewRun, engine: FakeEngine) -> None:
    """``--time 2x`` where no --time was given: twice the partition's default."""
    engine.default_time_s = 3600
    run = new_run("0-1")
    ended(run, engine, State.TIMEOUT)
    assert changes(run, time="2x") == {"time": "02:00:00"}


@pytest.mark.parametrize(("name", "full"), [("mem", "--mem 8G"), ("time", "--time 02:00:00")])
def test_a_multiple_of_what_is_not_known(
    new_run: NewRun, engine: FakeEngine, name: str, full: str
) -> None:
    """The error names the option in full; nothing is submitted."""
    run = new_run("0-1")
    ended(run, engine, State.OUT_OF_MEMORY)
    with pytest.raises(BadInput, match="could be multiplied") as caught:
        submit(run, FAILED, {name: "2x"}, "resubmit")
    assert full in caught.value.hint
    assert len(engine.jobs) == 1
