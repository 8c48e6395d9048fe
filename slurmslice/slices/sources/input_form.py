"""The description of an input form: its options on the command line, and its reader.

``slurmslice.slices.sources.registry`` lists the forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from slurmslice.notes import Note
from slurmslice.sbatch.array_expression import ArrayExpression
from slurmslice.slices.slice_table import SliceTable


@dataclass(frozen=True, slots=True)
class FormOption:
    """An option of the command line.

    Attributes:
        flags: its names; the last one is the name of its value.
        help: its help text.
        metavar: its value in the help text; empty for a flag without a value.
        multiple: it may be given several times; its value is a tuple then.
    """

    flags: tuple[str, ...]
    help: str
    metavar: str = ""
    multiple: bool = False

    @property
    def name(self) -> str:
        """The name of its value: ``slices_from``."""
        return self.flags[-1].lstrip("-").replace("-", "_")


@dataclass(frozen=True, slots=True)
class FormSlices:
    """The slices that a form gives.

    Attributes:
        table: the slices.
        source: their source, in words for a person.
        throttle: most slices at once, if the form can say so.
        numbers: the array expression whose indices are the keys, if the form is a range.
        are_commands: the column ``job`` of each slice is its command.
        notes: notes for the person.
        form: its option with what decides on the keys: ``--table --key name``.
    """

    table: SliceTable
    source: str
    throttle: int | None = None
    numbers: ArrayExpression | None = None
    are_commands: bool = False
    notes: tuple[Note, ...] = ()
    form: str = ""

    @property
    def by_place(self) -> bool:
        """True if a key is only the place of its line."""
        return is_by_place(self.form)


def is_by_place(form: str) -> bool:
    """Tell if the keys of a form (``FormSlices.form``) are only the places of lines."""
    words = form.split()
    return bool({"--job-file", "--table"} & {*words}) and "--key" not in words


@dataclass(frozen=True, slots=True)
class InputForm:
    """One way to describe slices on the command line.

    Attributes:
        example: its option with a value, as a person types it.
        summary: the slices that it gives, in a few words.
        option: its option.
        read: reads the slices from the values of its options, by name.
        modifiers: options that need this form's option.
        combines: ``--grid`` and ``--zip`` may stand beside it.
    """

    example: str
    summary: str
    option: FormOption
    read: Callable[[Mapping[str, Any]], FormSlices]
    modifiers: tuple[FormOption, ...] = ()
    combines: bool = False

    @property
    def flag(self) -> str:
        """The option as messages show it: ``-a``."""
        return self.example.split()[0]
