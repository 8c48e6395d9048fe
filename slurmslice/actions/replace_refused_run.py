"""Replace a run if all of its submissions were rejected."""

from __future__ import annotations

from slurmslice.actions.create import RunInputs, run_files
from slurmslice.actions.resolve_doubts import resolve_doubts, resolve_doubts_locked
from slurmslice.errors import BadInputError
from slurmslice.run.create_directory import create_run_directory
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.run.submission import SubmissionStatus
from slurmslice.spec.run_spec import RunRecord


def is_replaceable(run: Run) -> bool:
    """Tell if all submissions of a run were rejected, as far as can be known.

    A run with a script that a person submitted or edited is kept.
    """
    return _only_refused(run) and not resolve_doubts(run).no_answer_reasons and _only_refused(run)


def _only_refused(run: Run) -> bool:
    fates = {submission.status for submission in run.journal_state.submissions.values()}
    return fates == {SubmissionStatus.REJECTED} and not run.directory.script_edited


def replace_refused_run(run: Run, record: RunRecord, new: RunInputs) -> RunDirectory:
    """Replace a run by another one if ``is_replaceable`` allows it, whole or not at all.

    Raises:
        BadInputError: a submission was accepted or a script edited just now, or Slurm did not
        answer.
        LockedError: another slurmslice holds the lock.
    """
    files = run_files(record, new, run.directory.path)
    with run.directory.lock("run"):
        run.reload()
        if resolve_doubts_locked(run).no_answer_reasons or not _only_refused(run):
            raise BadInputError(
                f"Another process changed {run.directory.path} just now, or Slurm did not answer.",
                "Run `slurmslice status` to see its state.",
                code="changed-meanwhile",
                run=run.directory.path.name,
            )
        return create_run_directory(run.directory.path, record, new.table, files, instead=True)
