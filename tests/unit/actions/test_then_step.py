"""The step after a run, on the fake cluster: when it starts, that it starts once, and its end."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from slurmslice.actions.open_run import open_run
from slurmslice.actions.steward_round import do_round
from slurmslice.actions.then_step import follow_then
from slurmslice.engines.stewards import StewardOrder
from slurmslice.errors import (
    NoAnswerError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    SubmitLimitError,
)
from slurmslice.notify.end_message import end_message
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.run.then_folder import ThenFolder
from slurmslice.run.then_record import ThenIntent
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.support.fake_stewards import FakeStewards
from tests.support.fakes import Clock, FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

COMMAND = ("--", "true", "{}")
PLOT = ("--then", "python plot.py")


@pytest.fixture
def fakes(engine: FakeEngine) -> FakeStewards:
    """The jobs beside the slices."""
    assert engine.stewards is not None
    return engine.stewards


def make(typed: Typed, *options: str) -> None:
    """Make the run x of four slices, and submit it."""
    typed("run", "-a", "0-3", "--name", "x", *PLOT, *options, *COMMAND)


def end(engine: FakeEngine, *failed: int, job: str = "100") -> None:
    """Let all slices of an array end; some of them fail."""
    for index in engine.jobs[job].tasks:
        state = State.FAILED if index in failed else State.COMPLETED
        engine.end(job, index, state, exit_code=int(index in failed))


def folder(typed: Typed) -> Path:
    """The run directory."""
    return typed.folder / "runs" / "x"


def finish(typed: Typed, fakes: FakeStewards, code: int, job: str = "900") -> None:
    """Let a job of the step end, as then.sh and Slurm record it."""
    token = fakes.orders[job].arguments[1]
    (ThenFolder(folder(typed), token).path / "exit").write_text(f"{code}\n")
    state = State.FAILED if code else State.COMPLETED
    fakes.reports[job] = TaskReport(state, str(state), exit_code=code)


def then(typed: Typed) -> dict[str, Any]:
    """The step as ``status --json`` has it."""
    record: dict[str, Any] = typed.json("status", "x")["then"]
    return record


# -- when it starts --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "failed", "starts"),
    [
        ((), (), True),
        ((), (3,), False),
        (("--then-if", "75%"), (3,), True),
        (("--then-if", "75%"), (2, 3), False),
        (("--then-if", "50.5%"), (2, 3), False),
        (("--then-if", "ended"), (0, 1, 2, 3), True),
    ],
)
def test_the_condition_counts_slices_that_are_done(
    condition: tuple[str, ...],
    failed: tuple[int, ...],
    starts: bool,
    typed: Typed,
    engine: FakeEngine,
    fakes: FakeStewards,
) -> None:
    """After all have ended; not before."""
    make(typed, *condition)
    engine.end("100", 0, State.COMPLETED)
    typed("tick", "x")
    assert not fakes.orders
    end(engine, *failed)
    typed("tick", "x", "--exit-code")
    assert bool(fakes.orders) is starts
    assert typed.code == (4 if starts else 1)
    assert then(typed)["phase"] == ("started" if starts else "not-met")


def test_it_waits_for_repairs(typed: Typed, engine: FakeEngine, fakes: FakeStewards) -> None:
    """A slice that a rule tries again has not ended for good."""
    make(typed, "--then-if", "ended", "--on", "exit:1=again")
    end(engine, 3)
    assert then(typed)["phase"] == "waiting"
    typed("tick", "x")
    assert (list(engine.jobs), list(fakes.orders)) == (["100", "101"], [])
    end(engine, job="101")
    typed("tick", "x")
    assert list(fakes.orders) == ["900"]


def test_it_does_not_start_while_the_run_is_held(
    typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """The run stopped by its own rule: a person decides."""
    make(typed, "--then-if", "ended", "--max-failures", "1", "--cancel-rest")
    engine.end("100", 0, State.FAILED, exit_code=1)
    typed("tick", "x")
    engine.end_all()
    typed("tick", "x", "--exit-code")
    assert (typed.code, fakes.orders) == (6, {})


def test_what_its_job_gets(typed: Typed, engine: FakeEngine, fakes: FakeStewards) -> None:
    """Its own request, the place of the run, the command, and the keys that are not done."""
    own = ("--then-sbatch", "--mem=8G -t 30", "--then-if", "ended")
    make(typed, "-A", "acct", "--mem", "1G", *own)
    end(engine, 1, 3)
    typed("tick", "x")
    (order,) = fakes.orders.values()
    asked = {name: order.options.get(name, "") for name in ("mem", "time", "account", "array")}
    assert asked == {"mem": "8G", "time": "30", "account": "acct", "array": ""}
    files = order.script.parent / order.arguments[1]
    assert (files / "missing").read_text() == "1\n3\n"
    assert (files / "command").read_text() == "python plot.py\n"


# -- once ------------------------------------------------------------------------------------


def test_it_starts_once(typed: Typed, engine: FakeEngine, fakes: FakeStewards) -> None:
    """Later commands look at its job; none of them submits another one."""
    make(typed)
    end(engine)
    for verb in ("tick", "tick", "run", "status", "watch"):
        typed(verb, "x")
    assert list(fakes.orders) == ["900"]
    finish(typed, fakes, 0)
    typed("run", "x")
    assert (typed.code, list(fakes.orders)) == (0, ["900"])


def test_the_intent_is_on_disk_before_sbatch(
    typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """With the token that its job's name ends in."""
    make(typed)
    end(engine)
    seen = []

    def look(order: StewardOrder) -> None:
        events = RunDirectory.open(folder(typed)).events()
        (intent,) = (one for one in events if isinstance(one, ThenIntent))
        seen.append((intent.token, order.options["job-name"]))

    fakes.on_submit = look
    typed("tick", "x")
    ((token, name),) = seen
    assert name == f"x-{token}-then"


@pytest.mark.parametrize("found_at_once", [True, False])
def test_a_lost_answer_is_looked_up_by_the_token(
    found_at_once: bool, typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """No second job is submitted, however often the verb is typed."""

    def lose(order: StewardOrder) -> None:
        engine.lookups_fail = not found_at_once
        raise SubmissionUnknownError("lost")

    make(typed)
    end(engine)
    fakes.after_submit = lose
    typed("tick", "x")
    engine.lookups_fail = False
    typed("tick", "x")
    typed("tick", "x")
    assert list(fakes.orders) == ["900"]
    assert then(typed)["job"] == "900"


def test_a_job_that_never_arrived_is_fenced(
    typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """It is submitted again; if the first one arrives late, it finds the claim taken."""

    def lose(order: StewardOrder) -> None:
        raise SubmissionUnknownError("lost")

    make(typed)
    end(engine)
    fakes.on_submit = lose
    typed("tick", "x")
    fakes.on_submit = lambda order: None
    typed("tick", "x")
    assert not fakes.orders
    first = then(typed)["log"]
    late = Clock()
    late.now = time.time() + 100
    follow_then(Run(RunDirectory.open(folder(typed)), engine, late))
    assert list(fakes.orders) == ["900"]
    assert (Path(first).parent / "job").read_text() == "fenced\n"


def test_a_full_queue_is_tried_again(typed: Typed, engine: FakeEngine, fakes: FakeStewards) -> None:
    """The step is then still due."""

    def full(order: StewardOrder) -> None:
        raise SubmitLimitError("the queue is full")

    make(typed)
    end(engine)
    fakes.on_submit = full
    typed("tick", "x")
    assert then(typed)["phase"] == "due"
    fakes.on_submit = lambda order: None
    typed("tick", "x")
    assert then(typed)["phase"] == "started"


# -- its end ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "report", "state"),
    [
        (0, TaskReport(State.RUNNING), "COMPLETED"),  # Slurm has not noticed it yet
        (3, TaskReport(State.FAILED), "FAILED"),
        (137, TaskReport(State.OUT_OF_MEMORY), "OUT_OF_MEMORY"),
        (None, TaskReport(State.TIMEOUT), "TIMEOUT"),
        (None, TaskReport(State.NODE_FAIL), "NODE_FAIL"),
        (None, TaskReport(State.COMPLETED, ended_at=1), "FAILED"),  # no recorded end
        (None, TaskReport(State.RUNNING), "RUNNING"),
    ],
)
def test_its_state_needs_evidence(
    code: int | None,
    report: TaskReport,
    state: str,
    typed: Typed,
    engine: FakeEngine,
    fakes: FakeStewards,
) -> None:
    """Its own exit code and Slurm's word; the failure is exit code 1."""
    make(typed)
    end(engine)
    typed("tick", "x")
    finish(typed, fakes, code or 0)
    if code is None:
        (ThenFolder(folder(typed), fakes.orders["900"].arguments[1]).path / "exit").unlink()
    fakes.reports["900"] = report
    assert then(typed)["state"] == state
    typed("status", "x", "--exit-code")
    assert typed.code == {"COMPLETED": 0, "RUNNING": 4}.get(state, 1)
    typed("tick", "x", "--exit-code")
    assert typed.code == {"COMPLETED": 0, "RUNNING": 4}.get(state, 1)
    assert typed.noted("then-state")[0]["state"] == state


def test_without_an_answer_its_end_is_not_known(
    typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """Silence ends nothing."""
    make(typed)
    end(engine)
    typed("tick", "x")
    fakes.silence = "slurmctld is away"
    typed("status", "x")
    assert typed.code == 3
    typed("tick", "x")
    fakes.silence = ""
    assert then(typed)["phase"] == "started"


def test_a_refusal_for_good_is_a_failure(
    typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """It is not repeated until a person types the verb."""

    def reject(order: StewardOrder) -> None:
        raise SubmissionRejectedError("no such partition")

    make(typed)
    end(engine)
    fakes.on_submit = reject
    typed("run", "x")
    assert typed.code == 1
    assert "no such partition" in then(typed)["reason"]
    fakes.on_submit = lambda order: None
    typed("tick", "x")
    assert not fakes.orders
    typed("then", "x", "--then-sbatch", "-p big")
    assert fakes.orders["900"].options["partition"] == "big"


# -- again -----------------------------------------------------------------------------------


def test_a_later_submission_makes_it_stale(
    typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """Nothing runs it again by itself; the verb does."""
    make(typed, "--then-if", "50%")
    end(engine, 3)
    typed("tick", "x")
    finish(typed, fakes, 0)
    typed("tick", "x")
    assert not then(typed)["stale"]
    typed("resubmit", "x")
    end(engine, job="101")
    typed("tick", "x")
    assert (then(typed)["stale"], len(fakes.orders)) == (True, 1)
    message = end_message(open_run(RunDirectory(typed.folder / "runs" / "x")), "", "")
    assert "stale" in message.subject
    assert "slurmslice then x" in message.text
    typed("then", "x", "--dry-run")
    assert (typed.noted("would-run-then")[0]["if"], len(fakes.orders)) == ("50%", 1)
    typed("then", "x")
    assert typed.noted("then-started")[0]["job"] == "901"
    assert not then(typed)["stale"]
    typed("then", "x")
    assert typed.error == "then-runs"
    assert len(fakes.orders) == 2


def test_the_verb_is_refused_without_a_step_and_beside_slices(
    typed: Typed, fakes: FakeStewards
) -> None:
    """Nothing is submitted."""
    typed("run", "-a", "0-3", "--name", "y", *COMMAND)
    typed("then", "y")
    assert typed.error == "no-then"
    make(typed)
    typed("then", "x")
    assert typed.error == "slices-in-flight"
    assert not fakes.orders


@pytest.mark.parametrize("started", [False, True])
def test_cancel_calls_it_off(
    started: bool, typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """The whole run is cancelled: its job ends, and none is submitted by itself."""
    make(typed, "--then-if", "ended")
    if started:
        end(engine)
        typed("tick", "x")
    typed("cancel", "x")
    assert (("900", None) in engine.cancelled) is started
    engine.end_all(State.CANCELLED)
    typed("tick", "x")
    assert list(fakes.orders) == ["900"] * started
    assert then(typed)["phase"] == ("failed" if started else "not-met")
    typed("then", "x")
    assert len(fakes.orders) == 1 + started


# -- unattended, and the end -----------------------------------------------------------------


def test_the_steward_stays_until_it_has_ended(
    typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """It submits the step, and its wake names the job."""
    make(typed, "--unattended")
    end(engine)
    run = Run(RunDirectory.open(folder(typed)), engine)
    token = fakes.orders["900"].arguments[1]
    result = do_round(run, token, "900")
    assert list(fakes.orders) == ["900", "901"]
    assert (result.ended, "afterany:901" in result.wake.dependency) == ("", True)
    assert not result.wake.pause_s
    finish(typed, fakes, 0, "901")
    assert do_round(run, token, "900").ended == "done"


def test_the_end_is_told_with_the_state_of_the_step(
    typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """Once, and after it."""
    make(typed, "--on-end", "cat >> told")
    end(engine)
    typed("tick", "x")
    assert not (typed.folder / "told").exists()
    finish(typed, fakes, 3)
    typed("tick", "x")
    typed("tick", "x")
    told = (typed.folder / "told").read_text()
    assert (told.count('"then"'), '"phase": "failed"' in told) == (1, True)


# -- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--then-if", "done"), "option-needs-another"),
        (("--then-sbatch", "--mem=1G"), "option-needs-another"),
        ((*PLOT, "--then-if", "all"), "bad-then-condition"),
        ((*PLOT, "--then-if", "0%"), "bad-then-condition"),
        ((*PLOT, "--then-if", "101%"), "bad-then-condition"),
        ((*PLOT, "--then-if", "95"), "bad-then-condition"),
        ((*PLOT, "--then-sbatch", "--memory=1G"), "unknown-option"),
        ((*PLOT, "--then-sbatch", "--array=1-3"), ""),
        ((*PLOT, "--then-sbatch", "'--mem=1G"), "unclosed-quote"),
        (("--then", "if true"), "bash-syntax"),
    ],
)
def test_bad_input_is_refused_before_anything_is_made(
    options: tuple[str, ...], error: str, typed: Typed, engine: FakeEngine
) -> None:
    """No run, no job."""
    typed("run", "-a", "0-3", "--name", "x", *options, *COMMAND)
    assert typed.code == 2
    assert typed.error == error or not error
    assert not folder(typed).exists()
    assert not engine.jobs


def test_another_step_is_another_run(typed: Typed, engine: FakeEngine) -> None:
    """The same line with another step does not continue the run in silence."""
    make(typed)
    typed("run", "-a", "0-3", "--name", "x", "--then", "other", *COMMAND)
    assert typed.code == 2
    assert NoAnswerError.code not in typed.error


def test_cancel_says_that_it_calls_off_the_step(typed: Typed, engine: FakeEngine) -> None:
    """All slices have ended and the step is due: ``cancel`` names it, and status tells why."""
    make(typed)
    end(engine)
    typed("cancel", "x", "--dry-run")
    assert typed.noted("would-call-off-then")
    assert then(typed)["phase"] == "due"
    typed("cancel", "x")
    assert typed.noted("then-called-off")
    assert "cancelled" in typed("status", "x")
    assert then(typed)["phase"] == "not-met"


@pytest.mark.parametrize("follows", [True, False])
def test_a_due_step_is_left_to_the_steward(typed: Typed, engine: FakeEngine, follows: bool) -> None:
    """``status`` says what to type only if nobody follows the run."""
    make(typed, *(["--unattended"] if follows else []))
    end(engine)
    said = typed("status", "x")
    assert typed.noted("then-state")[0]["phase"] == "due"
    assert ("slurmslice run x" in said) is not follows


@pytest.mark.parametrize(("typed_text", "steps"), [("", 0), (" ", 0), (None, 1), ("other", 1)])
def test_an_empty_step_switches_that_of_the_settings_off(
    typed_text: str | None, steps: int, typed: Typed, engine: FakeEngine
) -> None:
    """As each empty text does: ``--check ''``, ``--on-end ''``. Its other keys do not matter."""
    (typed.folder / "slurmslice.toml").write_text('[then]\ncommand = "merge"\nif = "ended"\n')
    option = () if typed_text is None else ("--then", typed_text)
    typed("run", "-a", "0-3", "--name", "x", *option, *COMMAND)
    assert typed.code == 130, typed.stderr
    end(engine)
    assert (then(typed) is not None) is bool(steps)
