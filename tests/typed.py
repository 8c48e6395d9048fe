"""The command line in this process, on the fake cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from slurmslice import cli
from tests.fakes import FakeEngine


@dataclass
class Typed:
    """What is typed in a folder, and what comes of it: the exit code, and all lines."""

    folder: Path
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    code: int = 0
    lines: tuple[str, ...] = ()

    def __call__(self, *words: str) -> str:
        """All that was said and put out, in words with single blanks between them."""
        self.patch.setattr("sys.argv", ["slurmslice", *words])
        self.code = cli._code()
        shown, said = self.capture.readouterr()
        self.lines = (*said.splitlines(), *shown.splitlines())
        return " ".join(f"{said} {shown}".split())


def on_the_fake_cluster(
    engine: FakeEngine,
    folder: Path,
    patch: pytest.MonkeyPatch,
    capture: pytest.CaptureFixture[str],
) -> Typed:
    """A folder in which slurmslice finds the fake cluster, and nobody's settings or runs."""
    patch.setattr("slurmslice.cli.engine.make", lambda name, path: engine)
    patch.setattr("slurmslice.verbs.watch.sleep", engine.wait)
    patch.setenv("SLURMSLICE_RUNS", str(folder / "runs"))
    patch.setenv("XDG_STATE_HOME", str(folder / "state"))
    patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    patch.chdir(folder)
    return Typed(folder, patch, capture)
