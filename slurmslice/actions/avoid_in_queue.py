"""Let what waits in the queue avoid suspected nodes, and use them again (docs/adr/0031)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from slurmslice.actions.change_waiting import one_task, waiting_rows
from slurmslice.errors import (
    BadInputError,
    EngineError,
    NoAnswerError,
    SubmitLimitError,
)
from slurmslice.notes import Note
from slurmslice.plan.avoided_nodes import avoided_nodes, excluded_by_person, excluding
from slurmslice.run.identity import job_identity
from slurmslice.run.journal import QueueAvoids
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission


def avoid_in_queue(run: Run) -> tuple[Note, ...]:
    """Update each array with pending tasks whose suspected nodes have changed, once.

    Returns:
        a note on each result. Without an answer there is none, and the next round tries again.

    Raises:
        LockedError: another process holds the lock for too long.
    """
    if run.directory.read_only or not any(True for _ in _changed(run)):
        return ()
    with run.directory.lock("run"):
        run.reload()
        notes = [_update(run, one, nodes) for one, nodes in list(_changed(run))]
    return tuple(note for note in notes if note)


def foresee_updates(run: Run) -> tuple[Note, ...]:
    """Return a note on each array that ``avoid_in_queue`` would update. The run is only read."""
    return tuple(_foreseen(one, nodes) for one, nodes in _changed(run))


def _changed(run: Run) -> Iterator[tuple[Submission, tuple[str, ...]]]:
    """Iterate over the arrays to update, each with the nodes to avoid beside its options."""
    if run.engine.runs_in_process or run.site.fault or not run.site.update_pending:
        return
    nodes = run.journal_state.nodes
    if not (nodes.periods or nodes.released_at):
        return
    waiting = waiting_rows(run)
    for one in run.submissions_in_flight():
        if rows := waiting.get(one.number):
            wanted = avoided_nodes(run, one.options_of(rows[0]))
            if ",".join(wanted) not in {one.avoids, one.avoids_in_vain}:
                yield one, wanted


def _update(run: Run, submission: Submission, nodes: Sequence[str]) -> Note | None:
    """Update an array, and record the result. The caller holds the lock."""
    before = {node for node in submission.avoids.split(",") if node}
    try:
        refusal = _change(run, submission, nodes, before)
    except (NoAnswerError, SubmitLimitError):
        return None
    run.decide(QueueAvoids(submission.number, ",".join(nodes), run.clock(), refusal))
    return _note(submission, nodes, refusal)


def _change(
    run: Run,
    submission: Submission,
    nodes: Sequence[str],
    before: Collection[str],
) -> str:
    """Let the pending tasks of an array avoid these nodes, in place of those before.

    Args:
        run: the run.
        submission: the array.
        nodes: the nodes to avoid.
        before: those of the last update.

    Returns:
        the reason of a refusal; empty if they avoid them now.

    Raises:
        NoAnswerError, SubmitLimitError: it is not known if they could run elsewhere, or if Slurm
            has got the update.
    """
    add = [node for node in nodes if node not in before]
    row = waiting_rows(run)[submission.number][0]
    request = submission.options_of(row)
    remove = set(before).difference(nodes, excluded_by_person(request))
    try:
        if add:  # Slurm accepts an update that leaves no node, and sbatch refuses it
            less = {"exclude": excluding(request, nodes)}
            run.engine.test_submission(one_task(run, submission, row, less))
        run.engine.avoid_nodes(job_identity(run, submission), add, remove)
    except (NoAnswerError, SubmitLimitError):
        raise
    except (EngineError, BadInputError) as why:
        return why.message
    return ""


def _foreseen(submission: Submission, nodes: Sequence[str]) -> Note:
    message = f"The slices in the queue as job {submission.job} would {_avoid_text(nodes)} too."
    return Note("would-avoid-nodes", message, {"job": submission.job, "nodes": list(nodes)})


def _note(submission: Submission, nodes: Sequence[str], refusal: str) -> Note:
    what = f"The slices in the queue as job {submission.job}"
    fields = {"job": submission.job, "nodes": list(nodes)}
    if refusal:
        message = f"{what} keep the nodes that they may use: {refusal}"
        return Note("queue-not-changed", message, {**fields, "reason": refusal})
    return Note("queue-avoids-nodes", f"{what} now {_avoid_text(nodes)} too.", fields)


def _avoid_text(nodes: Sequence[str]) -> str:
    return f"avoid {', '.join(nodes)}" if nodes else "avoid no suspected node"
