"""Recorded answers of real Slurm commands, by release, one file per answer.

Each file begins with ``# Slurm RELEASE``, ``# $ COMMAND`` and ``# exit CODE``. Then follow the
unchanged standard output, a line ``# stderr``, and standard error.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from slurmslice.system.process import ProgramResult

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Recorded:
    """A command of a release, with its output and exit code."""

    release: str
    done: ProgramResult

    @property
    def text(self) -> str:
        """Standard output."""
        return self.done.stdout


def load(name: str, release: str = "22.05") -> Recorded:
    """Return the answer in ``RELEASE/NAME.txt``."""
    text = (HERE / release / f"{name}.txt").read_bytes().decode("utf-8", "surrogateescape")
    first, command, code, rest = text.split("\n", 3)
    stdout, _, stderr = rest.partition("# stderr\n")
    argv = tuple(shlex.split(command.removeprefix("# $ ")))
    done = ProgramResult(argv, int(code.removeprefix("# exit ")), stdout, stderr)
    return Recorded(first.removeprefix("# Slurm "), done)


def program(folder: Path, name: str, body: str) -> None:
    """Make a program in bash that writes its arguments and environment to ``NAME.calls``."""
    path = folder / name
    record = f'printf "%s\\n" "$*" >>"{folder}/{name}.calls"; env -0 >"{folder}/{name}.env"'
    path.write_text(f"#!/bin/bash\n{record}\n{body}\n")
    path.chmod(0o755)


def replay(folder: Path, name: str, *answers: str) -> None:
    """Make a program that gives one recorded answer per call; it repeats the last one."""
    lines = [f'count=$(wc -l <"{folder}/{name}.calls")']
    for number, answer in enumerate(answers, 1):
        done = load(answer).done
        (folder / f"{name}.{number}.out").write_text(done.stdout, errors="surrogateescape")
        (folder / f"{name}.{number}.err").write_text(done.stderr, errors="surrogateescape")
        lines.append(
            f'[ "$count" -gt {number} ] && [ {number} -lt {len(answers)} ] || '
            f'{{ cat "{folder}/{name}.{number}.out"; '
            f'cat "{folder}/{name}.{number}.err" >&2; exit {done.returncode}; }}'
        )
    program(folder, name, "\n".join(lines))


def calls(folder: Path, name: str) -> list[str]:
    """Return the arguments of each call of a program."""
    path = folder / f"{name}.calls"
    return path.read_text().splitlines() if path.exists() else []


def seen_environment(folder: Path, name: str) -> dict[str, str]:
    """Return the environment of a program's last call."""
    pairs = (folder / f"{name}.env").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)
