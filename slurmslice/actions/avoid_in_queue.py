"""Let what waits in the queue avoid suspected nodes, and use them again (docs/adr/0031)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

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
    if run.directory.read_only or not any(True for _ in _changed(run)):
        return ()
    with run.directory.lock("run"):
        run.reload()
        notes = [_update(run, one, nodes) for one, nodes in list(_changed(run))]
    return tuple(note for note in notes if note)


def foresee_updates(run: Run) -> tuple[Note, ...]:
    """Return a note on each array that ``avoid_in_queue`` would update. The run is only read."""
    return tuple(_foreseen(one, nodes) for one, nodes in _changed(run))


def exclude_in_queue(run: Run, nodes: str) -> tuple[Note, ...]:
    """Let what waits in the queue avoid nodes that a person names now, beside all others.

    Args:
        run: the run, after a poll.
        nodes: the nodes as ``--exclude`` has them.

    Returns:
        a note on each array with pending tasks; none if such arrays may not be changed, or the
        nodes are in a file, which only sbatch reads.

    Raises:
        NoAnswerError: the engine did not answer.
    """
    if run.engine.runs_in_process or "/" in nodes or not run.site.update_pending:
        return ()
    waiting = [one for one in run.submissions_in_flight() if _pending_indices(run, one)]
    return tuple(
        _note(one, [nodes], _change(run, one, [nodes], (), must_know=False)) for one in waiting
    )


def _changed(run: Run) -> Iterator[tuple[Submission, tuple[str, ...]]]:
    """Iterate over the arrays to update, each with the nodes to avoid beside its options."""
    if run.engine.runs_in_process or run.site.fault or not run.site.update_pending:
        return
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
    *,
    must_know: bool = True,
) -> str:
    """Let the pending tasks of an array avoid these nodes, in place of those before.

    Args:
        run: the run.
        submission: the array.
        nodes: the nodes to avoid.
        before: those of the last update.
        must_know: change nothing if the queue is full, so that sbatch cannot tell if they could run
            elsewhere.

    Returns:
        the reason of a refusal; empty if they avoid them now.

    Raises:
        NoAnswerError, SubmitLimitError: it is not known if they could run elsewhere, or if Slurm
            has got the update.
    """
    add = [node for node in nodes if node not in before]
    try:
        if add:
            _test(run, submission, nodes, must_know=must_know)
        run.engine.avoid_nodes(job_identity(run, submission), add, set(before).difference(nodes))
    except (NoAnswerError, SubmitLimitError):
        raise
    except (EngineError, BadInputError) as why:
        return why.message
    return ""


def _test(run: Run, submission: Submission, nodes: Sequence[str], *, must_know: bool) -> None:
    """Test if a task of an array can run without these nodes. Errors as ``test_submission``."""
    try:
        run.engine.test_submission(_one_task(run, submission, nodes))
    except SubmitLimitError:
        if must_know:
            raise


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
