"""Notes on a job script that a person brings as the command: ``-- bash hand.sh``. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from slurmslice import sbatch
from slurmslice.errors import BadInputError
from slurmslice.notes import Note
from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.run_spec import RunSpec

_DIRECTIVE = re.compile(r"^#SBATCH[ \t]", re.MULTILINE)
_JOB_IDS = re.compile(r"(?<![A-Za-z0-9_])SLURM_(ARRAY_JOB_ID|JOB_ID|JOBID)(?![A-Za-z0-9_])")
_OF_THE_RUN = frozenset({*sbatch.OWNED_OPTIONS, "comment"})


def job_script_notes(
    spec: RunSpec, texts: Iterable[tuple[str, str]], files: Iterable[tuple[str, str]]
) -> Iterator[Note]:
    """Yield notes on the texts and files of a run that were written for a job of their own.

    Args:
        spec: the run.
        texts: its texts, each with its place.
        files: the text files that the command names: path and text.
    """
    scripts = list(files)
    for path, text in scripts:
        if _DIRECTIVE.search(text) and (missing := _missing_options(text, spec)):
            yield Note(
                "script-options-unused",
                f"the #SBATCH lines of {path} do not count here. Add: {missing}",
                {"path": path, "options": dict(missing)},
            )
    if spec.packing.pack > 1:
        for where, text in (*texts, *scripts):
            yield from _shared_ids(where, text, spec.packing.at_once)


def _missing_options(script: str, spec: RunSpec) -> ResourceRequest:
    """Return the options of a script's lines that the run does not have, with any value."""
    try:
        asked = ResourceRequest.from_script(script)
    except BadInputError:  # sbatch would not read it either
        return ResourceRequest()
    given = {*spec.request, *spec.per_slice}
    if given.intersection(MEMORY_OPTIONS):
        given.update(MEMORY_OPTIONS)
    return asked.without(given | _OF_THE_RUN)


def _shared_ids(where: str, text: str, at_once: int) -> Iterator[Note]:
    """Yield a note on the first use of each id of a job, which is no slice's own in a pack."""
    seen = set()
    for number, line in enumerate(text.splitlines(), 1):
        for found in _JOB_IDS.finditer(line.partition("#")[0]):
            name = found[0]
            if name in seen:
                continue
            seen.add(name)
            place = f"{where}, line {number}," if number > 1 else where
            yield Note(
                "job-id-in-pack",
                f"{place} uses {name}, {_why(name, at_once)}",
                {"where": where, "line": number, "variable": name},
            )


def _why(name: str, at_once: int) -> str:
    if name == "SLURM_ARRAY_JOB_ID":
        return "which is not set in a pack: a requeue by it fails, and names lack it"
    when = "at the same time" if at_once > 1 else "one after another"
    return (
        f"which the slices of a task have {when}: a folder with this name is not the slice's own. "
        "Add $SLICE to the name, or leave out --pack"
    )
