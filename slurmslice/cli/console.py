"""Printing: data on stdout, messages on stderr; no control characters but our own.

Whatever a key, a reason, a path or a program's answer holds is shown, never obeyed: text goes
through ``printable``. Bytes that are wanted as they are (a log, a path, the script) go to a file or
a pipe as they are; a terminal gets what is ``harmless`` of them.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Iterable

import click

from slurmslice.notes import Note
from slurmslice.states import State

_COLORS = {
    State.COMPLETED: "green",
    State.RUNNING: "blue",
    State.SUSPENDED: "yellow",
    State.CANCELLED: "yellow",
    State.UNKNOWN: "magenta",
}


_TO_TERMINALS = re.compile(
    # Controls but tab and line end, and what turns a line round or ends one unseen.
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


def out(text: str = "", painted: str = "") -> None:
    """A line of data; what stands before it may be in our own colours."""
    click.echo(painted + printable(text), color=colored(sys.stdout.isatty()))


def data(pieces: Iterable[bytes]) -> None:
    """Bytes as they are; on a terminal what is harmless of them."""
    if sys.stdout.isatty():
        pieces = harmless(pieces)
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def harmless(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """What a terminal may be shown of a text: letters, blanks and line ends; ``?`` for the rest.

    A carriage return stays, for progress bars: it overwrites nothing but its own line.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        yield _TO_TERMINALS.sub("?", decoder.decode(piece)).encode()
    yield decoder.decode(b"", final=True).encode()


def say(text: str = "") -> None:
    """A message to the person."""
    click.echo(printable(text), err=True)


def note(code: str, message: str, **fields: object) -> None:
    """Print a note of this code, with what its message names as fields."""
    print_note(Note(code, message, fields))


def print_note(told: Note, before: str = "") -> None:
    """Print a note to the person, after these characters.

    Its code and fields are shown at the end if SLURMSLICE_CODES is set: for programs, and tests.
    """
    mark = f" {told.mark}" if os.environ.get("SLURMSLICE_CODES") else ""
    say(f"{before}{told.message}{mark}")


def colored(terminal: bool) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR or a dumb terminal says no."""
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(state: State, width: int = 0) -> str:
    """A state's word in its colour, padded to a width."""
    color = "red" if state.failed else _COLORS.get(state)
    return click.style(f"{state:<{width}}", fg=color)


def printable(text: str) -> str:
    """The text with every control character and undecodable byte made visible."""
    return "\n".join(map(one_line, text.split("\n")))


def one_line(text: str) -> str:
    """The same, line ends too: a value cannot look like a line of ours."""
    from slurmslice.tables import escape

    if text.isprintable():
        return text
    # NUL and lone surrogates, which no field of a table can hold, may stand in an answer.
    sound = re.sub("[\0\ud800-\udc7f\udd00-\udfff]", lambda odd: ascii(odd[0])[1:-1], text)
    return escape(sound).replace("\\\\", "\\")
