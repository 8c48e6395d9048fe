"""Slices from files that a pattern matches."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable

from slurmslice.errors import BadInput
from slurmslice.slices import SliceTable, checked


def from_paths(paths: Iterable[str], pattern: str) -> SliceTable:
    """Slices from paths: the key is the path; columns are ``name``, ``stem`` and ``parent``.

    ``stem`` is the name without its last suffix, ``parent`` the folder, ``.`` where there is
    none. Paths are sorted as people count: ``part-2`` before ``part-10``.

    Args:
        paths: what the pattern matched, in any order.
        pattern: the pattern, for an error.

    Raises:
        BadInput: there is no path.
    """
    keys = sorted(paths, key=natural)
    if not keys:
        raise BadInput(
            f"No file matches {pattern!r} here.",
            "Quote the pattern, so that it arrives as it is; ** stands for folders in folders.",
            code="no-match",
            pattern=pattern,
        )
    parents, names = zip(*(os.path.split(key.rstrip("/")) for key in keys), strict=True)
    columns = {
        "name": names,
        "stem": tuple(os.path.splitext(name)[0] for name in names),
        "parent": tuple(parent or "." for parent in parents),
    }
    return checked(keys, repr(pattern), columns)


def natural(text: str) -> tuple[list[str | int], str]:
    """What to sort by so that numbers in texts count as numbers; no two texts are equal."""
    parts = re.split(r"([0-9]+)", text)
    return [int(part) if at % 2 else part for at, part in enumerate(parts)], text
