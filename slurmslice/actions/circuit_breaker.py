"""The circuit breaker of a run: hold its rest after too many failures, or try three slices first.

``docs/adr/0018`` and ``docs/adr/0029`` give the rules and the reasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from itertools import chain, starmap

from slurmslice.actions.cancel import cancel_in_engine, cancel_locked, cancel_request
from slurmslice.actions.release import release
from slurmslice.notes import Note
from slurmslice.plan.failure_causes import cause_of_row
from slurmslice.plan.plan import Choice
from slurmslice.plan.repairs import continued_attempts, find_repairs, rows_to_repair
from slurmslice.policy.causes import counts
from slurmslice.policy.circuit_breaker import (
    LAST_ENDS,
    OUTAGES,
    Attempt,
    Ends,
    failures_with_common_cause,
    mostly_failed,
)
from slurmslice.policy.failure_limit import limit_in_slices
from slurmslice.run.identity import job_identity
from slurmslice.run.journal import Held
from slurmslice.run.run import Run
from slurmslice.run.statuses import SeenAttempt
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.spec.run_spec import NO_LIMIT
from slurmslice.status.states import BEGUN_STATES, State
from slurmslice.system.escaping import escape

PROBES = 3
"""The slices that are tried before a run is held for a person."""


def reason_to_hold(run: Run) -> str:
    """Return the reason why the circuit breaker holds the rest; empty if the limit is not reached.

    A failed slice counts against ``--max-failures`` once it has no attempts left.
    """
    given = run.max_failures
    if given == NO_LIMIT:
        return ""
    if given is None:
        return _reason_in_common(run)
    limit, failures = limit_in_slices(given, len(run.table)), len(run.failed_rows)
    if failures < limit or failures - len(rows_to_repair(run)) < limit:
        return ""
    return f"{limit} or more slices have failed (--max-failures {given})"


def _reason_in_common(run: Run) -> str:
    """Return what the newest failures have in common; empty if that is nothing."""
    ends = _ends(run)
    if number := failures_with_common_cause(ends):
        return f"the newest {number} attempts failed, and almost no slice beside them did well"
    if number := mostly_failed(ends):
        return f"{number} of the last {LAST_ENDS} attempts failed"
    nodes: dict[str, set[str]] = {}
    for one in _failures(run):
        if one.log_cause in OUTAGES and one.node:
            nodes.setdefault(one.log_cause, set()).add(one.node)
    found = [(cause, some) for cause, some in nodes.items() if len(some) > 1]
    return "; ".join(f"{cause} on {len(some)} nodes" for cause, some in found)


def _failures(run: Run) -> list[SeenAttempt]:
    """List the failed attempts since the last release, without those that say nothing.

    What failed by its node has that cause. After some attempts their slice goes on. Others are
    accepted by a person.
    """
    statuses, released_at = run.statuses, run.hold.released_at
    seen = chain(statuses.attempts(run.failed_rows), statuses.past_failures())
    blames, no_failures = run.journal_state.nodes.blames, continued_attempts(run)
    return [
        one
        for one in seen
        if one[:2] not in no_failures
        and not blames(one.node, one.started_at)
        and (one.ended_at is None or one.ended_at >= released_at)
    ]


def _ends(run: Run) -> Ends:
    """Return the ends of the run's attempts; of failures, those since the last release."""
    statuses = run.statuses

    def attempts(states: Set[State]) -> Iterator[Attempt]:
        rows = reversed(statuses.rows_in(states))
        if run.record.done_before:  # those say nothing about this run
            rows = (row for row in rows if not run.journal_state.was_done_before(row))
        return starmap(Attempt, statuses.times(rows))

    return Ends(
        [Attempt(one.started_at, one.ended_at) for one in _failures(run)],
        lambda: attempts({State.COMPLETED}),
        list(attempts(BEGUN_STATES)),
        len(statuses),
        run.clock(),
    )


def trip_circuit_breaker(run: Run) -> tuple[Note, ...]:
    """Hold the slices that have not started, and further attempts, if too many have failed.

    Some are tried first, if they may succeed. With ``--cancel-rest`` the rest is cancelled, if a
    person gave the limit.

    Returns:
        a note on a probe.

    Raises:
        NoAnswerError: it is not known yet if a submission was accepted, so it cannot be cancelled.
    """
    if run.hold.reason or not _may_start_any(run) or not (reason := reason_to_hold(run)):
        return ()
    probe = _choose_probe(run) if run.max_failures is None else ()
    with run.directory.lock("run"):
        run.reload()
        if run.hold.reason:
            return ()
        for submission in run.submissions_in_flight():
            run.engine.hold(job_identity(run, submission))  # repeated after a kill
        cancels = run.cancel_rest and run.max_failures is not None
        if cancels:
            cancel_locked(run, run.statuses.rows_in(_NOT_STARTED))
        word = "cancelled" if cancels else "paused" if probe else "held"
        rows = str(compress_indices(probe)) if probe else ""
        run.decide(Held(f"{word}: {reason}", run.clock(), cancels, rows))
        _take_probe_from_arrays(run)
    if not probe:
        return ()
    keys = ", ".join(escape(run.table.keys[row]) for row in probe)
    message = f"The rest is paused: {reason}. These slices are tried first: {keys}."
    return (Note("run-paused", message, {"reason": reason, "keys": keys}),)


def _choose_probe(run: Run) -> tuple[int, ...]:
    """Choose the slices to try: failed ones with a repair, else such that wait, spread over them.

    None if no slice was ever done and no repair changes a request: the same would fail again.
    """
    due = [choice for choice in find_repairs(run).due if _is_new(run, choice)]
    done = (row for row in run.statuses.rows_in({State.COMPLETED})
            if not run.journal_state.was_done_before(row))  # fmt: skip
    if next(done, None) is None and not any(choice.changes for choice in due):
        return ()
    changed = [row for choice in due if choice.changes for row in choice.rows]
    others = [row for choice in due for row in choice.rows]
    for rows in (changed, list(run.journal_state.queue), _pending_alone(run), others):
        if rows:
            places = {(2 * n + 1) * len(rows) // (2 * PROBES) for n in range(PROBES)}
            return tuple(sorted(rows[place] for place in places))
    return ()


def _is_new(run: Run, choice: Choice) -> bool:
    """Tell if a repair is decided by a cause of the slices themselves."""
    return counts(choice.cause) or bool(choice.changes)


def _pending_alone(run: Run) -> list[int]:
    """List the pending rows that have an array task of their own."""
    submissions, holder = run.journal_state.submissions, run.journal_state.holder
    rows = run.statuses.rows_in({State.PENDING})
    return [row for row in rows if submissions[holder[row]].intent.pack == 1]


def _take_probe_from_arrays(run: Run) -> None:
    """Cancel probed slices in arrays that are held, to submit them again, until all are cancelled.

    The caller holds the lock.
    """
    groups: dict[int, list[int]] = {}
    for row in run.hold.probe:
        submission = run.journal_state.submission_of(row)
        waits = run.statuses.state(row) is State.PENDING and not _was_tried(run, row)
        if submission and waits:
            groups.setdefault(submission.number, []).append(row)
    for number, rows in groups.items():
        request = cancel_request(run, number, rows, submit_again=True)
        if not run.journal_state.submissions[number].submit_again.issuperset(rows):
            run.decide(request)
        cancel_in_engine(run, request)  # repeated after a kill


def _was_tried(run: Run, row: int) -> bool:
    """Tell if a slice was submitted after the run was paused."""
    state = run.journal_state
    return state.holder[row] > state.hold.before_probe and row not in state.queue


def due_repairs(run: Run) -> tuple[Choice, ...]:
    """Return the repairs to make now: all, none if the run is held, or those of a probe."""
    if not run.hold.reason:
        return find_repairs(run).due
    wanted = {row for row in run.hold.probe if not _was_tried(run, row) or _says_nothing(run, row)}
    parts = (
        Choice([row for row in one.rows if row in wanted], one.changes, one.cause)
        for one in (find_repairs(run).due if wanted else ())
    )
    return tuple(one for one in parts if one.rows)


def _says_nothing(run: Run, row: int) -> bool:
    """Tell if a slice failed by its node or a preemption."""
    return run.statuses.state(row).failed and not counts(cause_of_row(run, row))


def judge_probe(run: Run) -> tuple[Note, ...]:
    """Release the rest if the probed slices are done; hold it for a person if one failed.

    Returns:
        a note on the decision.

    Raises:
        NoAnswerError: as ``release``.
    """
    rows = run.hold.probe
    if not rows:
        return ()
    verdicts = {row: _verdict(run, row) for row in rows}
    bad = [row for row, done in verdicts.items() if done is False]
    reason = run.hold.reason.removeprefix("paused: ")
    if bad:
        _hold_after_probe(run, reason, rows, bad)
        return ()
    if all(verdicts.values()):
        release(run)
        message = f"The run goes on: {len(rows)} slices were tried after {reason}, and are done."
        return (Note("probe-done", message, {"slices": len(rows), "reason": reason}),)
    with run.directory.lock("run"):
        run.reload()
        _take_probe_from_arrays(run)
    return ()


def _verdict(run: Run, row: int) -> bool | None:
    """Tell if a probed slice is done (True) or failed (False); None if it is not known yet.

    It may have begun in its array just before that was held. If it goes on from its checkpoint, it
    does well.
    """
    state = run.statuses.state(row)
    if state is State.COMPLETED:
        return True
    if state is State.CANCELLED:
        return False
    if not state.failed:
        return None
    if row not in rows_to_repair(run):
        return False
    if not _was_tried(run, row) or _says_nothing(run, row):
        return None
    return (row, run.statuses.seen(row).submission) in continued_attempts(run)


def _hold_after_probe(run: Run, reason: str, rows: Sequence[int], bad: Sequence[int]) -> None:
    """Hold the rest for a person, because probed slices failed."""
    with run.directory.lock("run"):
        run.reload()
        if run.hold.probe == tuple(rows):
            why = f"held: {reason}; then {len(bad)} of {len(rows)} that were tried failed"
            run.decide(Held(why, run.clock()))


_NOT_STARTED = frozenset({State.WAITING, State.PENDING, State.SUBMITTED})


def _may_start_any(run: Run) -> bool:
    """True if a slice may still start, for the first time or again."""
    return bool(_NOT_STARTED & run.statuses.state_counts().keys() or rows_to_repair(run))
