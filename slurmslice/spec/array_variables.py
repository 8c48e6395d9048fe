"""Mentions of SLURM_ARRAY_TASK_ID in the texts of a run (``docs/adr/0015``). Pure.

Slurm's value is the index of an array task. It is the number of a slice only for slices from a
range. For other slices a command that uses it would work on the input of another slice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from slurmslice.errors import BadInputError

TASK_ID = re.compile(r"SLURM_ARRAY_TASK_(ID|COUNT)(?![A-Za-z0-9_])")
NUMBER_OF_SLICES = re.compile(
    r"(?<![A-Za-z0-9_])(?:SLICE_COUNT|SLURM_ARRAY_TASK_(?:COUNT|MIN|MAX|STEP))(?![A-Za-z0-9_])"
)
"""The variables with another value if a run has more slices."""

SLICE_ROW = re.compile(r"(?<![A-Za-z0-9_])SLICE_ROW(?![A-Za-z0-9_])")

_ASSIGNMENT = re.compile(r"(?<![\w${])SLURM_ARRAY_TASK_ID=")
_WORD = re.compile(r"[^\s;|&<>()\"'`$]+")
_OWN = {"ID": "SLICE", "COUNT": "SLICE_COUNT"}
_LONGEST_SHOWN = 160


@dataclass(frozen=True, slots=True)
class Mention:
    """A line that uses the variable.

    Attributes:
        where: the option or the file.
        line: the number of the line, from 1.
        text: the line, without the blanks around it.
    """

    where: str
    line: int
    text: str

    @property
    def instead(self) -> str:
        """The line with slurmslice's own variables."""
        return TASK_ID.sub(lambda found: _OWN[found[1]], self.text)


def find_mention(where: str, text: str, variables: re.Pattern[str] = TASK_ID) -> Mention | None:
    """Return the first line of a text that uses one of the variables and is no comment."""
    if not variables.search(text):
        return None
    for number, line in enumerate(text.splitlines(), 1):
        if variables.search(line) and not line.lstrip().startswith("#"):
            return Mention(where, number, line.strip())
    return None


def assigns_task_id(text: str) -> bool:
    """Return whether a text gives the variable a value of its own."""
    return _ASSIGNMENT.search(text) is not None


def possible_paths(text: str) -> Iterator[str]:
    """Yield the words of a shell text that may be paths of files."""
    yield from _WORD.findall(text)


def mention_error(found: Mention, *, setup_of_pack: bool = False) -> BadInputError:
    """Return the error about a mention. Its hint has the line to write instead.

    Args:
        found: the mention.
        setup_of_pack: it is in the setup, which runs once for several slices.
    """
    override = "If the index of the array task is right, add --allow-task-id."
    place = f"{found.where}, line {found.line}," if found.line > 1 else found.where
    if setup_of_pack:
        why = "but with --pack the setup runs once for several slices."
        hint = f"Use it in the command, or leave out --pack. {override}"
    else:
        why = "but only slices of a range (-a) have a number. Slurm's value is the array task's."
        hint = (
            f"Write instead: {found.instead[:_LONGEST_SHOWN]}\n"
            f"$SLICE is the key of the slice; $SLICE_ROW counts the slices from 0. {override}"
        )
    return BadInputError(
        f"{place} uses SLURM_ARRAY_TASK_ID, {why}",
        hint,
        code="task-id-of-no-slice",
        where=found.where,
        line=found.line,
        instead="" if setup_of_pack else found.instead,
    )


def growth_error(found: Mention, variables: re.Pattern[str]) -> BadInputError:
    """Return the error about a text that uses a variable of which a growth makes another value."""
    used = variables.search(found.text)
    name = used[0] if used else ""
    place = f"{found.where}, line {found.line}," if found.line > 1 else found.where
    if name == "SLICE_ROW":
        why = "but the script cannot know the rows of these slices."
    else:
        why = "and its value would differ between old and new slices if the run had more slices."
    return BadInputError(
        f"{place} uses {name}, {why}",
        "Make another run of the new slices, with another --name; or a command without it.",
        code="growth-changes-value",
        where=found.where,
        line=found.line,
        variable=name,
    )
