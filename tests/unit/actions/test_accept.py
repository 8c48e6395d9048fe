"""Accepted failures on the fake cluster: what counts them as done, and what leaves them alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slurmslice.run.acceptances import AcceptanceUndone, FailureAccepted
from slurmslice.run.journal import Fenced, Intent, Submitted
from slurmslice.run.journal_state import JournalState
from slurmslice.sbatch.resource_request import NO_REQUEST
from slurmslice.status.states import State
from tests.support.fake_stewards import FakeStewards
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

WHY = ("--reason", "corrupt input")


def make(typed: Typed, *options: str, name: str = "x", slices: str = "0-3") -> None:
    """Make a run of some slices, and submit it."""
    typed("run", "-a", slices, "--name", name, *options, "--", "true", "{}")


def end(engine: FakeEngine, *failed: int, job: str = "100") -> None:
    """Let all slices of an array end; some of them fail."""
    for index in engine.jobs[job].tasks:
        state = State.FAILED if index in failed else State.COMPLETED
        engine.end(job, index, state, exit_code=int(index in failed))


def slices(typed: Typed, name: str = "x") -> dict[str, Any]:
    """The slices by key, as ``status --json`` has them."""
    return {one["key"]: one for one in typed.json("status", name)["slices"]}


@pytest.fixture
def failed(typed: Typed, engine: FakeEngine) -> Typed:
    """The run x of four slices; 1 and 3 have failed."""
    make(typed)
    end(engine, 1, 3)
    typed("status", "x", "--exit-code")
    assert typed.code == 1
    return typed


def test_an_accepted_slice_stays_failed_and_counts_no_longer(failed: Typed) -> None:
    """The exit code is 0 when every failure is accepted, and 1 before."""
    failed("accept", "x", "1", *WHY)
    failed("status", "x", "--exit-code")
    assert failed.code == 1
    failed("accept", "x", "3", *WHY)
    failed("status", "x", "--exit-code")
    assert failed.code == 0
    assert slices(failed)["3"]["state"] == "FAILED"
    assert slices(failed)["3"]["accepted"]["reason"] == "corrupt input"
    assert slices(failed)["0"]["accepted"] is None
    run = failed.json("status", "x")
    assert (run["accepted"], run["counts"]["FAILED"], run["finished"]) == (2, 2, True)
    listed = failed.json("runs")[0]
    assert (listed["done"], listed["failed"], listed["accepted"]) == (2, 0, 2)


def test_everything_that_shows_the_slice_shows_the_reason(failed: Typed) -> None:
    """The counts, the table and the explanation."""
    failed("accept", "x", "3", *WHY)
    for words in (("status", "x"), ("status", "x", "--slices"), ("explain", "x", "3")):
        assert "corrupt input" in failed(*words)
    failed("status", "x")
    assert failed.stdout.count("FAILED") == 2  # 1 failed, and 1 whose failure is accepted


def test_undo_lets_the_failure_count_again(failed: Typed) -> None:
    """And there is nothing to undo twice."""
    failed("accept", "x", "1,3", *WHY)
    failed("accept", "x", "3", "--undo", "--dry-run")
    assert failed.json("status", "x")["accepted"] == 2
    failed("accept", "x", "3", "--undo")
    assert failed.noted("accept-undone")[0]["keys"] == "3"
    failed("status", "x", "--exit-code")
    assert failed.code == 1
    failed("accept", "x", "3", "--undo")
    assert (failed.code, bool(failed.noted("nothing-to-accept"))) == (5, True)


def test_only_what_has_failed_can_be_accepted(failed: Typed) -> None:
    """The other named slices are left out and named; nothing at all to accept is exit code 5."""
    failed("accept", "x", "0-3", *WHY, "--dry-run")
    assert (failed.code, failed.json("status", "x")["accepted"]) == (0, 0)
    failed("accept", "x", "0-3", *WHY)
    assert failed.noted("accepted")[0]["keys"] == "1,3"
    assert failed.noted("named-left-out")[0]["states"] == {"COMPLETED": "0,2"}
    failed("accept", "x", "0", *WHY)
    assert (failed.code, bool(failed.noted("nothing-to-accept"))) == (5, True)


@pytest.mark.parametrize("state", [State.PENDING, State.RUNNING])
def test_a_slice_that_has_not_ended_cannot_be_accepted(
    state: State, typed: Typed, engine: FakeEngine
) -> None:
    """Its end is not known yet."""
    make(typed)
    if state is State.RUNNING:
        engine.run("100", 3)
    typed("accept", "x", "3", *WHY)
    assert (typed.code, slices(typed)["3"]["accepted"]) == (5, None)


def test_a_cancelled_slice_can_be_accepted(typed: Typed, engine: FakeEngine) -> None:
    """A person ended it, and that is enough."""
    make(typed)
    typed("cancel", "x", "3")
    end(engine)
    engine.end("100", 3, State.CANCELLED)
    typed("accept", "x", "--state", "CANCELLED", *WHY)
    assert typed.noted("accepted")[0]["keys"] == "3"
    typed("status", "x", "--exit-code")
    assert typed.code == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("3",), "missing-reason"),
        (("3", "--reason", " \n "), "missing-reason"),
        (WHY, "missing-slice"),
        (("3", "--undo", *WHY), "options-conflict"),
        (("17", *WHY), "unknown-slice"),
        (("--state", "BAD", *WHY), "unknown-state"),
    ],
)
def test_bad_input_changes_nothing(words: tuple[str, ...], error: str, failed: Typed) -> None:
    """Each mistake has its code."""
    failed("accept", "x", *words)
    assert (failed.code, failed.error) == (2, error)
    assert failed.json("status", "x")["accepted"] == 0


def test_a_bare_resubmit_leaves_it_and_a_named_one_tries_it_again(
    failed: Typed, engine: FakeEngine
) -> None:
    """Also with --state; a new attempt ends the acceptance."""
    failed("accept", "x", "3", *WHY)
    failed("resubmit", "x", "--dry-run")
    assert failed.noted("accepted-left-out")[0]["keys"] == "3"
    failed("resubmit", "x", "--state", "FAIL")
    assert sorted(engine.jobs["101"].tasks) == [1]
    end(engine, job="101")
    failed("resubmit", "x")
    assert (failed.code, list(engine.jobs)) == (5, ["100", "101"])
    failed("resubmit", "x", "3")
    assert sorted(engine.jobs["102"].tasks) == [3]
    end(engine, 3, job="102")
    assert slices(failed)["3"]["accepted"] is None
    failed("status", "x", "--exit-code")
    assert failed.code == 1


def test_the_policy_repairs_it_no_more(typed: Typed, engine: FakeEngine) -> None:
    """The person's word comes before the rule."""
    make(typed, "--on", "exit:1=again")
    end(engine, 3)
    typed("status", "x", "--exit-code")
    assert typed.code == 4
    typed("accept", "x", "3", *WHY)
    typed("tick", "x", "--exit-code")
    assert (typed.code, list(engine.jobs)) == (0, ["100"])
    assert slices(typed)["3"]["attempts_left"] == 0
    typed("accept", "x", "3", "--undo")
    typed("tick", "x")
    assert list(engine.jobs) == ["100", "101"]


def test_it_does_not_count_for_max_failures(typed: Typed, engine: FakeEngine) -> None:
    """If the limit is not reached any more, what is held goes on."""
    make(typed, "--max-failures", "2")
    for index in (0, 1):
        engine.end("100", index, State.FAILED, exit_code=1)
    typed("tick", "x", "--exit-code")
    assert (typed.code, engine.stopped) == (6, {"100"})
    typed("accept", "x", "1", *WHY)
    assert typed.noted("held-slices-released")[0]["keys"] == "2-3"
    assert not engine.stopped
    typed("tick", "x", "--exit-code")
    assert typed.code == 4
    engine.end("100", 2, State.FAILED, exit_code=1)
    typed("tick", "x", "--exit-code")
    assert typed.code == 6


def test_the_circuit_breaker_does_not_count_it(typed: Typed, engine: FakeEngine) -> None:
    """Twenty failures with a common cause hold the rest, unless a person knows them."""
    make(typed, slices="0-39")
    for index in range(20):
        engine.end("100", index, State.FAILED, exit_code=1, started_at=1, ended_at=2)
    typed("accept", "x", "0-9", *WHY)
    typed("tick", "x", "--exit-code")
    assert (typed.code, engine.stopped) == (4, set())
    typed("accept", "x", "0-9", "--undo")
    typed("tick", "x", "--exit-code")
    assert engine.stopped == {"100"}


def test_the_others_go_on_after_an_accepted_canary(typed: Typed, engine: FakeEngine) -> None:
    """A person has decided on its failure."""
    make(typed, "--canary", "1")
    end(engine, 0)
    typed("tick", "x", "--exit-code")
    assert typed.code == 6
    typed("accept", "x", "0", *WHY)
    typed("tick", "x")
    assert sorted(engine.jobs["101"].tasks) == [1, 2, 3]


@pytest.mark.parametrize(
    ("condition", "starts"), [("done", True), ("75%", False), ("50%", True), ("ended", True)]
)
def test_the_step_afterwards(
    condition: str, starts: bool, typed: Typed, engine: FakeEngine
) -> None:
    """For --then-if done it counts as done; for a share it does not. It is named as missing."""
    fakes = engine.stewards
    assert isinstance(fakes, FakeStewards)
    make(typed, "--then", "true", "--then-if", condition)
    end(engine, 1, 3)
    typed("accept", "x", "1,3", *WHY)
    assert not fakes.orders
    typed("tick", "x")
    assert bool(fakes.orders) is starts
    missing = list((typed.folder / "runs" / "x" / "then").glob("*/missing"))
    assert [path.read_text() for path in missing] == (["1\n3\n"] if starts else [])


def test_a_run_that_waits_goes_on(typed: Typed, engine: FakeEngine) -> None:
    """--after counts an accepted slice as done."""
    make(typed)
    make(typed, "--after", "x", name="y")
    end(engine, 3)
    typed("tick", "y", "--exit-code")
    assert (typed.code, list(engine.jobs)) == (6, ["100"])
    typed("accept", "x", "3", *WHY)
    typed("tick", "y")
    assert list(engine.jobs) == ["100", "101"]


def test_gather_leaves_it_out(failed: Typed) -> None:
    """And names it; a failure that is not accepted still stops it."""
    failed("accept", "x", "3", *WHY)
    failed("gather", "x")
    assert (failed.code, failed.noted("gather-missing")[0]["slices"]) == (1, 1)
    failed("accept", "x", "1", *WHY)
    failed("gather", "x")
    assert (failed.code, failed.noted("accepted-left-out")[0]["keys"]) == (0, "1,3")
    failed("gather", "x", "3")
    assert failed.code == 1


def test_a_submission_that_never_was_brings_the_acceptance_back() -> None:
    """It counts while the submission holds the slice that held it when it was accepted."""
    state = JournalState.empty(4)
    start = Intent(1, "t1", "n", "0-3", "0-3", NO_REQUEST, NO_REQUEST, "", "", 0.0)
    for event in (start, Submitted(1, "7", None, "sbatch", 0.0), FailureAccepted("3", "bad", 1.0)):
        state.apply(event)
    found = [state.accepted.find(3, state.holder[3])]
    state.apply(Intent(2, "t2", "n", "0", "3", NO_REQUEST, NO_REQUEST, "", "", 2.0))
    found.append(state.accepted.find(3, state.holder[3]))
    state.apply(Fenced(2, 3.0))
    found.append(state.accepted.find(3, state.holder[3]))
    state.apply(AcceptanceUndone("3", 4.0))
    found.append(state.accepted.find(3, state.holder[3]))
    assert [one and one.reason for one in found] == ["bad", None, "bad", None]


def test_the_journal_of_a_run_is_read_again(failed: Typed) -> None:
    """The event has rows and a reason; a row that does not exist is a damaged journal."""
    failed("accept", "x", "3", "--reason", "caf\udce9 \x1b[31m")
    journal = failed.folder / "runs" / "x" / "journal.jsonl"
    event = json.loads(journal.read_bytes().splitlines()[-1])
    assert (event["event"], event["rows"]) == ("failure_accepted", "3")
    failed("status", "x")
    assert "\x1b" not in failed.stdout + failed.stderr
    with journal.open("a") as file:
        file.write('{"event": "failure_accepted", "rows": "9", "reason": "", "at": 1.0}\n')
    failed("status", "x")
    assert failed.error == "damaged-run"
