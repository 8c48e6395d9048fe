"""A submission before it is made: what would be sent, read from the script as it stands now.

What is in force is read from the script's directives, hand edits included, and from the options
given beside it, never from memory (promise 7).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmslice.command import join, quote
from slurmslice.engines import Order
from slurmslice.errors import BadInput, DamagedRun
from slurmslice.journal import Intent
from slurmslice.ledger import Fate
from slurmslice.notes import Note
from slurmslice.packing import task_request, tasks_at_once
from slurmslice.plan import Batch
from slurmslice.ranges import ArrayExpression, compress, parse_array
from slurmslice.resources import NO_REQUEST, ResourceRequest
from slurmslice.run import Run
from slurmslice.rundir import RunDirectory, digest, read_or_damaged
from slurmslice.source_line import find_source_line
from slurmslice.states import State


@dataclass(frozen=True, slots=True)
class RunScript:
    """The script of a run as it stands, edits by hand included.

    Attributes:
        text: all of it; bytes that are not UTF-8 are surrogates.
        sha256: its digest.
        request: the options of its ``#SBATCH`` lines.
    """

    text: str
    sha256: str
    request: ResourceRequest


def read_script(run: Run) -> RunScript:
    """Read the run's script.

    Raises:
        DamagedRun: there is no script.
        BadInput: a directive cannot be understood.
    """
    data = read_or_damaged(run.place.script)
    text = data.decode("utf-8", "surrogateescape")
    return RunScript(text, digest(data), ResourceRequest.from_script(text))


@dataclass(frozen=True, slots=True)
class PlannedSubmission:
    """One submission that could be made.

    Attributes:
        number: the number that it gets.
        token, job_name: what it will be found by.
        batch: rows and indices; ``batch.changes`` holds the options of a slice's request that
            differ from the script's.
        overrides: all sbatch options given beside the script.
        script: the script.
        table_rows: the rows of its task table (all of the script's own, in the first).
        arguments: the script's.
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
        """Every option in force for a task, overrides included."""
        return self.script.request.overridden_by(self.overrides)

    def order(self, run: Run) -> Order:
        """As the engine gets it."""
        return Order(
            number=self.number,
            job_name=self.job_name,
            token=self.token,
            script=run.place.script,
            folder=run.place.submission(self.number),
            array=self.batch.array,
            overrides=self.overrides,
            arguments=self.arguments,
            request=self.request.verify(),
        )

    def intent(self, run: Run, at: float, table_sha256: str = "") -> Intent:
        """As the journal gets it."""
        return Intent(
            number=self.number,
            token=self.token,
            job_name=self.job_name,
            array=str(self.batch.array),
            rows=str(compress(self.batch.rows)),
            overrides=self.overrides,
            changes=self.batch.changes,
            script_sha256=self.script.sha256,
            table_sha256=table_sha256,
            at=at,
            pack=run.record.packing.pack,
        )


def script_request(run: Run) -> ResourceRequest:
    """The options of the run's script, edits by hand included.

    Raises:
        DamagedRun: there is no script.
        BadInput: a directive cannot be understood.
    """
    return read_script(run).request


def check_script(run: Run, script: RunScript) -> None:
    """Refuse a script that bash cannot read, or that would run other slices, or run them otherwise.

    Raises:
        DamagedRun: there is no script, or the library is not as it was made.
        BadInput: the script was edited so that bash cannot read it, or its source line was.
    """
    text = script.text
    check_library(run)
    if not run.place.script_edited:
        return
    _check_source_line(run, text)
    bash = "bash" in text.partition("\n")[0]
    # What extglob (bash(1), shopt) lets stand is a mistake to a bash that only reads.
    if bash and "extglob" not in text:
        from slurmslice.script import check_syntax

        check_syntax(text, str(run.place.script))


def check_library(run: Run) -> None:
    """Refuse a run whose library is not as it was made: Slurm spools the script, not the library.

    Raises:
        DamagedRun: it is missing, unreadable or changed; the hint restores it.
    """
    if fault := run.place.library_fault(run.record.library_sha256):
        raise DamagedRun(
            f"{run.place.library} {fault}.",
            restore_hint(run),
            code="library-changed",
            path=run.place.library,
        )


def restore_hint(run: Run) -> str:
    """What to type to restore the library."""
    from slurmslice.script import library, library_path

    if digest(library()) != run.record.library_sha256:
        return f"Only slurmslice {run.record.version}, which made the run, has its text."
    words = ["install", "-m", "444", str(library_path()), str(run.place.library)]
    return f"Restore it: {join(words)}"


def _check_source_line(run: Run, text: str) -> None:
    """Refuse an edited script whose source line would run other slices.

    Raises:
        BadInput: there is no such line, or it has another form or pack.
    """
    found, record = find_source_line(text), run.record
    form, pack = "direct" if record.direct else "table", record.packing.pack
    if found is None:
        raise BadInput(
            f"{run.place.script} has no line that sources {run.place.library}.",
            f'Set it back: source {quote(str(run.place.library))} {form} … -- "$@"',
            code="source-line-missing",
        )
    if (found.form, found.pack) != (form, pack):
        raise BadInput(
            f"The source line of {run.place.script} says {found.form} pack={found.pack}, and the "
            f"slices were given to array tasks by {form} pack={pack}.",
            "Set it back. Another number of slices a task is another run: run … --pack K",
            code="source-line-changed",
        )


def job_name_of(run: Run, script: ResourceRequest) -> str:
    """The job name that the script gives; a person may have changed it."""
    return script.get("job-name", run.record.job_name)


def untouched(run: Run) -> bool:
    """Whether no submission was ever taken, so that the script alone says what goes in."""
    taken = {Fate.SUBMITTED, Fate.INTENDED}
    return all(submission.fate not in taken for submission in run.ledger.submissions.values())


def by_script(run: Run, script: RunScript, name: str) -> PlannedSubmission:
    """The first submission exactly as the script has it: what ``sbatch script.sh`` does."""
    array = script_array(script.request)
    rows = tuple(row for index in sorted(array) for row in rows_of_index(run, index))
    batch, token = Batch(rows, array), run.record.token
    return PlannedSubmission(1, token, name, batch, NO_REQUEST, script, run.first_rows)


def rows_of_index(run: Run, index: int) -> Sequence[int]:
    """The rows that an index of the script's own submission carries.

    Raises:
        BadInput: it carries none.
    """
    pack = run.record.packing.pack
    if run.record.direct:
        row = run.table.row_of(str(index))
        found: Sequence[int] = () if row is None else (row,)
    else:
        found = run.first_rows[index * pack : (index + 1) * pack]
    if not found:
        raise BadInput(
            f"The script's --array names index {index}, and this run has no slice for it.",
            f"Edit that line of {run.place.script}.",
            code="array-beyond-slices",
            index=index,
        )
    return found


def check_place(run: Run, script: RunScript) -> None:
    """Refuse a script whose tasks write elsewhere than to this run, or over what stands there.

    Raises:
        BadInput: the run was moved or copied, or ``--output`` or ``--open-mode`` was edited.
    """
    output = script.request.get("output", "").replace("%%", "%")
    folder, ours = os.path.dirname(output), run.place.submission(1) / "tasks"
    if not os.path.isdir(folder) or not os.path.samefile(folder, ours):
        raise BadInput(
            f"The script's --output leads to {folder!r}, and the run is in {run.place.path}.",
            f"If it was moved, change --output and the source line in {run.place.script}; so its "
            "cd, if what it works on was.",
            code="script-output-elsewhere",
            path=folder,
        )
    line = find_source_line(script.text)
    if line and not line.names(run.place.library):
        raise BadInput(
            f"The script's source line names {line.library}, and the run is in {run.place.path}.",
            f"If it was moved, change the source line in {run.place.script} as well.",
            code="source-line-elsewhere",
        )
    if (mode := script.request.get("open-mode", "not there")) != "append":
        raise BadInput(
            f"The script's --open-mode is {mode}, and not append: a task that Slurm starts again "
            "would wipe out which of its slices are done.",
            f"Set it back in {run.place.script}, and in the template if it has one.",
            code="script-open-mode",
            value=mode,
        )


def check_copy(run: Run) -> None:
    """Refuse to change what is a copy: the jobs in its journal are those of the other run.

    Raises:
        BadInput: its script leads to another run, which has the same token.
    """
    try:
        output = script_request(run).get("output", "").replace("%%", "%")
        other = RunDirectory(Path(output).parents[3])  # run/submissions/001/tasks/%a.log
        copied = (
            not os.path.samefile(other.path, run.place.path)
            and other.record().token == run.record.token
        )
    except (BadInput, DamagedRun, OSError, IndexError):
        return  # no script that can be read, or no other run: it was moved
    if copied:
        raise BadInput(
            f"{run.place.path} is a copy of the run in {other.path}, and its jobs are that one's.",
            "Name that one; for the same slices once more make a run with another --name.",
            code="run-is-a-copy",
            run=run.place.path.name,
            other=str(other.path),
        )


def over_edited(run: Run, submission: PlannedSubmission) -> tuple[Note, ...]:
    """What of a submission's request stands over a directive that was edited by hand, a note each.

    Raises:
        DamagedRun: there is no script.
        BadInput: a directive cannot be understood.
    """
    now = submission.script.request
    rendered = task_request(run.record.first_request, run.record.packing)
    return tuple(
        Note(
            "edited-line-overridden",
            f"--{name}={value} counts, not the edited line #SBATCH --{name}={now[name]} of the "
            "script.",
            {"option": name, "value": value, "edited": now[name]},
        )
        for name, value in submission.overrides.options
        if name in submission.batch.changes and name in now and now[name] != rendered.get(name)
    )


def starved_again(run: Run, submission: PlannedSubmission) -> tuple[int, ...]:
    """The rows of a submission that went over their memory, and would be given no more of it.

    Before it is sent: then it is still known how they ended.
    """
    now, ledger = submission.script.sha256, run.ledger
    return tuple(
        row
        for row in submission.batch.rows
        if (last := ledger.of_row(row)) is not None
        and last.intent.script_sha256 == now
        and ledger.requests.get(row, NO_REQUEST) == submission.batch.changes
        and run.standings.seen(row).state is State.OUT_OF_MEMORY
    )


def throttle(run: Run, script: ResourceRequest) -> int | None:
    """How many array tasks of the run may run at once: the newest ``throttle N``, or the script's.

    None for no limit.
    """
    if run.ledger.throttled:
        return tasks_at_once(run.ledger.throttle, run.record.packing.at_once)
    return script_array(script).throttle


def script_array(script: ResourceRequest) -> ArrayExpression:
    """The array that the script names.

    Raises:
        BadInput: it names none.
    """
    text = script.get("array")
    if text is None:
        raise BadInput(
            "The script has no #SBATCH --array line.",
            "Put it back: it says which slices go in.",
            code="no-array-line",
        )
    return parse_array(text)


def output_pattern(run: Run, number: int) -> str:
    """Where tasks' own output goes: sbatch's ``--output``, in which ``%`` is doubled."""
    return tasks_pattern(str(run.place.submission(number)))


def tasks_pattern(folder: str) -> str:
    """``--output`` for a submission's folder (sbatch(1), filename pattern)."""
    return folder.replace("%", "%%") + "/tasks/%a.log"


def new_token() -> str:
    """Eight random characters that no shell, file system or Slurm takes amiss."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "".join(secrets.choice(alphabet) for _ in range(8))


def check_table(run: Run, number: int) -> None:
    """Refuse a first task table that was changed since the run was made (promise 2).

    Raises:
        DamagedRun: it is not what it was.
    """
    if run.record.direct or number != 1:
        return
    path = run.place.task_table(number)
    if digest(read_or_damaged(path)) != run.record.first_sha256:
        raise DamagedRun(
            f"{path} was changed since the run was made.",
            "A task table never changes: put it back as it was. To leave slices out, edit the "
            "script's #SBATCH --array line or use --only.",
            code="table-changed",
            path=str(path),
        )
