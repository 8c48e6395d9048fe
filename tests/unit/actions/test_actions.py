"""The actions on a run: submit, poll, resubmit, cancel, throttle, follow; and every doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from slurmslice.actions import submit as verb
from slurmslice.actions.cancel import cancel
from slurmslice.actions.follow import (
    FollowOptions,
    follow,
    follow_step,
    poll_interval,
    record_policy,
)
from slurmslice.actions.poll import PollResult, poll
from slurmslice.actions.release import release
from slurmslice.actions.resolve_doubts import FENCE_AFTER_S
from slurmslice.actions.submit import ChooseRows, choose_failed, choose_waiting
from slurmslice.actions.submit_queued import AcceptedSubmission, submit_queued
from slurmslice.actions.throttle import set_throttle
from slurmslice.engines.protocol import SubmitRequest
from slurmslice.errors import (
    BadInputError,
    DamagedRunError,
    EngineError,
    NoAnswerError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    SubmitLimitError,
)
from slurmslice.plan.planned_submission import plan_script_by_hand
from slurmslice.plan.run_script import read_script
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.run.statuses import STATUS_HEADER
from slurmslice.run.submission import SubmissionStatus
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.sbatch.resource_request import NO_REQUEST
from slurmslice.slices.slice_table import SliceTable
from slurmslice.status.observation import TaskReport
from slurmslice.status.reconcile import CANCEL_GRACE_S, SliceStatus, requeued_status
from slurmslice.status.states import State
from tests.support.errors import raises_error
from tests.support.fakes import Clock, FakeEngine
from tests.support.kills import Killed, end

NewRun = Callable[..., Run]
Reopen = Callable[[Run], Run]
ALL = choose_waiting(None)
FAILED = choose_failed(None, None)


def states(run: Run) -> Counter[State]:
    """Count the slices in each state."""
    return Counter(run.statuses.state_counts())


def submit(
    run: Run, choose: ChooseRows, changes: dict[str, str], name: str
) -> list[AcceptedSubmission]:
    """Return the accepted submissions; raise an error that stopped them."""
    outcome = verb.submit(run, choose, changes, name)
    outcome.raise_error(ignore_temporary=False)
    return outcome.accepted


def all_end(run: Run, engine: FakeEngine, state: State = State.COMPLETED) -> None:
    """Submit everything, end all tasks in one state, and poll."""
    submit(run, ALL, {}, "submit")
    engine.end_all(state)
    poll(run)


def carried(engine: FakeEngine) -> Counter[str]:
    """Count the submissions of each index in the cluster's records."""
    return Counter(
        f"{job.order.number}:{index}" for job in engine.jobs.values() for index in job.order.array
    )


def test_first_submission_is_the_script_without_options(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """Promise 7: sbatch script.sh, without any option or argument."""
    run = new_run("0-9%3", mem="4G")
    (accepted,) = submit(run, ALL, {}, "submit")
    order = engine.jobs[accepted.job].order
    assert (order.overrides, order.arguments) == (NO_REQUEST, ())
    assert order.request.mem_mib == 4096
    assert str(order.array) == "0-9%3"
    assert states(run) == {State.SUBMITTED: 10}


def test_later_submission_adds_only_the_differing_options(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """Promise 7: the same script with its number, array, name, output and the changed request."""
    run = new_run("0-9", mem="4G")
    submit(run, ALL, {}, "submit")
    engine.end_all()
    engine.end("100", 3, State.OUT_OF_MEMORY)
    poll(run)
    (accepted,) = submit(run, FAILED, {"mem": "2x"}, "resubmit")
    order = engine.jobs[accepted.job].order
    assert order.arguments == ("002",)
    assert list(order.overrides) == ["array", "job-name", "output", "mem"]
    assert dict(order.overrides)["array"] == "3"
    assert dict(order.overrides)["mem"] == "8G"
    assert order.token in order.job_name
    assert order.token != run.record.token


def test_a_doubled_request_can_be_doubled_again(new_run: NewRun, engine: FakeEngine) -> None:
    """``2x`` doubles each slice's option; slices with different requests get separate arrays."""
    run = new_run("0-9", mem="4G", time="10")
    all_end(run, engine, State.OUT_OF_MEMORY)
    submit(run, choose_failed(None, [1]), {"mem": "2x"}, "resubmit")
    engine.end_all(State.OUT_OF_MEMORY)
    poll(run)
    accepted = submit(run, FAILED, {"mem": "2x"}, "resubmit")
    assert {str(t.planned.batch.array): dict(t.planned.batch.changes)["mem"] for t in accepted} == {
        "1": "16G",
        "0,2-9": "8G",
    }


def test_a_request_that_was_raised_stays_raised(new_run: NewRun, engine: FakeEngine) -> None:
    """The next attempt without options keeps the request of the last one."""
    run = new_run("0-3", mem="4G")
    all_end(run, engine, State.OUT_OF_MEMORY)
    submit(run, FAILED, {"mem": "8G"}, "resubmit")
    engine.end_all(State.NODE_FAIL)
    poll(run)
    (accepted,) = submit(run, FAILED, {}, "resubmit")
    assert engine.jobs[accepted.job].order.request.mem_mib == 8192


def test_a_resubmission_has_its_own_task_table(new_run: NewRun, engine: FakeEngine) -> None:
    """Table form: a resubmission has the indices 0…n-1 of a table with exactly these slices."""
    run = new_run(SliceTable(("a", "b c", "$(x)", "d")))
    submit(run, ALL, {}, "submit")
    engine.end_all()
    for index in (1, 2):
        engine.end("100", index, State.FAILED)
    poll(run)
    (accepted,) = submit(run, FAILED, {}, "resubmit")
    assert str(engine.jobs[accepted.job].order.array) == "0-1"
    table = run.directory.task_table_path(2).read_text().splitlines()
    assert [line.split("\t")[1] for line in table[1:]] == ["b c", "$(x)"]
    engine.end(accepted.job, 1, State.COMPLETED)
    poll(run)
    assert run.statuses[2].state is State.COMPLETED
    assert run.statuses[1].state is State.PENDING


def test_only_a_few_slices_then_the_rest(new_run: NewRun, engine: FakeEngine) -> None:
    """--only N submits the first N slices, the next submit the rest; each slice once.

    The script as it is has more slices than these, so it is fenced.
    """
    run = new_run("5-9")
    submit(run, choose_waiting(2), {}, "submit")
    assert states(run) == {State.SUBMITTED: 2, State.WAITING: 3}
    order = engine.jobs["100"].order
    assert (order.number, dict(order.overrides)["array"]) == (2, "5-6")
    assert "fenced" in (run.directory.submission_folder(1) / "job").read_text()
    submit(run, ALL, {}, "submit")
    assert str(engine.jobs["101"].order.array) == "7-9"
    assert max(carried(engine).values()) == 1


def test_only_refuses_slices_that_do_not_wait(new_run: NewRun) -> None:
    """A slice in flight cannot be submitted by its key."""
    run = new_run("0-4")
    submit(run, choose_waiting([1]), {}, "submit")
    with raises_error(BadInputError, "slice-not-waiting"):
        submit(run, choose_waiting([1]), {}, "submit")


def test_two_processes_submit_nothing_twice(
    new_run: NewRun, reopen: Reopen, engine: FakeEngine
) -> None:
    """Two processes opened the run before either of them submitted."""
    first = new_run("0-9")
    second = reopen(first)
    submit(first, ALL, {}, "submit")
    assert submit(second, ALL, {}, "submit") == []
    assert submit(second, FAILED, {}, "resubmit") == []
    assert len(engine.jobs) == 1


def test_a_hand_edited_array_leaves_the_others_waiting(new_run: NewRun, engine: FakeEngine) -> None:
    """Promise 7: the slices of the script's --array come first, the rest with the next submit."""
    run = new_run("0-9")
    script = run.directory.script.read_text()
    run.directory.script.write_text(script.replace("--array=0-9", "--array=0-3%2"))
    submit(run, ALL, {}, "submit")
    assert str(engine.jobs["100"].order.array) == "0-3%2"
    assert engine.jobs["100"].order.overrides == NO_REQUEST
    assert states(run) == {State.SUBMITTED: 4, State.WAITING: 6}
    engine.end_all()
    poll(run)
    submit(run, ALL, {}, "submit")
    assert str(engine.jobs["101"].order.array) == "4-9%2"


def test_a_resubmission_doubles_the_hand_edited_request(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """The options in force are read from the script, not from the creation of the run."""
    run = new_run("0-1", mem="4G")
    script = run.directory.script.read_text()
    run.directory.script.write_text(script.replace("--mem=4G", "--mem=6G"))
    all_end(run, engine, State.OUT_OF_MEMORY)
    (accepted,) = submit(run, FAILED, {"mem": "2x"}, "resubmit")
    assert engine.jobs[accepted.job].order.request.mem_mib == 12 * 1024
    (note,) = accepted.notes
    assert note.code == "edited-line-overridden"
    assert note.fields == {"option": "mem", "value": "12G", "edited": "6G"}


def test_overriding_an_unedited_line_needs_no_note(new_run: NewRun, engine: FakeEngine) -> None:
    """A note names only an overridden hand edit."""
    run = new_run("0-1", mem="4G")
    all_end(run, engine, State.OUT_OF_MEMORY)
    (accepted,) = submit(run, FAILED, {"mem": "2x"}, "resubmit")
    assert accepted.notes == ()


def test_a_changed_first_task_table_is_refused(new_run: NewRun, engine: FakeEngine) -> None:
    """Promise 2: only the rendered table can be submitted."""
    run = new_run(SliceTable(("a", "b")))
    table = run.directory.task_table_path(1)
    table.write_text(table.read_text().replace("b", "c"))
    with raises_error(DamagedRunError, "table-changed"):
        submit(run, ALL, {}, "submit")
    assert engine.jobs == {}


# -- doubts ----------------------------------------------------------------------------------


def refuse(order: SubmitRequest) -> None:
    raise SubmissionRejectedError("invalid partition specified: nope")


def lose_the_answer(order: SubmitRequest) -> None:
    raise SubmissionUnknownError("Socket timed out on send/recv operation.")


def test_the_claim_outranks_the_answer_of_sbatch(new_run: NewRun, engine: FakeEngine) -> None:
    """One submission has two jobs: only the owner of the claim counts, and no slice has failed."""
    run = new_run("0-3")
    (accepted,) = submit(run, ALL, {}, "submit")
    double = engine.submit(engine.jobs[accepted.job].order).job
    (run.directory.submission_folder(1) / "job").write_text(f"{double}\n")
    for index in range(4):
        engine.end(accepted.job, index, State.FAILED, exit_code=2)
        engine.end(double, index, State.COMPLETED, exit_code=0)
    (note,) = poll(run).notes
    assert (note.code, note.fields["job"]) == ("duplicate-job", double)
    assert engine.cancelled == [(accepted.job, None)]
    poll(run)
    assert states(run) == {State.COMPLETED: 4}
    assert submit(run, FAILED, {}, "resubmit") == []


def test_slices_that_the_owner_does_not_carry_are_free_again(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """A person also submits a part of the script by hand: the other slices are not lost."""
    run = new_run("0-5")
    (accepted,) = submit(run, ALL, {}, "submit")
    order = engine.jobs[accepted.job].order
    double = engine.submit(replace(order, array=parse_array("0-1"))).job
    (run.directory.submission_folder(1) / "job").write_text(f"{double}\n")
    (run.directory.task_log_path(1, 4)).write_text(  # forgotten by the controller, but begun
        f"slurmslice start job={double} restart=0 at=1800000000 host=n1 slot=0\n"
    )
    (note,) = poll(run).notes
    assert (note.code, note.fields["job"]) == ("duplicate-job", double)
    assert sorted(run.journal_state.queue) == [2, 3, 5]
    outcome = submit_queued(run, "run")
    assert [str(one.planned.batch.array) for one in outcome.accepted] == ["2-3,5"]
    assert set(run.journal_state.attempts) == {1}


def test_an_owner_that_carries_more_slices_is_followed(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """Submitted by hand in part, then whole: the second job's slices are not submitted again."""
    run = new_run("0-5")
    by_hand(run, engine, "0-1")
    poll(run)
    assert states(run) == {State.PENDING: 2, State.WAITING: 4}
    by_hand(run, engine)
    (run.directory.submission_folder(1) / "job").write_text("101\n")
    (note,) = poll(run).notes
    assert (note.code, note.fields["job"]) == ("duplicate-job", "101")
    poll(run)
    assert states(run) == {State.PENDING: 6}
    assert set(run.journal_state.attempts) == {1}
    assert submit(run, ALL, {}, "submit") == []


def test_a_job_of_a_part_joins_the_run_with_that_part(new_run: NewRun, engine: FakeEngine) -> None:
    """A person submitted it and it began before a poll. The slices outside it are WAITING."""
    run = new_run("0-5")
    by_hand(run, engine, "0-1")
    (run.directory.submission_folder(1) / "job").write_text("100\n")
    poll(run)
    assert states(run) == {State.PENDING: 2, State.WAITING: 4}


def test_the_job_of_a_copied_run_does_not_join(
    new_run: NewRun, engine: FakeEngine, tmp_path: Path
) -> None:
    """The copy's script leads to the copy, but its job has the same name."""
    run = new_run("0-3")
    by_hand(run, engine)
    other = tmp_path / "copy.sh"
    other.write_text(run.directory.script.read_text())
    engine.jobs["100"].order = replace(engine.jobs["100"].order, script=other)
    poll(run)
    assert states(run) == {State.WAITING: 4}


def test_the_script_is_fenced_before_a_later_submission(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """A wrong rejection: its job stops at the fence after other submissions carry its slices.

    If these are rejected too, the script may still be submitted by hand.
    """
    run, claim = new_run("0-3"), run_claim
    engine.on_submit = refuse
    for _ in range(2):
        with pytest.raises(SubmissionRejectedError):
            submit(run, ALL, {}, "submit")
        assert not claim(run).exists()
    engine.on_submit = lambda order: None
    submit(run, ALL, {}, "submit")
    assert "fenced" in claim(run).read_text()


def test_a_fence_stays_while_its_job_may_still_appear(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """001 was fenced after a doubt: a later rejection does not remove that fence."""
    run = new_run("0-3")
    engine.on_submit = lose_the_answer
    with pytest.raises(SubmissionUnknownError):
        submit(run, ALL, {}, "submit")
    clock.now += FENCE_AFTER_S + 1
    engine.on_submit = refuse
    with pytest.raises(SubmissionRejectedError):
        submit(run, ALL, {}, "submit")
    assert run.journal_state.submissions[1].status is SubmissionStatus.FENCED
    assert "fenced" in run_claim(run).read_text()


def test_a_job_that_claimed_the_script_before_the_fence_counts(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """A rejection was wrong: nothing is submitted beside that job."""
    run = new_run("0-3")
    engine.on_submit = refuse
    with pytest.raises(SubmissionRejectedError):
        submit(run, ALL, {}, "submit")
    engine.on_submit = lambda order: None

    def begins(order: SubmitRequest) -> None:
        raise AssertionError("submitted beside it")

    by_hand(run, engine)
    run_claim(run).write_text("100\n")
    engine.on_submit = begins
    with raises_error(SubmissionUnknownError, "script-sent-by-hand"):
        submit(run, ALL, {}, "submit")
    clock.now += 6
    poll(run)
    assert run.journal_state.submissions[1].job == "100"
    assert submit(run, ALL, {}, "submit") == []


def run_claim(run: Run) -> Path:
    """Return the claim file of the first submission."""
    return run.directory.submission_folder(1) / "job"


def test_a_requeued_slice_is_not_submitted_again(new_run: NewRun, engine: FakeEngine) -> None:
    """After scontrol requeue an ended slice is in flight again, and ends as Slurm reports."""
    run = new_run("0-3")
    all_end(run, engine, State.FAILED)
    engine.jobs["100"].tasks[2] = TaskReport(State.PENDING, "PENDING")
    (accepted,) = submit(run, FAILED, {}, "resubmit")
    assert str(accepted.planned.batch.array) == "0-1,3"
    assert run.statuses[2].state is State.PENDING
    engine.end("100", 2, State.COMPLETED)
    poll(run)
    assert run.statuses[2].attempt == 1
    assert states(run) == {State.COMPLETED: 1, State.PENDING: 3}


def test_a_completing_slice_is_not_submitted_again(new_run: NewRun, engine: FakeEngine) -> None:
    """Accounting reported the end; then the queue reports the task as COMPLETING."""
    run = new_run("0-3")
    all_end(run, engine, State.TIMEOUT)
    engine.jobs["100"].tasks[2] = TaskReport(State.COMPLETING, "COMPLETING")
    (accepted,) = submit(run, FAILED, {}, "resubmit")
    assert str(accepted.planned.batch.array) == "0-1,3"
    assert run.statuses[2].state is State.COMPLETING
    assert "TIMEOUT" in run.statuses[2].reason
    engine.end("100", 2, State.TIMEOUT)
    poll(run)
    (accepted,) = submit(run, FAILED, {}, "resubmit")
    assert list(accepted.planned.batch.rows) == [2]


@pytest.mark.parametrize("state", [State.COMPLETED, State.CHECK_FAILED])
def test_a_script_that_has_ended_is_not_opened_again(state: State) -> None:
    """Slurm still cleans up the node, but the command has ended."""
    known = SliceStatus(state, "exit 0")
    assert requeued_status(known, TaskReport(State.COMPLETING, "COMPLETING")) is None


def test_a_cancelled_slice_is_not_resubmitted_automatically(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """It was preempted just before the cancel: it keeps its state and is not resubmitted."""
    run = new_run("0-1")
    submit(run, ALL, {}, "submit")
    engine.end_all(State.PREEMPTED)
    cancel(run, [1])
    poll(run)
    record_policy(run, max_attempts=3)
    follow_step(run, FollowOptions())
    assert [list(job.order.array) for job in engine.jobs.values()] == [[0, 1], [0]]
    assert run.statuses[1].state is State.PREEMPTED


def test_nothing_is_resubmitted_while_squeue_does_not_answer(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """A slice is only resubmitted if Slurm says that it does not run it again."""
    run = new_run("0-3")
    all_end(run, engine, State.FAILED)
    engine.silence = "down"
    with pytest.raises(NoAnswerError):
        submit(run, FAILED, {}, "resubmit")
    assert len(engine.jobs) == 1


def test_a_rejected_job_that_runs_after_all_is_fenced(new_run: NewRun, engine: FakeEngine) -> None:
    """A rejection of a later submission is fenced; if a task has claimed it, it was accepted."""
    run = new_run("0-1")
    all_end(run, engine, State.FAILED)
    engine.on_submit = refuse
    with pytest.raises(SubmissionRejectedError):
        submit(run, FAILED, {}, "resubmit")
    assert "fenced" in (run.directory.submission_folder(2) / "job").read_text()

    def refuse_late(order: SubmitRequest) -> None:
        (order.folder / "job").write_text("555\n")
        refuse(order)

    engine.on_submit = refuse_late
    (accepted,) = submit(run, FAILED, {}, "resubmit")
    assert accepted.job == "555"


def test_a_pending_slice_that_was_cancelled_by_hand_ends_with_its_array(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """scancel X_[2] leaves no record: the task is CANCELLED only long after the array's end."""
    run = new_run("0-3")
    submit(run, ALL, {}, "submit")
    del engine.jobs["100"].tasks[2]
    for index in (0, 1, 3):
        engine.end("100", index, State.COMPLETED, exit_code=0, ended_at=int(clock.now))
    clock.now += 60
    poll(run)
    assert states(run) == {State.COMPLETED: 3, State.SUBMITTED: 1}
    clock.now += 60
    poll(run)
    assert states(run) == {State.COMPLETED: 3, State.SUBMITTED: 1}
    clock.now += 300
    poll(run)
    assert states(run) == {State.COMPLETED: 3, State.CANCELLED: 1}


def test_an_array_without_a_recorded_end_is_not_over(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """Without an end time of the array, a task without a record is still expected."""
    run = new_run("0-1")
    submit(run, ALL, {}, "submit")
    del engine.jobs["100"].tasks[1]
    engine.end("100", 0, State.COMPLETED, exit_code=0)
    clock.now += 1000
    poll(run)
    assert states(run) == {State.COMPLETED: 1, State.SUBMITTED: 1}


def test_a_changed_slice_table_is_refused(new_run: NewRun, reopen: Reopen) -> None:
    """Promise 2: a run with an edited slice table is refused."""
    run = new_run(SliceTable(("alpha", "beta")))
    run.directory.slices.write_text(run.directory.slices.read_text().replace("beta", "gamma"))
    with raises_error(DamagedRunError, "table-changed"):
        reopen(run)


def test_a_moved_run_is_refused_before_submission(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """Its script names the old directory: every task would fail."""
    run = new_run("0-3")
    moved = run.directory.path.parent / "elsewhere"
    run.directory.path.rename(moved)
    with pytest.raises(BadInputError, match="elsewhere"):
        submit(Run(RunDirectory(moved), engine, clock), ALL, {}, "submit")
    assert engine.jobs == {}


@pytest.mark.parametrize("rows", ["5-6", "0-999999999", "0-2", "0Q1"])
def test_a_journal_of_other_slices_is_an_error(new_run: NewRun, reopen: Reopen, rows: str) -> None:
    """Rows that do not exist, or do not match the indices, are an error, not a crash."""
    run = new_run("0-3")
    submit(run, ALL, {}, "submit")
    journal = run.directory.path / "journal.jsonl"
    journal.write_text(journal.read_text().replace('"rows": "0-3"', f'"rows": "{rows}"'))
    with pytest.raises(DamagedRunError, match="journal"):
        reopen(run)


def seen(rows: str, submission: str) -> bytes:
    """Return a line of states.tsv that marks these rows as COMPLETED."""
    fields = [rows, submission, "COMPLETED", "queue", *[""] * STATUS_HEADER.count(b"\t")]
    return "\t".join(fields[: STATUS_HEADER.count(b"\t") + 1]).encode() + b"\n"


@pytest.mark.parametrize(
    "line",
    [
        *(b"0\t1\tCOMP\\qLETED\n", b"\xff\xfe\n", b"\t\t\n", b"0-9\n"),
        *(seen("0", "9" * 5000), seen("9" * 5000, "1"), seen("0-" + "9" * 18, "1")),
        *(seen("0", "2"), seen("0-4", "1"), seen("0-" + "9" * 40, "1")),
    ],
)
def test_a_bad_line_of_states_is_ignored(new_run: NewRun, reopen: Reopen, line: bytes) -> None:
    """A line of states.tsv that cannot be read is asked again."""
    run = new_run("0-3")
    submit(run, ALL, {}, "submit")
    run.directory.append_states(line, b"rows\n")
    poll(run)
    assert states(reopen(run)) == {State.PENDING: 4}


def test_a_rejection_changes_nothing(new_run: NewRun, engine: FakeEngine) -> None:
    """After a rejection the slices wait, and the same command can be repeated."""
    run = new_run("0-9")
    engine.on_submit = refuse
    with pytest.raises(SubmissionRejectedError):
        submit(run, ALL, {}, "submit")
    assert states(run) == {State.WAITING: 10}
    engine.on_submit = lambda order: None
    submit(run, ALL, {}, "submit")
    assert states(run) == {State.SUBMITTED: 10}
    assert engine.jobs["100"].order.arguments == ("002",)


def test_a_rejected_resubmission_restores_the_old_states(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """FAILED slices are FAILED again with their evidence, not WAITING."""
    run = new_run("0-3")
    all_end(run, engine, State.FAILED)
    engine.on_submit = refuse
    with pytest.raises(SubmissionRejectedError):
        submit(run, FAILED, {}, "resubmit")
    assert states(run) == {State.FAILED: 4}
    assert run.statuses[0].exit_code == 1
    assert run.statuses[0].attempt == 1


def test_a_lost_answer_is_found_by_the_token(new_run: NewRun, engine: FakeEngine) -> None:
    """A job that was accepted behind a timeout belongs to the run; nothing is submitted again."""
    run = new_run("0-9")
    engine.after_submit = lose_the_answer
    (accepted,) = submit(run, ALL, {}, "submit")
    assert accepted.job == "100"
    assert run.journal_state.submissions[1].status is SubmissionStatus.SUBMITTED
    assert len(engine.jobs) == 1


def test_nothing_is_submitted_while_a_doubt_cannot_be_resolved(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """A doubt stays while the queue does not answer, and blocks every submission."""
    run = new_run("0-9")
    engine.after_submit, engine.lookups_fail = lose_the_answer, True
    with raises_error(EngineError, "submission-unknown"):
        submit(run, ALL, {}, "submit")
    engine.after_submit = lambda order: None
    with pytest.raises(NoAnswerError, match="001"):
        submit(run, ALL, {}, "submit")
    assert len(engine.jobs) == 1
    engine.lookups_fail = False
    assert submit(run, ALL, {}, "submit") == []
    assert states(run) == {State.SUBMITTED: 10}


def test_a_lost_submission_is_fenced_and_repeated(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """After DOUBT_S without a trace it is fenced, so it can never run beside the next one."""
    run = new_run("0-9")
    engine.on_submit = lose_the_answer
    with pytest.raises(EngineError):
        submit(run, ALL, {}, "submit")
    began = clock.now
    engine.on_submit = lambda order: None
    submit(run, ALL, {}, "submit")
    assert clock.now - began >= FENCE_AFTER_S
    assert run.journal_state.submissions[1].status is SubmissionStatus.FENCED
    assert "fenced" in (run.directory.submission_folder(1) / "job").read_text()
    assert [s.number for s in run.submissions_in_flight()] == [2]
    assert set(run.journal_state.attempts) == {1}


def test_killed_between_the_fence_and_its_journal_line(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """Promise 9: the fence of a killed process counts, and the run continues."""
    run = new_run("0-9")
    engine.on_submit = lose_the_answer
    with pytest.raises(EngineError):
        submit(run, ALL, {}, "submit")
    assert run.directory.fence(1)
    engine.on_submit = lambda order: None
    submit(run, ALL, {}, "submit")
    assert run.journal_state.submissions[1].status is SubmissionStatus.FENCED
    assert [s.number for s in run.submissions_in_flight()] == [2]


def test_a_late_job_of_a_fenced_submission_is_cancelled(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """Promise 4: of two arrays for the same slices one has the claim; the other is cancelled."""
    run = new_run("0-9")
    lost: list[SubmitRequest] = []

    def lose(order: SubmitRequest) -> None:
        lost.append(order)
        lose_the_answer(order)

    engine.on_submit = lose
    with pytest.raises(EngineError):
        submit(run, ALL, {}, "submit")
    engine.on_submit = lambda order: None
    submit(run, ALL, {}, "submit")
    late = engine.submit(lost[0]).job
    (note,) = poll(run).notes
    assert engine.cancelled == [(late, None)]
    assert note.code == "late-job"
    assert note.fields == {"submission": 1, "job": late, "cancelled": True}
    poll(run)
    assert len(engine.cancelled) == 1
    assert states(run) == {State.PENDING: 10}


def test_a_task_that_claimed_first_wins_over_the_fence(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """The claim is proof that the job has run, even if the queue and accounting have no job."""
    run = new_run("0-9")
    engine.on_submit = lose_the_answer
    with pytest.raises(EngineError):
        submit(run, ALL, {}, "submit")
    (run.directory.submission_folder(1) / "job").write_text("777\n")
    assert not run.directory.fence(1)
    clock.now += FENCE_AFTER_S + 1
    poll_without_job(run, engine)
    assert run.journal_state.submissions[1].job == "777"


def poll_without_job(run: Run, engine: FakeEngine) -> None:
    """Poll while the engine does not answer, because it never got that job."""
    engine.silence = "down"
    poll(run)


def test_a_script_submitted_by_hand_joins_the_run(new_run: NewRun, engine: FakeEngine) -> None:
    """The next status finds a job of ``sbatch script.sh`` by the token in its name."""
    run = new_run("0-9")
    by_hand(run, engine)
    assert [note.code for note in poll(run).notes] == ["job-submitted-by-hand"]
    assert states(run) == {State.PENDING: 10}
    assert submit(run, ALL, {}, "submit") == []


def test_a_script_submitted_by_hand_after_a_rejection_is_found(
    new_run: NewRun, engine: FakeEngine, reopen: Callable[[Run], Run]
) -> None:
    """Rejected, repaired and then submitted by hand: it is still the same run."""
    run = new_run("0-9")
    engine.on_submit = refuse
    with pytest.raises(SubmissionRejectedError):
        submit(run, ALL, {}, "submit")
    engine.on_submit = lambda order: None
    by_hand(run, engine)
    run = reopen(run)
    poll(run)
    assert states(run) == {State.PENDING: 10}
    assert set(run.journal_state.attempts) == {1}


def test_an_unsubmitted_script_is_searched_at_intervals(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """One search of the queue is valid for some time, because the claim keeps two jobs apart."""
    run = new_run("0-9")
    poll(run)
    by_hand(run, engine)
    assert poll(run).notes == ()
    clock.now += 6
    assert [note.code for note in poll(run).notes] == ["job-submitted-by-hand"]


def by_hand(run: Run, engine: FakeEngine, array: str = "") -> None:
    """Submit like ``sbatch script.sh``, plain or with an ``--array``."""
    script = read_script(run)
    order = plan_script_by_hand(run, script, run.record.job_name).submit_request(run)
    part = parse_array(array) if array else order.array
    engine.submit(replace(order, job_name=run.record.job_name, array=part))


# -- polling, control, following ---------------------------------------------------------------


def test_the_next_process_knows_the_recorded_states(
    new_run: NewRun, reopen: Reopen, engine: FakeEngine
) -> None:
    """states.tsv keeps every field of a poll."""
    run = new_run("0-2")
    submit(run, ALL, {}, "submit")
    engine.end("100", 0, State.FAILED, exit_code=5, started_at=10, ended_at=20, max_rss_bytes=7)
    engine.end("100", 1, State.COMPLETED, exit_code=0)
    poll(run)
    assert list(reopen(run).statuses) == list(run.statuses)


def test_a_finished_run_asks_slurm_nothing(
    new_run: NewRun, reopen: Reopen, engine: FakeEngine
) -> None:
    """Final states are in the run directory: old runs cost slurmdbd nothing."""
    run = new_run("0-2")
    all_end(run, engine)
    asked = engine.polls
    assert poll(reopen(run)).any_answered
    assert engine.polls == asked


def test_a_requeued_slice_is_reported_beside_others(new_run: NewRun, engine: FakeEngine) -> None:
    """After ``scontrol requeue`` an ended task runs again while others go on, and may fail."""
    run = new_run("0-2")
    submit(run, ALL, {}, "submit")
    engine.end("100", 0, State.COMPLETED, exit_code=0)
    poll(run)
    assert states(run) == {State.COMPLETED: 1, State.PENDING: 2}
    engine.jobs["100"].tasks[0] = TaskReport(State.RUNNING, "RUNNING", restarts=1)
    poll(run)
    assert run.statuses[0].state is State.RUNNING
    assert "COMPLETED" in run.statuses[0].reason  # what it was before
    engine.end("100", 0, State.FAILED, exit_code=5)
    poll(run)
    assert states(run) == {State.FAILED: 1, State.PENDING: 2}
    assert run.journal_state.attempts == [1, 1, 1]


def test_one_query_per_poll_for_all_submissions(new_run: NewRun, engine: FakeEngine) -> None:
    """Promise 8: one query asks about all arrays of the run."""
    run = new_run("0-9")
    for row in range(10):
        submit(run, choose_waiting([row]), {}, "submit")
    before = engine.polls
    poll(run)
    assert engine.polls == before + 1


def test_a_missing_answer_changes_nothing_and_is_reported(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """Promise 5: a missing answer is not information."""
    run = new_run("0-2")
    submit(run, ALL, {}, "submit")
    poll(run)
    engine.silence = "Connection refused"
    polled = poll(run)
    assert not polled.any_answered
    assert polled.no_answer_reasons == ("Connection refused", "Connection refused")
    assert states(run) == {State.PENDING: 3}
    assert "Connection refused" in run.statuses[0].reason


def test_a_torn_journal_line_is_not_a_decision(new_run: NewRun, reopen: Reopen) -> None:
    """An incomplete line is ignored, and the next writer cuts it off."""
    run = new_run("0-2")
    journal = run.directory.path / "journal.jsonl"
    submit(run, ALL, {}, "submit")
    whole = journal.read_bytes()
    journal.write_bytes(whole + b'{"event": "canc')
    again = reopen(run)
    assert states(again) == {State.SUBMITTED: 3}
    set_throttle(again, 2)
    assert journal.read_bytes().startswith(whole + b'{"event": "throttled"')


def test_a_torn_line_of_states_damages_no_other_line(new_run: NewRun, reopen: Reopen) -> None:
    """A lost tail of states.tsv does no harm, and later lines are read."""
    run = new_run("0-2")
    submit(run, ALL, {}, "submit")
    run.directory.append_states(b"0-1\t1\tCOMP", b"rows\n")
    poll(run)
    assert states(reopen(run)) == {State.PENDING: 3}


def test_cancelling_some_leaves_the_others(new_run: NewRun, engine: FakeEngine) -> None:
    """Only the named slices are cancelled; resubmit runs them again."""
    run = new_run("0-9")
    submit(run, choose_waiting(5), {}, "submit")
    assert cancel(run, [1, 7]) == [1, 7]
    poll(run)
    assert states(run) == {State.CANCELLED: 2, State.PENDING: 4, State.WAITING: 4}
    assert engine.cancelled == [("100", (1,))]
    assert submit(run, FAILED, {}, "resubmit") == []
    submit(run, choose_failed(frozenset({State.CANCELLED}), None), {}, "resubmit")
    assert run.statuses[7].state is State.SUBMITTED


def test_cancel_refuses_while_a_submission_is_in_doubt(
    new_run: NewRun, reopen: Reopen, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process is killed in sbatch just before cancel gets the lock: cancel refuses."""
    run = new_run("0-3")
    lock, others = RunDirectory.lock, iter([reopen(run)])

    def after_another(directory: RunDirectory, name: str, wait: float | None = None) -> object:
        if name == "cancel":
            for other in others:
                engine.after_submit = end  # sbatch has taken it, and nobody was told
                with pytest.raises(Killed):
                    submit(other, ALL, {}, "submit")
        return lock(directory, name, wait)

    monkeypatch.setattr(RunDirectory, "lock", after_another)
    with pytest.raises(NoAnswerError, match="001"):
        cancel(run, None)
    assert cancel(run, None) == [0, 1, 2, 3]
    assert engine.cancelled == [("100", None)]


def test_cancelling_all_needs_one_call_per_array(new_run: NewRun, engine: FakeEngine) -> None:
    """A whole array is cancelled with one call; ended slices do not change."""
    run = new_run("0-9")
    submit(run, ALL, {}, "submit")
    engine.end("100", 0, State.COMPLETED)
    poll(run)
    assert len(cancel(run, None)) == 9
    assert engine.cancelled == [("100", None)]
    poll(run)
    assert states(run) == {State.COMPLETED: 1, State.CANCELLED: 9}
    assert cancel(run, None) == []


def test_pending_slices_that_were_cancelled_leave_no_record(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """Slurm forgets cancelled pending tasks: a task in neither source is then CANCELLED."""
    run = new_run("0-3")
    submit(run, ALL, {}, "submit")
    poll(run)
    cancel(run, [2])
    del engine.jobs["100"].tasks[2]
    poll(run)
    assert states(run) == {State.PENDING: 4}
    clock.now += 10
    poll(run)
    assert states(run) == {State.PENDING: 3, State.CANCELLED: 1}


def test_the_throttle_is_allocated_and_kept(new_run: NewRun, engine: FakeEngine) -> None:
    """Running arrays are changed at once; later submissions get the throttle too."""
    run = new_run("0-9")
    submit(run, choose_waiting(3), {}, "submit")
    submit(run, choose_waiting(3), {}, "submit")
    assert set_throttle(run, 5) == 2
    assert engine.throttled == [("101", 2)]  # the first has three tasks and no more
    assert verb.submit(run, ALL, {}, "submit").wait_reason.count("throttle") == 1
    for index in range(3):
        engine.end("100", index, State.COMPLETED)
    poll(run)
    (accepted,) = submit_queued(run, "tick").accepted
    assert engine.throttled[-1] == ("101", 3)
    assert engine.jobs[accepted.job].order.array.throttle == 2


def test_a_throttle_below_the_number_of_arrays_holds_some(
    new_run: NewRun, engine: FakeEngine, reopen: Reopen
) -> None:
    """With less than one task each, the newest arrays are held, and released in turn."""
    run = new_run("0-8")
    for _ in range(3):
        submit(run, choose_waiting(3), {}, "submit")
    set_throttle(run, 1)
    assert engine.throttled == [("100", 1)]
    assert engine.held == ["101", "102"]
    for index in range(3):
        engine.end("100", index, State.COMPLETED)
    poll(run)
    submit_queued(run, "tick")
    assert engine.throttled[1:] == [("101", 1)]
    assert engine.released == ["101"]
    submit_queued(run, "tick")
    release(run)
    assert engine.released == ["101", "101"]
    again = reopen(run)  # the one before may have been killed before it said so
    poll(again)
    submit_queued(again, "tick")
    assert engine.throttled[2:] == [("101", 1)]
    assert engine.released == ["101"] * 3


def test_follow_runs_to_the_end_and_resubmits_by_policy(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """``run --max-attempts 3``: failures are resubmitted, up to three attempts in all."""
    run = new_run("0-4")

    def work() -> None:
        clock.now += 1
        for job, accepted in list(engine.jobs.items()):
            for index, report in accepted.tasks.items():
                if not report.state.final:
                    bad = index == 4 or (index == 3 and accepted.order.number == 1)
                    engine.end(job, index, State.FAILED if bad else State.COMPLETED, exit_code=bad)

    engine.on_wait = work
    record_policy(run, max_attempts=3)
    follow(run, FollowOptions(), lambda *_: None)
    assert states(run) == {State.COMPLETED: 4, State.FAILED: 1}
    assert [status.attempt for status in run.statuses] == [1, 1, 1, 2, 3]


@pytest.mark.parametrize("what", [SubmitLimitError, SubmissionUnknownError, NoAnswerError])
def test_follow_survives_temporary_errors(
    new_run: NewRun, engine: FakeEngine, clock: Clock, what: type[EngineError]
) -> None:
    """After a full queue, a lost answer or a silent Slurm ``run`` reports it and tries again."""
    run = new_run("0-4")
    refusals = iter(range(2))

    def hinder(order: SubmitRequest) -> None:
        if next(refusals, None) is not None:
            raise what("not at this moment")

    def work() -> None:
        clock.now += 15
        engine.end_all()

    engine.on_submit, engine.on_wait = hinder, work
    said: list[str] = []
    follow(run, FollowOptions(), lambda run, polled, outcome: said.append(outcome.wait_reason))
    assert states(run) == {State.COMPLETED: 5}
    assert any("not at this moment" in silence for silence in said)
    assert len(engine.jobs) == 1


def test_follow_backs_off_and_recovers(new_run: NewRun, engine: FakeEngine, clock: Clock) -> None:
    """Slurm does not answer for hours: polls become rarer; later they are normal again."""
    run = new_run("0-4")
    submit(run, ALL, {}, "submit")
    engine.silence = "Connection refused"

    def work() -> None:
        clock.now += engine.waited[-1]
        if len(engine.waited) == 200:
            engine.silence = ""
        if len(engine.waited) == 203:
            engine.end_all()

    engine.on_wait = work
    seen: list[PollResult] = []
    follow(run, FollowOptions(interval=1.5), lambda run, polled, outcome: seen.append(polled))
    assert engine.waited[:8] == [3, 6, 12, 24, 48, 60, 60, 60]
    assert set(engine.waited[5:200]) == {60}
    assert engine.waited[200:] == [1.5] * 3
    assert all(not polled.any_answered and not polled.changed for polled in seen[1:200])
    assert states(run) == {State.COMPLETED: 5}


def test_follow_backs_off_after_an_unanswered_submission(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """sbatch cannot reach the controller: it is tried less often; each slice runs once."""
    run = new_run("0-4")

    def away(order: SubmitRequest) -> None:
        if len(engine.waited) < 9:
            raise SubmitLimitError("Unable to contact slurm controller")

    def work() -> None:
        clock.now += engine.waited[-1]
        engine.end_all()

    engine.on_submit, engine.on_wait = away, work
    follow(run, FollowOptions(interval=1), lambda *_: None)
    assert engine.waited == [2, 4, 8, 16, 32, 60, 60, 60, 60, 1]
    assert states(run) == {State.COMPLETED: 5}


def test_a_job_id_that_occurs_twice_in_one_run(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """A controller that lost its state reuses ids, so the job's name identifies the task's job."""
    run = new_run(SliceTable(["a", "b"]))
    submit(run, ALL, {}, "submit")
    engine.end("100", 1, State.FAILED, exit_code=3)
    poll(run)
    engine.jobs.clear()
    submit(run, FAILED, {}, "resubmit")
    assert [s.job for s in run.journal_state.submissions.values()] == ["100", "100"]
    assert (
        run.journal_state.submissions[2].array_index_of(1)
        == run.journal_state.submissions[1].array_index_of(0)
        == 0
    )
    engine.end("100", 0, State.COMPLETED, exit_code=0)
    poll(run)
    assert [status.state for status in run.statuses] == [State.PENDING, State.COMPLETED]
    cancel(run, None)
    clock.now += CANCEL_GRACE_S
    poll(run)
    assert [status.state for status in run.statuses] == [State.CANCELLED, State.COMPLETED]
    engine.jobs["100"].tasks[0] = TaskReport(State.RUNNING, "RUNNING")
    again = submit(run, choose_failed(frozenset({State.CANCELLED}), None), {}, "resubmit")
    assert len(again) == 1  # what runs there is the other slice's task, not this one's


def test_polls_back_off() -> None:
    """Promise 8: a long run asks once a minute; a person can choose another interval."""
    assert poll_interval(1, None) == 1
    assert poll_interval(100, None) == 10
    assert poll_interval(10**6, None) == 60
    assert poll_interval(10**6, 5) == 5
    assert poll_interval(10**6, None, 50) == 10  # what waits goes in as slices end
    assert poll_interval(10**6, None, 10**6) == 60


@pytest.mark.parametrize("written", ["--job-name=my-jobs", "-J my-jobs", '--job-name "my-jobs"'])
def test_an_edited_job_name_counts_in_every_submission(
    new_run: NewRun, engine: FakeEngine, reopen: Callable[[Run], Run], written: str
) -> None:
    """The script's name stays readable in squeue, and each job has its own token."""
    run = new_run("0-3")
    script = run.directory.script
    rendered = f"#SBATCH --job-name={run.record.job_name}\n"
    script.write_text(script.read_text().replace(rendered, f"#SBATCH {written}\n"))
    names = []
    for choose in (choose_waiting([0]), choose_waiting(None), choose_failed(None, [0])):
        (accepted,) = submit(reopen(run), choose, {}, "submit")
        names.append(accepted.planned.job_name)
        engine.end_all(State.FAILED)
        poll(reopen(run))
    tokens = {name.removeprefix("my-jobs-") for name in names}
    assert len(tokens) == 3
    assert all(len(token) == 8 for token in tokens)
