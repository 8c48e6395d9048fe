"""The command line in this process, on the fake cluster; and the notes in what it printed."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from slurmslice import cli
from slurmslice.notes import Note
from tests.fakes import FakeEngine

SHOW_CODES = {"SLURMSLICE_CODES": "1"}
"""The environment in which each note ends with its code and fields, for ``notes_in``."""

_MARK = re.compile(r" ?\[note ([a-z][a-z0-9-]*)(?: (\{.*\}))?\]$", re.MULTILINE)
_ERROR = re.compile(r" \[([a-z0-9-]+)\]$", re.MULTILINE)


def notes_in(said: str) -> list[Note]:
    """The notes in what was printed with SHOW_CODES, in order; of each the last line as message."""
    return [
        Note(mark[1], said[said.rfind("\n", 0, mark.start()) + 1 : mark.start()], _fields(mark[2]))
        for mark in _MARK.finditer(said)
    ]


def _fields(text: str | None) -> dict[str, object]:
    fields: dict[str, object] = json.loads(text or "{}")
    return fields


@dataclass
class Typed:
    """What is typed in a folder, and what comes of it.

    Attributes:
        folder: where it is typed.
        patch: changes the surroundings.
        capture: gets what is printed.
        code: the exit code.
        lines: what was printed, on stderr and then on stdout; without the marks of notes.
        notes: the notes, in order.
        error: the error's code; empty if there is none.
    """

    folder: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    code: int = 0
    lines: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    error: str = ""

    def __call__(self, *words: str) -> str:
        """All that was said and put out, in words with single blanks between them."""
        self.patch.setattr("sys.argv", ["slurmslice", *words])
        self.code = cli._code()
        shown, said = self.capture.readouterr()
        self.notes = tuple(notes_in(said))
        self.error = next(iter(_ERROR.findall(said)), "")
        said = _MARK.sub("", said)
        self.lines = (*said.splitlines(), *shown.splitlines())
        return " ".join(f"{said} {shown}".split())

    def noted(self, code: str) -> list[dict[str, object]]:
        """The fields of each note of this code in what was typed last."""
        return [dict(note.fields) for note in self.notes if note.code == code]


def on_the_fake_cluster(
    engine: FakeEngine,
    folder: Path,
    patch: pytest.MonkeyPatch,
    capture: pytest.CaptureFixture[str],
) -> Typed:
    """A folder in which slurmslice finds the fake cluster, and nobody's settings or runs."""
    patch.setattr("slurmslice.cli.engine.make", lambda name, path: engine)
    patch.setenv("SLURMSLICE_RUNS", str(folder / "runs"))
    patch.setenv("SLURMSLICE_CODES", "1")
    patch.setenv("XDG_STATE_HOME", str(folder / "state"))
    patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    patch.chdir(folder)
    return Typed(folder, patch, capture)
