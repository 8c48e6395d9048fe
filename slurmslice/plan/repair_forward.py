"""The slices of a run that wait, and should request more memory than others that exceeded theirs.

``slurmslice.policy.repair_forward`` has the rule, ``docs/adr/0021`` its reasons.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from slurmslice.errors import BadInputError, SlurmsliceError
from slurmslice.plan.failure_causes import cause_in, failed_attempts
from slurmslice.plan.repairs import Decisions, policy_in_force
from slurmslice.plan.request_changes import filled_request
from slurmslice.plan.run_script import RunScript, read_script
from slurmslice.policy.repair_forward import (
    FEWEST_OVER,
    MemoryEvidence,
    memory_evidence,
    next_larger,
)
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import format_memory
from slurmslice.spec.packing import slice_request
from slurmslice.status.states import BEGUN_STATES, FAILED_STATES, State


@dataclass(frozen=True, slots=True)
class MemoryRaise:
    """Slices that wait, and their new request.

    Attributes:
        rows: their rows, an array expression.
        request: their options that differ from the script's.
        rung: the steps of the ladder that it is ahead.
        before, now: the memory, as sbatch reads it.
        evidence: the reason.
        given_bytes: the memory that tasks got that requested none; None if not known.
    """

    rows: str
    request: ResourceRequest
    rung: int
    before: str
    now: str
    evidence: MemoryEvidence
    given_bytes: int | None


@dataclass(frozen=True, slots=True)
class _Exceeded:
    """An attempt that exceeded its memory.

    Attributes:
        mem_mib: the memory of its slice.
        seconds: its duration; 0 if not known.
        given_bytes: the memory that its task got without a request; None if it requested some.
    """

    mem_mib: int
    seconds: float
    given_bytes: int | None


def find_raises(run: Run) -> list[MemoryRaise]:
    """Find the queued slices that should request more memory. No person chose their request.

    Nothing is raised if the script cannot be read: a submission says so.
    """
    policy = policy_in_force(run)
    if run.site.fault or policy.max_attempts == 1 or not run.journal_state.queue:
        return []
    if policy.rule_for("oom") is None:
        return []
    try:
        script = read_script(run)
    except SlurmsliceError:
        return []
    exceeded = _exceeded(run, script)
    if len(exceeded) < FEWEST_OVER:
        return []
    decisions = Decisions(run, policy)
    found = []
    for (initial, request), rows in _waiting(run).items():
        try:
            one = _raise(run, decisions, (initial, request), rows, exceeded)
        except BadInputError:  # a number that cannot be read: the submission says so
            continue
        found += [one] if one else []
    return found


def _waiting(run: Run) -> Mapping[tuple[ResourceRequest, ResourceRequest], list[int]]:
    """Group the queued rows without an attempt by their initial and their present request."""
    state = run.journal_state
    groups: dict[tuple[ResourceRequest, ResourceRequest], list[int]] = {}
    for row, request in state.queue.items():
        initial, raised = run.initial_request(row), state.raised.of_row.get(row)
        if not state.attempts[row] and request == (raised.changes if raised else initial):
            groups.setdefault((initial, request), []).append(row)
    return groups


def _exceeded(run: Run, script: RunScript) -> dict[int, list[_Exceeded]]:
    """Return the attempts with the present script that exceeded their memory, by their rows."""
    found: dict[int, list[_Exceeded]] = {}
    packing, submissions = run.record.packing, run.journal_state.submissions
    for one in failed_attempts(run):
        if one.state is not State.OUT_OF_MEMORY or cause_in(run, one, "oom") != "oom":
            continue
        submission = submissions[one.submission]
        if submission.intent.script_sha256 != script.sha256:
            continue
        options, given = slice_request(submission.options_of(one.row), packing), None
        if options.keys().isdisjoint(MEMORY_OPTIONS):
            given = run.statuses.requested_in(one.row, one.submission)
        if mib := (given >> 20) // packing.at_once if given else options.mem_mib:
            seconds = (one.ended_at or 0) - (one.started_at or one.ended_at or 0)
            found.setdefault(one.row, []).append(_Exceeded(mib, max(0, seconds), given))
    return found


def _raise(
    run: Run,
    decisions: Decisions,
    requests: tuple[ResourceRequest, ResourceRequest],
    rows: Collection[int],
    exceeded: Mapping[int, list[_Exceeded]],
) -> MemoryRaise | None:
    """Return the raise of rows with the same initial and present request; None for none."""
    initial, request = requests
    alike = {row: them for row, them in exceeded.items() if run.initial_request(row) == initial}
    given = max((o.given_bytes or 0 for them in alike.values() for o in them), default=0) or None
    first, had = (
        filled_request(run, decisions.script, one, given, {"mem": "2x"}) for one in requests
    )
    memory = had.mem_mib
    if not memory:
        return None
    over = {
        row: max(one.seconds for one in them if one.mem_mib >= memory)
        for row, them in alike.items()
        if any(one.mem_mib >= memory for one in them)
    }
    evidence = _evidence(run, initial, over) if len(over) >= FEWEST_OVER else None
    if evidence is None or not evidence.suffices:
        return None
    bounds = decisions.bounds(first, had)
    larger = next_larger(decisions.policy, bounds, had)
    if larger is None or decisions.impossible_reason(larger[1]):
        return None
    rung, whole = larger
    if bounds.site_mib and (whole.mem_mib or 0) > bounds.site_mib:
        return None
    return MemoryRaise(
        str(compress_indices(rows)), request.overridden_by(whole.differing_from(had)), rung,
        format_memory(memory), format_memory(whole.mem_mib or 0), evidence, given,
    )  # fmt: skip


def _evidence(run: Run, initial: ResourceRequest, over: Mapping[int, float]) -> MemoryEvidence:
    """Compare slices that exceeded their memory with the others of the same initial request."""

    def others(states: Collection[State]) -> Iterator[int]:
        return (
            row
            for row in run.statuses.rows_in(states)
            if row not in over
            and not run.journal_state.was_done_before(row)
            and (not run.record.per_slice or run.initial_request(row) == initial)
        )

    ended = sum(1 for _ in others(FAILED_STATES | {State.COMPLETED}))
    starts = (start for start, _ in run.statuses.times(others(BEGUN_STATES)))
    now = run.clock()
    ages = (now - start for start in starts if start is not None)
    return memory_evidence(tuple(over.values()), ended, ages)
