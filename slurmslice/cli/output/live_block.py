"""A block of lines on a terminal that is painted again and again."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence

import click

from slurmslice.cli.output.console import use_colors
from slurmslice.cli.output.progress_line import line_width


def is_repaintable() -> bool:
    """Tell if stderr is a terminal that can move its cursor."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class LiveBlock:
    """Lines at the end of what a terminal shows. Each line fits the width when it is painted."""

    def __init__(self) -> None:
        self._lines: tuple[str, ...] = ()

    def paint(self, lines: Sequence[str]) -> None:
        """Replace the lines that were painted last."""
        text = "\n".join(lines)
        shown = text if use_colors(True) else click.unstyle(text)
        click.echo(
            self._erasure() + shown, nl=False, err=True, color=True
        )  # keep the cursor's codes
        self._lines = tuple(lines)

    def end(self) -> None:
        """Leave the lines as they are; the next text starts on a new line."""
        if self._lines:
            click.echo("", err=True)
        self._lines = ()

    def clear(self) -> None:
        """Erase the lines."""
        if self._lines:
            click.echo(self._erasure(), nl=False, err=True, color=True)
        self._lines = ()

    def _erasure(self) -> str:
        """Return what moves the cursor to the first row of the lines, and erases them.

        A window that became narrower shows a line in several rows.
        """
        width = max(1, shutil.get_terminal_size().columns)
        rows = sum(max(1, -(-line_width(line) // width)) for line in self._lines)
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        return f"\r{up}\x1b[J"
