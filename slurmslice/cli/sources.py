"""The options that say which slices there are, and how each becomes a slice table."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import click

from slurmslice.cli.console import note
from slurmslice.command import Words, quote
from slurmslice.errors import BadInput
from slurmslice.slices import SliceTable, from_range

SLICE_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "-a", "--array", "--slices", "slices", metavar="RANGE",
        help="Slices from a range as sbatch has it: 0-98, 1,3,7-9, 0-100:5, 0-98%10.",
    ),
    click.option(
        "--slices-from", metavar="FILE|-", help="Slices from a list of keys, one a line."
    ),
    click.option("-0", "--null", is_flag=True, help="Keys in --slices-from end with NUL."),
    click.option(
        "--table", metavar="FILE|-",
        help="Slices from the rows of a CSV or TSV file; its first line names the columns, {name} "
        "in the command. .csv: commas, values in quotes where needed; .tsv: tabs, no quotes; "
        "another name and - : tabs if the first line has one, else commas.",
    ),
    click.option(
        "--key", metavar="NAME", help="The key's column in --table; the row from 0 if left out."
    ),
    click.option(
        "--glob", metavar="PATTERN",
        help="Slices from files; quote the pattern. Columns: name, stem, parent. ** is any folder.",
    ),
    click.option(
        "--grid", metavar="NAME=VALUES", multiple=True,
        help="Slices from every combination: --grid lr=0.1,0.01 --grid seed=0-4.",
    ),
    click.option(
        "--job-file", metavar="FILE|-",
        help="Slices from shell commands, one a line, as dSQ has them; the key is the line.",
    ),
    click.option(
        "--column", metavar="NAME=TEMPLATE", multiple=True,
        help="A column that is computed, in Jinja2, from slice, row and the columns before it: "
        "'out=out/{{ \"%03d\" % (slice|int) }}.h5'.",
    ),
)  # fmt: skip

_WAYS = """\
-a 0-98                     a range
--slices-from FILE          keys, one a line
--table FILE --key NAME     rows of a CSV or TSV file
--glob 'PATTERN'            files
--grid NAME=VALUES …        every combination
--job-file FILE             shell commands, one a line
FILE may be - for standard input."""


@dataclass(frozen=True)
class Given:
    """The slices that were given.

    Attributes:
        table: the slices.
        source: how they were given, for a person.
        throttle: most at once, where a range says so.
        command: what runs them, where they are commands themselves.
        name: the run's name, where it is not the command's.
    """

    table: SliceTable
    source: str
    throttle: int | None = None
    command: Words | None = None
    name: str = ""


@dataclass(frozen=True)
class SliceOptions:
    """The options, as they were typed."""

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
        """The options that were given."""
        for name, value in vars(self).items():
            if value not in (None, False, ()):
                yield "-a" if name == "slices" else f"--{name.replace('_', '-')}"

    def read(self) -> Given:
        """The slices, from the one source that is given.

        Raises:
            BadInput: there is none or more than one, or it cannot be understood.
        """
        given = self._source()
        if not self.column:
            return given
        from slurmslice.readers.columns import derive

        return replace(given, table=derive(given.table, self.column))

    def _source(self) -> Given:
        readers = {
            "-a": self._range,
            "--slices-from": self._list,
            "--table": self._rows,
            "--glob": self._files,
            "--grid": self._combinations,
            "--job-file": self._jobs,
        }
        typed = list(self.typed())
        ways = [option for option in typed if option in readers]
        if len(ways) != 1:
            said = f" {' and '.join(ways)} are {len(ways)}." if ways else ""
            raise BadInput(
                f"Say which slices there are, in one way.{said}",
                _WAYS,
                code="one-source",
                options=tuple(ways),
            )
        for option, way in (("--null", "--slices-from"), ("--key", "--table")):
            if option in typed and way not in ways:
                raise BadInput(
                    f"{option} goes with {way}, not with {ways[0]}.",
                    _WAYS,
                    code="option-needs-another",
                    option=option.lstrip("-"),
                    needs=way,
                )
        return readers[ways[0]]()

    def _range(self) -> Given:
        table, throttle = from_range(self.slices or "")
        return Given(table, self.slices or "", throttle)

    def _list(self) -> Given:
        from slurmslice.readers.lists import from_lines

        data, source = _read(self.slices_from, b"\0" if self.null else b"\n")
        return Given(from_lines(data, source, nul=self.null), source)

    def _rows(self) -> Given:
        from slurmslice.readers.delimited import from_table

        data, source = _read(self.table)
        return Given(from_table(data, source, self.key), source)

    def _files(self) -> Given:
        from slurmslice.cli.patterns import matching
        from slurmslice.readers.files import from_paths

        pattern = self.glob or ""
        paths = matching(pattern)
        if paths == [pattern] and os.path.isdir(pattern):
            within = quote(os.path.join(pattern, "*"))
            message = f"--glob {quote(pattern)} is a folder, and one slice; what is in it: {within}"
            note("glob-is-folder", message, path=pattern, within=within)
        return Given(from_paths(paths, pattern), pattern)

    def _combinations(self) -> Given:
        from slurmslice.readers.grid import from_grid

        return Given(*from_grid(self.grid))

    def _jobs(self) -> Given:
        from slurmslice.readers.lists import JOB, from_jobs
        from slurmslice.verbs.create import default_name

        data, source = _read(self.job_file)
        name = default_name(Words((source,)))
        return Given(from_jobs(data, source), source, command=JOB, name=name)


def _read(source: str | None, end: bytes = b"\n") -> tuple[bytes, str]:
    """A file's bytes and what to call it; ``-`` is standard input."""
    from slurmslice.readers.text import gathered

    piped = not source or source == "-"
    name = "standard input" if piped else str(source)
    try:
        with open(0 if piped else name, "rb", closefd=not piped) as file:
            return gathered(file, name, end), name
    except OSError as why:
        raise BadInput(
            f"The slices' file {name!r} cannot be read: {why.strerror}.",
            code="unreadable-file",
            path=name,
        ) from why
