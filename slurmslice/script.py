"""The script of a run: rendered once, reviewed by a person, and run by every submission."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from slurmslice import process
from slurmslice.check import NO_CHECK, Check
from slurmslice.command import Command, ShellText, argv, to_bash
from slurmslice.errors import BadInput
from slurmslice.source_line import LIBRARY_NAME, SourceLine
from slurmslice.template import OwnTemplate, fill, templates_folder

_PINNED = (
    "PATH",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "MODULEPATH",
    "LOADEDMODULES",
)
# By which conda knows what is activated. Its settings can be variables too (CONDA_CHANNEL_ALIAS,
# CONDA_PROXY_SERVERS …), and those may hold a token or a password.
_CONDA = re.compile(r"CONDA_(DEFAULT_ENV|EXE|PREFIX(_[0-9]+)?|PYTHON_EXE|SHLVL)")


@dataclass(frozen=True, slots=True)
class ScriptSpec:
    """What a script says. Bytes that are not UTF-8 are surrogates in every field.

    Attributes:
        name: the run's name.
        directives: its ``#SBATCH`` lines, ready.
        run_dir: the run directory; absolute.
        work_dir: where the command runs; absolute.
        environment: variables that every attempt is to find as they are now.
        cpus: what was asked with ``--cpus-per-task``; None where it was not.
        setup: shell text that runs once a task, before the command; empty for none.
        command: what is done to each slice; checked.
        check: what must hold once it has exited 0; checked.
        direct: the array index is the key, and no table is read.
        columns: names of the slices' columns, in the table's order.
        slices: how many slices the run has.
        whole: the script's own array carries all slices; else a part of them.
        log_folders: direct form only: the log of key K is ``logs/<K div 1000>/K.log``.
        differing: the options of sbatch that differ between slices, by long name: the directives
            have those of the first.
        version: of slurmslice.
        pack: how many slices an array task carries, 1 or more; more than 1 is the table form, in
            which index i owns the lines of the task table from line i * pack on (from 0, below
            the header).
        at_once: how many of them run at a time, 1 or more.
        slice_time_s: packed only: how long one slice may take, seconds; None for no limit but
            the task's. The script's second argument is another limit.
    """

    name: str
    directives: str
    run_dir: str
    work_dir: str
    environment: tuple[tuple[str, str], ...]
    cpus: int | None
    setup: str
    command: Command
    direct: bool
    columns: tuple[str, ...]
    log_folders: bool
    whole: bool
    slices: int
    version: str
    pack: int = 1
    at_once: int = 1
    slice_time_s: int | None = None
    check: Check = NO_CHECK
    differing: tuple[str, ...] = ()

    @property
    def source_line(self) -> SourceLine:
        """The line that sources the library."""
        return SourceLine(
            run_dir=self.run_dir,
            form="direct" if self.direct else "table",
            pack=self.pack,
            at_once=self.at_once,
            slice_time=self.slice_time_s or 0,
            check=bool(self.check),
            log_folders=self.log_folders,
        )


def library() -> bytes:
    """The library's text, which is the same in every run."""
    return library_path().read_bytes()


def library_path() -> Path:
    """The file with the library's text."""
    return templates_folder() / LIBRARY_NAME


def render(spec: ScriptSpec, own: OwnTemplate | None = None) -> str:
    """The whole script. Write it with ``errors="surrogateescape"``.

    Args:
        spec: what it says.
        own: a person's template in place of the shipped one.

    Raises:
        BadInput: the setup, the shell text or a directive would not stay in its place, a value
            holds NUL, or the person's template has a mistake or lacks a needed part.
    """
    if not all(line.startswith("#SBATCH ") for line in spec.directives.split("\n")):
        raise BadInput("A directive holds a line break, which no #SBATCH line can express.")
    context = {field.name: getattr(spec, field.name) for field in fields(spec)} | {
        "source": spec.source_line.to_bash(),
        "command": to_bash(spec.command),
        "check": spec.check.to_bash(),
        "argv": argv(spec.command),
        "shell_text": isinstance(spec.command, ShellText),
    }
    text = fill(context, own)
    typed = spec.command.text if isinstance(spec.command, ShellText) else ""
    plain = text if own is None else fill(context, None)
    for what, part in (("--setup", spec.setup), ("--shell", typed), ("--check", spec.check.text)):
        if part:
            # Alone and in its place: `}` is a mistake alone, a last `\` only where it stands.
            check_syntax(part, what)
            check_syntax(plain, what)
    if own is not None:
        check_syntax(text, f"what {own.path.name} makes")
    return text


def check_syntax(text: str, what: str = "the script") -> None:
    """Have bash read a text without running it; nothing is checked where there is no bash.

    Raises:
        BadInput: bash finds a mistake, or warns (of a here-document without its end).
    """
    # In C, since bash also warns of a locale that it does not find.
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    said = process.run(["bash", "-n", "-c", "--", text], timeout=60, env=env)
    if said.missing or (said.returncode == 0 and not said.stderr):
        return
    first = said.stderr.partition("\n")[0].removeprefix("bash: -c: ")
    raise BadInput(f"Bash cannot read {what}: {first}.", "Look for a quote or a brace too few.")


def pinned(environ: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """The variables that decide which programs a later attempt finds, of those that are set."""
    names = [*(n for n in _PINNED if n in environ), *sorted(filter(_CONDA.fullmatch, environ))]
    return tuple((name, environ[name]) for name in names)
