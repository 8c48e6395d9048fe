"""The rule of evidence: each line of docs/evidence.md, and its general laws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.script.progress_lines import SlotProgress, parse_progress, setup_progress
from slurmslice.status.exit_reason import exit_code_reason
from slurmslice.status.observation import JobSteps, TaskReport
from slurmslice.status.reconcile import (
    ACCOUNTING_LAG_S,
    CANCEL_GRACE_S,
    UNRECORDED_CANCEL_S,
    SliceEvidence,
    SliceStatus,
    is_unknown_to_slurm,
    reconcile,
)
from slurmslice.status.states import FINAL_STATES, EvidenceSource, State

NOW = 1_800_000_000.0
KNOWN = SliceStatus(State.SUBMITTED, "submitted", submission=1, index=3, attempt=1)
NOTHING = SliceEvidence(None, None, None, "", "", False, None, None, NOW)

PENDING = TaskReport(State.PENDING, "PENDING", reason="Priority")
RUNNING = TaskReport(State.RUNNING, "RUNNING", node="n3")
ENDING = TaskReport(State.COMPLETING, "COMPLETING", node="n3")
DONE = TaskReport(State.COMPLETED, "COMPLETED", exit_code=0)
BAD = TaskReport(State.FAILED, "FAILED", exit_code=5)
REST = TaskReport(State.CANCELLED, "CANCELLED by 7", is_array_summary=True)
ENDED_NOW = SlotProgress(int(NOW) - 10, "n3", int(NOW) - 1, 0)
ENDED_LONG_AGO = SlotProgress(int(NOW) - 900, "n3", int(NOW - ACCOUNTING_LAG_S) - 1, 7)


def said(**what: object) -> SliceEvidence:
    """Return a poll with only this evidence."""
    return replace(NOTHING, **what)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "hearing", "state", "evidence"),
    [
        (0, said(accounting=REST, progress=SlotProgress(int(NOW) - 60, "n3")),
         State.COMPLETING, EvidenceSource.QUEUE),
        (0, said(accounting=REST, progress=ENDED_LONG_AGO), State.FAILED, EvidenceSource.PROGRESS),
        (3, said(accounting=REST), State.CANCELLED, EvidenceSource.ACCOUNTING),
        (1, said(accounting=replace(DONE, state=State.NODE_FAIL), queue=PENDING),
         State.PENDING, EvidenceSource.QUEUE),
        *((2, said(accounting=replace(BAD, state=state), queue_silence="down"),
           State.COMPLETING, EvidenceSource.ACCOUNTING)
          for state in (State.PREEMPTED, State.NODE_FAIL)),
        *((2, said(accounting=replace(BAD, state=state), queue=ENDING),
           State.COMPLETING, EvidenceSource.QUEUE)
          for state in (State.NODE_FAIL, State.PREEMPTED)),
        (14, said(accounting_off=True, accounting_silence="off", queue_silence="down",
                  progress=ENDED_LONG_AGO), State.SUBMITTED, EvidenceSource.JOURNAL),
        (3, said(accounting=DONE), State.COMPLETED, EvidenceSource.ACCOUNTING),
        (3, said(accounting=replace(BAD, state=State.PREEMPTED)),
         State.PREEMPTED, EvidenceSource.ACCOUNTING),
        *((2, said(accounting=replace(BAD, state=state), queue=ENDING),
           State.COMPLETING, EvidenceSource.QUEUE)
          for state in (State.TIMEOUT, State.CANCELLED, State.FAILED, State.OUT_OF_MEMORY)),
        (3, said(accounting=DONE, queue=ENDING),
         State.COMPLETED, EvidenceSource.ACCOUNTING),
        (3, said(accounting=BAD, queue_silence="down"), State.FAILED, EvidenceSource.ACCOUNTING),
        (4, said(queue=TaskReport(State.WAITING), progress=ENDED_NOW),
         State.COMPLETED, EvidenceSource.PROGRESS),
        (5, said(queue=TaskReport(State.WAITING), progress=replace(ENDED_NOW, exit_code=143)),
         State.WAITING, EvidenceSource.QUEUE),
        (5, said(queue=TaskReport(State.WAITING, reason="interrupted")),
         State.WAITING, EvidenceSource.QUEUE),
        *((2, said(accounting=replace(report, ended_at=int(NOW), steps=steps)),
           State.COMPLETING, EvidenceSource.ACCOUNTING)
          for report in (DONE, BAD) for steps in (None, JobSteps(ended=False))),
        *((2, said(accounting=replace(BAD, state=state, ended_at=int(NOW))),
           State.SUBMITTED, EvidenceSource.JOURNAL)
          for state in (State.CANCELLED, State.DEADLINE)),
        (6, said(queue=DONE), State.COMPLETING, EvidenceSource.QUEUE),
        (6, said(queue=BAD, accounting=RUNNING), State.COMPLETING, EvidenceSource.QUEUE),
        (6, said(queue=replace(BAD, state=State.CANCELLED)),
         State.SUBMITTED, EvidenceSource.JOURNAL),
        (7, said(queue=BAD, accounting_off=True, accounting_silence="off"),
         State.FAILED, EvidenceSource.QUEUE),
        (7, said(accounting_silence="down",
                 queue=replace(DONE, ended_at=int(NOW - ACCOUNTING_LAG_S))),
         State.COMPLETED, EvidenceSource.QUEUE),
        (7, said(queue=DONE, accounting_silence="down"), State.COMPLETING, EvidenceSource.QUEUE),
        (8, said(queue=PENDING), State.PENDING, EvidenceSource.QUEUE),
        (8, said(queue=RUNNING, accounting=PENDING), State.RUNNING, EvidenceSource.QUEUE),
        (8, said(queue=ENDING, accounting=RUNNING), State.COMPLETING, EvidenceSource.QUEUE),
        (9, said(accounting=RUNNING, queue_silence="down"), State.RUNNING,
        EvidenceSource.ACCOUNTING),
        *((9, said(other_job=True, progress=own, **more), State.SUBMITTED, EvidenceSource.JOURNAL)
          for own in (None, SlotProgress(int(NOW) - 900, "n3"),
                      replace(ENDED_LONG_AGO, signal_received="TERM"))
          for more in ({}, {"accounting": RUNNING}, {"cancelled_at": NOW - ACCOUNTING_LAG_S},
                       {"array_ended_at": NOW - UNRECORDED_CANCEL_S},
                       {"accounting_off": True, "accounting_silence": "off"})),
        (15, said(other_job=True, progress=ENDED_LONG_AGO), State.FAILED, EvidenceSource.PROGRESS),
        (10, said(accounting=RUNNING, progress=ENDED_LONG_AGO), State.FAILED,
         EvidenceSource.PROGRESS),
        *((11, said(accounting=report, progress=own), State.COMPLETING, EvidenceSource.QUEUE)
          for report, own in ((RUNNING, ENDED_NOW), (RUNNING, None), (PENDING, ENDED_NOW),
                              (replace(RUNNING, state=State.SUSPENDED), None))),
        (11, said(accounting=PENDING), State.PENDING, EvidenceSource.ACCOUNTING),
        (10, said(accounting=RUNNING, cancelled_at=NOW - ACCOUNTING_LAG_S),
         State.CANCELLED, EvidenceSource.QUEUE),
        (11, said(accounting=RUNNING, cancelled_at=NOW - 60), State.COMPLETING,
         EvidenceSource.QUEUE), (12, said(accounting=TaskReport(State.UNKNOWN, "DANCING")),
         State.SUBMITTED, EvidenceSource.JOURNAL),
        (12, said(accounting=DONE, queue=TaskReport(State.UNKNOWN, "DANCING")),
         State.SUBMITTED, EvidenceSource.JOURNAL),
        *((12, said(accounting=RUNNING, queue=TaskReport(State.UNKNOWN, "DANCING"), **more),
           State.SUBMITTED, EvidenceSource.JOURNAL)
          for more in ({}, {"cancelled_at": NOW - ACCOUNTING_LAG_S}, {"progress": ENDED_LONG_AGO})),
        (13, said(accounting_off=True, accounting_silence="off", progress=ENDED_NOW),
         State.COMPLETED, EvidenceSource.PROGRESS),
        (14, said(accounting_silence="down"), State.SUBMITTED, EvidenceSource.JOURNAL),
        (14, said(accounting_silence="down", progress=ENDED_LONG_AGO),
         State.COMPLETING, EvidenceSource.QUEUE),
        (14, said(queue_silence="down", progress=ENDED_LONG_AGO),
         State.SUBMITTED, EvidenceSource.JOURNAL),
        (15, said(progress=ENDED_LONG_AGO), State.FAILED, EvidenceSource.PROGRESS),
        (16, said(cancelled_at=NOW - CANCEL_GRACE_S), State.CANCELLED, EvidenceSource.QUEUE),
        (16, said(cancelled_at=NOW - ACCOUNTING_LAG_S, progress=SlotProgress(int(NOW) - 900, "n3")),
         State.CANCELLED, EvidenceSource.QUEUE),
        (16, said(cancelled_at=NOW - 60, progress=SlotProgress(int(NOW) - 900, "n3")),
         State.COMPLETING, EvidenceSource.QUEUE),
        (16, said(cancelled_at=NOW - ACCOUNTING_LAG_S, progress=ENDED_NOW),
         State.COMPLETING, EvidenceSource.QUEUE),
        (18, said(cancelled_at=NOW - 1), State.SUBMITTED, EvidenceSource.JOURNAL),
        (17, said(cancelled_at=NOW - 60, progress=SlotProgress(int(NOW) - 61, "n3")),
         State.COMPLETING, EvidenceSource.QUEUE),
        (17, said(array_ended_at=NOW - UNRECORDED_CANCEL_S), State.CANCELLED,
        EvidenceSource.ACCOUNTING),
        (18, said(array_ended_at=NOW - 10), State.SUBMITTED, EvidenceSource.JOURNAL),
        (18, said(array_ended_at=NOW - 900, progress=SlotProgress(int(NOW) - 61, "n3")),
         State.COMPLETING, EvidenceSource.QUEUE),
        (18, said(accounting_off=True, accounting_silence="off",
                  progress=SlotProgress(int(NOW) - 61, "n3")),
         State.COMPLETING, EvidenceSource.QUEUE),
        (18, NOTHING, State.SUBMITTED, EvidenceSource.JOURNAL),
    ],
)  # fmt: skip
def test_each_line_of_the_table(
    number: int, hearing: SliceEvidence, state: State, evidence: EvidenceSource
) -> None:
    """Each line of docs/evidence.md gives its state and its evidence."""
    status = reconcile(KNOWN, hearing)
    assert (status.state, status.evidence) == (state, evidence), f"line {number}"


REPORTS = st.none() | st.builds(
    TaskReport,
    state=st.sampled_from(State),
    word=st.sampled_from(["", "RUNNING", "NEW_WORD"]),
    exit_code=st.none() | st.integers(0, 255),
)
PROGRESS = st.none() | st.builds(
    SlotProgress,
    started_at=st.none() | st.integers(int(NOW) - 1000, int(NOW)),
    host=st.just("n1"),
    ended_at=st.none() | st.integers(int(NOW) - 1000, int(NOW)),
    exit_code=st.none() | st.integers(0, 255),
)
SILENCE = st.sampled_from(["", "", "it did not answer"])
HEARINGS = st.builds(
    SliceEvidence, REPORTS, REPORTS, PROGRESS, SILENCE, SILENCE, st.booleans(),
    st.none() | st.floats(NOW - 1000, NOW), st.none() | st.floats(NOW - 1000, NOW), st.just(NOW),
)  # fmt: skip


@given(HEARINGS)
def test_no_final_state_without_positive_evidence(hearing: SliceEvidence) -> None:
    """A slice ends only if a source reports its end, or if it was cancelled on request."""
    status = reconcile(KNOWN, hearing)
    said = [r for r in (hearing.accounting, hearing.queue) if r is not None]
    reports = [
        State.FAILED if r.state is State.COMPLETED and r.exit_code else r.state for r in said
    ]
    progress = hearing.progress
    if status.state in FINAL_STATES:
        ended = progress is not None and progress.exit_code is not None
        cancelled = hearing.cancelled_at is not None or hearing.array_ended_at is not None
        assert status.state in reports or ended or cancelled


@given(HEARINGS)
def test_every_status_has_a_reason(hearing: SliceEvidence) -> None:
    """Every status has a reason for a person to read."""
    assert reconcile(KNOWN, hearing).reason


@given(HEARINGS)
def test_repeating_evidence_changes_nothing(hearing: SliceEvidence) -> None:
    """The same answer twice gives the same status."""
    once = reconcile(KNOWN, hearing)
    if not once.state.final:
        assert reconcile(once, hearing).state == once.state


@given(SILENCE, SILENCE, PROGRESS)
def test_silence_alone_never_ends_a_slice(accounting: str, queue: str, progress: object) -> None:
    """If one source is silent, absence from the other is no result."""
    if accounting or queue:
        hearing = said(accounting_silence=accounting, queue_silence=queue, progress=progress)
        left = State.SUBMITTED if queue or progress is None else State.COMPLETING
        assert reconcile(KNOWN, hearing).state is left


@given(HEARINGS)
def test_the_attempt_and_its_place_do_not_change(hearing: SliceEvidence) -> None:
    """Evidence changes the facts about an attempt, never the attempt itself."""
    status = reconcile(KNOWN, hearing)
    assert (status.attempt, status.submission, status.index) == (1, 1, 3)


@pytest.mark.parametrize("report", [RUNNING, replace(RUNNING, state=State.SUSPENDED), PENDING])
def test_an_unknown_task_stays_in_flight(report: TaskReport) -> None:
    """Line 18: it is COMPLETING if it has begun, otherwise as before; and so at every poll."""
    seen = reconcile(KNOWN, said(queue=report))
    gone = reconcile(seen, NOTHING)
    assert gone.state is (State.PENDING if report is PENDING else State.COMPLETING)
    assert is_unknown_to_slurm(gone.reason)
    assert reconcile(gone, NOTHING) == gone
    assert reconcile(KNOWN, NOTHING).reason.startswith("submitted")


@pytest.mark.parametrize(
    "what",
    [
        {"queue_silence": "down"},
        {"queue_silence": "down", "accounting_silence": "down"},
        {"other_job": True},
        {"queue": TaskReport(State.UNKNOWN, "DANCING")},
    ],
)
def test_a_slice_runs_until_the_queue_says_otherwise(what: dict[str, Any]) -> None:
    """A queue that does not answer about the task is no reason for COMPLETING."""
    seen = reconcile(KNOWN, said(queue=RUNNING))
    assert reconcile(seen, said(**what)).state is State.RUNNING


@pytest.mark.parametrize(
    "again",
    [{"queue": PENDING}, {"queue": RUNNING}, {"queue": PENDING, "accounting": BAD}],
)
def test_a_completing_slice_may_run_again(again: dict[str, Any]) -> None:
    """Slurm requeues a task whose node failed, or that a person requeued."""
    gone = reconcile(reconcile(KNOWN, said(queue=RUNNING)), said(queue=ENDING))
    assert gone.state is State.COMPLETING
    assert gone.state.in_flight
    assert reconcile(gone, said(**again)).state is again["queue"].state


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "exit 1"), (128, "exit 128"), (137, "exit 137 (SIGKILL)"), (139, "exit 139 (SIGSEGV)"),
     (167, "exit 167 (signal 39)"), (200, "exit 200"), (None, "it failed"),
     (126, "exit 126 (usually a file cannot be executed)"),
     (127, "exit 127 (usually a command was not found)")],
)  # fmt: skip
def test_an_exit_code_in_words(code: int | None, words: str) -> None:
    """In bash an exit code above 128 means a signal; its name says more than a number."""
    assert exit_code_reason(code) == words


def test_each_source_gives_the_same_reason_for_an_end() -> None:
    """Accounting, and the task itself if accounting is late."""
    crashed = replace(BAD, exit_code=139)
    own = SlotProgress(int(NOW) - 900, "n3", int(NOW - ACCOUNTING_LAG_S) - 1, 139)
    early, late = reconcile(KNOWN, said(accounting=crashed)), reconcile(KNOWN, said(progress=own))
    assert early.reason == exit_code_reason(139)
    assert late.reason.startswith(early.reason)
    assert (early.exit_code, early.signal) == (late.exit_code, late.signal) == (139, None)


GAVE_BACK = TaskReport(State.WAITING, "WAITING", reason="its runner ended")
SAVED = replace(ENDED_LONG_AGO, exit_code=0, signal_received="TERM")


@pytest.mark.parametrize(
    ("what", "state"),
    [
        ({"queue": GAVE_BACK}, State.WAITING),
        ({}, State.FAILED),
        ({"cancelled_at": NOW - 900}, State.CANCELLED),
        ({"accounting_off": True, "accounting_silence": "off"}, State.FAILED),
    ],
)
def test_a_signalled_command_has_not_ended_by_itself(what: dict[str, Any], state: State) -> None:
    """Exit 0 after a signal is no success."""
    assert reconcile(KNOWN, said(progress=SAVED, **what)).state is state


def test_a_failed_setup_is_named_in_the_reason() -> None:
    """The exit code alone could be the command's; the reason says that it is the setup's."""
    own = SlotProgress(exit_code=5, in_setup=True)
    status = reconcile(KNOWN, said(accounting=BAD, progress=own))
    assert (status.state, status.exit_code) == (State.FAILED, 5)
    assert "setup" in status.reason


IN_SETUP = "slurmslice setup job=7 restart=1 at=1799999000 host=n3 exit={}{}\n"


@pytest.mark.parametrize(
    ("accounting", "queue", "words"),
    [
        (
            State.PREEMPTED,
            replace(PENDING, restarts=1),
            ("preempted", "again", "1 restart", "Priority"),
        ),
        (State.PREEMPTED, PENDING, ("preempted", "again", "Priority")),
        (State.PREEMPTED, replace(RUNNING, restarts=2), ("preempted", "n3", "2 restarts")),
        (State.NODE_FAIL, replace(PENDING, restarts=1), ("node", "again", "1 restart")),
        (None, replace(PENDING, restarts=3), ("again", "3 restarts", "Priority")),
        (None, replace(RUNNING, restarts=1), ("n3", "1 restart")),
    ],
)  # fmt: skip
def test_a_restart_is_told(
    accounting: State | None, queue: TaskReport, words: tuple[str, ...]
) -> None:
    """The cause, if accounting has it, and the number of restarts; a first start has none."""
    report = None if accounting is None else replace(BAD, state=accounting)
    found = reconcile(KNOWN, said(accounting=report, queue=queue))
    assert found.state is queue.state
    assert all(word in found.reason for word in words)
    first = reconcile(KNOWN, said(queue=replace(queue, restarts=0)))
    assert not {"restart", "again"} & set(first.reason.replace("s", "").split())


@pytest.mark.parametrize("what", [{}, {"accounting_off": True, "accounting_silence": "off"}])
@pytest.mark.parametrize("restarts", [0, 1])
def test_a_failed_setup_is_an_end_if_no_source_reports_one(
    what: dict[str, Any], restarts: int
) -> None:
    """Neither the controller nor accounting knows the task any more."""
    own = setup_progress(parse_progress(IN_SETUP.format(3, "").encode()))
    status = reconcile(replace(KNOWN, restarts=restarts), said(progress=own, **what))
    assert status.state is State.FAILED
    assert "setup" in status.reason
    assert status.exit_code == 3


def test_a_setup_over_its_time_has_not_ended_by_itself() -> None:
    """It received a signal."""
    own = setup_progress(parse_progress(IN_SETUP.format(143, " told=TERM").encode()))
    late = TaskReport(State.TIMEOUT, "TIMEOUT", exit_code=0)
    status = reconcile(KNOWN, said(accounting=late, progress=own))
    assert (status.state, "setup" in status.reason) == (State.TIMEOUT, False)
    assert reconcile(KNOWN, said(progress=own, cancelled_at=NOW - 900)).state is State.CANCELLED
