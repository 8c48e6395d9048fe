"""Let a run grow: add the slices that its source has now, and close it (docs/adr/0034)."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from slurmslice.actions.cancel import cancel_in_engine, cancel_request, wait_until_cancelled
from slurmslice.actions.find_done import find_done
from slurmslice.actions.submit_queued import fence_script
from slurmslice.errors import BadInputError, EngineError
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
from slurmslice.status.states import BEGUN_STATES, State
from slurmslice.system.shell_quoting import quote


@dataclass(frozen=True, slots=True)
class Correction:
    """The decision of a person on slices that have begun or are done, and have other values now.

    Attributes:
        again: the keys of those that run again with the new values.
        keep: the others keep their old values.
    """

    again: tuple[str, ...] = ()
    keep: bool = False


NO_CORRECTION = Correction()
"""The decision of a person who has typed none."""


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


def find_difference(
    run: Run, given: FormSlices, decided: Correction = NO_CORRECTION
) -> TableDifference:
    """Return what is new in the source of a run.

    Raises:
        BadInputError: the new slices cannot belong to the run.
    """
    difference = compare_tables(run.table, given.table, by_place=given.by_place)
    difference = _without_kept(run, difference, decided)
    if run.record.direct and difference.added:
        _check_direct_keys(run, list(difference.added))
    return difference


def _without_kept(run: Run, difference: TableDifference, decided: Correction) -> TableDifference:
    """Leave out the changes of slices that keep their values.

    Raises:
        BadInputError: slices have begun or are done, and nothing was decided on them.
    """
    states = {row: run.statuses.state(row) for row in difference.changed}
    used = {row for row, state in states.items() if state in _WITH_OLD_VALUES}
    again = {row for row in run.table.select(decided.again) if states.get(row) is State.COMPLETED}
    if decided.keep:
        kept = used - again
        values = {row: new for row, new in difference.changed.items() if row not in kept}
        return replace(difference, changed=values)
    if used - again:
        raise _changed_error(run, used - again)
    return difference


_WITH_OLD_VALUES = frozenset({State.COMPLETED, State.UNKNOWN, *BEGUN_STATES})
"""The states of slices whose result is, or will be, that of the old values."""


def _changed_error(run: Run, rows: Collection[int]) -> BadInputError:
    first = run.table.keys[min(rows)]
    running = any(run.statuses.state(row) is not State.COMPLETED for row in rows)
    wait = " Wait for the end of those that run, or cancel them." if running else ""
    return BadInputError(
        f"{len(rows)} slices of {run.record.name} have begun or are done, and have other values "
        f"now: {first!r}{' …' if len(rows) > 1 else ''}. Nothing was changed.",
        "To run those that are done again, name them: --again KEYS. To let the others keep their "
        f"old values: --keep.{wait}",
        code="slices-changed",
        slices=len(rows),
        key=first,
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


def change_slices(
    run: Run, given: FormSlices, decided: Correction = NO_CORRECTION
) -> TableDifference:
    """Add what is new to a run, and correct it; the file first, then the decision.

    Raises:
        BadInputError: as ``find_difference``.
        LockedError: another process holds the lock for too long.
    """
    with run.directory.lock("extend"):
        run.reload()
        difference = find_difference(run, given, decided)
        if not difference.changed.keys().isdisjoint(run.first_rows):
            fence_script(run)  # its table has the old values
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


def choose_changed(run: Run) -> Sequence[int]:
    """Choose the added and corrected slices that wait, and those that are done with old values."""
    replaced, first_added = run.journal_state.changes.replaced, run.record.slices
    waiting = run.statuses.rows_in({State.WAITING})
    rows = [row for row in waiting if row >= first_added or row in replaced]
    done = (row for row in replaced if run.statuses.state(row) is State.COMPLETED)
    return sorted({*rows, *filter(run.journal_state.is_outdated, done)})


def cancel_outdated(run: Run) -> list[int]:
    """Cancel the slices that are pending with old values, so that they go in anew.

    Returns:
        their rows.

    Raises:
        EngineError: the engine did not answer, or has not ended them yet. Try again.
    """
    with run.directory.lock("extend"):
        run.reload()
        groups: dict[int, list[int]] = {}
        for row in run.statuses.rows_in({State.PENDING, State.SUBMITTED}):
            if run.journal_state.is_outdated(row):
                groups.setdefault(run.journal_state.holder[row], []).append(row)
        requests = [
            cancel_request(run, number, rows, submit_again=True) for number, rows in groups.items()
        ]
        for request in requests:
            run.decide(request)
            cancel_in_engine(run, request)
    outdated = sorted(row for rows in groups.values() for row in rows)
    if outdated and not run.directory.read_only and not wait_until_cancelled(run, outdated):
        raise EngineError(
            "Slurm has not ended the slices with old values yet.",
            "Type the same command again: it goes on from here.",
            code="cancel-not-finished",
        )
    return outdated


def close_run(run: Run) -> bool:
    """Record that the run gets no more slices; False if it was not open."""
    with run.directory.lock("extend"):
        run.reload()
        if run.is_open:
            run.decide(RunClosed(run.clock()))
            return True
    return False
