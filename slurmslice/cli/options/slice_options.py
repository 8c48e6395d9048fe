"""The options for the slices, and their conversion into a slice table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import click

from slurmslice.cli.output.console import emit_note
from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable, slices_from_range
from slurmslice.spec.command import CommandWords, quote
from slurmslice.system.files import unreadable_file_error

SLICE_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "-a", "--array", "--slices", "slices", metavar="RANGE",
        help="Slices from a range in sbatch's syntax: 0-98, 1,3,7-9, 0-100:5, 0-98%10.",
    ),
    click.option(
        "--slices-from", metavar="FILE|-", help="Slices from a list of keys, one per line."
    ),
    click.option("-0", "--null", is_flag=True, help="Keys of --slices-from end with NUL."),
    click.option(
        "--table", metavar="FILE|-",
        help="Slices from the rows of a CSV or TSV file. The first line names the columns; "
        "{name} in the command is a column. A .csv file has commas, and quotes if needed; a .tsv "
        "file has tabs and no quotes; any other file, and -, has tabs if its first line has one, "
        "else commas.",
    ),
    click.option(
        "--key", metavar="NAME", help="Column of --table with the keys (default: row number)."
    ),
    click.option(
        "--glob", metavar="PATTERN",
        help="Slices from files. Quote the pattern; ** is any folder. Columns: name, stem, parent.",
    ),
    click.option(
        "--grid", metavar="NAME=VALUES", multiple=True,
        help="Slices from every combination: --grid lr=0.1,0.01 --grid seed=0-4.",
    ),
    click.option(
        "--job-file", metavar="FILE|-",
        help="Slices from shell commands, one per line, as for dSQ. The key is the line number.",
    ),
    click.option(
        "--column", metavar="NAME=TEMPLATE", multiple=True,
        help="Add a column computed by a Jinja2 template from slice, row and earlier columns: "
        "'out=out/{{ \"%03d\" % (slice|int) }}.h5'.",
    ),
)  # fmt: skip

_SOURCES = """\
-a 0-98                     a range
--slices-from FILE          keys, one per line
--table FILE --key NAME     rows of a CSV or TSV file
--glob 'PATTERN'            files
--grid NAME=VALUES …        every combination
--job-file FILE             shell commands, one per line
FILE may be - for standard input."""


@dataclass(frozen=True)
class ChosenSlices:
    """The slices of a new run.

    Attributes:
        table: the slices.
        source: their source, in words for a person.
        throttle: most slices at once, if a range has ``%N``.
        command: the command, if the slices are commands themselves.
        name: a name for the run; empty if the command names it.
    """

    table: SliceTable
    source: str
    throttle: int | None = None
    command: CommandWords | None = None
    name: str = ""


@dataclass(frozen=True)
class SliceOptions:
    """The slice options as they were typed."""

    slices: str | None
    slices_from: str | None
    null: bool
    table: str | None
    key: str | None
    glob: str | None
    grid: tuple[str, ...]
    job_file: str | None
    column: tuple[str, ...]

    def typed(self) -> Iterator[str]:
        """Yield the typed options."""
        for name, value in vars(self).items():
            if value not in (None, False, ()):
                yield "-a" if name == "slices" else f"--{name.replace('_', '-')}"

    def read(self) -> ChosenSlices:
        """Read the slices from their one source.

        Raises:
            BadInputError: there is no source or more than one, or it is invalid.
        """
        given = self._read_source()
        if not self.column:
            return given
        from slurmslice.slices.sources.columns import add_computed_columns

        return replace(given, table=add_computed_columns(given.table, self.column))

    def _read_source(self) -> ChosenSlices:
        readers = {
            "-a": self._range,
            "--slices-from": self._list,
            "--table": self._rows,
            "--glob": self._files,
            "--grid": self._combinations,
            "--job-file": self._jobs,
        }
        typed = list(self.typed())
        sources = [option for option in typed if option in readers]
        if len(sources) != 1:
            number = f"{len(sources)} options choose" if sources else "No option chooses"
            those = f": {' and '.join(sources)}" if sources else ""
            raise BadInputError(
                f"{number} the slices{those}. Use exactly one.",
                _SOURCES,
                code="one-source",
                options=tuple(sources),
            )
        for option, source in (("--null", "--slices-from"), ("--key", "--table")):
            if option in typed and source not in sources:
                raise BadInputError(
                    f"{option} needs {source}; you used {sources[0]}.",
                    _SOURCES,
                    code="option-needs-another",
                    option=option.lstrip("-"),
                    needs=source,
                )
        return readers[sources[0]]()

    def _range(self) -> ChosenSlices:
        table, throttle = slices_from_range(self.slices or "")
        return ChosenSlices(table, self.slices or "", throttle)

    def _list(self) -> ChosenSlices:
        from slurmslice.slices.sources.lists import slices_from_lines

        data, source = _read(self.slices_from, b"\0" if self.null else b"\n")
        return ChosenSlices(slices_from_lines(data, source, nul=self.null), source)

    def _rows(self) -> ChosenSlices:
        from slurmslice.slices.sources.delimited_table import slices_from_table

        data, source = _read(self.table)
        return ChosenSlices(slices_from_table(data, source, self.key), source)

    def _files(self) -> ChosenSlices:
        from slurmslice.slices.sources.file_paths import slices_from_paths
        from slurmslice.slices.sources.glob_pattern import matching_paths

        pattern = self.glob or ""
        paths = matching_paths(pattern)
        if paths == [pattern] and os.path.isdir(pattern):
            within = quote(os.path.join(pattern, "*"))
            message = f"--glob {quote(pattern)} is one slice: a folder. For its content: {within}"
            emit_note("glob-is-folder", message, path=pattern, within=within)
        return ChosenSlices(slices_from_paths(paths, pattern), pattern)

    def _combinations(self) -> ChosenSlices:
        from slurmslice.slices.sources.grid import slices_from_grid

        return ChosenSlices(*slices_from_grid(self.grid))

    def _jobs(self) -> ChosenSlices:
        from slurmslice.actions.create import default_name
        from slurmslice.slices.sources.lists import slices_from_jobs
        from slurmslice.spec.command import JOB_COMMAND

        data, source = _read(self.job_file)
        name = default_name(CommandWords((source,)))
        return ChosenSlices(slices_from_jobs(data, source), source, command=JOB_COMMAND, name=name)


def _read(source: str | None, end: bytes = b"\n") -> tuple[bytes, str]:
    """Read a file, or standard input for ``-``; return its bytes and its name."""
    from slurmslice.slices.sources.text_input import read_bounded

    piped = not source or source == "-"
    name = "standard input" if piped else str(source)
    try:
        with open(0 if piped else name, "rb", closefd=not piped) as file:
            return read_bounded(file, name, end), name
    except OSError as why:
        raise unreadable_file_error(f"The file of the slices, {name!r},", name, why) from why
