"""The command line in this process, on the fake cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slurmslice import cli
from slurmslice.errors import SlurmsliceError
from tests.errors import error_code
from tests.fakes import FakeEngine


@dataclass
class Typed:
    """What is typed in a folder, and what comes of it.

    Attributes:
        code: the exit code.
        lines: the lines of stderr, then those of stdout.
        error: the code of the error that ended it; empty if none did.
        fields: the fields of that error; errors of usage, which click finds, have none.
    """

    folder: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    code: int = 0
    lines: tuple[str, ...] = ()
    error: str = ""
    fields: Mapping[str, object] = field(default_factory=dict)

    def __call__(self, *words: str) -> str:
        """All that was said and put out, in words with single blanks between them."""
        self.patch.setattr("sys.argv", ["slurmslice", *words])
        self.fields = {}
        self.code = cli._code()
        shown, said = self.capture.readouterr()
        self.error = error_code(said)
        self.lines = (*said.splitlines(), *shown.splitlines())
        return " ".join(f"{said} {shown}".split())

    def watch_errors(self) -> None:
        """Keep the fields of each error that the command line shows."""
        show = cli._complain

        def keep(error: SlurmsliceError) -> None:
            self.fields = error.fields
            show(error)

        self.patch.setattr(cli, "_complain", keep)


def on_the_fake_cluster(
    engine: FakeEngine,
    folder: Path,
    patch: pytest.MonkeyPatch,
    capture: pytest.CaptureFixture[str],
) -> Typed:
    """A folder in which slurmslice finds the fake cluster, and nobody's settings or runs."""
    patch.setattr("slurmslice.cli.engine.make", lambda name, path: engine)
    patch.setenv("SLURMSLICE_RUNS", str(folder / "runs"))
    patch.setenv("XDG_STATE_HOME", str(folder / "state"))
    patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    patch.chdir(folder)
    typed = Typed(folder, patch, capture)
    typed.watch_errors()
    return typed
