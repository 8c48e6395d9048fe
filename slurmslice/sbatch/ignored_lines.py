"""Lines of an edited script that look like ``#SBATCH`` lines, and that sbatch ignores. Pure.

Source: sbatch(1): it reads lines that begin with ``#SBATCH``, up to the first command.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

_RIGHT = "#SBATCH"
# A comment whose first word is followed by an option. `##SBATCH` is how people switch a line off.
_LIKE_A_DIRECTIVE = re.compile(
    r"\s*#(?P<blank>[ \t]*)(?P<word>[A-Za-z_-]{4,9}):?[ \t]+-{1,2}[A-Za-z]"
)
_LEAST_ALIKE = 0.75


@dataclass(frozen=True, slots=True)
class IgnoredLine:
    """A line that sbatch ignores although it looks like a directive.

    Attributes:
        number: its number, from 1.
        written: its beginning, as it stands there.
        late: it is right, and comes after the first command.
    """

    number: int
    written: str
    late: bool


def find_ignored_lines(script: str) -> Iterator[IgnoredLine]:
    """Find the lines of a script that somebody probably meant as ``#SBATCH`` lines."""
    in_head = True
    for number, line in enumerate(script.split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            in_head = False
        match = _LIKE_A_DIRECTIVE.match(line)
        if match is None or not _is_meant(match):
            continue
        exact = line.startswith((f"{_RIGHT} ", f"{_RIGHT}\t"))
        if not (exact and in_head):
            yield IgnoredLine(number, f"#{match['blank']}{match['word']}", late=exact)


def _is_meant(match: re.Match[str]) -> bool:
    """Return whether the word of a comment is a misspelled SBATCH.

    ``# sbatch --mem=4G x.sh`` is a comment about a command.
    """
    word = match["word"]
    alike = difflib.SequenceMatcher(None, word.upper(), "SBATCH").ratio() >= _LEAST_ALIKE
    return alike and (not match["blank"] or word.isupper())
