"""Printing: data on stdout, messages on stderr; no control characters but our own."""

from __future__ import annotations

import os
import sys

import click

from slurmslice.states import State

_COLORS = {
    State.COMPLETED: "green",
    State.RUNNING: "blue",
    State.SUSPENDED: "yellow",
    State.CANCELLED: "yellow",
    State.UNKNOWN: "magenta",
}


def out(text: str = "") -> None:
    """A line of data."""
    click.echo(text, color=colored(sys.stdout.isatty()))


def say(text: str = "") -> None:
    """A message to the person."""
    click.echo(printable(text), err=True)


def colored(terminal: bool) -> bool:
    """Whether to colour: on a terminal, unless NO_COLOR or a dumb terminal says no."""
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(state: State, width: int = 0) -> str:
    """A state's word in its colour, padded to a width."""
    color = "red" if state.failed else _COLORS.get(state)
    return click.style(f"{state:<{width}}", fg=color)


def printable(text: str) -> str:
    """The text with every control character and undecodable byte made visible."""
    from slurmslice.tables import escape

    return "\n".join(escape(line).replace("\\\\", "\\") for line in text.split("\n"))
