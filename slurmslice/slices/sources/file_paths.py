"""Slices from the files of a pattern."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable, checked_table


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
