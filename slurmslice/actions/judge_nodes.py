"""Judge the nodes of a run after a poll: exclude those that are suspected, and clear others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from slurmslice.actions.report_node import report_node
from slurmslice.errors import BadInputError, SlurmsliceError
from slurmslice.notes import Note
from slurmslice.plan.avoided_nodes import excluded_by_person
from slurmslice.plan.failure_causes import failed_attempts
from slurmslice.plan.repairs import continued_attempts
from slurmslice.plan.run_script import script_request
from slurmslice.policy.bad_nodes import (
    EXCLUDED_FOR_S,
    FEWEST_FAILURES,
    Excluded,
    Outcome,
    Trial,
    find_bad_nodes,
    most_excluded,
    why_cleared,
)
from slurmslice.run.journal import NodeExcluded, NodeIncluded
from slurmslice.run.node_decisions import BY_FAILURES
from slurmslice.run.run import Run
from slurmslice.run.statuses import SeenAttempt
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.status.states import BEGUN_STATES, FAILED_STATES, State
from slurmslice.system.shell_quoting import quote

_OUTCOMES = {
    State.RUNNING: Outcome.RUNNING,
    State.SUSPENDED: Outcome.UNDECIDED,
    State.COMPLETING: Outcome.UNDECIDED,
    State.NODE_FAIL: Outcome.NODE,
    State.BOOT_FAIL: Outcome.BOOT,
    **dict.fromkeys(
        (State.FAILED, State.TIMEOUT, State.OUT_OF_MEMORY, State.CHECK_FAILED), Outcome.FAILED
    ),
}
"""A preemption or a deadline is no fault of a node, so those attempts are left out."""


def judge_nodes(run: Run) -> tuple[Note, ...]:
    """Decide which nodes later submissions exclude, and record that with its evidence.

    Returns:
        a note on each new decision, and on a report to the site that failed.

    Raises:
        LockedError: another process holds the lock for too long.
    """
    if run.engine.runs_in_process:
        return ()
    excluded = run.journal_state.nodes.excluded(run.clock())
    no_failures = continued_attempts(run)
    failures = [one for one in failed_attempts(run) if one[:2] not in no_failures]
    if not (excluded or _may_accuse(failures)):
        return ()
    events = _decisions(run, failures, excluded)
    if not events:
        return ()
    with run.directory.lock("run"):
        run.reload()
        known = run.journal_state.nodes.excluded(run.clock())
        # Another process may have been faster.
        events = [one for one in events if (one.node in known) is isinstance(one, NodeIncluded)]
        for event in events:
            run.decide(event)
    told = [node_note(run, event) for event in events]
    if run.site.bad_node_command and not run.directory.read_only:
        told += [note for event in events for note in report_node(run, event)]
    return tuple(told)


def _decisions(
    run: Run, failures: Iterable[SeenAttempt], excluded: dict[str, NodeExcluded]
) -> list[NodeExcluded | NodeIncluded]:
    now, decided = run.clock(), run.journal_state.nodes
    begun = run.statuses.attempts(run.statuses.rows_in(BEGUN_STATES))
    # An accepted failure is one of the slice, on any node.
    blamed = (one for one in failures if not _is_accepted(run, one))
    trials, done = list(_trials(run, chain(blamed, begun))), _done(run)
    known = {node: Excluded(one.since, one.at, one.cause) for node, one in excluded.items()}
    cleared = [NodeIncluded(node, why, now) for node, why in why_cleared(trials, known, done)]
    still = set(known) - {one.node for one in cleared}
    released = decided.released_at | {one.node: now for one in cleared}
    found = list(find_bad_nodes(trials, still, released, _slurm_now(run), done))
    most = _most_excluded(run) - len(still) if found else 0
    accused = [
        NodeExcluded(
            one.node, one.cause, one.since, one.failed, one.others_failed, one.others_good, one.p,
            now + EXCLUDED_FOR_S, now,
        )
        for one in found[: max(0, most)]
    ]  # fmt: skip
    return [*cleared, *accused]


def _is_accepted(run: Run, one: SeenAttempt) -> bool:
    newest = run.journal_state.holder[one.row] == one.submission
    return newest and run.acceptance_of(one.row) is not None


def _slurm_now(run: Run) -> float:
    """Return a time that Slurm's clock had reached at the last whole answer; 0 if not known.

    Slurm's time of a submission is compared with ours after it. A restart gets a new one.
    """
    submissions, leads = run.journal_state.submissions, dict[int, float]()
    for row in run.statuses.rows_in({State.RUNNING}):
        number = run.journal_state.holder[row]
        answered = submissions[number].submitted_at if number not in leads else 0.0
        if answered:
            seen = run.statuses.seen(row)
            if seen.submitted_at is not None and not seen.restarts:
                leads[number] = seen.submitted_at - answered
    known = leads and run.answered_at > 0
    return run.answered_at + max(leads.values()) if known else 0.0


def _may_accuse(failures: Iterable[SeenAttempt]) -> bool:
    """Tell if any node may be suspected. It is a quick test for the usual case."""
    outcomes = Counter((one.node, _OUTCOMES.get(one.state)) for one in failures)
    return any(
        number >= FEWEST_FAILURES or outcome in {Outcome.NODE, Outcome.BOOT}
        for (_, outcome), number in outcomes.items()
    )


def _done(run: Run) -> dict[str, list[float]]:
    """Return the starts of the attempts that are done, by their nodes."""
    wide = {
        number
        for number, one in run.journal_state.submissions.items()
        if not _is_for_one_node(one.intent.options)
    }
    rows: Iterable[int] = run.statuses.rows_in({State.COMPLETED})
    if wide:
        holder = run.journal_state.holder
        rows = (row for row in rows if holder[row] not in wide)
    return run.statuses.starts_by_node(rows)


def _trials(run: Run, attempts: Iterable[SeenAttempt]) -> Iterator[Trial]:
    """Iterate over the attempts on one known node; failures of more than a day ago are left out."""
    oldest, submissions = run.clock() - EXCLUDED_FOR_S, run.journal_state.submissions
    one_node = {n: _is_for_one_node(s.intent.options) for n, s in submissions.items()}
    for one in attempts:
        outcome, started = _OUTCOMES.get(one.state), one.started_at or one.ended_at
        if outcome is None or started is None or not one.node or not one_node.get(one.submission):
            continue
        if one.state in FAILED_STATES and (one.ended_at or started) < oldest:
            continue
        submission, place = submissions[one.submission], one.row
        if submission.intent.pack > 1:
            place = submission.array_index_of(one.row)
        ended = None if one.state in BEGUN_STATES else one.ended_at
        yield Trial(one.row, one.node, (one.submission, place), outcome, started, ended)


def _is_for_one_node(options: ResourceRequest) -> bool:
    """Tell if tasks with these options run on one node. Of several nodes, one may be the cause."""
    try:
        return options.nodes == 1
    except BadInputError:
        return False


def _most_excluded(run: Run) -> int:
    """Return the most nodes to exclude; without an answer of the engine, one."""
    request, nodes = NO_REQUEST, None
    try:
        request = script_request(run)
        nodes = run.engine.limits(request.verify()).nodes
    except SlurmsliceError:
        pass
    if run.site.fault:
        return 0
    most = most_excluded(nodes, len(excluded_by_person(request)))
    return most if run.site.exclude_nodes is None else min(most, run.site.exclude_nodes)


def include_node(run: Run, node: str) -> Note:
    """Use a node again that is excluded, because a person says so.

    Raises:
        BadInputError: the node is not excluded (``node-not-excluded``).
    """
    with run.directory.lock("run"):
        run.reload()
        excluded = run.journal_state.nodes.excluded(run.clock())
        if node not in excluded:
            raise BadInputError(
                f"The run {run.record.name} does not exclude the node {node!r}.",
                f"It excludes: {', '.join(excluded) or 'no node'}.",
                code="node-not-excluded",
                node=node,
                excluded=list(excluded),
            )
        event = NodeIncluded(node, "a person decided that", run.clock())
        run.decide(event)
    return node_note(run, event)


def include_all_nodes(run: Run) -> tuple[Note, ...]:
    """Use all excluded nodes again: only with them a submission was accepted.

    The caller holds the lock.
    """
    reason = "a submission without it was rejected"
    events = [NodeIncluded(node, reason, run.clock()) for node in excluded_nodes(run)]
    for event in events:
        run.decide(event)
    return tuple(node_note(run, event) for event in events)


def excluded_nodes(run: Run) -> dict[str, NodeExcluded]:
    """Return the nodes that are excluded now, each with its evidence."""
    return run.journal_state.nodes.excluded(run.clock())


def node_note(run: Run, event: NodeExcluded | NodeIncluded) -> Note:
    """Return a note on the exclusion of a node, or on its end."""
    if isinstance(event, NodeIncluded):
        return Note(
            "node-included",
            f"The node {event.node} is used again: {event.reason}.",
            {"node": event.node, "reason": event.reason},
        )
    lift = f"slurmslice run {quote(run.record.name)} --include-node {quote(event.node)}"
    return Note(
        "node-excluded",
        f"{node_evidence(event)}\nTo use it again: {lift}",
        {"node": event.node, "cause": event.cause, "failed": event.failed,
         "others_failed": event.others_failed, "others_good": event.others_good, "p": event.p,
         "since": event.since, "until": event.until},
    )  # fmt: skip


def node_evidence(event: NodeExcluded) -> str:
    """Return a sentence about an excluded node, with the evidence."""
    until = _clock(event.until)
    return f"Submissions exclude the node {event.node} until {until}: {_evidence(event)}."


def _evidence(event: NodeExcluded) -> str:
    if event.cause != BY_FAILURES:
        return "it failed" if event.cause == Outcome.NODE else "it did not start"
    slices = "slice" if event.failed == 1 else "slices"
    return (
        f"{event.failed} {slices} failed there and none did well since {_clock(event.since)}; "
        f"on other nodes {event.others_failed} failed and {event.others_good} did well "
        f"(p = {event.p:.1g})"
    )


def _clock(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))
