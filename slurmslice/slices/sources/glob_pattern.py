"""Files of a pattern, as Python's ``glob``, also if symbolic links form circles."""

from __future__ import annotations

import os
from collections.abc import Iterator
from glob import glob

from slurmslice.errors import BadInputError

MAX_REVISITS = 50_000
"""The number of times that ``**`` may enter known folders again through links, on other paths.

Ten folders with links to each other have millions of paths.
"""


def matching_paths(pattern: str) -> list[str]:
    """Return the matching paths, each once, in no particular order.

    ``**`` follows links to folders, but never into a folder that the path already contains,
    because this would be endless.

    Raises:
        BadInputError: links lead to known folders more than ``MAX_REVISITS`` times.
    """
    return list(dict.fromkeys(_matching(pattern, "")))


def _matching(pattern: str, root: str) -> Iterator[str]:
    """Yield the matching paths below a root folder, which is "" or ends with a slash."""
    parts = pattern.split("/")
    if "**" not in parts:
        yield from glob(pattern, root_dir=root)
        return
    at = parts.index("**")
    head = "".join(part + "/" for n, part in enumerate(parts[:at]) if part or not n)
    rest = parts[at + 1 :]
    while rest[:1] == ["**"] or (rest[:1] == [""] and rest[1:]):  # repeated ** and / add nothing
        rest = rest[1:]
    for start in glob(head, root_dir=root) if head else [""]:
        for folder in _folders(start, root):
            if folder and (rest == [""] or (not rest and folder == start)):
                yield folder
            if rest != [""]:
                found = _matching("/".join(rest) or "*", root + folder)
                yield from (folder + path for path in found)


def _folders(start: str, root: str) -> Iterator[str]:
    """Yield a folder and all visible folders below it, each as its path from ``root``."""
    again, seen = 0, set()
    todo: list[tuple[str, frozenset[tuple[int, int]], bool]] = [(start, frozenset(), False)]
    while todo:
        folder, around, by_link = todo.pop()
        try:
            status = os.stat(root + folder or ".")
            entries = list(os.scandir(root + folder or "."))
        except OSError:
            continue  # not readable
        here = status.st_dev, status.st_ino
        if here in around:
            continue
        yield folder
        again += by_link and here in seen
        seen.add(here)
        if again > MAX_REVISITS:
            raise BadInputError(
                f"Links in {root + start or '.'} lead to the same folders again and again.",
                "Write folders instead of **, or list the files yourself: "
                "find … | slurmslice … --slices-from -",
                code="link-loop",
                path=root + start,
            )
        for entry in entries:
            if not entry.name.startswith(".") and _is_folder(entry):
                through = by_link or entry.is_symlink()
                todo.append((f"{folder}{entry.name}/", around | {here}, through))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # the link points to itself
        return False
