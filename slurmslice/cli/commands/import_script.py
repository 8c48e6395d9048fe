"""The verb ``import``: make a run of an existing sbatch script, and submit nothing."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

import click

from slurmslice import sbatch
from slurmslice.cli.commands.render import make_run
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.command_words import WordsCommand
from slurmslice.cli.options.common import dry_run_option
from slurmslice.cli.options.new_run_inputs import NewRunOptions
from slurmslice.cli.options.new_run_options import EPILOG, new_run_options
from slurmslice.cli.options.sbatch_options import cluster_options, mark_optional_values
from slurmslice.cli.output.console import emit_note, print_note, printable_line
from slurmslice.errors import BadInputError
from slurmslice.slices.sources.registry import FORMS
from slurmslice.spec.command import CommandWords
from slurmslice.spec.imported_script import ImportedScript, literal_braces, read_imported_script
from slurmslice.system import files
from slurmslice.system.line_ends import unix_text
from slurmslice.system.shell_quoting import quote, quote_words

_MOST_BYTES = 4 << 20
"""Slurm's own limit for a script."""

_SAME = {
    "name": "job-name",
    "open_mode": "open-mode",
    **{form.option.name: "array" for form in FORMS},
}
"""sbatch's names for parameters of ``render``."""


@dataclass(frozen=True, slots=True)
class _Import:
    """A script that was read.

    Attributes:
        path: its absolute path.
        data: its bytes, with the line ends of Unix.
        script: its translation.
        arguments: the words after it.
        job_name: the name of its job by sbatch.
    """

    path: str
    data: bytes
    script: ImportedScript
    arguments: tuple[str, ...]
    job_name: str

    @property
    def copy_name(self) -> str:
        """The name of the copy in the run directory."""
        return "imported" + os.path.splitext(self.path)[1]

    def command(self, path: str) -> CommandWords:
        """Return the command that runs the script, or a copy of it.

        A job of a run has a name of its own, with a token. A script that uses the name gets the one
        that sbatch would give it.
        """
        named = f"SLURM_JOB_NAME={literal_braces(self.job_name)}"
        before = ("env", named) if self.script.asks_name else ()
        words = (*before, *self.script.interpreter, literal_braces(path), *self.arguments)
        return CommandWords(words)


class ImportCommand(WordsCommand):
    """Options, then the script, then its arguments, as with sbatch."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the words of the usage line."""
        return [*super().collect_usage_pieces(ctx), "FILE", "[ARGUMENT]..."]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the line of ``render`` that the script and the typed options stand for."""
        params = self.get_params(ctx)
        parser = self.make_parser(ctx)
        parser.allow_interspersed_args = False
        marked = mark_optional_values(params, args)
        given, rest, order = parser.parse_args(list(marked))  # it empties its list
        if self.get_help_option(ctx) in order:
            return super().parse_args(ctx, args)
        if not rest:
            raise BadInputError(
                "No script was named.",
                "Type slurmslice import FILE, or slurmslice import -a 0-9 FILE ARGUMENT…",
                code="missing-argument",
            )
        typed = marked[: len(marked) - len(rest)]
        typed = typed[:-1] if typed[-1:] == ["--"] else typed
        found = _read(rest[0], tuple(rest[1:]))
        names = set(_typed_names(given, order))
        if isinstance(given.get("name"), str):
            found = replace(found, job_name=str(given["name"]))
        words = [*_at_home(found, given), *found.script.words(names), *typed]
        self._refuse_unknown(ctx, found, args)
        ctx.meta["imported"] = found
        if "array" not in {*names, *dict(found.script.options)}:
            raise _no_slices(rest[0])
        for note in found.script.notes:
            print_note(note)
        _note_options_after(rest, {flag for param in params for flag in param.opts})
        line = [*words, "--", *found.command(found.path).words]
        shown = printable_line(quote_words(["slurmslice", "render", *line]))
        emit_note("imported-as", f"As typed: {shown}", words=line)
        return super().parse_args(ctx, line)

    def _refuse_unknown(self, ctx: click.Context, found: _Import, args: Sequence[str]) -> None:
        """Refuse options of the script that this cluster's sbatch does not list, if it answers.

        Raises:
            BadInputError: sbatch would refuse the script.
        """
        doubtful = found.script.doubtful_options
        if not doubtful or self.engine_in_force(args) == "local":
            return
        listed = cluster_options(ctx)
        for name in doubtful if not ctx.meta["silence"] else ():
            if name not in listed:
                near = get_close_matches(name, (*listed, *sbatch.known_options()), 1)
                meant = f" Did you mean --{near[0]}?" if near else ""
                raise BadInputError(
                    f"{found.path} has --{name}, which sbatch does not have here.{meant}",
                    "Correct its #SBATCH line.",
                    code="unknown-option",
                    path=found.path,
                    option=name,
                )


def _note_options_after(rest: Sequence[str], flags: Collection[str]) -> None:
    """Note the arguments of the script that are spelt like long options of ``import``.

    Short ones are not noted: ``-n 5`` after a script is too often its own.
    """
    own = rest[1 : rest.index("--")] if "--" in rest else rest[1:]
    found = [word for word in own if word[:2] == "--" and word.partition("=")[0] in flags]
    if found:
        shown = printable_line(quote_words(found))
        message = (
            f"The script gets {shown}, because words after {rest[0]} are its arguments. Type an "
            f"option of the run before it: slurmslice import {found[0]} … {quote(rest[0])}"
        )
        emit_note("import-words-after", printable_line(message), words=found, path=rest[0])


def _typed_names(given: dict[str, object], order: Sequence[click.Parameter]) -> Iterator[str]:
    """Yield sbatch's names of the options that a person typed."""
    for param in order:
        name = str(param.name)
        if name == "any_sbatch":
            values = given[name]
            texts = values if isinstance(values, (list, tuple)) else (values,)
            yield from (sbatch.any_option(str(one).partition("=")[0]).name for one in texts)
        elif name.startswith("sbatch_"):
            yield param.opts[0].lstrip("-") if param.opts[0][:2] == "--" else name
        else:
            yield _SAME.get(name, name)


def _read(path: str, arguments: tuple[str, ...]) -> _Import:
    """Read a script.

    Raises:
        BadInputError: it cannot be read, or it is no script for sbatch.
    """
    try:
        data = b"".join(islice(files.read_chunks(Path(path)), 5))
    except OSError as why:
        raise BadInputError(
            f"{path} cannot be read: {why.strerror}.",
            "Type slurmslice import FILE",
            code="unreadable-file",
            path=path,
        ) from why
    if len(data) > _MOST_BYTES:
        raise BadInputError(
            f"{path} has more than {_MOST_BYTES} bytes, which Slurm does not accept as a script.",
            code="unreadable-file",
            path=path,
        )
    data = data if b"\0" in data else unix_text(data, path)  # bash would read each CR as a word
    binary = not data.startswith(b"#!") or b"\0" in data
    text = "" if binary else data.decode("utf-8", "surrogateescape")
    script = read_imported_script(path, text)
    return _Import(os.path.abspath(path), data, script, arguments, script.job_name)


def _at_home(found: _Import, given: dict[str, object]) -> list[str]:
    """Go to the script's ``--chdir``. Return the option that keeps the run directory here.

    Raises:
        BadInputError: there is no such folder.
    """
    if not found.script.chdir:
        return []
    name = given.get("name")
    names = dict(found.script.options)["job-name"][0].partition("=")[2]
    here = locate_run.new_run_path(name if isinstance(name, str) else names, None)
    try:
        os.chdir(found.script.chdir)
    except OSError as why:
        raise BadInputError(
            f"The --chdir of {found.path} leads to {found.script.chdir!r}: {why.strerror}.",
            "Make the folder, or change the line.",
            code="no-such-file",
            option="chdir",
            path=found.script.chdir,
        ) from why
    return [f"--run-dir={here}"]


def _no_slices(path: str) -> BadInputError:
    return BadInputError(
        f"{path} has no #SBATCH --array line, so nothing gives the slices.",
        f"Type the range before the file: slurmslice import -a 0-9 {quote(path)}",
        code="one-source",
        options=(),
    )


@click.command(cls=ImportCommand, epilog=EPILOG)
@new_run_options
@dry_run_option
def command(options: NewRunOptions, dry_run: bool) -> None:
    """Make a run of an existing sbatch array script, and submit nothing.

    Its #SBATCH lines become the options of the run. Options before FILE override them, and words
    after FILE are arguments of the script, as with sbatch. The run has a copy of the script.
    """
    found: _Import = click.get_current_context().meta["imported"]
    new = options.read(max_attempts=None)
    copy = locate_run.new_run_path(new.spec.name, options.run_dir) / found.copy_name
    spec = replace(new.spec, command=found.command(str(copy)))
    new = replace(new, spec=spec, files={found.copy_name: found.data})
    make_run(options, new, shown=found.command(found.path), dry_run=dry_run)
