"""Notes on a job script that a person brings as the command: ``-- bash hand.sh``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from slurmslice import sbatch
from slurmslice.errors import BadInputError
from slurmslice.notes import Note
from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.command import Command, ShellText
from slurmslice.spec.run_spec import RunRecord
from slurmslice.system.shell_quoting import quote

_DIRECTIVE = re.compile(r"^#SBATCH[ \t]", re.MULTILINE)
_JOB_IDS = re.compile(r"(?<![A-Za-z0-9_])SLURM_(ARRAY_JOB_ID|JOB_ID|JOBID)(?![A-Za-z0-9_])")
_FIRST_LINE = re.compile(r"#![ \t]*(?:\S*/env[ \t]+(?:-S[ \t]*)?)?(\S+)[ \t]*(.*)")
_SHELLS = frozenset({"bash", "sh", "dash", "zsh", "ksh", "csh", "tcsh"})
_OF_THE_RUN = frozenset({*sbatch.OWNED_OPTIONS, "comment"})


def job_script_notes(
    run: RunRecord, texts: Iterable[tuple[str, str]], files: Iterable[tuple[str, str]]
) -> Iterator[Note]:
    """Yield notes on the texts and files of a run that were written for a job of their own.

    Args:
        run: the run.
        texts: its texts, each with its place.
        files: the text files that the command names: path and text.
    """
    scripts = list(files)
    for path, text in scripts:
        if _DIRECTIVE.search(text) and (missing := _missing_options(text, run)):
            yield Note(
                "script-options-unused",
                f"the #SBATCH lines of {path} do not count here. Add: {missing}\n"
                f"To make a run of it with all of its lines: slurmslice import {quote(path)}",
                {"path": path, "options": dict(missing)},
            )
        yield from _other_first_line(path, text, run.command)
    for where, text in (*texts, *scripts):
        yield from _ids_of_the_task(where, text, run)


def _other_first_line(path: str, text: str, command: Command) -> Iterator[Note]:
    """Yield a note if the script's ``#!`` line has another shell or options than the command."""
    words = () if isinstance(command, ShellText) else command.words
    first = _FIRST_LINE.match(text)
    if not first or path not in words[1:] or words[0].rpartition("/")[2] not in _SHELLS:
        return
    named = first[1].rpartition("/")[2], *first[2].split()
    typed = words[0].rpartition("/")[2], *words[1 : words.index(path)]
    if named[0] != typed[0] or not set(named[1:]) <= set(typed[1:]):
        line = first[0].strip()
        yield Note(
            "first-line-unused",
            f"the first line of {path}, {line}, does not count here. To run the file by it: "
            f"chmod +x {quote(path)}, and {quote(path if '/' in path else f'./{path}')} alone",
            {"path": path, "line": line},
        )


def _missing_options(script: str, run: RunRecord) -> ResourceRequest:
    """Return the options of a script's lines that the run does not have, with any value."""
    try:
        asked = ResourceRequest.from_script(script)
    except BadInputError:  # sbatch would not read it either
        return ResourceRequest()
    given = {*run.request, *run.per_slice}
    if given.intersection(MEMORY_OPTIONS):
        given.update(MEMORY_OPTIONS)
    return asked.without(given | _OF_THE_RUN)


def _ids_of_the_task(where: str, text: str, run: RunRecord) -> Iterator[Note]:
    """Yield a note on the first use of each id of a job that is not the slice's own."""
    seen = set()
    for number, line in enumerate(text.splitlines(), 1):
        for found in _JOB_IDS.finditer(line.partition("#")[0]):
            name = found[0]
            if name in seen or not (why := _why(name, run)):
                continue
            seen.add(name)
            place = f"{where}, line {number}," if number > 1 else where
            yield Note(
                "job-id-of-task",
                f"{place} uses {name}, {why}",
                {"where": where, "line": number, "variable": name},
            )


def _why(name: str, run: RunRecord) -> str:
    """Return why an id of the job is not the slice's own; empty if it is (``docs/adr/0015``)."""
    if name == "SLURM_ARRAY_JOB_ID" and run.numbers is not None:
        why = "which is not set here: a requeue by it fails, and names lack it"
        return "" if run.direct else why
    if run.packing.pack == 1:
        return ""
    when = "at the same time" if run.packing.at_once > 1 else "one after another"
    return (
        f"which the slices of a task have {when}: a folder with this name is not the slice's own. "
        "Add $SLICE to the name, or leave out --pack"
    )
