"""Follow a run to its end: poll, submit and resubmit by the recorded policy, wait, repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, replace
from itertools import chain, starmap
from typing import Any

from slurmslice.actions.after_run import follow_other
from slurmslice.actions.cancel import cancel_locked
from slurmslice.actions.judge_nodes import judge_nodes
from slurmslice.actions.poll import PollResult, poll
from slurmslice.actions.submit import choose_waiting, execute_plan, settle_doubts
from slurmslice.actions.submit_queued import AcceptedSubmission, SubmitOutcome, submit_queued
from slurmslice.actions.then_step import follow_then
from slurmslice.errors import LockedError, NoAnswerError, TooManyTasksError
from slurmslice.notes import Note
from slurmslice.plan.canary_phase import CanaryPhase, canary_phase
from slurmslice.plan.plan import Choice, Plan, make_plan
from slurmslice.plan.repairs import find_repairs, rows_to_repair
from slurmslice.plan.then_phase import is_over, slices_are_over
from slurmslice.policy.circuit_breaker import Attempt, Ends, failures_with_common_cause
from slurmslice.policy.failure_limit import limit_in_slices
from slurmslice.run.identity import job_identity
from slurmslice.run.journal import Held, PolicyChanged
from slurmslice.run.run import Run
from slurmslice.spec.run_spec import NO_LIMIT
from slurmslice.status.states import BEGUN_STATES, FAILED_STATES, IN_FLIGHT_STATES, State

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


def poll_interval(age: float, interval: float | None, slice_s: float | None = None) -> float:
    """Return the seconds until the next poll: a tenth of ``age``, within limits.

    A short run is polled often; a long run is polled once a minute.

    Args:
        age: the age of the last submission, seconds.
        interval: the interval that the person chose, seconds; None if there is none.
        slice_s: the duration of a slice, seconds, if queued slices are submitted as others end.
            Then the pause is at most a fifth of it, so that no share of the throttle idles long.
    """
    usual = age / 10 if slice_s is None else min(age / 10, slice_s / 5)
    return interval or min(max(usual, FASTEST_POLL_S), SLOWEST_POLL_S)


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
        polled = poll(run)
        outcome = follow_step(run, options)
        polled = replace(polled, notes=(*polled.notes, *outcome.notes))
        if outcome.accepted:
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
    """Judge nodes; hold the rest after too many failures; queue slices; submit what fits.

    A temporary error is returned and not raised: the next step tries again.
    """
    accepted: list[AcceptedSubmission] = []
    queued, notes = False, tuple[Note, ...]()
    try:
        notes = judge(run, options)
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
    trip_circuit_breaker(run)
    return notes


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
    if not options.resubmit_failed or run.journal_state.held:
        return
    if find_repairs(run).due:
        settle_doubts(run)
        yield make_plan(run, *find_repairs(run).due)


def _submits_queued(run: Run, options: FollowOptions) -> bool:
    return options.submit_from_queue and bool(
        run.journal_state.queue or run.submissions_in_flight()
    )


def drives_then(run: Run, options: FollowOptions) -> bool:
    """Tell if these actions include the step after the run. On this machine only ``run`` has it."""
    here = run.engine.runs_in_process
    return options.submit_waiting if here else options.submit_from_queue


def reason_to_hold(run: Run) -> str:
    """Return the reason why the circuit breaker holds the rest; empty if the limit is not reached.

    A failed slice counts against ``--max-failures`` once it has no attempts left.
    """
    state_counts, given = run.statuses.state_counts(), run.max_failures
    failures = sum(number for state, number in state_counts.items() if state.failed)
    if given == NO_LIMIT:
        return ""
    if given is None:
        number = failures_with_common_cause(_ends(run))
        if not number:
            return ""
        return f"the newest {number} attempts failed, and almost no slice beside them did well"
    limit = limit_in_slices(given, len(run.table))
    if failures < limit or failures - len(rows_to_repair(run)) < limit:
        return ""
    return f"{limit} or more slices have failed (--max-failures {given})"


def _ends(run: Run) -> Ends:
    """Return the ends of the run's attempts since the last release of held slices.

    What failed by its node has that cause, and no other one in common.
    """
    statuses, released_at = run.statuses, run.journal_state.released_at

    def attempts(states: Set[State]) -> Iterator[Attempt]:
        rows = reversed(statuses.rows_in(states))
        if run.record.done_before:  # those say nothing about this run
            rows = (row for row in rows if not run.journal_state.was_done_before(row))
        return starmap(Attempt, statuses.times(rows))

    seen = chain(statuses.attempts(statuses.rows_in(FAILED_STATES)), statuses.past_failures())
    blames = run.journal_state.nodes.blames
    return Ends(
        [
            Attempt(one.started_at, one.ended_at)
            for one in seen
            if not blames(one.node, one.started_at)
            and (one.ended_at is None or one.ended_at >= released_at)
        ],
        lambda: attempts({State.COMPLETED}),
        list(attempts(BEGUN_STATES)),
        len(statuses),
        run.clock(),
    )


def trip_circuit_breaker(run: Run) -> None:
    """Hold the slices that have not started, and further attempts, if too many have failed.

    With ``--cancel-rest`` they are cancelled, if a person gave the limit.

    Raises:
        NoAnswerError: it is not known yet if a submission was accepted, so it cannot be cancelled.
    """
    if run.journal_state.held or not _may_start_any(run) or not (reason := reason_to_hold(run)):
        return
    with run.directory.lock("run"):
        run.reload()
        if run.journal_state.held:
            return
        for submission in run.submissions_in_flight():
            run.engine.hold(job_identity(run, submission))  # repeated after a kill
        cancels = run.cancel_rest and run.max_failures is not None
        if cancels:
            cancel_locked(run, run.statuses.rows_in(_NOT_STARTED))
        word = "cancelled" if cancels else "held"
        run.decide(Held(f"{word}: {reason}", run.clock(), cancels))


_NOT_STARTED = frozenset({State.WAITING, State.PENDING, State.SUBMITTED})


def _may_start_any(run: Run) -> bool:
    """True if a slice may still start, for the first time or again."""
    return bool(_NOT_STARTED & run.statuses.state_counts().keys() or rows_to_repair(run))


def is_done(run: Run, options: FollowOptions) -> bool:
    """True if nothing is left to wait for and no step would follow."""
    state_counts = run.statuses.state_counts()
    if run.journal_state.held:
        busy = IN_FLIGHT_STATES if run.journal_state.rest_cancelled else BEGUN_STATES
        return busy.isdisjoint(state_counts)
    in_vain = run.waits_for_other and run.after_seen.failed
    if not options.submit_from_queue or in_vain or canary_phase(run) is CanaryPhase.FAILED:
        return not (run.submissions_in_flight() or run.journal_state.unconfirmed())
    return is_over(run) if drives_then(run, options) else slices_are_over(run)


def seconds_since_submission(run: Run) -> float:
    """Return the seconds since the newest submission, or since the run was created if none."""
    intents = [submission.intent.at for submission in run.journal_state.submissions.values()]
    intents += [step.intent.at] if (step := run.journal_state.then) else []
    return run.clock() - max(intents, default=run.record.created_at)
