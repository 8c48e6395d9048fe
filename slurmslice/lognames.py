"""What the log of a slice is called: its key where that can be, else its row."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from slurmslice.keys import Numbers

FOLDER_LIMIT = 1000
"""Most entries of a folder of logs; file systems and people grow slow above it."""

_OWN = re.compile(r"(?![Rr][Oo][Ww]-)[A-Za-z0-9][A-Za-z0-9._=,+@-]{0,99}", re.ASCII)


class LogNames:
    """A file name a slice, all different even where a file system folds case."""

    def __init__(self, keys: Collection[str], *, direct: bool) -> None:
        self._alike = _alike(keys)
        self._folders = len(keys) > FOLDER_LIMIT
        self._direct = direct

    def __call__(self, rows: Sequence[int], keys: Sequence[str]) -> list[str]:
        """The logs of these slices, relative to a submission's ``logs`` folder."""
        names = [
            f"{key}.log"
            if _OWN.fullmatch(key) and (not self._alike or key.casefold() not in self._alike)
            else f"row-{row}.log"
            for row, key in zip(rows, keys, strict=True)
        ]
        if not self._folders:
            return names
        # A key that is a number goes by its number, so that the direct form can compute it.
        numbers = map(int, keys) if self._direct else rows
        return [f"{n // FOLDER_LIMIT}/{name}" for n, name in zip(numbers, names, strict=True)]


def _alike(keys: Iterable[str]) -> frozenset[str]:
    """What several keys become where case is folded."""
    if isinstance(keys, Numbers) or all(key == key.casefold() for key in keys):
        return frozenset()  # they are unique as they stand
    folded = Counter(map(str.casefold, keys))
    return frozenset(name for name, times in folded.items() if times > 1)
