"""A planned submission: the options and slices that sbatch would get from the present script.

The options in force are read from the script's directives, hand edits included, and from sbatch's
command line. They are never remembered from the creation of the run (promise 7).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from slurmslice.engines.protocol import SubmitRequest
from slurmslice.errors import DamagedRunError
from slurmslice.notes import Note
from slurmslice.plan.batches import Batch
from slurmslice.plan.run_script import RunScript, script_array, script_rows_of_index
from slurmslice.run.directory import read_required_file, sha256_hex
from slurmslice.run.journal import Intent
from slurmslice.run.run import Run
from slurmslice.run.submission import SubmissionStatus
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.sbatch.options import FIRST_ONLY
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.spec.code_record import NO_CODE, CodeRecord
from slurmslice.spec.packing import task_request
from slurmslice.status.states import State


@dataclass(frozen=True, slots=True)
class PlannedSubmission:
    """One submission, ready to be made.

    Attributes:
        number: its number.
        token, job_name: its token, and its job's name, which ends in the token.
        batch: rows and indices; ``batch.changes`` holds the options of a slice's request that
            differ from the script's.
        overrides: all sbatch options on the command line.
        script: the script.
        table_rows: the rows of its task table; for the first submission, all rows of the
            script's own array.
        arguments: the script's arguments.
        avoided: the suspected nodes that it excludes beside those that a person excludes.
    """

    number: int
    token: str
    job_name: str
    batch: Batch
    overrides: ResourceRequest
    script: RunScript
    table_rows: Sequence[int]
    arguments: tuple[str, ...] = ()
    avoided: tuple[str, ...] = ()

    @property
    def request(self) -> ResourceRequest:
        """Return every option in force for a task, overrides included."""
        return self.script.request.overridden_by(self.overrides)

    def submit_request(self, run: Run, environ: Mapping[str, str] | None = None) -> SubmitRequest:
        """Return the request that the engine gets, with the environment of its tasks."""
        return SubmitRequest(
            number=self.number,
            job_name=self.job_name,
            token=self.token,
            script=run.directory.script,
            folder=run.directory.submission_folder(self.number),
            array=self.batch.array,
            overrides=self.overrides,
            arguments=self.arguments,
            request=self.request.verify(),
            environ=environ,
        )

    def intent(
        self, run: Run, at: float, table_sha256: str = "", code: CodeRecord = NO_CODE
    ) -> Intent:
        """Return the journal's form of the submission."""
        return Intent(
            number=self.number,
            token=self.token,
            job_name=self.job_name,
            array=str(self.batch.array),
            rows=str(compress_indices(self.batch.rows)),
            overrides=self.overrides,
            changes=self.batch.changes,
            script_sha256=self.script.sha256,
            table_sha256=table_sha256,
            at=at,
            pack=run.record.packing.pack,
            options=self.request,
            arguments=self.arguments,
            code=code,
        )


def is_unsubmitted(run: Run) -> bool:
    """Tell if no submission was ever accepted, so that the script's own array comes first."""
    taken = {SubmissionStatus.SUBMITTED, SubmissionStatus.INTENDED}
    return all(
        submission.status not in taken for submission in run.journal_state.submissions.values()
    )


def plan_script_by_hand(run: Run, script: RunScript, name: str) -> PlannedSubmission:
    """Plan the first submission exactly as ``sbatch script.sh`` makes it."""
    array = script_array(script.request)
    rows = tuple(row for index in sorted(array) for row in script_rows_of_index(run, index))
    batch, token = Batch(rows, array), run.record.token
    return PlannedSubmission(1, token, name, batch, NO_REQUEST, script, run.first_rows)


def overridden_edit_notes(run: Run, submission: PlannedSubmission) -> tuple[Note, ...]:
    """List the hand-edited directives that a submission's request overrides, one note each.

    Raises:
        DamagedRunError: there is no script.
        BadInputError: a directive cannot be understood.
    """
    now = submission.script.request
    rendered = {
        **task_request(run.record.first_request, run.record.packing),
        "job-name": run.record.job_name,
    }
    return tuple(
        Note(
            "edited-line-overridden",
            f"--{name}={value} overrides the script's edited line #SBATCH --{name}={now[name]}.",
            {"option": name, "value": value, "edited": now[name]},
        )
        for name, value in submission.overrides.options
        if name in submission.batch.changes and name in now and now[name] != rendered.get(name)
    )


def out_of_memory_again(run: Run, submission: PlannedSubmission) -> tuple[int, ...]:
    """Return the rows of a submission that ran out of memory and would get no more memory now.

    Call it before the submission: after that their last end is no longer known.
    """
    now, journal_state = submission.script.sha256, run.journal_state
    now_requested = submission.batch.changes.without(FIRST_ONLY)
    return tuple(
        row
        for row in submission.batch.rows
        if (last := journal_state.submission_of(row)) is not None
        and last.intent.script_sha256 == now
        and journal_state.requests.get(row, NO_REQUEST).without(FIRST_ONLY) == now_requested
        and run.statuses.seen(row).state is State.OUT_OF_MEMORY
    )


def submission_output_pattern(run: Run, number: int) -> str:
    """Return sbatch's ``--output`` for the tasks of a submission; ``%`` in the path is doubled."""
    return task_output_pattern(str(run.directory.submission_folder(number)))


def task_output_pattern(folder: str) -> str:
    """Return ``--output`` for a submission's folder (sbatch(1), filename pattern)."""
    return folder.replace("%", "%%") + "/tasks/%a.log"


def new_token() -> str:
    """Return eight random characters that are safe in the shell, file names and job names."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "".join(secrets.choice(alphabet) for _ in range(8))


def check_task_table(run: Run, number: int) -> None:
    """Refuse a first task table that was changed after the run was created (promise 2).

    Raises:
        DamagedRunError: the table has changed.
    """
    if run.record.direct or number != 1:
        return
    path = run.directory.task_table_path(number)
    if sha256_hex(read_required_file(path)) != run.record.first_sha256:
        raise DamagedRunError(
            f"{path} was changed after the run was created.",
            "A task table must never change: restore it. To leave slices out, edit the script's "
            "#SBATCH --array line or use --only.",
            code="table-changed",
            path=str(path),
        )
