"""Let a run grow: add the slices that its source has now, and close it (docs/adr/0034)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from slurmslice.actions.find_done import find_done
from slurmslice.errors import BadInputError
from slurmslice.run.directory import sha256_hex
from slurmslice.run.run import Run
from slurmslice.run.slice_changes import RunClosed, SlicesChanged
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.slices.keys import are_all_canonical
from slurmslice.slices.slice_table import SliceTable
from slurmslice.slices.sources.input_form import FormSlices
from slurmslice.slices.table_difference import TableDifference
from slurmslice.slices.table_growth import (
    changed_part,
    compare_tables,
    part_rows,
)
from slurmslice.status.states import State
from slurmslice.system.shell_quoting import quote


def check_same_source(run: Run, given: FormSlices) -> None:
    """Refuse slices that cannot belong to a run.

    Raises:
        BadInputError: they are from another slice option (``other-form``).
    """
    if given.form != run.record.form:
        raise BadInputError(
            f"The slices of {run.record.name} are from {run.record.form}, not from {given.form}.",
            f"Give {run.record.form} again; for other slices, make another run.",
            code="other-form",
            form=run.record.form,
            given=given.form,
        )


def check_folder(run: Run) -> None:
    """Refuse another folder than the run's: relative paths would name other files.

    Raises:
        BadInputError: this is another folder.
    """
    here, there = os.getcwd(), run.record.work_dir
    if here != there and not (os.path.isdir(there) and os.path.samefile(here, there)):
        raise BadInputError(
            f"The slices of {run.record.name} were named in {there}, and this is {here}.",
            f"Go there first: cd {quote(there)}",
            code="other-folder",
            folder=there,
        )


def find_difference(run: Run, given: FormSlices) -> TableDifference:
    """Return what is new in the source of a run.

    Raises:
        BadInputError: the new slices cannot belong to the run.
    """
    difference = compare_tables(run.table, given.table, by_place=given.by_place)
    if difference.changed:
        raise _changed_error(run, difference)
    if run.record.direct and difference.added:
        _check_direct_keys(run, list(difference.added))
    return difference


def _changed_error(run: Run, difference: TableDifference) -> BadInputError:
    rows = sorted(difference.changed)
    key = run.table.keys[rows[0]]
    return BadInputError(
        f"The source has other values for {len(rows)} slices of {run.record.name}: {key!r} ….",
        "Make another run.",
        code="slices-changed",
        slices=len(rows),
    )


def _check_direct_keys(run: Run, keys: Sequence[str]) -> None:
    """Refuse keys that cannot be an array index, in a run whose indices are the keys.

    Raises:
        BadInputError: a key is no number that Slurm accepts as an index.
        NoAnswerError: Slurm did not tell its limits.
    """
    most = run.engine.queue_capacity(run.record.first_request.verify()).max_array_size
    good = are_all_canonical(keys) and max(map(int, keys)) < most
    if good:
        return
    bad = next(key for key in keys if not (are_all_canonical([key]) and int(key) < most))
    raise BadInputError(
        f"The slice {bad!r} cannot be added: the slices of {run.record.name} are the indices of "
        f"its arrays, and here an index is a number below {most}.",
        "Make another run with --open: it takes any slice.",
        code="beyond-array-size",
        key=bad,
        most=most,
    )


def rows_are_computed(run: Run, difference: TableDifference) -> bool:
    """Tell if the script computes the right row for each new slice, or finds it in its table."""
    numbers = run.record.numbers
    if not run.record.direct:
        return True
    if numbers is None or not numbers.one_range:
        return False
    places = enumerate(difference.added, start=len(run.table))
    return all(int(key) == numbers.lowest + row * numbers.step for row, key in places)


def change_slices(run: Run, given: FormSlices) -> TableDifference:
    """Add what is new to a run; the file first, then the decision.

    Raises:
        BadInputError: as ``find_difference``.
        LockedError: another process holds the lock for too long.
    """
    with run.directory.lock("extend"):
        run.reload()
        difference = find_difference(run, given)
        if difference:
            number = run.journal_state.changes.next_number
            part = changed_part(run.table, difference, direct=run.record.direct)
            rows = part_rows(run.table, difference)
            run.directory.write_slices(number, part.data)
            run.decide(
                SlicesChanged(
                    number, str(compress_indices(rows)), len(run.table) + len(difference.added),
                    sha256_hex(part.data), run.clock(), _done_before(run, part, rows),
                )
            )  # fmt: skip
        return difference


def _done_before(run: Run, part: SliceTable, rows: Sequence[int]) -> str:
    """Return the new rows whose check files are there (``--skip-done``), as an expression."""
    if not run.record.skip_done:
        return ""
    done = [rows[at] for at in find_done(run.record.check, part).rows]
    new = [row for row in done if row >= len(run.table)]
    return str(compress_indices(new)) if new else ""


def choose_added(run: Run) -> Sequence[int]:
    """Choose the slices that were added after the run was made and wait."""
    return [row for row in run.statuses.rows_in({State.WAITING}) if row >= run.record.slices]


def close_run(run: Run) -> bool:
    """Record that the run gets no more slices; False if it was not open."""
    with run.directory.lock("extend"):
        run.reload()
        if run.is_open:
            run.decide(RunClosed(run.clock()))
            return True
    return False
