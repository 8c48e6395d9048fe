"""The command line in this process, on the fake cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slurmslice.cli import app
from slurmslice.errors import SlurmsliceError
from slurmslice.notes import Note
from tests.support.errors import error_code
from tests.support.fakes import FakeEngine
from tests.support.notes import SHOW_CODES, noted, notes_in, without_marks


@dataclass
class Typed:
    """A command line that is typed in a folder, and its results.

    Attributes:
        folder: the current directory of the commands.
        patch: replaces ``sys.argv``.
        capture: reads stdout and stderr.
        code: the exit code.
        lines: the lines of stderr, without the marks of notes, then the lines of stdout.
        error: the code of the error that ended the command; empty if there was none.
        fields: the fields of that error; usage errors, which click finds, have none.
        notes: the notes in order; the message of each is its last line.
        stderr, stdout: the output.
    """

    folder: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    code: int = 0
    lines: tuple[str, ...] = ()
    error: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    stderr: str = ""
    stdout: str = ""

    def __call__(self, *words: str) -> str:
        """Run the command; return stderr and stdout, with single blanks between the words."""
        self.patch.setattr("sys.argv", ["slurmslice", *words])
        self.fields = {}
        self.code = app._exit_code()
        self.stdout, self.stderr = self.capture.readouterr()
        self.error = error_code(self.stderr)
        self.notes = tuple(notes_in(self.stderr))
        said = without_marks(self.stderr)
        self.lines = (*said.splitlines(), *self.stdout.splitlines())
        return " ".join(f"{said} {self.stdout}".split())

    def noted(self, code: str) -> list[dict[str, Any]]:
        """Return the fields of each note with this code from the last command."""
        return noted(self.stderr, code)

    def json(self, *words: str) -> Any:
        """Run a verb with ``--json``, and return its output."""
        self(*words, "--json")
        return json.loads(self.stdout)

    def watch_errors(self) -> None:
        """Keep the fields of each error that the command line shows."""
        show = app._print_error

        def keep(error: SlurmsliceError) -> None:
            self.fields = error.fields
            show(error)

        self.patch.setattr(app, "_print_error", keep)


def on_the_fake_cluster(
    engine: FakeEngine,
    folder: Path,
    patch: pytest.MonkeyPatch,
    capture: pytest.CaptureFixture[str],
) -> Typed:
    """Use the fake cluster in a folder without settings or runs."""
    patch.setattr("slurmslice.actions.open_run.create_engine", lambda name, path, **_: engine)
    for module in ("watch", "log_watch"):
        patch.setattr(f"slurmslice.actions.{module}.sleep", engine.wait)
    patch.setenv("SLURMSLICE_RUNS", str(folder / "runs"))
    patch.setenv("XDG_STATE_HOME", str(folder / "state"))
    patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    for name, value in SHOW_CODES.items():
        patch.setenv(name, value)
    patch.chdir(folder)
    typed = Typed(folder, patch, capture)
    typed.watch_errors()
    return typed
