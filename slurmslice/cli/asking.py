"""The options of ``run`` and ``render`` that describe a new run, and what is made of them."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from slurmslice.check import Check
from slurmslice.cli import places
from slurmslice.cli.console import note, one_line
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
from slurmslice.run_spec import RunRecord, RunSpec
from slurmslice.rundir import RunDirectory
from slurmslice.template import OwnTemplate, find
from slurmslice.verbs.create import RunInputs, check_name, default_name, make
from slurmslice.verbs.replace_refused_run import replace_refused_run, replaceable

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


def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


NAMES = tuple(str(p.name) for p in click.command(_with_options(lambda: None)).params)
"""The parameters that describe a new run, in the order of their options."""

_FOR_OLD_RUNS_TOO = {"no_breaker"}

_FOR_OLD_RUNS_TOO = {"no_breaker"}


def new_run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options that describe a new run; they arrive as one ``NewRunOptions``."""

    @functools.wraps(function)
    def verb(*args: Any, **given: Any) -> Any:
        values = {name: given.pop(name) for name in NAMES}
        return function(*args, options=NewRunOptions(values), **given)

    return _with_options(verb)


class NewRunOptions:
    """The options that describe a new run, as they were typed, or said in a settings file.

    Args:
        values: by the parameters' names.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.words, self.sbatch = meta()
        self.run_dir: str | None = values["run_dir"]
        self.engine: str = values["engine"]
        self.no_breaker: bool = values["no_breaker"]

    @property
    def anything(self) -> str:
        """The first of them that was typed; empty if just an old run is named."""
        context = click.get_current_context()
        if self.words:
            return "the command"
        for option in context.command.params:
            typed = context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE
            if typed and option.name in NAMES and option.name not in _FOR_OLD_RUNS_TOO:
                long = (flag for flag in option.opts if flag.startswith("--"))
                return option.opts[0] if option.name == "slices" else next(long)
        return ""

    def read(self, max_attempts: int | None) -> RunInputs:
        """The run that is asked for: an option that has a field's name fills it.

        Raises:
            BadInput: anything about it cannot be understood.
        """
        values, names = self.values, SliceOptions.__dataclass_fields__
        given = SliceOptions(**{name: values[name] for name in names}).read()
        template = self._template()
        command = self._command(given)
        packing = packing_of(
            values["pack"], values["at_once"], values["slice_time"], self.sbatch, command,
            len(given.table),
        )  # fmt: skip
        known = {name: values[name] for name in RunSpec.__dataclass_fields__ if name in values}
        spec = RunSpec(**known | {
            "name": check_name(values["name"] or given.name or default_name(command)),
            "command": command,
            "source": given.source,
            "request": self.sbatch,
            "throttle": values["throttle"] or given.throttle,
            "packing": packing,
            "setup": self._setup(),
            "check": self._check(given.table.columns),
            "work_dir": os.getcwd(),
            "max_attempts": max_attempts,
        })  # fmt: skip
        return RunInputs(spec, given.table, dict(os.environ), template)

    def _setup(self) -> str:
        with said_in("setup"):
            return setup_of(self.values["setup"])

    def _check(self, columns: Collection[str]) -> Check:
        for name, part in (
            ("check", Check(self.values["check"])),
            ("check_file", Check("", self.values["check_file"])),
        ):
            with said_in(name):
                part.verify(columns)
        return Check(self.values["check"], self.values["check_file"])

    def _template(self) -> OwnTemplate | None:
        """The person's template; that it is code is said before it is run."""
        if not self.values["template"]:
            return None
        own = find(self.values["template"], Path.cwd())
        path = one_line(relative(own.path))
        message = f"The template {path} is code, and runs here to make the script."
        note("template-is-code", message, path=path)
        return own

    def _command(self, given: Given) -> Command:
        shell: str | None = self.values["shell"]
        if given.command and (self.words or shell is not None):
            raise BadInput(
                "There are two commands: the lines of --job-file, and another one.",
                "Leave out --shell, and what stands after --.",
                code="two-commands",
                option="job-file",
            )
        if given.command:
            return given.command
        if shell is not None and self.words:
            raise BadInput(
                "There are two commands: --shell, and the words after --.",
                "Give one of them.",
                code="two-commands",
                option="shell",
            )
        command: Command = Words(self.words) if shell is None else ShellText(shell)
        with said_in("words" if shell is None else "shell"):
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
        raise BadInput(
            f"{wants}: {quote(text)} is a folder.",
            "Name a file that is in it.",
            code="is-a-folder",
            option="setup",
            path=text,
        )
    if _LIKE_A_PATH.fullmatch(text):
        raise BadInput(
            f"{wants}: {quote(text)} is not there.",
            f"A program of the nodes is run with  --setup {quote(f'{text} || exit')}",
            code="no-such-file",
            option="setup",
            path=text,
        )
    return text


def there_already(
    path: Path, record: RunRecord, engine: Engine
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
    different = place.record().differences(record)
    if not different:
        return place, None
    there = Run(place, engine)
    ours = (there.record.engine, there.record.cluster) == (record.engine, record.cluster)
    if not (ours and replaceable(there)):
        raise BadInput(
            f"There is a run {record.name} already, and it is another one:\n  "
            + "\n  ".join(map(one_line, different)),
            "\n".join(_ways_out(there, record, different)),
            code="run-differs",
            run=record.name,
            differences=tuple(different),
        )
    return None, there


def made(record: RunRecord, new: RunInputs, path: Path, replaced: Run | None) -> RunDirectory:
    """Make the run, in the place of one that it replaces if need be."""
    if replaced is None:
        place = make(record, new, path)
    else:
        place = replace_refused_run(replaced, record, new)
        message = f"It replaces the run {record.name} that was there: all of that was refused."
        note("run-replaced", message, run=record.name)
    places.remember(path)
    return place


_IN_THE_SCRIPT = ("command:", "setup:", "check:")


def _ways_out(there: Run, record: RunRecord, different: list[str]) -> Iterator[str]:
    name = quote(record.name)
    yield f"Give this one a name of its own:  --name {record.name}-2"
    if all(line.startswith("options:") for line in different):
        had, now = there.record.request, record.request
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
