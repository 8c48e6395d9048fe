"""The rule of evidence: docs/evidence.md, line by line, and its laws."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.ends import exit_in_words
from slurmslice.evidence import TaskReport
from slurmslice.judge import CANCEL_SETTLES_S, GRACE_S, LEFT_OUT_S, Hearing, Standing, judge
from slurmslice.progress import SlotProgress, of_setup, parse
from slurmslice.states import FINAL, Evidence, State

NOW = 1_800_000_000.0
KNOWN = Standing(State.SUBMITTED, "submitted", submission=1, index=3, attempt=1)
NOTHING = Hearing(None, None, None, "", "", False, None, None, NOW)

PENDING = TaskReport(State.PENDING, "PENDING", reason="Priority")
RUNNING = TaskReport(State.RUNNING, "RUNNING", node="n3")
DONE = TaskReport(State.COMPLETED, "COMPLETED", exit_code=0)
BAD = TaskReport(State.FAILED, "FAILED", exit_code=5)
REST = TaskReport(State.CANCELLED, "CANCELLED by 7", of_rest=True)
ENDED_NOW = SlotProgress(int(NOW) - 10, "n3", int(NOW) - 1, 0)
ENDED_LONG_AGO = SlotProgress(int(NOW) - 900, "n3", int(NOW - GRACE_S) - 1, 7)


def said(**what: object) -> Hearing:
    """A poll that says just this."""
    return replace(NOTHING, **what)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "hearing", "state", "evidence"),
    [
        (0, said(accounting=REST, progress=SlotProgress(int(NOW) - 60, "n3")),
         State.SUBMITTED, Evidence.JOURNAL),
        (0, said(accounting=REST, progress=ENDED_LONG_AGO), State.FAILED, Evidence.PROGRESS),
        (3, said(accounting=REST), State.CANCELLED, Evidence.ACCOUNTING),
        (1, said(accounting=replace(DONE, state=State.NODE_FAIL), queue=PENDING),
         State.PENDING, Evidence.QUEUE),
        (2, said(accounting=replace(BAD, state=State.PREEMPTED), queue_silence="down"),
         State.SUBMITTED, Evidence.JOURNAL),
        (2, said(accounting=replace(BAD, state=State.NODE_FAIL),
                 queue=replace(RUNNING, leaving=True)), State.SUBMITTED, Evidence.JOURNAL),
        (14, said(accounting_off=True, accounting_silence="off", queue_silence="down",
                  progress=ENDED_LONG_AGO), State.SUBMITTED, Evidence.JOURNAL),
        (3, said(accounting=DONE), State.COMPLETED, Evidence.ACCOUNTING),
        (3, said(accounting=replace(BAD, state=State.PREEMPTED)),
         State.PREEMPTED, Evidence.ACCOUNTING),
        *((2, said(accounting=replace(BAD, state=state), queue=replace(RUNNING, leaving=True)),
           State.SUBMITTED, Evidence.JOURNAL)
          for state in (State.TIMEOUT, State.CANCELLED, State.FAILED, State.OUT_OF_MEMORY)),
        (3, said(accounting=DONE, queue=replace(RUNNING, leaving=True)),
         State.COMPLETED, Evidence.ACCOUNTING),
        (3, said(accounting=BAD, queue_silence="down"), State.FAILED, Evidence.ACCOUNTING),
        (4, said(queue=TaskReport(State.WAITING), progress=ENDED_NOW),
         State.COMPLETED, Evidence.PROGRESS),
        (5, said(queue=TaskReport(State.WAITING), progress=replace(ENDED_NOW, exit_code=143)),
         State.WAITING, Evidence.QUEUE),
        (5, said(queue=TaskReport(State.WAITING, reason="interrupted")),
         State.WAITING, Evidence.QUEUE),
        (6, said(queue=DONE), State.SUBMITTED, Evidence.JOURNAL),
        (7, said(queue=BAD, accounting_off=True, accounting_silence="off"),
         State.FAILED, Evidence.QUEUE),
        (7, said(queue=replace(DONE, ended_at=int(NOW - GRACE_S)), accounting_silence="down"),
         State.COMPLETED, Evidence.QUEUE),
        (7, said(queue=DONE, accounting_silence="down"), State.SUBMITTED, Evidence.JOURNAL),
        (8, said(queue=PENDING), State.PENDING, Evidence.QUEUE),
        (8, said(queue=RUNNING, accounting=PENDING), State.RUNNING, Evidence.QUEUE),
        (9, said(accounting=RUNNING, queue_silence="down"), State.RUNNING, Evidence.ACCOUNTING),
        (10, said(accounting=RUNNING, progress=ENDED_LONG_AGO), State.FAILED, Evidence.PROGRESS),
        (11, said(accounting=RUNNING, progress=ENDED_NOW), State.RUNNING, Evidence.ACCOUNTING),
        (10, said(accounting=RUNNING, cancelled_at=NOW - GRACE_S), State.CANCELLED, Evidence.QUEUE),
        (11, said(accounting=RUNNING, cancelled_at=NOW - 60), State.SUBMITTED, Evidence.JOURNAL),
        (12, said(accounting=TaskReport(State.UNKNOWN, "DANCING")),
         State.SUBMITTED, Evidence.JOURNAL),
        (12, said(accounting=DONE, queue=TaskReport(State.UNKNOWN, "DANCING")),
         State.SUBMITTED, Evidence.JOURNAL),
        *((12, said(accounting=RUNNING, queue=TaskReport(State.UNKNOWN, "DANCING"), **more),
           State.SUBMITTED, Evidence.JOURNAL)
          for more in ({}, {"cancelled_at": NOW - GRACE_S}, {"progress": ENDED_LONG_AGO})),
        (13, said(accounting_off=True, accounting_silence="off", progress=ENDED_NOW),
         State.COMPLETED, Evidence.PROGRESS),
        (14, said(accounting_silence="down"), State.SUBMITTED, Evidence.JOURNAL),
        (14, said(queue_silence="down", progress=ENDED_LONG_AGO),
         State.SUBMITTED, Evidence.JOURNAL),
        (15, said(progress=ENDED_LONG_AGO), State.FAILED, Evidence.PROGRESS),
        (16, said(cancelled_at=NOW - CANCEL_SETTLES_S), State.CANCELLED, Evidence.QUEUE),
        (16, said(cancelled_at=NOW - GRACE_S, progress=SlotProgress(int(NOW) - 900, "n3")),
         State.CANCELLED, Evidence.QUEUE),
        (16, said(cancelled_at=NOW - 60, progress=SlotProgress(int(NOW) - 900, "n3")),
         State.SUBMITTED, Evidence.JOURNAL),
        (16, said(cancelled_at=NOW - GRACE_S, progress=ENDED_NOW),
         State.SUBMITTED, Evidence.JOURNAL),
        (18, said(cancelled_at=NOW - 1), State.SUBMITTED, Evidence.JOURNAL),
        (17, said(cancelled_at=NOW - 60, progress=SlotProgress(int(NOW) - 61, "n3")),
         State.SUBMITTED, Evidence.JOURNAL),
        (17, said(array_ended_at=NOW - LEFT_OUT_S), State.CANCELLED, Evidence.ACCOUNTING),
        (18, said(array_ended_at=NOW - 10), State.SUBMITTED, Evidence.JOURNAL),
        (18, said(array_ended_at=NOW - 900, progress=SlotProgress(int(NOW) - 61, "n3")),
         State.SUBMITTED, Evidence.JOURNAL),
        (18, NOTHING, State.SUBMITTED, Evidence.JOURNAL),
    ],
)  # fmt: skip
def test_each_line_of_the_table(
    number: int, hearing: Hearing, state: State, evidence: Evidence
) -> None:
    """Each line of docs/evidence.md gives the state and the evidence that it says."""
    standing = judge(KNOWN, hearing)
    assert (standing.state, standing.evidence) == (state, evidence), f"line {number}"


REPORTS = st.none() | st.builds(
    TaskReport,
    state=st.sampled_from(State),
    word=st.sampled_from(["", "RUNNING", "NEW_WORD"]),
    exit_code=st.none() | st.integers(0, 255),
    leaving=st.booleans(),
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
    Hearing, REPORTS, REPORTS, PROGRESS, SILENCE, SILENCE, st.booleans(),
    st.none() | st.floats(NOW - 1000, NOW), st.none() | st.floats(NOW - 1000, NOW), st.just(NOW),
)  # fmt: skip


@given(HEARINGS)
def test_no_final_state_without_positive_evidence(hearing: Hearing) -> None:
    """A slice ends only where some source says how, or where it was cancelled on request."""
    standing = judge(KNOWN, hearing)
    reports = [r.state for r in (hearing.accounting, hearing.queue) if r is not None]
    progress = hearing.progress
    if standing.state in FINAL:
        ended = progress is not None and progress.exit_code is not None
        cancelled = hearing.cancelled_at is not None or hearing.array_ended_at is not None
        assert standing.state in reports or ended or cancelled


@given(HEARINGS)
def test_every_standing_has_a_reason(hearing: Hearing) -> None:
    """A person can always read why."""
    assert judge(KNOWN, hearing).reason


@given(HEARINGS)
def test_repeating_evidence_changes_nothing(hearing: Hearing) -> None:
    """The same answer twice gives the same standing."""
    once = judge(KNOWN, hearing)
    if not once.state.final:
        assert judge(once, hearing).state == once.state


@given(SILENCE, SILENCE, PROGRESS)
def test_silence_alone_never_ends_a_slice(accounting: str, queue: str, progress: object) -> None:
    """With a source down, absence from the other is no information."""
    if accounting or queue:
        hearing = said(accounting_silence=accounting, queue_silence=queue, progress=progress)
        assert judge(KNOWN, hearing).state is State.SUBMITTED


@given(HEARINGS)
def test_the_attempt_and_its_place_stay(hearing: Hearing) -> None:
    """Evidence changes what is known of an attempt, never which attempt it is."""
    standing = judge(KNOWN, hearing)
    assert (standing.attempt, standing.submission, standing.index) == (1, 1, 3)


@pytest.mark.parametrize("report", [RUNNING, PENDING])
def test_what_is_not_spoken_of_any_more_is_told_as_last_seen(report: TaskReport) -> None:
    """Line 18: the reason names the state, and whose word it was, for as long as it stands."""
    seen = judge(KNOWN, said(queue=report))
    gone = judge(seen, NOTHING)
    assert gone.state is report.state
    assert gone.reason.startswith(f"{report.state} by the last word of queue; neither")
    assert judge(gone, NOTHING) == gone
    assert judge(KNOWN, NOTHING).reason.startswith("submitted; neither")


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "exit 1"), (128, "exit 128"), (137, "exit 137 (SIGKILL)"), (139, "exit 139 (SIGSEGV)"),
     (167, "exit 167 (signal 39)"), (200, "exit 200"), (None, "it failed")],
)  # fmt: skip
def test_an_exit_code_in_words(code: int | None, words: str) -> None:
    """By an exit code over 128 bash means a signal, whose name says more than a number."""
    assert exit_in_words(code) == words


def test_the_same_end_is_told_in_the_same_words_by_whoever_tells_it() -> None:
    """Accounting, and the task itself where accounting is late."""
    crashed = replace(BAD, exit_code=139)
    own = SlotProgress(int(NOW) - 900, "n3", int(NOW - GRACE_S) - 1, 139)
    told, late = judge(KNOWN, said(accounting=crashed)), judge(KNOWN, said(progress=own))
    assert told.reason == "exit 139 (SIGSEGV)"
    assert late.reason.startswith(told.reason)
    assert (told.exit_code, told.signal) == (late.exit_code, late.signal) == (139, None)


GAVE_BACK = TaskReport(State.WAITING, "WAITING", reason="its runner ended")
SAVED = replace(ENDED_LONG_AGO, exit_code=0, told="TERM")


@pytest.mark.parametrize(
    ("what", "state"),
    [
        ({"queue": GAVE_BACK}, State.WAITING),
        ({}, State.FAILED),
        ({"cancelled_at": NOW - 900}, State.CANCELLED),
        ({"accounting_off": True, "accounting_silence": "off"}, State.FAILED),
        ({"accounting": DONE}, State.COMPLETED),
    ],
)
def test_a_command_that_was_told_to_end_has_not_ended_by_itself(
    what: dict[str, Any], state: State
) -> None:
    """It saves what it has and exits 0: no success, unless Slurm says that the task ended well."""
    assert judge(KNOWN, said(progress=SAVED, **what)).state is state


def test_a_setup_that_failed_is_told_as_that() -> None:
    """The exit code is the same as a command's: what has to be mended is not."""
    own = SlotProgress(exit_code=5, in_setup=True)
    standing = judge(KNOWN, said(accounting=BAD, progress=own))
    assert (standing.state, standing.reason) == (State.FAILED, "its setup exited 5")


IN_SETUP = "slurmslice setup job=7 restart=1 at=1799999000 host=n3 exit={}{}\n"


@pytest.mark.parametrize("what", [{}, {"accounting_off": True, "accounting_silence": "off"}])
@pytest.mark.parametrize("restarts", [0, 1])
def test_a_setup_that_failed_is_an_end_where_nobody_else_tells(
    what: dict[str, Any], restarts: int
) -> None:
    """The controller has forgotten it, and so has accounting."""
    own = of_setup(parse(IN_SETUP.format(3, "").encode()))
    standing = judge(replace(KNOWN, restarts=restarts), said(progress=own, **what))
    assert standing.state is State.FAILED
    assert standing.reason.startswith("its setup exited 3")
    assert standing.exit_code == 3


def test_a_setup_that_was_over_its_time_has_not_ended_by_itself() -> None:
    """It was told to end."""
    own = of_setup(parse(IN_SETUP.format(143, " told=TERM").encode()))
    late = TaskReport(State.TIMEOUT, "TIMEOUT", exit_code=0)
    standing = judge(KNOWN, said(accounting=late, progress=own))
    assert (standing.state, standing.reason) == (State.TIMEOUT, "went over its time limit")
    assert judge(KNOWN, said(progress=own, cancelled_at=NOW - 900)).state is State.CANCELLED
