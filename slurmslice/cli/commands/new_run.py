"""The creation of a run for ``run`` and ``render``, if there is no run in its place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from slurmslice.actions.create import RunInputs, create_run
from slurmslice.actions.replace_refused_run import is_replaceable, replace_refused_run
from slurmslice.cli.options import locate_run
from slurmslice.cli.output.console import emit_note, printable_line
from slurmslice.cli.output.preview import relative_path
from slurmslice.engines.protocol import Engine, TaskLimits
from slurmslice.errors import BadInputError
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.spec.run_spec import RunRecord
from slurmslice.system.shell_quoting import quote, quote_words


def find_existing(
    path: Path, record: RunRecord, engine: Engine
) -> tuple[RunDirectory | None, Run | None]:
    """Look for an existing run in the place of a new one.

    Returns:
        the existing run if it is the same as the new one, and the existing run if the new one
        replaces it, because Slurm rejected each of its submissions. At most one is not None.

    Raises:
        BadInputError: another run is there. The message lists the differences, the hint the ways
        out.
    """
    if not os.path.exists(path):  # also False for a name that is too long; creation reports that
        return None, None
    directory = RunDirectory.open(path)
    different = directory.read_record().differences(record)
    if not different:
        return directory, None
    there = Run(directory, engine)
    ours = (there.record.engine, there.record.cluster) == (record.engine, record.cluster)
    if not (ours and directory.foreign_owner is None and is_replaceable(there)):
        raise BadInputError(
            f"Another run {record.name} exists already:\n  "
            + "\n  ".join(map(printable_line, different)),
            "\n".join(_ways_out(there, record, different)),
            code="run-differs",
            run=record.name,
            differences=tuple(different),
        )
    return None, there


def create_or_replace_run(
    record: RunRecord, new: RunInputs, path: Path, replaced: Run | None
) -> RunDirectory:
    """Create the run; replace the given one if there is one."""
    if replaced is None:
        directory = create_run(record, new, path)
    else:
        directory = replace_refused_run(replaced, record, new)
        message = f"Replaced the earlier run {record.name}: Slurm had rejected it."
        emit_note("run-replaced", message, run=record.name)
    locate_run.remember_run(path)
    return directory


def refuse_if_never_runs(limits: TaskLimits | None) -> None:
    """Refuse a run whose slices can never start.

    Raises:
        BadInputError: no slice of the run can ever start.
    """
    if limits is not None and limits.impossible_reason:
        raise BadInputError(
            f"Run not created: its slices can never start ({limits.impossible_reason}).",
            "`slurmslice doctor` shows what the cluster has. To submit anyway: slurmslice render "
            "…, then sbatch SCRIPT.",
            code="never-runs",
            reason=limits.impossible_reason,
        )


_SCRIPT_DIFFERENCES = ("command:", "setup:", "check:")


def _ways_out(there: Run, record: RunRecord, different: list[str]) -> Iterator[str]:
    name = quote(record.name)
    yield f"To make a new run:          --name {record.name}-2"
    if all(line.startswith("options:") for line in different):
        had, now = there.record.request, record.request
        changed = now.differing_from(had).to_argv()
        if had.keys() <= now.keys():
            yield f"To continue it, changed:    slurmslice run {name} {quote_words(changed)}"
        else:
            yield (
                f"To continue it, changed:    edit the #SBATCH lines of "
                f"{relative_path(there.directory.script)}, then slurmslice run {name}"
            )
    if any(line.startswith(_SCRIPT_DIFFERENCES) for line in different):
        yield f"To edit its command:        {quote(relative_path(there.directory.script))}"
    if not there.journal_state.submissions:
        path = quote(relative_path(there.directory.path))
        yield f"To delete it (nothing was submitted yet):  rm -r {path}"
