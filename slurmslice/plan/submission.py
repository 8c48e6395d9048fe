"""A planned submission: the options and slices that sbatch would get from the present script.

The options in force are read from the script's directives, hand edits included, and from sbatch's
command line. They are never remembered from the creation of the run (promise 7).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmslice.engines.protocol import SubmitRequest
from slurmslice.errors import BadInputError, DamagedRunError
from slurmslice.notes import Note
from slurmslice.plan.batches import Batch
from slurmslice.run.directory import RunDirectory, read_required_file, sha256_hex
from slurmslice.run.journal import Intent
from slurmslice.run.journal_state import SubmissionStatus
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import ArrayExpression, compress_indices, parse_array
from slurmslice.sbatch.options import FIRST_ONLY
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.script.source_line import find_source_line
from slurmslice.spec.command import quote, quote_words
from slurmslice.spec.packing import task_request, tasks_at_once
from slurmslice.status.states import State


@dataclass(frozen=True, slots=True)
class RunScript:
    """The script of a run as it is now, hand edits included.

    Attributes:
        text: the whole text; bytes that are not UTF-8 are surrogates.
        sha256: its digest.
        request: the options of its ``#SBATCH`` lines.
    """

    text: str
    sha256: str
    request: ResourceRequest


def read_script(run: Run) -> RunScript:
    """Read the run's script.

    Raises:
        DamagedRunError: there is no script.
        BadInputError: a directive cannot be understood.
    """
    data = read_required_file(run.directory.script)
    text = data.decode("utf-8", "surrogateescape")
    return RunScript(text, sha256_hex(data), ResourceRequest.from_script(text))


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
    """

    number: int
    token: str
    job_name: str
    batch: Batch
    overrides: ResourceRequest
    script: RunScript
    table_rows: Sequence[int]
    arguments: tuple[str, ...] = ()

    @property
    def request(self) -> ResourceRequest:
        """Return every option in force for a task, overrides included."""
        return self.script.request.overridden_by(self.overrides)

    def order(self, run: Run) -> SubmitRequest:
        """Return the engine's form of the submission."""
        return SubmitRequest(
            number=self.number,
            job_name=self.job_name,
            token=self.token,
            script=run.directory.script,
            folder=run.directory.submission(self.number),
            array=self.batch.array,
            overrides=self.overrides,
            arguments=self.arguments,
            request=self.request.verify(),
        )

    def intent(self, run: Run, at: float, table_sha256: str = "") -> Intent:
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
        )


def script_request(run: Run) -> ResourceRequest:
    """Read the options of the run's script, hand edits included.

    Raises:
        DamagedRunError: there is no script.
        BadInputError: a directive cannot be understood.
    """
    return read_script(run).request


def check_script(run: Run, script: RunScript) -> None:
    """Refuse a script that bash cannot read, or that would run other slices.

    Raises:
        DamagedRunError: there is no script, or the library has changed.
        BadInputError: bash cannot read the edited script, or its source line was edited.
    """
    text = script.text
    check_library(run)
    if not run.directory.script_edited:
        return
    _check_source_line(run, text)
    bash = "bash" in text.partition("\n")[0]
    # `bash -n` reports extglob patterns (bash(1), shopt) as errors, because it does not set it.
    if bash and "extglob" not in text:
        from slurmslice.script.render import check_bash_syntax

        check_bash_syntax(text, str(run.directory.script))


def check_library(run: Run) -> None:
    """Refuse a run with a changed library: Slurm keeps a copy of the script, not of the library.

    Raises:
        DamagedRunError: the library is missing, unreadable or changed; the hint restores it.
    """
    if fault := library_fault(run):
        raise DamagedRunError(
            f"{run.directory.library} {fault}.",
            _library_restore_hint(run),
            code="library-changed",
            path=run.directory.library,
        )


def library_fault(run: Run) -> str:
    """Return the fault of the run's library, as a predicate; empty if there is none."""
    return run.directory.library_fault(run.record.library_sha256)


def library_note(run: Run, fault: str) -> Note:
    """Return a note on the fault of the library, with the command that restores it."""
    message = (
        f"{run.directory.library} {fault}. Until it is restored, nothing is submitted, and no "
        f"slice becomes COMPLETED.\n{_library_restore_hint(run)}"
    )
    return Note("library-changed", message, {"path": str(run.directory.library)})


def _library_restore_hint(run: Run) -> str:
    """Return the command that restores the library."""
    from slurmslice.script.render import library_bytes, library_path

    if sha256_hex(library_bytes()) != run.record.library_sha256:
        return f"Only slurmslice {run.record.version}, which created the run, has its text."
    words = ["install", "-m", "444", str(library_path()), str(run.directory.library)]
    return f"Restore it: {quote_words(words)}"


def _check_source_line(run: Run, text: str) -> None:
    """Refuse an edited script whose source line would run other slices.

    Raises:
        BadInputError: there is no such line, or it names another form or pack.
    """
    found, record = find_source_line(text), run.record
    form, pack = "direct" if record.direct else "table", record.packing.pack
    if found is None:
        raise BadInputError(
            f"{run.directory.script} has no line that sources {run.directory.library}.",
            f'Restore it: source {quote(str(run.directory.library))} {form} … -- "$@"',
            code="source-line-missing",
        )
    if (found.form, found.pack) != (form, pack):
        raise BadInputError(
            f"The source line of {run.directory.script} says {found.form} pack={found.pack}, but "
            "the "
            f"run was created with {form} pack={pack}.",
            "Restore that line. For another number of slices per task create another run: "
            "run … --pack K",
            code="source-line-changed",
        )


def script_job_name(run: Run, script: ResourceRequest) -> str:
    """Return the job name in the script; a person may have changed it."""
    return script.get("job-name", run.record.job_name)


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


def script_rows_of_index(run: Run, index: int) -> Sequence[int]:
    """Return the rows that an index of the script's own submission carries.

    Raises:
        BadInputError: it carries none.
    """
    pack = run.record.packing.pack
    if run.record.direct:
        row = run.table.row_of(str(index))
        found: Sequence[int] = () if row is None else (row,)
    else:
        found = run.first_rows[index * pack : (index + 1) * pack]
    if not found:
        raise BadInputError(
            f"The script's --array holds index {index}, but this run has no slice for it.",
            f"Edit that line of {run.directory.script}.",
            code="array-beyond-slices",
            index=index,
        )
    return found


def check_script_paths(run: Run, script: RunScript) -> None:
    """Refuse a script whose tasks would write outside this run, or overwrite their logs.

    Raises:
        BadInputError: the run was moved or copied, or ``--output`` or ``--open-mode`` was edited.
    """
    output = script.request.get("output", "").replace("%%", "%")
    folder, ours = os.path.dirname(output), run.directory.submission(1) / "tasks"
    if not os.path.isdir(folder) or not os.path.samefile(folder, ours):
        raise BadInputError(
            f"The script's --output leads to {folder!r}, but the run is in {run.directory.path}.",
            f"If the run was moved, change --output and the source line in {run.directory.script}. "
            "If its working directory was moved too, also change the cd line.",
            code="script-output-elsewhere",
            path=folder,
        )
    line = find_source_line(script.text)
    if line and not line.names(run.directory.library):
        raise BadInputError(
            f"The script's source line names {line.library}, but the run is in "
            f"{run.directory.path}.",
            f"If the run was moved, also change the source line in {run.directory.script}.",
            code="source-line-elsewhere",
        )
    if (mode := script.request.get("open-mode", "missing")) != "append":
        raise BadInputError(
            f"The script's --open-mode is {mode}, not append: a task that Slurm requeues would "
            "overwrite the record of its completed slices.",
            f"Restore #SBATCH --open-mode=append in {run.directory.script}, and in your template.",
            code="script-open-mode",
            value=mode,
        )


def refuse_copied_run(run: Run) -> None:
    """Refuse to change a copy of a run: the jobs in its journal belong to the other run.

    Raises:
        BadInputError: the script's ``--output`` leads to another run with the same token.
    """
    try:
        output = script_request(run).get("output", "").replace("%%", "%")
        other = RunDirectory(Path(output).parents[3])  # run/submissions/001/tasks/%a.log
        copied = (
            not os.path.samefile(other.path, run.directory.path)
            and other.record().token == run.record.token
        )
    except (BadInputError, DamagedRunError, OSError, IndexError):
        return  # the script is unreadable, or there is no other run: this one was moved
    if copied:
        raise BadInputError(
            f"{run.directory.path} is a copy: its jobs belong to the run in {other.path}.",
            "Use that run. To run the same slices once more, create a run with another --name.",
            code="run-is-a-copy",
            run=run.directory.path.name,
            other=str(other.path),
        )


def overridden_edit_notes(run: Run, submission: PlannedSubmission) -> tuple[Note, ...]:
    """List the hand-edited directives that a submission's request overrides, one note each.

    Raises:
        DamagedRunError: there is no script.
        BadInputError: a directive cannot be understood.
    """
    now = submission.script.request
    rendered = task_request(run.record.first_request, run.record.packing)
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


def task_throttle(run: Run, script: ResourceRequest) -> int | None:
    """Return the number of array tasks that may run at once; None for no limit.

    It is the newest ``throttle N`` of a person, or else the script's.
    """
    if run.journal_state.throttled:
        return tasks_at_once(run.journal_state.throttle, run.record.packing.at_once)
    return script_array(script).throttle


def script_array(script: ResourceRequest) -> ArrayExpression:
    """Return the script's ``--array``.

    Raises:
        BadInputError: the script has none.
    """
    text = script.get("array")
    if text is None:
        raise BadInputError(
            "The script has no #SBATCH --array line.",
            "Restore it: it names the slices to submit.",
            code="no-array-line",
        )
    return parse_array(text)


def submission_output_pattern(run: Run, number: int) -> str:
    """Return sbatch's ``--output`` for the tasks of a submission; ``%`` in the path is doubled."""
    return task_output_pattern(str(run.directory.submission(number)))


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
    path = run.directory.task_table(number)
    if sha256_hex(read_required_file(path)) != run.record.first_sha256:
        raise DamagedRunError(
            f"{path} was changed after the run was created.",
            "A task table must never change: restore it. To leave slices out, edit the script's "
            "#SBATCH --array line or use --only.",
            code="table-changed",
            path=str(path),
        )
