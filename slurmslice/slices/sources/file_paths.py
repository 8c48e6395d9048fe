"""Slices from the files of a pattern."""

from __future__ import annotations

import os
import os.path
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from slurmslice.errors import BadInputError
from slurmslice.notes import Note
from slurmslice.sbatch.units import parse_duration
from slurmslice.slices.slice_table import SliceTable, checked_table
from slurmslice.slices.sources.glob_pattern import matching_paths
from slurmslice.slices.sources.input_form import FormOption, FormSlices, InputForm
from slurmslice.system.shell_quoting import quote


def slices_from_paths(paths: Iterable[str], pattern: str) -> SliceTable:
    """Return slices from paths: the key is the path; columns are ``name``, ``stem``, ``parent``.

    ``stem`` is the name without its last suffix. ``parent`` is the folder, or ``.`` if the path
    has none. Paths are sorted in natural order: ``part-2`` before ``part-10``.

    Args:
        paths: the matching paths, in any order.
        pattern: the pattern, for error messages.

    Raises:
        BadInputError: there is no path.
    """
    keys = sorted(paths, key=natural_sort_key)
    if not keys:
        raise BadInputError(
            f"No file matches {pattern!r} here.",
            "Put the pattern in quotes, so that the shell does not expand it; ** also matches "
            "subfolders.",
            code="no-match",
            pattern=pattern,
        )
    parents, names = zip(*(os.path.split(key.rstrip("/")) for key in keys), strict=True)
    columns = {
        "name": names,
        "stem": tuple(os.path.splitext(name)[0] for name in names),
        "parent": tuple(parent or "." for parent in parents),
    }
    return checked_table(keys, repr(pattern), columns)


def natural_sort_key(text: str) -> tuple[list[str | int], str]:
    """Return a sort key with numbers in texts by value; different texts never tie."""
    parts = re.split(r"([0-9]+)", text)
    return [int(part) if at % 2 else part for at, part in enumerate(parts)], text


def _read(values: Mapping[str, Any]) -> FormSlices:
    pattern = values["glob"]
    paths, notes = matching_paths(pattern), tuple[Note, ...]()
    if values["settled"]:
        paths, notes = _settled(paths, pattern, values["settled"])
    found = FormSlices(slices_from_paths(paths, pattern), pattern, notes=notes)
    if paths != [pattern] or not os.path.isdir(pattern):
        return found
    within = quote(os.path.join(pattern, "*"))
    message = f"--glob {quote(pattern)} is one slice: a folder. For its content: {within}"
    note = Note("glob-is-folder", message, {"path": pattern, "within": within})
    return replace(found, notes=(*notes, note))


def _settled(paths: list[str], pattern: str, duration: str) -> tuple[list[str], tuple[Note, ...]]:
    """Leave out the files that changed in the last time, and say how many they are.

    Raises:
        BadInputError: the duration is wrong, or all files changed.
    """
    oldest = time.time() - parse_duration(duration)
    settled = [path for path in paths if _changed_at(path) <= oldest]
    young = len(paths) - len(settled)
    if young and not settled:
        raise BadInputError(
            f"All {young} files of {pattern!r} changed in the last {duration}.",
            "Wait, or give --settled a shorter time.",
            code="not-settled",
            pattern=pattern,
            files=young,
        )
    files = "1 file" if young == 1 else f"{young} files"
    message = f"Left out: {files} that changed in the last {duration}."
    note = Note("files-not-settled", message, {"files": young, "settled": duration})
    return settled, (note,) if young else ()


def _changed_at(path: str) -> float:
    """Return the time of the last change of a file; never, if it was moved away just now."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return float("inf")


FILE_PATHS = InputForm(
    example="--glob 'PATTERN'",
    summary="files",
    option=FormOption(
        ("--glob",),
        "Slices from files. Quote the pattern; ** is any folder. Columns: name, stem, parent.",
        "PATTERN",
    ),
    modifiers=(
        FormOption(
            ("--settled",),
            "Leave out files of --glob that changed in this time: 10m. They may not be whole yet.",
            "TIME",
        ),
    ),
    read=_read,
    combines=True,
)
