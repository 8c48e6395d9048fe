"""The failed slices of a run that continue from their checkpoints, and those that did.

``docs/adr/0028`` gives the rules and the reasons.
"""

from __future__ import annotations

from slurmslice.policy.continue_on import continues_after
from slurmslice.policy.ladder import RepairPolicy
from slurmslice.run.checkpoints import checkpoint_paths, identify
from slurmslice.run.continuations import count_continuations
from slurmslice.run.run import Run


def reason_not_to_continue(run: Run, policy: RepairPolicy, row: int, cause: str) -> str | None:
    """Return why a slice does not continue from its checkpoint; empty if it does.

    None if the policy does not name the cause of its failure.
    """
    if not continues_after(policy.continue_on, cause):
        return None
    done = count_continuations(run.journal_state.repairs.of(row))
    if done >= policy.max_continues:
        return policy.continues_reason
    ((_, path),) = checkpoint_paths(run.record, run.table, [row])
    submission = run.statuses.seen(row).submission
    return "" if _changed(run, row, submission, path) else f"{path} did not change"


def _changed(run: Run, row: int, submission: int, path: str) -> bool:
    """Tell if the checkpoint of a failed slice changed since its attempt was submitted.

    Each file is read once for each answer of the engine; a change counts for good.
    """
    known = run.checkpoint_looks.get((row, submission))
    if known and (known[1] or known[0] == run.answered_at):
        return known[1]
    before = _identities(run, submission)
    now = None if before is None else identify(path)
    changed = before is not None and now is not None and before.get(row) != now
    run.checkpoint_looks[row, submission] = run.answered_at, changed
    return changed


def _identities(run: Run, submission: int) -> dict[int, tuple[int, int]] | None:
    """Return the checkpoints before a submission; None if they were not recorded."""
    if submission not in run.known_checkpoints:
        run.known_checkpoints[submission] = run.directory.read_checkpoints(submission)
    return run.known_checkpoints[submission]
