"""The run and the slices of a verb that needs a slice: ``logs`` and ``explain``."""

from __future__ import annotations

from collections.abc import Sequence

from slurmslice.actions.open_run import open_run
from slurmslice.cli.options import locate_run
from slurmslice.errors import BadInputError
from slurmslice.run.run import Run
from slurmslice.system.shell_quoting import quote


def named_slices(names: tuple[str, ...], verb: str) -> tuple[Run, Sequence[int]]:
    """Return the run and the rows of the slices that a verb with ``[RUN] KEY...`` names.

    Args:
        names: the typed words.
        verb: the verb.

    Raises:
        BadInputError: the run or a slice does not exist; or only a run was named.
    """
    keys = names
    try:
        if len(names) == 1:
            found = locate_run.find_run(None, changing=False)
        else:
            found, keys = locate_run.find_run_and_keys(names, changing=False)
        run = open_run(found)
        return run, run.table.select(keys)
    except BadInputError as why:
        if len(names) == 1 and locate_run.is_run_name(names[0]):
            raise BadInputError(
                f"{names[0]!r} is a run; no slice of it was named.",
                f"Type slurmslice {verb} {quote(names[0])} KEY",
                code="missing-slice",
                run=names[0],
            ) from why
        raise
