"""Find the slices that were done before a run is made, by their files (``--skip-done``).

A file that is not empty is weak evidence: an old program may have written it, or one that was
killed. So young files do not count: another job may be writing them now.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import expand_word
from slurmslice.spec.output_check import OutputCheck

YOUNG_S = 600.0
"""A file that changed within so many seconds shows nothing."""


@dataclass(frozen=True, slots=True)
class DoneBefore:
    """The slices whose files were all there.

    Attributes:
        rows: those that are done.
        young: those with a file that has just changed; they are not done.
    """

    rows: tuple[int, ...] = ()
    young: tuple[int, ...] = ()


NONE_DONE = DoneBefore()
"""The result if nobody asked for it."""


def find_done(check: OutputCheck, table: SliceTable) -> DoneBefore:
    """Look at the files of each slice, in this folder.

    Raises:
        BadInputError: the check has no files (``skip-done-without-file``), or a shell text too
            (``skip-done-with-check``).
    """
    if check.text:
        raise BadInputError(
            "--skip-done cannot run the text of --check: it would run here, once for each slice.",
            "Use only --check-file with it, or let the command end early if its result is there.",
            code="skip-done-with-check",
            option="skip-done",
        )
    if not check.files:
        raise BadInputError(
            "--skip-done needs the files that show that a slice is done.",
            "Name them: --check-file 'out/{}.h5'",
            code="skip-done-without-file",
            option="skip-done",
        )
    oldest, rows, young = time.time() - YOUNG_S, list[int](), list[int]()
    paths = zip(*(expand_word(path, table.values) for path in check.files), strict=True)
    for row, names in enumerate(paths):
        changed = [_changed_at(name) for name in names]
        known = [when for when in changed if when is not None]
        if len(known) == len(changed):
            (rows if max(known) <= oldest else young).append(row)
    return DoneBefore(tuple(rows), tuple(young))


def _changed_at(path: str) -> float | None:
    """Return the time of the last change of a file with content; None if there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_mtime if stat.S_ISREG(found.st_mode) and found.st_size else None
