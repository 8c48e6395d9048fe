"""The checkpoints of slices, as they were before an attempt, and if they have changed since then.

``docs/adr/0028`` gives the reasons. Nothing here compares the times of two clocks.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping

from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.run_spec import RunSpec
from slurmslice.spec.slice_path import slice_paths

Identity = tuple[int, int]
"""The size of a file, bytes, and the time of its last change, nanoseconds."""


def checkpoint_paths(
    spec: RunSpec, table: SliceTable, rows: Iterable[int]
) -> Iterator[tuple[int, str]]:
    """Pair rows with the paths of their checkpoints."""
    found = slice_paths(spec.checkpoint, table, rows)
    return ((row, os.path.join(spec.work_dir, path)) for row, path in found)


def identify(path: str) -> Identity | None:
    """Return the identity of a checkpoint; None if there is none, or it is an empty file.

    Folder and file are opened first, so that a client of a file server asks it.
    """
    try:
        _open(os.path.dirname(path))
        with contextlib.suppress(PermissionError):
            _open(path)
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    if not (stat.S_ISDIR(found.st_mode) or (stat.S_ISREG(found.st_mode) and found.st_size)):
        return None
    return found.st_size, found.st_mtime_ns


def _open(path: str) -> None:
    with contextlib.suppress(PermissionError):
        os.close(os.open(path or ".", os.O_RDONLY | os.O_NONBLOCK))


def identify_all(spec: RunSpec, table: SliceTable, rows: Iterable[int]) -> dict[int, Identity]:
    """Return the identities of the checkpoints that are there, by row.

    Each folder is listed once, because most slices have no checkpoint before their first attempt.
    """
    names: dict[str, frozenset[str] | None] = {}
    found: dict[int, Identity] = {}
    for row, path in checkpoint_paths(spec, table, rows):
        folder, name = os.path.split(path)
        if folder not in names:
            names[folder] = _names_in(folder)
        there = names[folder]
        if (there is None or name in there) and (known := identify(path)):
            found[row] = known
    return found


def _names_in(folder: str) -> frozenset[str] | None:
    """Return the names in a folder, none if there is no folder; None if it cannot be listed."""
    try:
        return frozenset(os.listdir(folder))
    except FileNotFoundError:
        return frozenset()
    except (OSError, ValueError):
        return None


def format_identities(found: Mapping[int, Identity]) -> bytes:
    """Return the lines of a file ``checkpoints``: row, size, time. Its last line is ``end``."""
    lines = (f"{row}\t{size}\t{when}\n" for row, (size, when) in sorted(found.items()))
    return "".join([*lines, "end\n"]).encode("ascii")


def parse_identities(data: bytes) -> dict[int, Identity] | None:
    """Return the identities in a file; None if it is not whole."""
    *lines, last = data.decode("ascii", "replace").splitlines() or [""]
    try:
        fields = [tuple(map(int, line.split("\t"))) for line in lines]
        found = {row: (size, when) for row, size, when in fields}
    except ValueError:
        return None
    return found if last == "end" else None
