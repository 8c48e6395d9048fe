"""Gather the results of a run: the logs, or a file, of each slice that is done, in table order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from slurmslice.actions.log_watch import newest_submission
from slurmslice.errors import BadInputError
from slurmslice.run.run import Run
from slurmslice.run.slice_logs import SliceLog
from slurmslice.spec.command import check_command_word, expand_word, word_placeholders
from slurmslice.status.states import State
from slurmslice.system import files


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one slice.

    Attributes:
        row: the slice.
        fault: the reason why there is no text; empty if there is one.
        read: yields the text in pieces.
        path: its file, if it is not a log.
        accepted: a person accepts that the slice has none.
    """

    row: int
    fault: str
    read: Callable[[], Iterator[bytes]]
    path: str = ""
    accepted: bool = False


def nothing() -> Iterator[bytes]:
    """Yield nothing."""
    return iter(())


def log_sources(run: Run, rows: Iterable[int]) -> Iterator[Source]:
    """Yield the logs of these slices, in their order."""
    for row in rows:
        if fault := _unfinished(run, row):
            yield Source(row, fault, nothing, accepted=run.acceptance_of(row) is not None)
            continue
        newest = newest_submission(run, row)
        if newest is None:
            yield Source(row, "was done before the run: it has no log", nothing)
            continue
        log = SliceLog.of(run, newest, row)
        yield Source(row, "its log was not kept" if log.dropped else "", log.read)


def file_sources(run: Run, rows: Iterable[int], pattern: str) -> Iterator[Source]:
    """Yield one file of each of these slices, in their order.

    Args:
        run: the run.
        rows: the slices, in the order of the table.
        pattern: the path, with ``{}`` and ``{column}``; relative to the working directory.

    Raises:
        BadInputError: the pattern names an unknown column, or the same file for every slice.
    """
    check_command_word(pattern, run.table.columns)
    if not word_placeholders(pattern):
        raise BadInputError(
            f"{pattern!r} is the same file for every slice.",
            "Put {} or a {column} into the path.",
            code="file-for-all",
            value=pattern,
        )
    wanted = set(rows)
    for row, name in enumerate(expand_word(pattern, run.table.values)):
        if row not in wanted:
            continue
        path = os.path.join(run.record.work_dir, name)
        fault = _unfinished(run, row) or ("" if os.path.isfile(path) else f"there is no {name}")
        yield Source(row, fault, _reader(path), path, run.acceptance_of(row) is not None)


def _reader(path: str) -> Callable[[], Iterator[bytes]]:
    from pathlib import Path

    return lambda: files.read_chunks(Path(path))


def _unfinished(run: Run, row: int) -> str:
    state = run.statuses.state(row)
    return "" if state is State.COMPLETED else str(state)


def check_file_of(run: Run) -> str:
    """Return the only ``--check-file`` of a run.

    Raises:
        BadInputError: the run has none, or several.
    """
    known = run.record.check.files
    if len(known) == 1:
        return known[0]
    why = f"has {len(known)} --check-file" if known else "has no --check-file"
    raise BadInputError(
        f"The run {run.record.name} {why}.",
        "Name the file of a slice: --file 'out/{}.csv'"
        + "".join(f"\n                          --file '{one}'" for one in known),
        code="no-check-file",
        run=run.record.name,
        files=known,
    )
