"""What real Slurm commands answered: by release, a file an answer.

Each file begins with ``# Slurm RELEASE``, ``# $ COMMAND`` and ``# exit CODE``; what follows is
standard output as it came, then, after a line ``# stderr``, standard error.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from slurmslice.process import Finished

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Recorded:
    """A command of some release, and how it ended."""

    release: str
    done: Finished

    @property
    def text(self) -> str:
        """Standard output."""
        return self.done.stdout


def load(name: str, release: str = "22.05") -> Recorded:
    """The answer in ``RELEASE/NAME.txt``."""
    text = (HERE / release / f"{name}.txt").read_bytes().decode("utf-8", "surrogateescape")
    first, command, code, rest = text.split("\n", 3)
    stdout, _, stderr = rest.partition("# stderr\n")
    argv = tuple(shlex.split(command.removeprefix("# $ ")))
    done = Finished(argv, int(code.removeprefix("# exit ")), stdout, stderr)
    return Recorded(first.removeprefix("# Slurm "), done)
