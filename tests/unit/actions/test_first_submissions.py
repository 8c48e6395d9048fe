"""Options that delay a start: each slice has them in its first submission only."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from slurmslice.actions.cancel import cancel
from slurmslice.actions.poll import poll
from slurmslice.actions.submit import ChooseRows, choose_failed, choose_waiting, submit
from slurmslice.actions.submit_queued import AcceptedSubmission, submit_queued
from slurmslice.run.journal import SlicesReturned
from slurmslice.run.run import Run
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine

NewRun = Callable[..., Run]
Reopen = Callable[[Run], Run]
ALL = choose_waiting(None)
FAILED = choose_failed(None, None)


def submitted(
    run: Run, choose: ChooseRows, changes: dict[str, str], verb: str
) -> list[AcceptedSubmission]:
    """Return the accepted submissions; raise an error that stopped them."""
    outcome = submit(run, choose, changes, verb)
    outcome.raise_error(ignore_temporary=False)
    return outcome.accepted


@pytest.mark.parametrize(("option", "value"), [("hold", ""), ("begin", "now+1hour")])
def test_a_delay_is_that_of_the_first_submissions(
    new_run: NewRun, engine: FakeEngine, reopen: Reopen, option: str, value: str
) -> None:
    """Each slice's first submission has it. Later ones have it only if it is typed again."""
    run, delay = new_run("0-3", mem="4G", **{option: value}), {option: value}
    assert f"--{option}" not in re.sub("(?m)^# .*", "", run.directory.script.read_text())
    for rows in ([0], [1, 2, 3]):
        (taken,) = submitted(run, choose_waiting(rows), {}, "submit")
        assert dict(engine.jobs[taken.job].order.overrides.only(delay)) == delay
        engine.end_all(State.OUT_OF_MEMORY)
        poll(run)
    for changes in ({"mem": "2x"}, delay, {}):
        (taken,) = submitted(reopen(run), FAILED, changes, "resubmit")
        order = engine.jobs[taken.job].order
        assert order.request.mem_mib == 8192
        assert dict(order.overrides.only(delay)) == (delay if changes == delay else {})
        engine.end_all(State.OUT_OF_MEMORY)
        poll(run)


@pytest.mark.parametrize("typed_at", ["render", "submit"])
def test_a_returned_slice_is_not_held_again(
    new_run: NewRun, engine: FakeEngine, typed_at: str
) -> None:
    """A slice that Slurm returned waits for its next submission, which is not its first one."""
    at_render, at_submit = ({"hold": ""}, {}) if typed_at == "render" else ({}, {"hold": ""})
    run = new_run("0-1", **at_render)
    submitted(run, ALL, at_submit, "submit")
    engine.end_all(State.FAILED)
    with run.directory.lock("poll"):
        run.decide(SlicesReturned(1, "0-1", "a test", run.clock(), True))
    (taken,) = submit_queued(run, "tick").accepted
    assert "hold" not in engine.jobs[taken.job].order.overrides


def test_a_cancelled_slice_is_resubmitted_without_delay(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """Its first submission was the held one. A slice that was cancelled before it is still held."""
    run = new_run("0-1", hold="", dependency="afterok:7")
    submitted(run, choose_waiting([0]), {}, "submit")
    cancel(run, None)
    poll(run)
    chosen = choose_failed(frozenset({State.CANCELLED}), None)
    held = {str(t.planned.batch.array): "hold" in t.planned.overrides
            for t in submitted(run, chosen, {}, "resubmit")}  # fmt: skip
    assert held == {"0": False, "1": True}


def test_other_options_are_those_of_every_submission(new_run: NewRun, engine: FakeEngine) -> None:
    """A dependency may not be fulfilled yet, and Slurm ignores one on a job that has ended."""
    run = new_run("0-1", dependency="afterok:7", deadline="2030-01-01")
    submitted(run, ALL, {}, "submit")
    engine.end_all(State.FAILED)
    poll(run)
    (taken,) = submitted(run, FAILED, {}, "resubmit")
    request = engine.jobs[taken.job].order.request
    assert (request["dependency"], request["deadline"]) == ("afterok:7", "2030-01-01")
