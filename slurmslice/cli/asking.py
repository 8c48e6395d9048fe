"""What ``run`` and ``render`` are asked: options to a ``Wanted``, and its preview."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from slurmslice.asked import Asked
from slurmslice.cli.preview import relative
from slurmslice.cli.shared import engine_option, meta
from slurmslice.command import Command, ShellText, Words, check, check_expanded_glob
from slurmslice.errors import BadInput
from slurmslice.rundir import RunDirectory
from slurmslice.slices import SliceTable, from_lines, from_range
from slurmslice.template import find
from slurmslice.verbs.create import Wanted

_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "-a", "--array", "--slices", "slices", metavar="RANGE",
        help="Slices from a range as sbatch has it: 0-98, 1,3,7-9, 0-100:5, 0-98%10.",
    ),
    click.option(
        "--slices-from", metavar="FILE|-", help="Slices from a list of keys, one a line."
    ),
    click.option("-0", "--null", is_flag=True, help="Keys in --slices-from end with NUL."),
    click.option(
        "--throttle", type=click.IntRange(min=1), metavar="N", help="At most N slices at once."
    ),
    click.option("--shell", metavar="TEXT", help="A shell text as the command; uses $SLICE."),
    click.option(
        "--setup", metavar="TEXT|FILE", default="",
        help="Shell lines that run once a task, before the command: modules, conda, scratch. "
        "End a line that must not fail with `|| exit`.",
    ),
    click.option(
        "--template", metavar="FILE|NAME",
        help="A template in place of the script's own: a file, or a name in templates/ here.",
    ),
    click.option(
        "-J", "--name", "--job-name", "name", metavar="NAME", default="",
        help="The run's name; the program's if left out.",
    ),
    click.option("--run-dir", metavar="DIR", help="The run directory, in place of the usual one."),
    click.option("--profile", metavar="NAME", help="Take the settings of [profile.NAME] too."),
    engine_option,
)  # fmt: skip

EPILOG = (
    "Every option of sbatch that describes the request is taken too, by its own name and "
    "letter: -p -A -q -c -t -N -n -G -C -d -w -x --mem --mem-per-cpu --gres --exclusive …\n\n"
    "All of this can be said in a file: slurmslice.toml in this folder, and "
    "~/.config/slurmslice/config.toml below it. What is typed counts first, then --profile."
)


def asking(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options that describe a new run; they arrive as one ``Asking``."""

    @functools.wraps(function)
    def verb(*args: Any, **options: Any) -> Any:
        fields = {name: options.pop(name) for name in Asking.FIELDS}
        return function(*args, asking=Asking(**fields), **options)

    for option in reversed(_OPTIONS):
        verb = option(verb)
    return verb


class Asking:
    """The options that describe a new run, as they were typed, or said in a settings file."""

    FIELDS = (
        "slices", "slices_from", "null", "throttle", "shell", "setup", "name", "run_dir", "profile",
        "engine", "template",
    )  # fmt: skip

    def __init__(self, **fields: Any) -> None:
        self.slices: str | None = fields["slices"]
        self.slices_from: str | None = fields["slices_from"]
        self.null: bool = fields["null"]
        self.throttle: int | None = fields["throttle"]
        self.shell: str | None = fields["shell"]
        self.setup: str = fields["setup"]
        self.name: str = fields["name"]
        self.run_dir: str | None = fields["run_dir"]
        self.profile: str | None = fields["profile"]
        self.engine: str = fields["engine"]
        self.template: str | None = fields["template"]
        self.words, self.sbatch = meta()

    @property
    def anything(self) -> str:
        """What describes a new run; empty where just an old one is named."""
        given = {
            "-a": self.slices, "--slices-from": self.slices_from, "the command": self.words,
            "--shell": self.shell, "--throttle": self.throttle, "--setup": self.setup,
            "--name": self.name, "--run-dir": self.run_dir, "--profile": self.profile,
            "--engine": self.engine if self.engine != "auto" else None,
            "--template": self.template,
        }  # fmt: skip
        return next((option for option, value in given.items() if value), "")

    def wanted(self, max_attempts: int) -> Wanted:
        """The run that is asked for.

        Raises:
            BadInput: anything about it cannot be understood.
        """
        table, throttle, source = self._slices()
        command = self._command(table)
        return Wanted(
            name=self.name,
            command=command,
            table=table,
            source=source,
            throttle=self.throttle or throttle,
            options=self.sbatch,
            setup=_setup(self.setup),
            work_dir=os.getcwd(),
            max_attempts=max_attempts,
            environ=dict(os.environ),
            template=find(self.template, Path.cwd()) if self.template else None,
        )

    def _slices(self) -> tuple[SliceTable, int | None, str]:
        if (self.slices is None) == (self.slices_from is None):
            raise BadInput(
                "Say which slices there are, in one way.",
                "-a 0-98 for a range, --slices-from FILE for a list of keys (- reads them here).",
            )
        if self.slices is not None:
            table, throttle = from_range(self.slices)
            return table, throttle, self.slices
        data, source = _read_list(self.slices_from or "-")
        return from_lines(data, source, nul=self.null), None, source

    def _command(self, table: SliceTable) -> Command:
        if self.shell is not None and self.words:
            raise BadInput(
                "There are two commands: --shell, and the words after --.", "Give one of them."
            )
        command: Command = Words(self.words) if self.shell is None else ShellText(self.shell)
        check(command, table.columns)
        if isinstance(command, Words):
            check_expanded_glob(command)
        return command


def _read_list(source: str) -> tuple[bytes, str]:
    if source == "-":
        return sys.stdin.buffer.read(), "standard input"
    try:
        return Path(source).read_bytes(), source
    except OSError as why:
        raise BadInput(f"The list of slices {source!r} cannot be read: {why.strerror}.") from why


def _setup(text: str) -> str:
    """The setup's shell text: a file's where the text names one."""
    if not text or "\n" in text or not os.path.isfile(text):
        return text
    return Path(text).read_bytes().decode("utf-8", "surrogateescape")


def refuse_another(place: RunDirectory, asked: Asked) -> None:
    """Refuse a line that describes another run than the one of that name.

    Raises:
        BadInput: with what differs, a line each, and the ways out.
    """
    there = place.asked()
    different = there.differences(asked)
    if not different:
        return
    ways = [f"Give this one a name of its own:  --name {asked.name}-2"]
    if all(line.startswith("options:") for line in different):
        changed = " ".join(f"--{name}={value}" for name, value in asked.options)
        ways.append(f"Go on with it, changed:           slurmslice run {asked.name} {changed}")
    if not any(True for _ in place.events()):
        ways.append(f"Nothing of it was submitted yet:  rm -r {relative(place.path)}  forgets it")
    raise BadInput(
        f"There is a run {asked.name} already, and it is another one:\n  " + "\n  ".join(different),
        "\n".join(ways),
    )
