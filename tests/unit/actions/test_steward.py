"""The steward of a run, on the fake cluster: one at most, its rounds, and its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmslice.actions import steward as stewards
from slurmslice.actions.follow import record_policy
from slurmslice.actions.open_run import open_run
from slurmslice.actions.steward import ensure_steward, settle_doubt
from slurmslice.actions.steward_round import do_round, submit_successor
from slurmslice.engines.stewards import StewardOrder
from slurmslice.errors import (
    NoAnswerError,
    SubmissionRejectedError,
    SubmissionUnclearError,
    SubmissionUnknownError,
    SubmitLimitError,
)
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Event
from slurmslice.run.run import Run
from slurmslice.run.steward_folder import StewardFolder
from slurmslice.run.steward_record import StewardEnded, StewardIntent, StewardSubmitted
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.support.fake_stewards import FakeStewards
from tests.support.fakes import Clock, FakeEngine
from tests.support.typed import Typed


@pytest.fixture
def fakes(engine: FakeEngine) -> FakeStewards:
    """The stewards of the fake cluster."""
    assert engine.stewards is not None
    return engine.stewards


def recorded(run: Run, kind: type[Event]) -> list[Event]:
    """Return the events of one kind in the run's journal."""
    return [event for event in run.directory.events() if isinstance(event, kind)]


def next_of(run: Run) -> str:
    """Return what bash reads after a round."""
    return (run.directory.path / "steward" / "next").read_text()


def token_of(order: StewardOrder) -> str:
    """Return the token in the words after the script."""
    return order.arguments[1]


def in_place(run: Run, fakes: FakeStewards) -> tuple[str, str]:
    """Submit a steward; return its token and job."""
    found = ensure_steward(run).steward
    return found.token, found.job


# -- at most one -----------------------------------------------------------------------------


def test_a_second_call_submits_no_second_steward(
    new_run: Callable[..., Run], fakes: FakeStewards
) -> None:
    """While the first one lives, in any state that is not final."""
    run = new_run()
    assert ensure_steward(run).is_new
    for state in (State.PENDING, State.RUNNING, State.COMPLETING):
        fakes.reports["900"] = TaskReport(state)
        assert not ensure_steward(run).is_new
    assert list(fakes.orders) == ["900"]


@pytest.mark.parametrize("state", [State.CANCELLED, State.FAILED, State.TIMEOUT, None])
def test_a_steward_that_slurm_ended_is_replaced(
    state: State | None, new_run: Callable[..., Run], fakes: FakeStewards
) -> None:
    """The next one has a new token, and the claim of the old one is gone."""
    run = new_run()
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    if state is None:
        del fakes.reports[job]
    else:
        fakes.reports[job] = TaskReport(state)
    found = ensure_steward(run)
    assert found.is_new
    assert found.steward.token != token
    assert StewardFolder(run.directory.path).claiming_job() == ""


def test_without_an_answer_nothing_is_submitted(
    new_run: Callable[..., Run], fakes: FakeStewards
) -> None:
    """It is not known if the first one lives."""
    run = new_run()
    ensure_steward(run)
    fakes.silence = "slurmctld is away"
    with pytest.raises(NoAnswerError):
        ensure_steward(run)
    assert list(fakes.orders) == ["900"]


@pytest.mark.parametrize("unclear", [False, True])
def test_a_lost_answer_is_found_by_the_token(
    unclear: bool, new_run: Callable[..., Run], fakes: FakeStewards
) -> None:
    """Slurm accepted the steward, and the answer of sbatch was lost."""

    def lose(order: StewardOrder) -> None:
        raise SubmissionUnclearError("lost", said="odd") if unclear else SubmissionUnknownError("?")

    run = new_run()
    fakes.after_submit = lose
    assert ensure_steward(run).steward.job == "900"
    assert list(fakes.orders) == ["900"]


def test_a_lost_answer_is_looked_for_later(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """If the search fails too, the next call searches first."""

    def lose(order: StewardOrder) -> None:
        engine.lookups_fail = True
        raise SubmissionUnknownError("lost")

    run = new_run()
    fakes.after_submit = lose
    with pytest.raises(NoAnswerError):
        ensure_steward(run)
    with pytest.raises(NoAnswerError):
        ensure_steward(run)
    engine.lookups_fail = False
    assert not ensure_steward(run).is_new
    assert list(fakes.orders) == ["900"]
    (found,) = recorded(run, StewardSubmitted)
    assert isinstance(found, StewardSubmitted)
    assert (found.job, found.how) == ("900", "found")


def test_a_steward_that_never_arrived_is_replaced_and_its_late_job_ends(
    new_run: Callable[..., Run], fakes: FakeStewards, clock: Clock
) -> None:
    """After 20 s without a trace. The late job has an old token."""

    def drop(order: StewardOrder) -> None:
        raise SubmissionUnknownError("sbatch did not answer in time.")

    run = new_run()
    fakes.on_submit = drop
    with pytest.raises(SubmissionUnknownError) as caught:
        ensure_steward(run)
    assert caught.value.code == "submission-unknown"
    fakes.on_submit = lambda order: None
    began = clock.now
    found = ensure_steward(run)
    assert found.is_new
    assert clock.now - began >= 19
    first, second = recorded(run, StewardIntent)
    assert isinstance(first, StewardIntent)
    assert isinstance(second, StewardIntent)
    assert first.token != second.token == found.steward.token
    assert do_round(run, first.token, "899").ended
    assert next_of(run) == "end\n"
    assert not do_round(run, second.token, found.steward.job).ended or run.finished


def test_of_two_jobs_with_one_token_the_first_goes_on(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """A wrapper called sbatch twice: the claim decides, and outranks the answer of sbatch."""
    run = new_run()
    token, job = in_place(run, fakes)
    do_round(run, token, "955")
    assert next_of(run).startswith("wait ")
    polls = engine.polls
    assert "955" in do_round(run, token, job).ended
    assert next_of(run) == "end\n"
    assert engine.polls == polls
    assert run.journal_state.steward is not None
    assert run.journal_state.steward.job == "955"
    assert not run.journal_state.steward.ended


# -- where it runs -----------------------------------------------------------------------------


def refuse_first(fakes: FakeStewards, times: int) -> None:
    """Let Slurm refuse so many stewards."""
    left = [times]

    def refuse(order: StewardOrder) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise SubmissionRejectedError("invalid partition", said="invalid partition")

    fakes.on_submit = refuse


def test_it_asks_for_little_and_nothing_of_the_run(
    new_run: Callable[..., Run], fakes: FakeStewards
) -> None:
    """One CPU in the default partition: no GPU, node, licence or reservation of the run."""
    run = new_run(
        gres="gpu:1", constraint="a100", exclusive="", licenses="x:1", partition="gpu",
        account="me", nodelist="n1", mem="90G",
    )  # fmt: skip
    ensure_steward(run)
    options = fakes.orders["900"].options
    assert {"gres", "constraint", "exclusive", "licenses", "nodelist"}.isdisjoint(options)
    assert "partition" not in options
    assert (options["cpus-per-task"], options["account"]) == ("1", "me")
    assert {"requeue", "open-mode", "output", "time", "mem"} <= options.keys()


def test_if_slurm_refuses_the_default_partition_it_runs_in_that_of_the_run(
    new_run: Callable[..., Run], fakes: FakeStewards
) -> None:
    """Each sbatch call has an intent and a token of its own."""
    run = new_run(partition="gpu", account="me", qos="long")
    refuse_first(fakes, 1)
    assert ensure_steward(run).partition == "gpu"
    options = fakes.orders["900"].options
    assert [options[name] for name in ("partition", "account", "qos")] == ["gpu", "me", "long"]
    tokens = {e.token for e in recorded(run, StewardIntent) if isinstance(e, StewardIntent)}
    assert len(tokens) == 2


def test_typed_options_are_not_replaced(new_run: Callable[..., Run], fakes: FakeStewards) -> None:
    """A refusal of what the person typed is told, with the code of the refusal."""
    run = new_run(partition="gpu")
    refuse_first(fakes, 1)
    with pytest.raises(SubmissionRejectedError) as caught:
        ensure_steward(run, ResourceRequest.of({"partition": "serial"}))
    assert caught.value.code == "submission-rejected"
    assert ensure_steward(run).is_new


def test_a_full_queue_refuses_for_now(new_run: Callable[..., Run], fakes: FakeStewards) -> None:
    """The intent has an end, so the next call submits at once."""

    def full(order: StewardOrder) -> None:
        raise SubmitLimitError("full")

    run = new_run()
    fakes.on_submit = full
    with pytest.raises(SubmitLimitError):
        ensure_steward(run)
    (ended,) = recorded(run, StewardEnded)
    assert isinstance(ended, StewardEnded)
    assert ended.reason == stewards.REFUSED
    settle_doubt(run)


def test_slices_leave_a_place_in_the_queue_for_the_steward(
    engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """Otherwise a run that is larger than MaxSubmit would fill the queue, and have no steward."""
    engine.most = 4
    typed("run", "--unattended", "-a", "0-9", "--name", "x", "--", "true", "{}")
    assert typed.code == 0, typed.stderr
    assert [len(job.tasks) for job in engine.jobs.values()] == [3]
    assert fakes.orders["900"].options["dependency"].startswith("afterany:100_0?")


# -- rounds ------------------------------------------------------------------------------------


def test_a_round_submits_what_waits_and_repairs_what_failed(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """As ``run`` does. Then it waits for a failure or the end."""
    run = new_run("0-2", mem="1G")
    record_policy(run, max_attempts=4, retry=True)
    token, job = in_place(run, fakes)
    result = do_round(run, token, job)
    assert [len(one.planned.batch.rows) for one in result.accepted] == [3]
    assert next_of(run) == (
        "wait Dependency=afternotok:100_0?afternotok:100_1?afternotok:100_2?afterany:100"
        "?after:100_0+30\n"
    )
    engine.end("100", 1, State.OUT_OF_MEMORY)
    assert do_round(run, token, job).accepted[0].planned.overrides["mem"] == "2G"
    assert "afternotok:101_1" in next_of(run)
    assert [one.changed for one in StewardFolder(run.directory.path).rounds()] == [True, True]


def test_a_round_in_vain_makes_the_pause_longer(
    new_run: Callable[..., Run], fakes: FakeStewards
) -> None:
    """By the record of the rounds alone."""
    run = new_run("0-2")
    token, job = in_place(run, fakes)
    for pause in (0, 120, 240, 480):
        do_round(run, token, job)
        assert f"StartTime=now+{pause}" in next_of(run) or pause == 0


def test_slices_that_wait_for_room_are_submitted_after_any_end(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """The end of a slice makes room, not only a failure."""
    engine.most = 2
    run = new_run("0-4")
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    assert "afterany:100_0?afterany:100_1" in next_of(run)
    engine.end("100", 0, State.COMPLETED)
    assert do_round(run, token, job).accepted


def test_arrays_that_share_a_throttle_are_looked_at_after_any_end(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """One array may be held until a task of the other has ended. One array alone needs no look."""
    run = new_run("0-5%2", mem="1G")
    record_policy(run, max_attempts=4, retry=True)
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    assert "afternotok:100_1?" in next_of(run)
    engine.end("100", 0, State.OUT_OF_MEMORY)
    do_round(run, token, job)
    assert "afterany:100_1?" in next_of(run)


def test_it_ends_when_nothing_is_left_to_do(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """A failure that no rule repairs is no work."""
    run = new_run("0-2")
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    engine.end_all(State.FAILED)
    assert do_round(run, token, job).ended == "done"
    assert next_of(run) == "end\n"
    assert do_round(run, token, job).ended


def test_it_ends_when_the_rule_of_the_run_holds_it(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """What runs goes on first."""
    run = new_run("0-5")
    record_policy(run, max_failures=2)
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    for index in (0, 1):
        engine.end("100", index, State.FAILED, exit_code=1)
    engine.jobs["100"].tasks[2] = TaskReport(State.RUNNING, "RUNNING", started_at=1)
    assert not do_round(run, token, job).ended
    engine.end("100", 2, State.COMPLETED)
    assert do_round(run, token, job).ended == "held"


def test_a_refusal_for_good_is_not_repeated(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """What is in flight goes on; when it has ended, the steward says why it ends."""

    def refuse(order: object) -> None:
        sent.append(order)
        raise SubmissionRejectedError("no such account", said="no such account")

    sent: list[object] = []
    run = new_run("0-2", mem="1G")
    record_policy(run, max_attempts=4, retry=True)
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    engine.on_submit = refuse
    engine.end("100", 0, State.OUT_OF_MEMORY)
    assert "no such account" in do_round(run, token, job).trouble
    assert "no such account" in do_round(run, token, job).trouble
    engine.end_all()
    assert "no such account" in do_round(run, token, job).ended
    assert len(sent) == 1


def test_what_only_a_person_can_remove_is_told(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """Another environment: nothing is submitted, and ``status`` can say so."""
    run = new_run("0-2", mem="1G")
    record_policy(run, max_attempts=4, retry=True)
    run.environ = {"PATH": "/usr/bin:/bin", "DATA_OF_TEST": "1"}
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    run.environ = {"PATH": "/usr/bin:/bin", "DATA_OF_TEST": "2"}
    engine.end("100", 0, State.OUT_OF_MEMORY)
    assert "environment-differs" in do_round(run, token, job).trouble
    assert "environment-differs" in StewardFolder(run.directory.path).rounds()[-1].trouble
    engine.end_all()
    assert "environment-differs" in do_round(run, token, job).ended


def test_it_does_not_wait_for_ever_for_a_task_that_slurm_lost(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """After hours without a task in the queue it ends, and says so."""
    run = new_run("0-2")
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    for index in (0, 1):
        engine.end("100", index, State.COMPLETED)
    del engine.jobs["100"].tasks[2]
    ends = [do_round(run, token, job).ended for _ in range(14)]
    assert ends[:12] == [""] * 12
    assert any(ends)
    assert not engine.jobs.keys() - {"100"}


# -- the site ----------------------------------------------------------------------------------


OFF = '[site]\nunattended = "off"\ncontact = "hpc@example.org"\n'


def test_a_site_switches_unattended_runs_off(
    site_file: Path, engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """Before anything is made; also for an existing run. Other commands go on."""
    site_file.write_text(OFF)
    typed("run", "--unattended", "-a", "0-2", "--name", "x", "--", "true", "{}")
    assert (typed.code, typed.error) == (2, "unattended-off")
    assert not (typed.folder / "runs").exists()
    typed("render", "-a", "0-2", "--name", "x", "--", "true", "{}")
    assert typed.code == 0
    for verb in ("run", "submit"):
        assert "hpc@example.org" in typed(verb, "x", "--unattended")
        assert typed.error == "unattended-off"
    assert not engine.jobs
    typed("submit", "x")
    assert typed.code == 0


def test_a_steward_ends_when_the_site_says_off(
    site_file: Path, new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """It is read in each round. What is in flight goes on."""
    run = new_run("0-2")
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    site_file.write_text(OFF)
    assert str(site_file) in do_round(run, token, job).ended
    assert next_of(run) == "end\n"
    assert not engine.cancelled
    (ended,) = recorded(run, StewardEnded)
    assert isinstance(ended, StewardEnded)


# -- no answer ---------------------------------------------------------------------------------


def test_without_slurmctld_a_round_tries_again_and_then_pauses(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine, clock: Clock
) -> None:
    """It decides nothing, and its waits grow."""
    run = new_run("0-2")
    token, job = in_place(run, fakes)
    do_round(run, token, job)

    def pass_time() -> None:
        clock.now += engine.waited[-1]

    engine.on_wait, engine.waited = pass_time, []
    fakes.silence = "slurmctld is away"
    began = clock.now
    result = do_round(run, token, job)
    assert result.trouble == "slurmctld is away"
    assert 300 <= clock.now - began < 540
    assert engine.waited == sorted(engine.waited)
    assert next_of(run) == "wait StartTime=now+600\n"


def test_without_accounting_nothing_is_decided(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """The queue answers. The round ends after a few tries, and the next one comes soon.

    No event of the queue would wake the steward for a failure that it could not repair.
    """
    run = new_run("0-2", mem="1G")
    record_policy(run, max_attempts=4, retry=True)
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    running = TaskReport(State.RUNNING, "RUNNING", started_at=int(run.clock()))
    engine.jobs["100"].tasks |= {1: running, 2: running}
    engine.end("100", 0, State.OUT_OF_MEMORY)
    engine.silence, engine.waited = "slurmdbd is away", []
    result = do_round(run, token, job)
    assert "slurmdbd is away" in result.trouble
    assert not result.ended
    assert not result.accepted
    assert sum(engine.waited) < 30
    assert next_of(run).endswith("?after:100_1+2\n")
    engine.silence = ""
    assert do_round(run, token, job).accepted


def test_an_end_that_is_not_known_yet_is_looked_for_soon(
    new_run: Callable[..., Run], fakes: FakeStewards, engine: FakeEngine
) -> None:
    """The task has left the queue, and accounting does not have its end: nothing would ring."""
    run = new_run("0-1")
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    lost = engine.jobs["100"].tasks.pop(0)
    do_round(run, token, job)
    assert next_of(run) == "wait StartTime=now+120\n"
    engine.jobs["100"].tasks[1] = TaskReport(State.RUNNING, "RUNNING", started_at=int(run.clock()))
    do_round(run, token, job)
    assert "afternotok:100_1?" in next_of(run)
    assert "?after:100_1+4" in next_of(run)
    engine.jobs["100"].tasks[0] = lost


# -- the chain ---------------------------------------------------------------------------------


def test_where_slurm_puts_no_job_back_the_next_job_follows(
    new_run: Callable[..., Run], fakes: FakeStewards
) -> None:
    """It has the options of the person, a pause, and an intent of its own."""
    run = new_run("0-2")
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    assert submit_successor(run, token, job) == "901"
    options = fakes.orders["901"].options
    assert options["begin"] == "now+120"
    assert options["dependency"].startswith("afternotok:")
    assert submit_successor(run, token, job) == "901"
    assert list(fakes.orders) == ["900", "901"]
    assert not do_round(run, token_of(fakes.orders["901"]), "901").ended


def test_an_answer_that_the_chain_loses_breaks_it_not(
    new_run: Callable[..., Run], fakes: FakeStewards
) -> None:
    """Found by the token; submitted again if it never arrived."""
    run = new_run("0-2")
    token, job = in_place(run, fakes)
    do_round(run, token, job)
    drops = [SubmissionUnknownError("?")]

    def drop(order: StewardOrder) -> None:
        if drops:
            raise drops.pop()

    fakes.on_submit = drop
    assert submit_successor(run, token, job) == "901"
    assert len(recorded(run, StewardIntent)) == 3


# -- the command line --------------------------------------------------------------------------


def test_run_unattended_submits_and_returns(
    engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """The same line again finds the steward. ``status`` shows it, as text and as data."""
    line = ("run", "--unattended", "-a", "0-2", "--name", "x", "--", "true", "{}")
    typed(*line)
    assert typed.code == 0, typed.stderr
    assert typed.noted("steward-submitted")[0]["job"] == "900"
    assert engine.waited == []
    typed(*line)
    assert typed.noted("steward-there")[0]["job"] == "900"
    assert (len(engine.jobs), len(fakes.orders)) == (1, 1)
    found = typed.json("status", "x")["steward"]
    assert (found["job"], found["state"], found["rounds"]) == ("900", "waits", 0)
    typed("status", "x")
    assert typed.noted("steward-state")


def test_the_line_again_makes_a_waiting_steward_wait_for_what_is_there_now(
    engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """A person has resubmitted a slice; its failure must wake the steward too, and soon."""
    typed("run", "--unattended", "-a", "0-1", "--name", "x", "--", "true", "{}")
    engine.end("100", 0, State.FAILED, exit_code=1)
    typed("resubmit", "x", "0")
    assert fakes.changed == []
    typed("run", "x", "--unattended")
    ((job, (start, dependency)),) = fakes.changed
    assert (job, start) == ("900", "StartTime=now+60")
    assert {"afternotok:101_0", "afternotok:100_1"} <= set(
        dependency.removeprefix("Dependency=").split("?")
    )


def test_submit_unattended(engine: FakeEngine, fakes: FakeStewards, typed: Typed) -> None:
    """A rendered run; keys would be another choice."""
    typed("render", "-a", "0-2", "--name", "x", "--", "true", "{}")
    typed("submit", "x", "1", "--unattended")
    assert (typed.code, typed.error) == (2, "options-conflict")
    typed("submit", "x", "--unattended", "--dry-run")
    assert typed.noted("would-submit-steward")
    assert not engine.jobs
    typed("submit", "x", "--unattended", "--steward-sbatch", "-p serial --time=5")
    assert typed.code == 0, typed.stderr
    options = fakes.orders["900"].options
    assert (options["partition"], options["time"]) == ("serial", "5")


@pytest.mark.parametrize(
    "words", ["-p 'serial", "serial", "--output=x", "--nosuch=1", "--mem=much"]
)
def test_wrong_options_of_the_steward_make_nothing(
    words: str, engine: FakeEngine, typed: Typed
) -> None:
    """Refused before a run is created."""
    typed("run", "--unattended", "--steward-sbatch", words, "-a", "0", "--name", "x", "--", "true")
    assert typed.code == 2
    assert typed.error
    assert not (typed.folder / "runs").exists()


def test_options_of_no_steward_are_refused(typed: Typed) -> None:
    """They would have no effect."""
    line = ("-a", "0-2", "--name", "x", "--steward-sbatch", "-p serial", "--", "true")
    typed("run", *line)
    assert (typed.code, typed.error) == (2, "option-needs-another")
    assert not (typed.folder / "runs").exists()


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_without_slurm_unattended_is_refused(
    dry: tuple[str, ...], engine: FakeEngine, typed: Typed
) -> None:
    """Nothing is created, and the error says what to type instead."""
    engine.stewards = None
    typed("run", "--unattended", *dry, "-a", "0-2", "--name", "x", "--", "true", "{}")
    assert (typed.code, typed.error) == (2, "slurm-only")
    assert typed.fields["option"] == "unattended"
    assert not (typed.folder / "runs").exists()
    typed("render", "-a", "0-2", "--name", "x", "--", "true", "{}")
    for verb in ("run", "submit"):
        typed(verb, "x", "--unattended")
        assert (typed.code, typed.error) == (2, "slurm-only")
    assert not engine.jobs


def test_cancel_of_the_whole_run_ends_the_steward_first(
    engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """Otherwise it might submit what was just cancelled. A cancelled slice leaves it alone."""
    typed("run", "--unattended", "-a", "0-2", "--name", "x", "--", "true", "{}")
    typed("cancel", "x", "1")
    assert [job for job, _ in engine.cancelled] == ["100"]
    typed("cancel", "x")
    assert [job for job, _ in engine.cancelled] == ["100", "900", "100"]
    assert typed.noted("steward-cancelled")[0]["job"] == "900"
    assert typed.json("status", "x")["steward"]["state"] == "ended"


def test_a_steward_that_the_person_cancelled_is_told(
    engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """With the line to type; what is in the queue goes on."""
    typed("run", "--unattended", "-a", "0-2", "--name", "x", "--", "true", "{}")
    fakes.reports["900"] = TaskReport(State.CANCELLED)
    said = typed("status", "x")
    (told,) = typed.noted("steward-state")
    assert (told["state"], told["reason"]) == ("gone", "CANCELLED")
    assert "run x --unattended" in said
    assert not engine.cancelled
    typed("run", "x", "--unattended")
    assert typed.noted("steward-submitted")[0]["job"] == "901"


def test_a_round_without_python_is_told(
    engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """bash has recorded when the steward looks next. What Python said before does not count."""
    typed("run", "--unattended", "-a", "0-2", "--name", "x", "--", "true", "{}")
    folder, token, *_ = fakes.orders["900"].arguments
    typed("steward", folder, token, "900")
    assert typed.json("status", "x")["steward"]["waits_for"]
    trouble = Path(folder) / "steward" / "trouble"
    trouble.write_text("4000000000 it hung\n4000000120 Python cannot be started on n3\n")
    told = typed.json("status", "x")["steward"]
    assert (told["state"], told["not_before"], told["waits_for"]) == ("waits", 4000000120, "")
    assert "n3" in told["trouble"]
    assert "n3" in typed("status", "x")
    trouble.write_text("")
    assert typed.json("status", "x")["steward"]["waits_for"]


@pytest.mark.parametrize(
    ("options", "seconds"),
    [("", 540), ("-t 5", 180), ("-t 1", 36), ("-t 2-0", 540), ("-t 0", 540), ("-t 0:30", 18)],
)
def test_a_round_leaves_time_to_put_the_job_back(
    options: str, seconds: int, fakes: FakeStewards, typed: Typed
) -> None:
    """Also with a limit that the person chose."""
    more = ("--steward-sbatch", options) if options else ()
    typed("run", "--unattended", "-a", "0-2", "--name", "x", *more, "--", "true", "{}")
    assert fakes.orders["900"].arguments[-1] == str(seconds)


@pytest.mark.parametrize("state", [State.FAILED, State.TIMEOUT, State.PREEMPTED, None])
@pytest.mark.parametrize("line", [("tick", "x"), ("resubmit", "x", "1")])
def test_the_next_command_replaces_a_steward_that_died(
    line: tuple[str, ...],
    state: State | None,
    fakes: FakeStewards,
    engine: FakeEngine,
    typed: Typed,
) -> None:
    """Nobody wanted its end. The new one has the person's options."""
    options = ("--steward-sbatch", "-p serial")
    typed("run", "--unattended", *options, "-a", "0-2", "--name", "x", "--", "true", "{}")
    engine.end("100", 1, State.FAILED, exit_code=1)
    if state is None:
        del fakes.reports["900"]
    else:
        fakes.reports["900"] = TaskReport(state)
    typed(*line)
    assert typed.noted("steward-died")[0]["job"] == "900"
    assert typed.noted("steward-submitted")[0]["job"] == "901"
    assert fakes.orders["901"].options["partition"] == "serial"
    typed("tick", "x")
    assert list(fakes.orders) == ["900", "901"]
    assert typed.noted("steward-state") == []


@pytest.mark.parametrize("line", [("tick", "x"), ("resubmit", "x", "1")])
def test_a_steward_that_was_cancelled_stays_away(
    line: tuple[str, ...], fakes: FakeStewards, engine: FakeEngine, typed: Typed
) -> None:
    """Automation stopped. Each command says so."""
    typed("run", "--unattended", "-a", "0-2", "--name", "x", "--", "true", "{}")
    engine.end("100", 1, State.FAILED, exit_code=1)
    fakes.reports["900"] = TaskReport(State.CANCELLED)
    typed(*line)
    assert typed.noted("steward-state")[0]["state"] == "gone"
    assert list(fakes.orders) == ["900"]


@pytest.mark.parametrize(
    ("reason", "overdue"),
    [
        ("", False), ("Dependency", False), ("BeginTime", False), ("JobHeldUser", False),
        ("Resources", True), ("Priority", True), ("DependencyNeverSatisfied", True),
        ("ReqNodeNotAvail", True),
    ],
)  # fmt: skip
def test_a_steward_that_is_overdue_is_told(
    reason: str, overdue: bool, fakes: FakeStewards, typed: Typed
) -> None:
    """With the line that does its round meanwhile."""
    typed("run", "--unattended", "-a", "0-2", "--name", "x", "--", "true", "{}")
    fakes.reports["900"] = TaskReport(State.PENDING, "PENDING", reason=reason)
    assert ("slurmslice tick x" in typed("status", "x")) == overdue
    assert typed.noted("steward-state")[0]["overdue"] == overdue
    assert typed.json("status", "x")["steward"]["overdue"] == overdue
    typed("tick", "x")
    assert bool(typed.noted("steward-state")) == overdue


@pytest.mark.parametrize("fails", [False, True])
def test_a_canary_goes_before(
    fails: bool, engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """The steward submits the rest when it is done. If it fails, it ends, and says so."""
    typed("run", "--unattended", "--canary", "2", "-a", "0-9", "--name", "x", "--", "true", "{}")
    assert [len(job.tasks) for job in engine.jobs.values()] == [2]
    engine.end_all(State.FAILED if fails else State.COMPLETED)
    folder, token, *_ = fakes.orders["900"].arguments
    typed("steward", folder, token, "900")
    assert [len(job.tasks) for job in engine.jobs.values()] == ([2] if fails else [2, 8])
    reasons = [one["reason"] for one in typed.noted("steward-ends")]
    assert [("canary" in one) for one in reasons] == [True] * fails


def test_resubmit_says_if_nobody_follows_the_run(
    engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """The steward ended when nothing was left to do; then a person resubmits."""
    typed("run", "--unattended", "-a", "0-2", "--name", "x", "--", "true", "{}")
    engine.end_all(State.FAILED)
    folder, token, *_ = fakes.orders["900"].arguments
    typed("steward", folder, token, "900")
    assert "run x --unattended" in typed("resubmit", "x", "1")
    assert typed.noted("steward-state")[0]["state"] == "ended"
    typed("run", "x", "--unattended")
    assert typed.noted("steward-submitted")[0]["job"] == "901"
    typed("resubmit", "x", "2")
    assert typed.noted("steward-state")[0]["state"] == "waits"


def test_a_finished_run_needs_no_steward(
    engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """The summary and the exit code of the run, as ``run`` gives them."""
    typed("run", "--unattended", "-a", "0-2", "--name", "x", "--", "true", "{}")
    engine.end_all()
    fakes.reports["900"] = TaskReport(State.COMPLETED)
    typed("run", "x", "--unattended")
    assert typed.code == 0
    assert list(fakes.orders) == ["900"]


def test_the_job_calls_the_hidden_verb(
    engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """As steward.sh does, with the words after the script."""
    typed("run", "--unattended", "-a", "0-2", "--name", "x", "--", "true", "{}")
    folder, token, *_ = fakes.orders["900"].arguments
    typed("steward", folder, token, "900")
    assert typed.code == 0, typed.stderr
    assert typed.noted("steward-waits")
    typed("steward", folder, token, "900", "--chain")
    assert typed.noted("steward-chained")[0]["job"] == "901"
    engine.end_all()
    typed("steward", folder, token_of(fakes.orders["901"]), "901")
    assert typed.noted("steward-ends")[0]["reason"] == "done"
    assert fakes.orders["900"].script == Path(folder) / "steward" / "steward.sh"
    lines = (Path(folder) / "steward" / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line)["job"] for line in lines] == ["900", "901"]


def test_options_of_the_steward_may_be_in_a_settings_file(
    engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """In ``[policy]``, for each run here."""
    (typed.folder / "slurmslice.toml").write_text(
        '[policy]\nunattended = true\nsteward-sbatch = "-p serial"\n'
    )
    typed("run", "-a", "0-2", "--name", "x", "--", "true", "{}")
    assert fakes.orders["900"].options["partition"] == "serial"
    assert fakes.orders["900"].options.overridden_by(NO_REQUEST)


@pytest.mark.parametrize(
    ("settings", "mails"),
    [("", [("900", "x: all 3 done", "ada@lab")]), ('[mail]\nsmtp-host = "localhost"', [])],
)
def test_the_steward_mails_the_end_once(
    settings: str, mails: list[object], fakes: FakeStewards, engine: FakeEngine, typed: Typed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Slurm sends the subject; a server in the settings gets the whole mail instead."""
    sent: list[str] = []
    monkeypatch.setattr(
        "slurmslice.notify.notify_end.send_mail", lambda message, to, *_: sent.append(to)
    )
    config = typed.folder / "config" / "slurmslice"
    config.mkdir(parents=True)
    (config / "config.toml").write_text(settings)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config.parent))
    line = ("--mail", "--mail-user", "ada@lab", "-a", "0-2", "--name", "x", "--", "true", "{}")
    typed("run", "--unattended", *line)
    folder, token = str(typed.folder / "runs" / "x"), token_of(fakes.orders["900"])
    typed("steward", folder, token, "900")
    assert fakes.mails == []
    engine.end_all()
    for _ in range(2):
        typed("steward", folder, token, "900")
    assert fakes.mails == mails
    assert sent == ([] if mails else ["ada@lab"])


@pytest.mark.parametrize(
    ("rules", "wish", "mails"),
    [("", True, True), ("", False, False), ('[site]\nmail = ["smtp"]', True, False),
     ("[site]\nnames-with-results = false", True, True)],
)  # fmt: skip
def test_slurm_mails_if_the_steward_itself_is_killed(
    rules: str, wish: bool, mails: bool, site_file: Path, fakes: FakeStewards, typed: Typed
) -> None:
    """It cannot tell that itself. Only if the person wants a mail, and the site allows Slurm's."""
    site_file.write_text(rules)
    words = ("--mail", "--mail-user", "ada@lab") if wish else ()
    typed("run", "--unattended", *words, "-a", "0-2", "--name", "x", "--", "true", "{}")
    asked = fakes.orders["900"].options
    assert asked.overridden_by(NO_REQUEST).get("mail-type") == ("FAIL" if mails else None)
    assert asked.get("mail-user") == ("ada@lab" if mails else None)


def test_a_second_steward_mails_nothing(
    fakes: FakeStewards, engine: FakeEngine, typed: Typed
) -> None:
    """It is not the one that ends the run."""
    line = ("--mail", "--mail-user", "ada@lab", "-a", "0-2", "--name", "x", "--", "true", "{}")
    typed("run", "--unattended", *line)
    folder, token = str(typed.folder / "runs" / "x"), token_of(fakes.orders["900"])
    typed("steward", folder, token, "900")
    typed("steward", folder, token, "901")
    typed("steward", folder, "other", "902")
    assert fakes.mails == []


@pytest.mark.parametrize("lives", [True, False])
def test_status_says_how_repairs_are_made_unless_the_steward_makes_them(
    lives: bool, engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """If the steward has ended, a person must type a command."""
    typed("run", "--unattended", "--retry", "-a", "0-2", "--name", "x", "--", "true", "{}")
    if not lives:
        engine.end_all()
        folder, token, *_ = fakes.orders["900"].arguments
        typed("steward", folder, token, "900")
        typed("resubmit", "x", "0", "--state", "COMPLETED")
    engine.end(list(engine.jobs)[-1], 0, State.NODE_FAIL, node="n1")
    said = typed("status", "x")
    assert typed.noted("attempts-left")[0]["repairs"]
    assert ("or slurmslice tick x" in said) is not lives
    assert ("slurmslice resubmit x" in said) is not lives


def test_a_run_directory_that_was_moved_is_told(
    typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """Its steward failed, because its files are not where they were. The old path is named."""
    line = ("run", "-a", "0-2", "--name", "x", "--retry", "--mem", "1G", "-t", "9", "--unattended")
    typed(*line, "--", "true", "{}")
    former = typed.folder / "runs" / "x"
    fakes.reports["900"] = TaskReport(State.FAILED)
    assert "moved" not in typed("status", "x")
    former.rename(typed.folder / "runs" / "y")
    assert f"moved from {former}," in typed("status", "y")
    former.symlink_to("y")
    assert "moved" not in typed("status", "y")


@pytest.mark.parametrize("closing", [False, True])
def test_a_steward_that_waited_for_more_slices_starts_again(
    closing: bool, engine: FakeEngine, fakes: FakeStewards, typed: Typed
) -> None:
    """With new slices, and with the word that none will come; its options stay."""
    work = typed.folder / "in"
    work.mkdir()
    (work / "a").touch()
    source = ("--glob", "in/*")
    then = ("--then", "echo x") if closing else ()  # else nothing is left to do
    typed("run", "--open", *source, "--unattended", "--steward-sbatch", "-p serial", *then,
          "--name", "x", "--", "cat", "{}")  # fmt: skip
    run = open_run(RunDirectory(typed.folder / "runs" / "x"))
    engine.end_all()
    ended = do_round(run, token_of(fakes.orders["900"]), "900").ended
    assert ended
    fakes.reports.pop("900")
    (work / "b").touch()
    typed("extend", "x", *(("--close",) if closing else source))
    assert typed.code == 0
    assert len(engine.jobs) == (1 if closing else 2)
    first, second = recorded(run, StewardIntent)
    assert isinstance(first, StewardIntent)
    assert isinstance(second, StewardIntent)
    assert (first.options["partition"], second.options) == ("serial", first.options)
    assert typed.noted("steward-submitted")
