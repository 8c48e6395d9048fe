"""One round of a steward: what ``run`` does once, and what to wait for next (docs/adr/0022)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace

from slurmslice.actions.follow import (
    FINISH_ONLY_OPTIONS,
    FollowOptions,
    backoff_interval,
    follow_step,
    is_done,
    raise_lasting_fault,
)
from slurmslice.actions.poll import PollResult, poll
from slurmslice.actions.site_rules import load_site_rules, switched_off
from slurmslice.actions.steward import (
    NEVER_ARRIVED,
    settle_doubt,
    steward_rounds,
    stewards_of,
    submit_steward,
    wake_now,
)
from slurmslice.actions.steward_place import steward_excludes
from slurmslice.actions.submit_queued import AcceptedSubmission, SubmitOutcome
from slurmslice.errors import (
    BadInputError,
    LockedError,
    NoAnswerError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    UnusableSlurmError,
)
from slurmslice.plan.canary_phase import stop_reason
from slurmslice.policy.steward_rounds import next_pause_s
from slurmslice.policy.steward_wake import LEAST_PAUSE_S, NOTHING, Wake
from slurmslice.run.run import Run
from slurmslice.run.steward_folder import StewardFolder
from slurmslice.run.steward_record import BY_JOB, Round, Steward, StewardEnded, StewardSubmitted
from slurmslice.status.states import State

TRY_FOR_S = 300.0
"""Seconds for which a round asks a controller that does not answer."""

_TRIES_OF_A_SOURCE = 2
"""Tries after which a round ends if the queue answers, and another source does not."""

_PAUSES_FOR_ENDS_S = (1.0, 2.0, 4.0, 8.0)
"""Seconds between the polls of a round that waits until the ends of tasks are known."""

DONE, HELD, OPEN = "done", "held", "the run waits for more slices"
EXPECTED_ENDS = frozenset({DONE, HELD, OPEN})
"""The reasons of a usual end."""


@dataclass(frozen=True, slots=True)
class RoundResult:
    """The result of a round.

    Attributes:
        ended: the reason why the steward ends; empty if it waits.
        wake: what it waits for.
        accepted: the submissions of this round.
        polled: the last poll; None if there was none.
        trouble: what is in the way, for a person; empty if nothing is.
    """

    ended: str = ""
    wake: Wake = NOTHING
    accepted: tuple[AcceptedSubmission, ...] = ()
    polled: PollResult | None = None
    trouble: str = ""


def do_round(run: Run, token: str, job: str) -> RoundResult:
    """Do one round as this steward's job, record it, and write for bash what comes next.

    Args:
        run: the run.
        token: the steward's token.
        job: the job that calls this.

    Raises:
        EngineError: the engine cannot work here, or the run is locked: nothing is recorded.
    """
    run.environ = stewards_of(run).environ_of_person(run.environ)
    folder = StewardFolder(run.directory.path)
    if refusal := claim_place(run, token, job):
        folder.write_next("end")
        return RoundResult(refusal)
    load_site_rules(run)
    if off := switched_off(run.site, BY_JOB):
        result = _end(run, token, job, off)
    else:
        result = _round(run, token, job)
    folder.write_next("end" if result.ended else " ".join(("wait", *_wait_words(run, result.wake))))
    return result


def _wait_words(run: Run, wake: Wake) -> tuple[str, ...]:
    """Return scontrol's words: what the steward waits for, and the nodes that it avoids."""
    steward = run.journal_state.steward
    excluded = steward_excludes(run, steward.intent.options) if steward else None
    return wake.words if excluded is None else (*wake.words, f"ExcNodeList={excluded}")


def do_line_round(run: Run, token: str) -> RoundResult | None:
    """Do one round as the line of a table calls it; None if another call works now.

    The caller has seen that the pause is over, and removes the line if the round ended it.

    Raises:
        EngineError: as ``do_round``.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(StewardFolder(run.directory.path).only_one())
        except LockedError:
            return None
        run.reload()
        steward = run.journal_state.steward
        if steward is None or steward.token != token:
            return RoundResult("the run has another steward")
        if steward.ended:
            return RoundResult(f"it has ended before ({steward.ended})")
        load_site_rules(run)
        off = switched_off(run.site, steward.intent.way)
        return _end(run, token, steward.job, off) if off else _round(run, token, steward.job)


def claim_place(run: Run, token: str, job: str) -> str:
    """Make this job the steward; return the reason if it may not be it, else an empty text."""
    with run.directory.lock("run"):
        run.reload()
        steward = run.journal_state.steward
        if steward is None or steward.token != token:
            other = f": job {steward.job}" if steward and steward.job else ""
            return f"the run has another steward{other}"
        if steward.ended:
            return f"it has ended before ({steward.ended})"
        owner = StewardFolder(run.directory.path).claim(job)
        if owner != job:
            return f"job {owner} is the steward of this run"
        if steward.job != job:
            run.decide(StewardSubmitted(token, job, "claimed", run.clock()))
    return ""


def _round(run: Run, token: str, job: str) -> RoundResult:
    """Poll and act, until there is an answer or the time of the round is over."""
    deadline, tries = run.clock() + TRY_FOR_S, 0
    while True:
        try:
            return _one_try(run, token, job, is_last=tries >= _TRIES_OF_A_SOURCE)
        except NoAnswerError as silence:
            if isinstance(silence, UnusableSlurmError):
                raise
            raise_lasting_fault(run)
            if run.clock() > deadline:
                return _record(run, job, RoundResult(trouble=silence.message), changed=False)
        run.engine.wait(backoff_interval(5.0, tries))
        tries += 1


def _one_try(run: Run, token: str, job: str, *, is_last: bool) -> RoundResult:
    """Poll, act, and find out what to wait for.

    Args:
        run: the run.
        token: the steward's token.
        job: its job.
        is_last: do not try again if only accounting does not answer.

    Raises:
        NoAnswerError: the queue did not answer; or another source, and this is not the last try.
    """
    if run.site.fault:  # nobody knows what is allowed, so nothing is done
        return _record(run, job, RoundResult(trouble=run.site.fault), changed=False)
    polled = _poll_until_ends_are_known(run)
    before = run.hold.reason, run.journal_state.then
    wake_now(run)  # if the queue does not answer, nothing is decided
    if silences := polled.no_answer_reasons:
        silence = "; ".join(dict.fromkeys(silences))
        if not is_last:
            raise NoAnswerError(silence)
        result = RoundResult(polled=polled, trouble=silence)
        return _record(run, job, result, changed=False, soon=True)
    outcome, trouble, lasts = _act(run)
    notes = (*polled.notes, *outcome.notes)
    if outcome.accepted:
        polled = poll(run)
        notes += polled.notes
    polled = replace(polled, notes=notes)
    if reason := _reason_to_end(run, trouble if lasts else ""):
        with run.directory.lock("run"):
            run.reload()
            if reason == _reason_to_end(run, trouble if lasts else ""):
                return replace(_end_locked(run, token, job, reason), polled=polled)
    changed = bool(outcome.accepted or outcome.queued)
    changed |= before != (run.hold.reason, run.journal_state.then)
    result = RoundResult("", NOTHING, tuple(outcome.accepted), polled, trouble)
    soon = isinstance(outcome.error, NoAnswerError | LockedError) or bool(polled.no_answer_reasons)
    return _record(run, job, result, changed=changed, soon=soon)


def _end(run: Run, token: str, job: str, reason: str) -> RoundResult:
    with run.directory.lock("run"):
        run.reload()
        return _end_locked(run, token, job, reason)


def _end_locked(run: Run, token: str, job: str, reason: str) -> RoundResult:
    """Record the end of the steward and its last round. The caller holds the lock."""
    run.decide(StewardEnded(token, reason, run.clock()))
    _add_round(run, Round(run.clock(), job, changed=True))
    return RoundResult(reason)


def _poll_until_ends_are_known(run: Run) -> PollResult:
    """Poll, for a while again: the task whose end woke the steward has often not quite ended."""
    for pause in _PAUSES_FOR_ENDS_S:
        polled = poll(run)
        if polled.no_answer_reasons or State.COMPLETING not in run.statuses.state_counts():
            return polled
        run.engine.wait(pause)
    return poll(run)


def _act(run: Run) -> tuple[SubmitOutcome, str, bool]:
    """Do what ``run`` does after a poll.

    After a refusal for good, nothing more is submitted: the same would be refused again.

    Returns:
        the outcome; what is in the way, for a person; True if only a person can remove it.
    """
    refused = run.journal_state.rejection
    try:
        outcome = follow_step(run, FINISH_ONLY_OPTIONS if refused else FollowOptions())
    except BadInputError as why:
        return SubmitOutcome(), f"{why.message} [{why.code}]", True
    why_not = outcome.error.message if outcome.error else ""
    lasts = bool(refused) or isinstance(outcome.error, SubmissionRejectedError)
    return outcome, why_not or refused, lasts


def _reason_to_end(run: Run, trouble: str) -> str:
    """Return why the steward ends: nothing is left to do, or nobody but a person can go on."""
    if is_done(run, FollowOptions()):
        held = HELD if run.hold.reason else stop_reason(run)
        ended = OPEN if run.is_open else DONE
        return ended if run.finished else held or DONE
    in_flight = run.submissions_in_flight() or run.journal_state.unconfirmed()
    return _reason_if_stuck(run) if in_flight else trouble


_STUCK_AFTER = 12
"""Rounds in vain, with the queue empty of this run: at least eight hours."""


def _reason_if_stuck(run: Run) -> str:
    """Return why it is useless to wait: the queue has had no task of the run for hours.

    Raises:
        NoAnswerError: the queue did not answer.
    """
    newest = steward_rounds(run)[-_STUCK_AFTER:]
    if len(newest) < _STUCK_AFTER or any(one.changed or one.trouble for one in newest):
        return ""
    if run.journal_state.queue or wake_now(run).dependency:
        return ""
    return "for hours, Slurm has had no task of this run, and some slices have no known end"


def _record(
    run: Run, job: str, result: RoundResult, *, changed: bool, soon: bool = False
) -> RoundResult:
    """Record a round, and return it with what to wait for next; ``soon`` as for ``wake_now``."""
    now = run.clock()
    pause_s = _next_pause_s(run, [*steward_rounds(run), Round(now, job, changed)])
    steward = run.journal_state.steward
    try:
        if steward and steward.is_line:  # no event wakes a line
            wake = Wake(LEAST_PAUSE_S if soon else max(pause_s, LEAST_PAUSE_S))
        else:
            wake = wake_now(run, pause_s, soon=soon)
    except NoAnswerError as silence:
        wake, changed = Wake(max(pause_s, 600)), False
        result = RoundResult("", wake, result.accepted, result.polled, silence.message)
    with run.directory.lock("run"):
        not_before = now + wake.pause_s if wake.pause_s else 0.0
        _add_round(run, Round(now, job, changed, str(wake), result.trouble, not_before))
    return RoundResult("", wake, result.accepted, result.polled, result.trouble)


def _add_round(run: Run, done: Round) -> None:
    StewardFolder(run.directory.path).add_round(done)


def submit_successor(run: Run, token: str, job: str) -> str:
    """Submit the next steward, where Slurm does not put this one back; return its job id.

    Empty if none is needed: the steward has ended, or another job is the steward.

    Raises:
        EngineError: Slurm refused it, or did not answer.
    """
    run.environ = stewards_of(run).environ_of_person(run.environ)
    load_site_rules(run)
    for _ in range(_CHAIN_TRIES):
        settle_doubt(run)
        wake = wake_now(run, max(_next_pause_s(run, steward_rounds(run)), LEAST_PAUSE_S))
        with run.directory.lock("run"), contextlib.suppress(SubmissionUnknownError):
            run.reload()
            newest = run.journal_state.steward
            if newest is None or not _is_followed_by(run, newest, token, job):
                return newest.job if newest and not newest.ended else ""
            return submit_steward(run, wake, newest.intent.options).steward.job
    return ""


_CHAIN_TRIES = 4


def _is_followed_by(run: Run, newest: Steward, token: str, job: str) -> bool:
    """Tell if a next steward is due after this job, or after one that never arrived."""
    if newest.token != token:
        return newest.ended == NEVER_ARRIVED
    owner = StewardFolder(run.directory.path).claiming_job()
    return not newest.ended and owner in {"", job}


def _next_pause_s(run: Run, rounds: list[Round]) -> int:
    site = run.site
    return next_pause_s(rounds, run.clock(), site.min_pause_s, site.rounds_per_day)
