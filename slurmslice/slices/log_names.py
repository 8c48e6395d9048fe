"""The file names of slices' logs: the key if it is a safe file name, else the row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from slurmslice.slices.keys import NumberKeys

MAX_LOGS_PER_FOLDER = 1000
"""Most entries of a folder of logs; larger folders are slow for file systems and people."""

_OWN = re.compile(r"(?![Rr][Oo][Ww]-)[A-Za-z0-9][A-Za-z0-9._=,+@-]{0,99}", re.ASCII)


class LogNames:
    """Unique file names of logs, also on file systems without case."""

    def __init__(self, keys: Collection[str], *, direct: bool, folders: bool | None = None) -> None:
        """Prepare the names.

        Args:
            keys: all keys of the run.
            direct: a numeric key chooses its folder.
            folders: names have folders; None: by the number of keys.
        """
        self._ambiguous = _ambiguous_keys(keys)
        self._folders = len(keys) > MAX_LOGS_PER_FOLDER if folders is None else folders
        self._direct = direct

    def __call__(self, rows: Sequence[int], keys: Sequence[str]) -> list[str]:
        """The logs of these slices, relative to a submission's ``logs`` folder."""
        names = [
            f"{key}.log"
            if _OWN.fullmatch(key)
            and (not self._ambiguous or key.casefold() not in self._ambiguous)
            else f"row-{row}.log"
            for row, key in zip(rows, keys, strict=True)
        ]
        if not self._folders:
            return names
        # A numeric key chooses its folder, so the script can compute the path from the index.
        numbers = map(int, keys) if self._direct else rows
        return [
            f"{n // MAX_LOGS_PER_FOLDER}/{name}" for n, name in zip(numbers, names, strict=True)
        ]


def _ambiguous_keys(keys: Iterable[str]) -> frozenset[str]:
    """The case-folded form of keys with a difference only in case."""
    if isinstance(keys, NumberKeys) or all(key == key.casefold() for key in keys):
        return frozenset()  # keys are unique, and these have no capitals
    folded = Counter(map(str.casefold, keys))
    return frozenset(name for name, times in folded.items() if times > 1)
