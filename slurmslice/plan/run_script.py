"""The script of a run as it is now, hand edits included: its options, its array, and its checks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmslice import sbatch
from slurmslice.errors import BadInputError, DamagedRunError
from slurmslice.notes import Note
from slurmslice.run.directory import RunDirectory, read_required_file, sha256_hex
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import ArrayExpression, parse_array
from slurmslice.sbatch.ignored_lines import find_ignored_lines
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.script.source_line import find_source_line
from slurmslice.spec.packing import throttle_in_tasks
from slurmslice.system.line_ends import byte_order_mark_error, carriage_return_error
from slurmslice.system.shell_quoting import quote, quote_words


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
    if text.startswith("\ufeff"):
        raise byte_order_mark_error(str(run.directory.script))
    if "\r\n" in text:
        line = text[: text.index("\r\n")].count("\n") + 1
        raise carriage_return_error(str(run.directory.script), line)
    _check_interpreter(run, text)
    if mail := script.request.get("mail-type"):  # sbatch drops a wrong value without a word
        sbatch.check_option("mail-type", mail)
    _check_source_line(run, text)
    # `bash -n` reports extglob patterns (bash(1), shopt) as errors, because it does not set it.
    if "extglob" not in text:
        from slurmslice.script.render import check_bash_syntax

        check_bash_syntax(text, str(run.directory.script))


_BASH_LINE = re.compile(r"#![ \t]*(?:\S*/)?(?:env[ \t]+(?:-S[ \t]*)?(?:\S*/)?)?bash(?:[ \t]|$)")


def is_bash_line(line: str) -> bool:
    """Tell if the first line of a script starts bash."""
    return _BASH_LINE.match(line) is not None


def _check_interpreter(run: Run, text: str) -> None:
    """Refuse a script for another shell, because ``slurmslice.sh`` is written for bash.

    Raises:
        BadInputError: the first line does not start bash.
    """
    line = text.partition("\n")[0]
    if not is_bash_line(line):
        raise BadInputError(
            f"{run.directory.script}, line 1: {line!r} does not start bash, and the script needs "
            "bash.",
            "Write #!/bin/bash in that line.",
            code="script-not-bash",
            path=str(run.directory.script),
            line=1,
            value=line,
        )


def ignored_line_notes(run: Run, script: RunScript) -> Iterator[Note]:
    """Describe lines of the edited script that look like ``#SBATCH`` lines and are ignored."""
    if not run.directory.script_edited:
        return
    path = run.directory.script
    for found in find_ignored_lines(script.text):
        message = f"{path}, line {found.number}: sbatch ignores {found.written!r}."
        hint = "Write it above the first command." if found.late else "Write #SBATCH there."
        fields = {"path": str(path), "line": found.number, "written": found.written}
        yield Note("ignored-directive", f"{message} {hint}", fields)


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
    folder, ours = os.path.dirname(output), run.directory.submission_folder(1) / "tasks"
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
        other = RunDirectory(_path_in_script(run))
        copied = (
            not os.path.samefile(other.path, run.directory.path)
            and other.read_record().token == run.record.token
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


def former_path(run: Run) -> str:
    """Return the former path of a run directory that was moved; empty if it was not."""
    try:
        path = _path_in_script(run)
        return "" if path.exists() else str(path)
    except (BadInputError, OSError, IndexError):
        return ""


def _path_in_script(run: Run) -> Path:
    """Return the run directory in the script's ``--output``: RUN/submissions/001/tasks/%a.log."""
    return Path(script_request(run).get("output", "").replace("%%", "%")).parents[3]


def task_throttle(run: Run, script: ResourceRequest) -> int | None:
    """Return the number of array tasks that may run at once; None for no limit.

    It is the newest ``throttle N`` of a person, or else the script's.
    """
    if run.journal_state.throttled:
        return throttle_in_tasks(run.journal_state.throttle, run.record.packing.at_once)
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
