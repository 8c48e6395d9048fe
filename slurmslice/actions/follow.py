"""Follow a run to its end: poll, submit and resubmit by the recorded policy, wait, repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from slurmslice.actions.after_run import follow_other
from slurmslice.actions.avoid_in_queue import avoid_in_queue
from slurmslice.actions.circuit_breaker import (
    due_repairs,
    judge_probe,
    trip_circuit_breaker,
)
from slurmslice.actions.judge_nodes import judge_nodes
from slurmslice.actions.poll import PollResult, poll
from slurmslice.actions.submit import choose_waiting, execute_plan, settle_doubts
from slurmslice.actions.submit_queued import AcceptedSubmission, SubmitOutcome, submit_queued
from slurmslice.actions.then_step import follow_then
from slurmslice.errors import LockedError, NoAnswerError, TooManyTasksError
from slurmslice.notes import Note
from slurmslice.plan.canary_phase import CanaryPhase, canary_phase
from slurmslice.plan.plan import Choice, Plan, make_plan
from slurmslice.plan.then_phase import is_over, slices_are_over, slices_have_ended
from slurmslice.run.journal import PolicyChanged
from slurmslice.run.run import Run
from slurmslice.status.states import BEGUN_STATES, IN_FLIGHT_STATES, State

FASTEST_POLL_S = 1.0
SLOWEST_POLL_S = 60.0


@dataclass(frozen=True, slots=True)
class FollowOptions:
    """The actions that a command performs after each poll. The defaults are those of ``run``.

    Attributes:
        submit_waiting: also submit slices that have not been queued yet.
        submit_from_queue: submit queued slices if they fit.
        resubmit_failed: resubmit the failed slices that the recorded policy repairs.
        interval: seconds between polls; None: by the age of the run (``poll_interval``).
        plan: a plan to execute first; None for none.
    """

    submit_waiting: bool = True
    submit_from_queue: bool = True
    resubmit_failed: bool = True
    interval: float | None = None
    plan: Plan | None = None


TICK_OPTIONS = FollowOptions(submit_waiting=False)
"""``tick``: submit queued slices and resubmit failed ones."""

FINISH_ONLY_OPTIONS = FollowOptions(
    submit_waiting=False, submit_from_queue=False, resubmit_failed=False
)
"""``submit`` and ``resubmit`` on this machine: run the submitted slices, and nothing more."""


def record_policy(run: Run, **parts: Any) -> None:
    """Change parts of the recorded policy; every follower uses it.

    Args:
        run: the run.
        parts: fields of ``PolicyChanged`` and their new values.

    Raises:
        LockedError: another process holds the lock for too long.
    """
    with run.directory.lock("run"):
        run.reload()
        known = {"max_attempts": run.recorded_attempts}
        changed = {
            part: value
            for part, value in parts.items()
            if value != (known[part] if part in known else getattr(run, part))
        }
        if changed:
            attempts = changed.pop("max_attempts", None)
            run.decide(PolicyChanged(attempts, run.clock(), **changed))


OnStep = Callable[[Run, PollResult, SubmitOutcome], None]
"""A function that is called after each step with the run, the poll and the new submissions."""


def poll_interval(
    age: float, interval: float | None, slice_s: float | None = None, least: float = 0.0
) -> float:
    """Return the seconds until the next poll: a tenth of ``age``, within limits.

    A short run is polled often; a long run is polled once a minute.

    Args:
        age: the age of the last submission, seconds.
        interval: the interval that the person chose, seconds; None if there is none.
        slice_s: the duration of a slice, seconds, if queued slices are submitted as others end.
            Then the pause is at most a fifth of it, so that no share of the throttle idles long.
        least: the site's least interval, seconds (``site_interval``).
    """
    usual = age / 10 if slice_s is None else min(age / 10, slice_s / 5)
    return max(least, interval or min(max(usual, FASTEST_POLL_S), SLOWEST_POLL_S))


def site_interval(run: Run) -> float:
    """Return the least seconds between two polls of Slurm that a site allows."""
    return 0.0 if run.engine.runs_in_process else run.site.min_poll_s


def backoff_interval(usual: float, unanswered: int) -> float:
    """Return the seconds until the next poll: doubled for each poll without an answer.

    The maximum is a minute, or the usual pause if that is longer. This spares a Slurm in trouble,
    even if the person chose a short interval.
    """
    return max(usual, min(usual * 2.0 ** min(unanswered, 10), SLOWEST_POLL_S))


_SAMPLE = 20


def _slice_s(run: Run) -> float | None:
    """Return the mean duration of the last completed slices, seconds; None if not known."""
    completed = run.statuses.rows_in({State.COMPLETED})[-_SAMPLE:]
    known = [s for row in completed if (s := run.statuses[row].elapsed_s) is not None]
    return sum(known) / len(known) if known else None


def follow(run: Run, options: FollowOptions, on_step: OnStep) -> None:
    """Step and wait until nothing is left to do, or the rest is held. It holds no lock meanwhile.

    If the engine does not answer, it is asked again without a time limit.

    Raises:
        EngineError: a submission was rejected for good, or a command of Slurm cannot work here;
        running slices continue.
    """
    unanswered = 0
    while True:
        polled, held = poll(run), run.hold.reason
        outcome = follow_step(run, options)
        polled = replace(polled, notes=(*polled.notes, *outcome.notes))
        if outcome.accepted or held != run.hold.reason:
            again = poll(run)
            polled = replace(again, notes=(*polled.notes, *again.notes))
        on_step(run, polled, outcome)
        outcome.raise_error(ignore_temporary=True)
        raise_lasting_fault(run)
        if outcome.queued:
            options = replace(options, plan=None)
        if is_done(run, options):
            return
        unanswered = unanswered + 1 if is_unanswered(polled, outcome) else 0
        usual = poll_interval(
            seconds_since_submission(run),
            options.interval,
            _slice_s(run) if outcome.share_free_soon else None,
            site_interval(run),
        )
        run.engine.wait(backoff_interval(usual, unanswered))


def raise_lasting_fault(run: Run) -> None:
    """End a loop that waits for an answer which never comes.

    Raises:
        UnusableSlurmError: a command of Slurm cannot work here.
    """
    if run.engine.lasting_fault:
        raise run.engine.lasting_fault


def is_unanswered(polled: PollResult, outcome: SubmitOutcome) -> bool:
    """True if a poll or a submission got no answer; a full queue is an answer."""
    return bool(polled.no_answer_reasons) or not isinstance(outcome.error, TooManyTasksError | None)


def tick_options(run: Run) -> FollowOptions:
    """Return what ``tick`` does: what the steward of the run does, if it has one."""
    return FollowOptions() if run.has_steward else TICK_OPTIONS


def follow_step(run: Run, options: FollowOptions) -> SubmitOutcome:
    """Judge nodes; hold or probe after too many failures; queue slices; submit what fits.

    A temporary error is returned and not raised: the next step tries again.
    """
    accepted: list[AcceptedSubmission] = []
    queued, notes = False, tuple[Note, ...]()
    try:
        notes = judge(run, options)
        notes += avoid_in_queue(run) if options.submit_from_queue else ()
        for plan in next_plans(run, options):
            outcome = execute_plan(run, plan, "run")
            accepted += outcome.accepted
            notes += outcome.notes
            queued = True
            if outcome.error:
                return replace(outcome, accepted=accepted, notes=notes)
        outcome = submit_queued(run, "run") if _submits_queued(run, options) else SubmitOutcome()
        notes += outcome.notes
        notes += follow_then(run) if drives_then(run, options) and not outcome.error else ()
        return replace(outcome, accepted=accepted + outcome.accepted, queued=queued, notes=notes)
    except (LockedError, NoAnswerError) as why:
        return SubmitOutcome(accepted, why.message, error=why, queued=queued, notes=notes)


def judge(run: Run, options: FollowOptions) -> tuple[Note, ...]:
    """Look at the run before, judge the nodes, apply the stop rules; return notes on decisions.

    Raises:
        LockedError, NoAnswerError: as ``judge_nodes`` and ``trip_circuit_breaker``.
    """
    if options.submit_from_queue:
        follow_other(run)
    notes = judge_nodes(run)
    notes += judge_probe(run)
    return notes + trip_circuit_breaker(run)


def next_plans(run: Run, options: FollowOptions) -> Iterator[Plan]:
    """Iterate over the given plan, a plan of the waiting slices and one of the failed slices.

    Queue the slices of each plan before the next one is made.
    """
    if options.plan:
        yield options.plan
    waiting = run.statuses.state_counts().get(State.WAITING, 0)
    if options.submit_waiting and waiting > len(run.journal_state.queue):
        settle_doubts(run)
        yield make_plan(run, Choice(choose_waiting(None)(run)))
    if not options.resubmit_failed:
        return
    if due_repairs(run):
        settle_doubts(run)
        yield make_plan(run, *due_repairs(run))


def _submits_queued(run: Run, options: FollowOptions) -> bool:
    return options.submit_from_queue and bool(
        run.journal_state.queue or run.submissions_in_flight()
    )


def drives_then(run: Run, options: FollowOptions) -> bool:
    """Tell if these actions include the step after the run. On this machine only ``run`` has it."""
    here = run.engine.runs_in_process
    return options.submit_waiting if here else options.submit_from_queue


def is_done(run: Run, options: FollowOptions) -> bool:
    """True if nothing is left to wait for and no step would follow."""
    state_counts = run.statuses.state_counts()
    if run.hold.reason and not (run.hold.probe and options.submit_from_queue):
        busy = IN_FLIGHT_STATES if run.hold.rest_cancelled else BEGUN_STATES
        return busy.isdisjoint(state_counts)
    in_vain = run.waits_for_other and run.after_seen.failed
    if not options.submit_from_queue or in_vain or canary_phase(run) is CanaryPhase.FAILED:
        return not (run.submissions_in_flight() or run.journal_state.unconfirmed())
    if run.hold.probe:
        return False
    if run.is_open:  # nobody knows when more slices come, so no process waits for them
        return slices_have_ended(run)
    return is_over(run) if drives_then(run, options) else slices_are_over(run)


def seconds_since_submission(run: Run) -> float:
    """Return the seconds since the newest submission, or since the run was created if none."""
    intents = [submission.intent.at for submission in run.journal_state.submissions.values()]
    intents += [step.intent.at] if (step := run.journal_state.then) else []
    return run.clock() - max(intents, default=run.record.created_at)
