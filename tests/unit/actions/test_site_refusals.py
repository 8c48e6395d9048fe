"""Refusals by a site's own sbatch, and commands of Slurm that can never answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from slurmslice.actions.follow import TICK_OPTIONS, FollowOptions, follow, follow_step
from slurmslice.actions.poll import poll
from slurmslice.actions.resolve_doubts import FENCE_AFTER_S
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.actions.watch import watch
from slurmslice.engines.protocol import SubmitRequest
from slurmslice.errors import (
    SubmissionRejectedError,
    SubmissionUnclearError,
    SubmissionUnknownError,
    UnusableSlurmError,
)
from slurmslice.run.run import Run
from slurmslice.run.submission import SubmissionStatus
from slurmslice.status.states import State
from tests.conftest import NewRun
from tests.support.errors import raises_error
from tests.support.fakes import Clock, FakeEngine

SITE = "[SITE] jobs cannot be sent from this machine; use a login node"


def answers(engine: FakeEngine, words: Iterator[str]) -> None:
    """Let the site's sbatch answer with these words, then let Slurm accept."""

    def refuse(_: SubmitRequest) -> None:
        if (said := next(words, None)) is not None:
            raise SubmissionUnclearError(f"odd: {said}", said=said)

    engine.on_submit = refuse


def step(run: Run, polled: object, outcome: object) -> None:
    """End a test that would follow for ever."""
    assert len(run.journal_state.submissions) < 5


@pytest.mark.parametrize(
    "words",
    [
        (SITE,) * 9,
        ("sbatch: error: this account's allocation has run out",) * 9,
        ("",) * 9,
        tuple(f"12:0{n}:00 refused, ticket 000{n}" for n in range(9)),
    ],
)
def test_the_same_answer_again_is_a_refusal(
    new_run: NewRun, engine: FakeEngine, clock: Clock, words: tuple[str, ...]
) -> None:
    """The first submission never arrived, so the second one did not either: ``run`` ends."""
    run = new_run("0-3")
    answers(engine, iter(words))
    with raises_error(SubmissionRejectedError, "submission-rejected", said=words[1]) as caught:
        follow(run, FollowOptions(), step)
    assert caught.value.exit_code == 3
    assert str(caught.value).endswith(words[1])
    assert run.statuses.state_counts() == {State.WAITING: 4}
    assert [one.status for one in run.journal_state.submissions.values()] == [
        SubmissionStatus.FENCED, SubmissionStatus.REJECTED,
    ]  # fmt: skip
    assert not run.journal_state.queue


def test_another_process_knows_the_answer(
    new_run: NewRun, engine: FakeEngine, clock: Clock, reopen: Callable[[Run], Run]
) -> None:
    """``submit`` and a ``tick`` of cron are processes of their own; the journal has the words."""
    run = new_run("0-3")
    answers(engine, iter((SITE,) * 9))
    outcome = submit(run, choose_waiting(None), {}, "submit")
    assert isinstance(outcome.error, SubmissionUnknownError)
    clock.now += FENCE_AFTER_S + 1
    poll(reopen(run))
    outcome = follow_step(reopen(run), TICK_OPTIONS)
    assert isinstance(outcome.error, SubmissionRejectedError)
    before = len(reopen(run).journal_state.submissions)
    follow_step(reopen(run), TICK_OPTIONS)
    assert len(reopen(run).journal_state.submissions) == before


def test_after_the_cause_is_repaired_the_run_goes_on(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """The same command submits the slices, although the journal has the refusals."""
    run = new_run("0-3")
    answers(engine, iter((SITE, SITE)))
    with pytest.raises(SubmissionRejectedError):
        follow(run, FollowOptions(), step)
    engine.on_wait = engine.end_all
    follow(run, FollowOptions(), step)
    assert run.statuses.state_counts() == {State.COMPLETED: 4}


def test_another_answer_is_a_doubt_again(new_run: NewRun, engine: FakeEngine, clock: Clock) -> None:
    """Only the same words are known to mean that nothing arrived."""
    run = new_run("0-3")
    answers(engine, iter((SITE, "the site's file server is away")))

    def work() -> None:
        clock.now += 15
        engine.end_all()

    engine.on_wait = work
    follow(run, FollowOptions(), step)
    assert run.statuses.state_counts() == {State.COMPLETED: 4}


def test_an_odd_answer_of_an_accepted_submission_is_no_refusal(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """The job is found by its token, each time; nothing is refused and nothing runs twice."""
    run = new_run("0-3")

    def lose(_: SubmitRequest) -> None:
        raise SubmissionUnclearError(f"odd: {SITE}", said=SITE)

    engine.after_submit = lose

    def work() -> None:
        clock.now += 15
        engine.end_all()

    engine.on_wait = work
    follow(run, FollowOptions(), step)
    submit(run, lambda run: run.statuses.rows_in({State.COMPLETED}), {}, "resubmit")
    assert len(engine.jobs) == 2
    assert {one.status for one in run.journal_state.submissions.values()} == {
        SubmissionStatus.SUBMITTED
    }


def waits() -> None:
    """End a test in which a command waits for what never comes."""
    raise AssertionError("it waits")


@pytest.mark.parametrize("submitted", [False, True])
@pytest.mark.parametrize("verb", ["run", "watch"])
def test_nobody_waits_for_a_command_that_cannot_work(
    new_run: NewRun,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    submitted: bool,
) -> None:
    """``run`` and ``watch`` end with the fault; jobs that were submitted are not touched."""
    run = new_run("0-3")
    if submitted:
        submit(run, choose_waiting(None), {}, "submit")
    elif verb == "watch":
        return
    jobs = dict(engine.jobs)
    engine.silence = "usage: rc-squeue"
    engine.lasting_fault = UnusableSlurmError("no", command="squeue", path="/opt/squeue")
    engine.on_wait = waits
    monkeypatch.setattr("slurmslice.actions.watch.sleep", lambda seconds: waits())
    with raises_error(UnusableSlurmError, "slurm-command-unusable", path="/opt/squeue"):
        if verb == "run":
            follow(run, FollowOptions(), step)
        else:
            watch(run, lambda *_: None)
    assert {job: engine.jobs[job] for job in jobs} == jobs
    assert not engine.cancelled
