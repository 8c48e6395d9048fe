"""Printing: data on stdout, messages on stderr, and no control characters except our own.

A key, a reason, a path or a program's output may hold control characters. ``make_printable`` makes
them visible, so a terminal never obeys them. Exact data (a log, a path, the script)
goes unchanged into a file or a pipe; ``harmless_bytes`` filters it for a terminal.
"""

from __future__ import annotations

import codecs
import os
import re
import sys
from collections.abc import Iterable

import click

from slurmslice.notes import Note
from slurmslice.status.states import State

_COLORS = {
    State.COMPLETED: "green",
    State.RUNNING: "blue",
    State.COMPLETING: "cyan",
    State.SUSPENDED: "yellow",
    State.CANCELLED: "yellow",
    State.UNKNOWN: "magenta",
}


_TO_TERMINALS = re.compile(
    # Control characters except tab and line end; marks of text direction; invisible line ends.
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


def print_line(text: str = "", prefix: str = "") -> None:
    """Print a line of data; only the prefix may hold our own colours."""
    click.echo(prefix + make_printable(text), color=use_colors(sys.stdout.isatty()))


def write_data(pieces: Iterable[bytes]) -> None:
    """Print bytes unchanged; on a terminal, only the harmless ones."""
    if sys.stdout.isatty():
        pieces = harmless_bytes(pieces)
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def harmless_bytes(pieces: Iterable[bytes]) -> Iterable[bytes]:
    """Replace every control character for terminals with ``?``.

    A carriage return is kept for progress bars, because it overwrites only its own line.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for piece in pieces:
        yield _TO_TERMINALS.sub("?", decoder.decode(piece)).encode()
    yield decoder.decode(b"", final=True).encode()


def print_message(text: str = "") -> None:
    """Print a message to the person."""
    click.echo(make_printable(text), err=True)


def emit_note(code: str, message: str, **fields: object) -> None:
    """Print a note with this code; ``fields`` are the values in its message."""
    print_note(Note(code, message, fields))


def print_note(shown: Note, before: str = "") -> None:
    """Print a note to the person, after a prefix.

    If SLURMSLICE_CODES is set, its code and fields follow, for programs and tests.
    """
    mark = f" {shown.mark}" if os.environ.get("SLURMSLICE_CODES") else ""
    print_message(f"{before}{shown.message}{mark}")


def use_colors(terminal: bool) -> bool:
    """Tell if to use colours: on a terminal, unless NO_COLOR or TERM=dumb is set."""
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def colored_state(state: State, width: int = 0) -> str:
    """Return a state's name in its colour, padded to a width."""
    color = "red" if state.failed else _COLORS.get(state)
    return click.style(f"{state:<{width}}", fg=color)


def make_printable(text: str) -> str:
    """Return the text with every control character and undecodable byte made visible."""
    return "\n".join(map(printable_line, text.split("\n")))


def printable_line(text: str) -> str:
    """Return the text as one visible line, so that a value cannot look like a line of ours."""
    from slurmslice.system.escaping import escape

    if text.isprintable():
        return text
    # Escape NUL and lone surrogates here, because a table's field cannot hold them.
    valid = re.sub("[\0\ud800-\udc7f\udd00-\udfff]", lambda odd: ascii(odd[0])[1:-1], text)
    return escape(valid).replace("\\\\", "\\")
