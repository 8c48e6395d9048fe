"""The script of a run: rendered once, reviewed by a person, run by every submission."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from slurmslice.errors import BadInputError
from slurmslice.script.source_line import LIBRARY_NAME, SourceLine
from slurmslice.script.template_files import OwnTemplate, templates_folder
from slurmslice.spec.command import ShellText, command_to_bash, command_to_words
from slurmslice.spec.output_names import output_names_to_bash
from slurmslice.spec.run_spec import RunRecord
from slurmslice.system import process
from slurmslice.system.shell_quoting import quote_words

_PINNED = (
    "PATH",
    "LD_LIBRARY_PATH",
    "PYTHONPATH",
    "VIRTUAL_ENV",
    "MODULEPATH",
    "LOADEDMODULES",
)
# Only the variables of conda's active environment: its settings (CONDA_CHANNEL_ALIAS,
# CONDA_PROXY_SERVERS …) may hold a token or a password.
_CONDA = re.compile(r"CONDA_(DEFAULT_ENV|EXE|PREFIX(_[0-9]+)?|PYTHON_EXE|SHLVL)")

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)

_RECORD_FIELDS = ("name", "work_dir", "setup", "direct", "slices", "version")


@dataclass(frozen=True, slots=True)
class ScriptContent:
    """A script before it is rendered. Bytes that are not UTF-8 are surrogates in every field.

    Attributes:
        record: the record of the run.
        directives: its ``#SBATCH`` lines, complete.
        run_dir: the run directory; absolute.
        environment: variables that get their present values in every attempt.
        columns: names of the slices' columns, in the table's order.
        log_folders: direct form only: the log of key K is ``logs/<K div 1000>/K.log``.
        whole: the script's own array carries all slices, not only a part of them.
    """

    record: RunRecord
    directives: str
    run_dir: str
    environment: tuple[tuple[str, str], ...]
    columns: tuple[str, ...]
    log_folders: bool
    whole: bool

    @property
    def context(self) -> dict[str, object]:
        """The names for a template, with their values (``docs/reference/templates.md``)."""
        record, packing = self.record, self.record.packing
        request = record.first_request
        named = {name: getattr(record, name) for name in _RECORD_FIELDS}
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "record"}
        return {
            **named,
            **own,
            "run": record,
            "source": self.source_line.to_bash(),
            "command": command_to_bash(record.command),
            "check": record.check.to_bash(),
            "output_names": output_names_to_bash(record),
            "argv": command_to_words(record.command),
            "shell_text": isinstance(record.command, ShellText),
            "cpus": request.cpus if "cpus-per-task" in request else None,
            "differing": tuple(record.per_slice),
            "first_options": quote_words(record.first_options.to_argv()),
            "pack": packing.pack,
            "at_once": packing.at_once,
            "slice_time_s": packing.slice_time_s,
        }

    @property
    def source_line(self) -> SourceLine:
        """The line that sources the library."""
        numbers = self.record.numbers
        return SourceLine(
            run_dir=self.run_dir,
            form="direct" if self.record.direct else "table",
            pack=self.record.packing.pack,
            at_once=self.record.packing.at_once,
            slice_time=self.record.packing.slice_time_s or 0,
            check=bool(self.record.check),
            log_folders=self.log_folders,
            keep_logs=self.record.keep_logs,
            output=bool(self.record.output or self.record.error),
            open_mode=self.record.open_mode,
            slices=self.record.slices,
            numbers=str(numbers or ""),
            scattered=self.record.direct and not (numbers and numbers.one_range),
        )


def library_bytes() -> bytes:
    """Return the library's text, which is the same in every run."""
    return library_path().read_bytes()


def library_path() -> Path:
    """Return the path of the library in the package."""
    return templates_folder() / LIBRARY_NAME


def render_script(script: ScriptContent, own: OwnTemplate | None = None) -> str:
    """Render the script. Write the text with ``errors="surrogateescape"``.

    Args:
        script: its contents.
        own: a person's template instead of the shipped one.

    Raises:
        BadInputError: the setup, the shell text or a directive breaks the lines around it, a value
            holds NUL, or the person's template has a mistake or lacks a required part.
    """
    if not all(line.startswith("#SBATCH ") for line in script.directives.split("\n")):
        raise BadInputError(
            "An sbatch option holds a line break, which an #SBATCH line cannot express.",
            code="control-character",
        )
    from slurmslice.script.template import render_template  # late: it imports Jinja2

    context, record = script.context, script.record
    text = render_template(context, own)
    typed = record.command.text if isinstance(record.command, ShellText) else ""
    plain = text if own is None else render_template(context, None)
    parts = (("--setup", record.setup), ("--shell", typed), ("--check", record.check.text))
    for what, part in parts:
        if part:
            # Checked alone and in the script: `}` is an error alone, a last `\` only in the script.
            check_bash_syntax(part, what)
            check_bash_syntax(plain, what)
    if own is not None:
        check_bash_syntax(text, f"the script of template {own.path.name}")
    return text


def check_bash_syntax(text: str, what: str = "the script") -> None:
    """Let bash parse a text without running it. Without a bash nothing is checked.

    Raises:
        BadInputError: bash finds an error, or warns (about a here-document without its end).
    """
    # The locale is C, because bash also warns about a missing locale.
    env = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    said = process.run_program(["bash", "-n", "-c", "--", text], timeout=60, env=env)
    if said.missing or (said.returncode == 0 and not said.stderr):
        return
    first = said.stderr.partition("\n")[0].removeprefix("bash: -c: ")
    raise BadInputError(
        f"Bash cannot read {what}: {first}.",
        "Look for a missing quote or brace.",
        code="bash-syntax",
        what=what,
    )


def pinned_variables(
    environ: Mapping[str, str], kept: Sequence[str] = ()
) -> tuple[tuple[str, str], ...]:
    """Select the variables that every attempt gets from the script.

    They are those by which programs are found, and those that a person keeps (``--env``).

    Args:
        environ: the environment with their values.
        kept: names of variables to keep, or ``NAME=VALUE``.

    Raises:
        BadInputError: a variable to keep is not set, or the text is no name of a variable.
    """
    names = [*(n for n in _PINNED if n in environ), *sorted(filter(_CONDA.fullmatch, environ))]
    pinned = {name: environ[name] for name in names} | dict(_kept(environ, kept))
    return tuple(pinned.items())


def _kept(environ: Mapping[str, str], kept: Sequence[str]) -> Iterator[tuple[str, str]]:
    for text in kept:
        name, given, value = text.partition("=")
        if not _NAME.fullmatch(name):
            raise BadInputError(
                f"--env {text!r}: {name!r} cannot be the name of a variable.",
                "Write --env NAME, or --env NAME=VALUE.",
                code="bad-variable-name",
                option="env",
                name=name,
            )
        if not given and name not in environ:
            raise BadInputError(
                f"--env {name}: this variable is not set here.",
                f"Set it first (export {name}=…), or write --env {name}=VALUE.",
                code="variable-not-set",
                option="env",
                name=name,
            )
        yield name, value if given else environ[name]
