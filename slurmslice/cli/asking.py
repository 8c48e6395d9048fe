"""What ``run`` and ``render`` are asked: options to a ``Wanted``, and its preview."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from slurmslice.asked import Asked
from slurmslice.check import Check
from slurmslice.cli import places
from slurmslice.cli.console import one_line, say
from slurmslice.cli.packing import packing_of
from slurmslice.cli.preview import relative
from slurmslice.cli.shared import engine_option, meta, said_in
from slurmslice.cli.sources import SLICE_OPTIONS, Given, SliceOptions
from slurmslice.command import (
    Command,
    ShellText,
    Words,
    check,
    check_expanded_glob,
    join,
    quote,
)
from slurmslice.engines import Engine
from slurmslice.errors import BadInput
from slurmslice.run import Run
from slurmslice.rundir import RunDirectory
from slurmslice.template import OwnTemplate, find
from slurmslice.verbs.create import Wanted, make
from slurmslice.verbs.remake import remake, replaceable

_OPTIONS: tuple[Callable[..., Any], ...] = (
    *SLICE_OPTIONS,
    click.option(
        "--throttle", type=click.IntRange(min=1), metavar="N",
        help="At most N slices at once, over all submissions of the run.",
    ),
    click.option(
        "--pack", metavar="K|auto",
        help="K slices an array task, one after another; --time, --mem and -c stay those of one "
        "slice. auto: as many as take about 15 minutes.",
    ),
    click.option(
        "--at-once", type=click.IntRange(min=1), default=1, metavar="P",
        help="P slices of a task at a time; the task asks P times the CPUs and memory.",
    ),
    click.option(
        "--slice-time", metavar="TIME",
        help="How long a slice takes, as --time is written, for --pack auto; else as long as the "
        "slices of an earlier run of the same command took.",
    ),
    click.option(
        "--no-breaker", is_flag=True,
        help="Go on where the first 20 slices that end have all failed; else the rest is held.",
    ),
    click.option("--shell", metavar="TEXT", help="A shell text as the command; uses $SLICE."),
    click.option(
        "--check", metavar="TEXT", default="",
        help="A shell text that runs after a command that exits 0, with the same variables; "
        "where it does not exit 0 the slice is CHECK_FAILED.",
    ),
    click.option(
        "--check-file", metavar="PATH", multiple=True,
        help="A file, with {} or {column} in its path, that must exist then and not be empty.",
    ),
    click.option(
        "--allow-failed-steps", is_flag=True,
        help="A job step (srun) that fails is no failure of a slice whose command exits 0.",
    ),
    click.option(
        "--setup", metavar="TEXT|FILE", default="",
        help="Shell lines that run once a task, before the command: modules, conda, scratch. "
        "End a line that must not fail with `|| exit`.",
    ),
    click.option(
        "--template", metavar="FILE|NAME",
        help="A template in place of the script's own: a file, or a name in templates/ here. It is "
        "code: what it says is done here, when the script is made.",
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
        *SliceOptions.__dataclass_fields__,
        "throttle", "pack", "at_once", "slice_time", "no_breaker", "shell", "setup", "name",
        "run_dir", "profile", "engine", "template", "check", "check_file", "allow_failed_steps",
    )  # fmt: skip

    def __init__(self, **fields: Any) -> None:
        self.slices = SliceOptions(**{n: fields[n] for n in SliceOptions.__dataclass_fields__})
        self.throttle: int | None = fields["throttle"]
        self.pack: str | None = fields["pack"]
        self.at_once: int = fields["at_once"]
        self.slice_time: str | None = fields["slice_time"]
        self.no_breaker: bool = fields["no_breaker"]
        self.shell: str | None = fields["shell"]
        self.setup: str = fields["setup"]
        self.name: str = fields["name"]
        self.run_dir: str | None = fields["run_dir"]
        self.profile: str | None = fields["profile"]
        self.engine: str = fields["engine"]
        self.template: str | None = fields["template"]
        self.check = Check(fields["check"], fields["check_file"])
        self.allow_failed_steps: bool = fields["allow_failed_steps"]
        self.words, self.sbatch = meta()

    @property
    def anything(self) -> str:
        """What describes a new run; empty where just an old one is named."""
        given = {
            **dict.fromkeys(self.slices.typed(), True), "the command": self.words,
            "--shell": self.shell, "--throttle": self.throttle, "--setup": self.setup,
            "--pack": self.pack, "--slice-time": self.slice_time,
            "--name": self.name, "--run-dir": self.run_dir, "--profile": self.profile,
            "--engine": self.engine if self.engine != "auto" else None,
            "--template": self.template, "--check": self.check.text,
            "--check-file": self.check.files,
            "--allow-failed-steps": self.allow_failed_steps,
        }  # fmt: skip
        return next((option for option, value in given.items() if value), "")

    def wanted(self, max_attempts: int) -> Wanted:
        """The run that is asked for.

        Raises:
            BadInput: anything about it cannot be understood.
        """
        given = self.slices.read()
        with said_in("setup"):
            setup = setup_of(self.setup)
        command, slices = self._command(given), len(given.table)
        for name, part in (
            ("check", Check(self.check.text)),
            ("check_file", Check("", self.check.files)),
        ):
            with said_in(name):
                part.verify(given.table.columns)
        return Wanted(
            name=self.name or given.name,
            command=command,
            table=given.table,
            source=given.source,
            throttle=self.throttle or given.throttle,
            options=self.sbatch,
            setup=setup,
            work_dir=os.getcwd(),
            max_attempts=max_attempts,
            environ=dict(os.environ),
            packing=packing_of(
                self.pack, self.at_once, self.slice_time, self.sbatch, command, slices
            ),
            pack_asked=self.pack or "",
            breaker=not self.no_breaker,
            check=self.check,
            steps_count=not self.allow_failed_steps,
            template=self._template(),
        )

    def _template(self) -> OwnTemplate | None:
        """The person's template; that it is code is said before it is run."""
        if not self.template:
            return None
        own = find(self.template, Path.cwd())
        path = one_line(relative(own.path))
        say(f"The template {path} is code, and runs here to make the script.")
        return own

    def _command(self, given: Given) -> Command:
        if given.command and (self.words or self.shell is not None):
            raise BadInput(
                "There are two commands: the lines of --job-file, and another one.",
                "Leave out --shell, and what stands after --.",
            )
        if given.command:
            return given.command
        if self.shell is not None and self.words:
            raise BadInput(
                "There are two commands: --shell, and the words after --.", "Give one of them."
            )
        command: Command = Words(self.words) if self.shell is None else ShellText(self.shell)
        with said_in("words" if self.shell is None else "shell"):
            check(command, given.table.columns)
        if isinstance(command, Words):
            check_expanded_glob(command)
        return command


_LIKE_A_PATH = re.compile(r"[\w.+@~/-]*(/[\w.+@~/-]*|\.sh)")


def setup_of(text: str) -> str:
    """The setup's shell text: a file's where the text names one.

    Raises:
        BadInput: the text is a folder, or looks like the path of a file that is not there.
    """
    if os.path.isfile(text):
        return Path(text).read_bytes().decode("utf-8", "surrogateescape")
    wants = "--setup is shell lines, or a file of them"
    if os.path.isdir(text):
        raise BadInput(f"{wants}: {quote(text)} is a folder.", "Name a file that is in it.")
    if _LIKE_A_PATH.fullmatch(text):
        raise BadInput(
            f"{wants}: {quote(text)} is not there.",
            f"A program of the nodes is run with  --setup {quote(f'{text} || exit')}",
        )
    return text


def there_already(
    path: Path, asked: Asked, engine: Engine
) -> tuple[RunDirectory | None, Run | None]:
    """What is at the place of a run that is asked for.

    Returns:
        just this run, where it is there; and a run that it is to replace: one of which all that
        was submitted was refused, so that a corrected line takes its place.

    Raises:
        BadInput: another run is there; with what differs, a line each, and the ways out.
    """
    if not os.path.exists(path):  # False too where the name is too long: making it says so
        return None, None
    place = RunDirectory.open(path)
    different = place.asked().differences(asked)
    if not different:
        return place, None
    there = Run(place, engine)
    ours = (there.asked.engine, there.asked.cluster) == (asked.engine, asked.cluster)
    if not (ours and replaceable(there)):
        raise BadInput(
            f"There is a run {asked.name} already, and it is another one:\n  "
            + "\n  ".join(map(one_line, different)),
            "\n".join(_ways_out(there, asked, different)),
        )
    return None, there


def made(asked: Asked, wanted: Wanted, path: Path, replaced: Run | None) -> RunDirectory:
    """Make the run, in the place of one that it replaces if need be."""
    if replaced is None:
        place = make(asked, wanted, path)
    else:
        place = remake(replaced, asked, wanted)
        say(f"It replaces the run {asked.name} that was there: all of that was refused.")
    places.remember(path)
    return place


_IN_THE_SCRIPT = ("command:", "setup:", "check:")


def _ways_out(there: Run, asked: Asked, different: list[str]) -> Iterator[str]:
    name = quote(asked.name)
    yield f"Give this one a name of its own:  --name {asked.name}-2"
    if all(line.startswith("options:") for line in different):
        had, now = there.asked.typed, asked.typed
        changed = now.differing_from(had).to_argv()
        if had.keys() <= now.keys():
            yield f"Go on with it, changed:           slurmslice run {name} {join(changed)}"
        else:
            yield (
                f"Go on with it, changed:           edit the #SBATCH lines of "
                f"{relative(there.place.script)}, then slurmslice run {name}"
            )
    if any(line.startswith(_IN_THE_SCRIPT) for line in different):
        yield f"What that one runs can be edited: {quote(relative(there.place.script))}"
    if not there.ledger.submissions:
        path = quote(relative(there.place.path))
        yield f"Nothing of it was submitted yet:  rm -r {path}  forgets it"
