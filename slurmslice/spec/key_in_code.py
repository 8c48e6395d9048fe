"""Placeholders in the code of an interpreter: ``-- bash -c 'echo {}'``. Pure.

There the values of slices would run as code. They are refused if one is not plain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from slurmslice.errors import BadInputError
from slurmslice.notes import Note
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import (
    JOB_COMMAND,
    Command,
    CommandWords,
    placeholder_text,
    word_placeholders,
)
from slurmslice.spec.interpreters import find_code
from slurmslice.system.shell_quoting import quote

_PLAIN = re.compile(r"[A-Za-z0-9@%+,./:_-]*", re.ASCII)
"""A value that is one word and no code in any of the interpreters' languages."""


@dataclass(frozen=True, slots=True)
class CodeWord:
    """A word with placeholders that an interpreter runs as code.

    Attributes:
        program: the interpreter.
        word: the word as typed.
        names: the columns in it, sorted; the empty name is the key.
        safe: a command of this interpreter that gets the key as data.
    """

    program: str
    word: str
    names: tuple[str, ...]
    safe: str

    @property
    def message(self) -> str:
        """The placeholders and their place, as the beginning of a sentence."""
        shown = " and ".join(map(placeholder_text, self.names))
        return f"{shown} in {quote(self.word)} becomes a part of the code that {self.program} runs"

    @property
    def hint(self) -> str:
        """The ways to pass any value as data."""
        return (
            f"To pass any value as data, for example: {self.safe}\n"
            'Or use --shell, where "$SLICE" is the key.'
        )


def find_code_words(command: Command) -> Iterator[CodeWord]:
    """Yield the words of a command in which values would be code.

    The lines of a job file are code on purpose.
    """
    if not isinstance(command, CommandWords) or command == JOB_COMMAND:
        return
    for position, (program, entry) in sorted(find_code(command.words).items()):
        word = command.words[position]
        if names := word_placeholders(word):
            safe = entry.safe.format(program=program)
            yield CodeWord(program, word, tuple(sorted(names)), safe)


def refuse_code_in_values(command: Command, table: SliceTable) -> None:
    """Refuse a command in which a value of a slice could run as code.

    Raises:
        BadInputError: a word that an interpreter runs has a placeholder, and a value that is used
            there is not plain; the message names the first such slice.
    """
    for code in find_code_words(command):
        for name in code.names:
            for row, value in enumerate(table.values(name)):
                if not _PLAIN.fullmatch(value):
                    key = table.keys[row]
                    raise BadInputError(
                        f"{code.message}. Slice {key!r} would run the value {value!r} as code.",
                        code.hint,
                        code="value-as-code",
                        word=code.word,
                        program=code.program,
                        column=name,
                        key=key,
                        value=value,
                    )


def code_notes(command: Command) -> Iterator[Note]:
    """Yield a note on each word in which the values are code, and plain."""
    for code in find_code_words(command):
        message = f"{code.message}. The values are plain. For any value: {code.safe}"
        yield Note("value-in-code", message, {"word": code.word, "program": code.program})
