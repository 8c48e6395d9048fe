"""Let what waits in the queue avoid suspected nodes, and use them again (docs/adr/0031)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slurmslice.engines.protocol import SubmitRequest
from slurmslice.errors import (
    BadInputError,
    EngineError,
    NoAnswerError,
    SubmitLimitError,
)
from slurmslice.notes import Note
from slurmslice.plan.avoided_nodes import avoided_nodes, excluding
from slurmslice.run.identity import job_identity
from slurmslice.run.journal import QueueAvoids
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.status.states import State


def avoid_in_queue(run: Run) -> tuple[Note, ...]:
    """Update each array with pending tasks whose suspected nodes have changed, once.

    Returns:
        a note on each result. Without an answer there is none, and the next round tries again.

    Raises:
        LockedError: another process holds the lock for too long.
    """
    if run.engine.runs_in_process or run.site.fault or not run.site.update_pending:
        return ()
    if not any(True for _ in _changed(run)):
        return ()
    with run.directory.lock("run"):
        run.reload()
        notes = [_update(run, one, nodes) for one, nodes in list(_changed(run))]
    return tuple(note for note in notes if note)


def _changed(run: Run) -> Iterator[tuple[Submission, tuple[str, ...]]]:
    """Iterate over the arrays to update, each with the nodes to avoid beside its options."""
    nodes = run.journal_state.nodes
    if not (nodes.periods or nodes.released_at):
        return
    for one in run.submissions_in_flight():
        wanted = avoided_nodes(run, one.intent.options)
        known = {one.avoids, one.avoids_in_vain}
        if ",".join(wanted) not in known and _pending_indices(run, one):
            yield one, wanted


def _pending_indices(run: Run, submission: Submission) -> list[int]:
    """Return the indices of an array's tasks that have not started."""
    states = {State.PENDING, State.SUBMITTED}
    rows = run.unfinished_rows(submission)
    return [submission.array_index_of(row) for row in rows if run.statuses.state(row) in states]


def _update(run: Run, submission: Submission, nodes: Sequence[str]) -> Note | None:
    """Update an array, and record the result. The caller holds the lock."""
    before = {node for node in submission.avoids.split(",") if node}
    add = [node for node in nodes if node not in before]
    refusal = ""
    try:
        if add:
            run.engine.test_submission(_one_task(run, submission, nodes))
        run.engine.avoid_nodes(job_identity(run, submission), add, before.difference(nodes))
    except (NoAnswerError, SubmitLimitError):
        return None
    except (EngineError, BadInputError) as why:
        refusal = why.message
    run.decide(QueueAvoids(submission.number, ",".join(nodes), run.clock(), refusal))
    fields = {"job": submission.job, "nodes": list(nodes)}
    if refusal:
        message = (
            f"The slices in the queue as job {submission.job} may still start on "
            f"{', '.join(add or before)}: {refusal}"
        )
        return Note("queue-not-changed", message, {**fields, "reason": refusal})
    avoids = f"avoid {', '.join(nodes)}" if nodes else "avoid no suspected node"
    message = f"The slices in the queue as job {submission.job} now {avoids} too."
    return Note("queue-avoids-nodes", message, fields)


def _one_task(run: Run, submission: Submission, nodes: Sequence[str]) -> SubmitRequest:
    """Return the request for one task of an array, without these nodes.

    Slurm accepts an update that leaves no node for a task. It refuses such a submission.
    """
    intent, array = submission.intent, compress_indices(_pending_indices(run, submission)[:1])
    less = {"array": str(array), "exclude": excluding(intent.options, nodes)}
    return SubmitRequest(
        number=intent.number,
        job_name=intent.job_name,
        token=intent.token,
        script=run.directory.script,
        folder=run.directory.submission_folder(intent.number),
        array=array,
        overrides=intent.overrides.overridden_by(less),
        arguments=intent.arguments,
        request=intent.options.overridden_by(less),
        environ=run.environ,
    )
