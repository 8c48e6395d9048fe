"""Search the texts of a new run, and the files that they name, for SLURM_ARRAY_TASK_ID."""

from __future__ import annotations

import os.path
import shutil
from collections.abc import Iterable, Iterator

from slurmslice.cli.output.preview import relative_path
from slurmslice.script.template import OwnTemplate
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.array_variables import (
    Mention,
    assigns_task_id,
    find_mention,
    mention_error,
    possible_paths,
)
from slurmslice.spec.command import JOB_COMMAND, CommandWords, slice_argv
from slurmslice.spec.run_spec import RunSpec

_MOST_BYTES = 1 << 20
"""The bytes of a file that are searched. Scripts are shorter."""

_JOBS_WITH_FILES = 100
"""The lines of a job file whose words are looked up as files: usually all name the same script."""


def refuse_task_id(spec: RunSpec, table: SliceTable, template: OwnTemplate | None) -> None:
    """Refuse a run whose slices would see another number than their own.

    Raises:
        BadInputError: a text, or a file that it names, uses SLURM_ARRAY_TASK_ID although the
            slices are not from a range; or the setup of a pack uses it.
    """
    texts = list(_texts(spec, table))
    if any(assigns_task_id(text) for _, text in texts):
        return
    setup = [("--setup", spec.setup)]
    if spec.packing.pack > 1 and (found := _first(setup)):
        raise mention_error(found, setup_of_pack=True)
    if spec.numbers is not None:
        return
    own = [(str(relative_path(template.path)), template.text)] if template else []
    if found := _first((*texts, *own), _programs(spec, table)):
        raise mention_error(found)


def _first(texts: Iterable[tuple[str, str]], programs: Iterable[str] = ()) -> Mention | None:
    """Return the first mention in the texts, or else in the files that they name."""
    known = list(texts)
    for where, text in known:
        if found := find_mention(where, text):
            return found
    words = (word for _, text in known for word in possible_paths(text))
    for path in dict.fromkeys((*programs, *words)):
        if found := find_mention(path, _read_text(path)):
            return found
    return None


def _texts(spec: RunSpec, table: SliceTable) -> Iterator[tuple[str, str]]:
    """Yield the texts of a run, each with its place."""
    if spec.command == JOB_COMMAND:
        yield from _jobs(spec, table)
    elif isinstance(spec.command, CommandWords):
        yield from (("The command", word) for word in spec.command.words)
    else:
        yield "--shell", spec.command.text
    yield "--setup", spec.setup
    yield "--check", spec.check.text


def _jobs(spec: RunSpec, table: SliceTable) -> Iterator[tuple[str, str]]:
    """Yield lines of a job file: the first ones, and one that uses the variable."""
    every = b"SLURM_ARRAY_TASK_" in table.data
    rows = range(len(table) if every else min(len(table), _JOBS_WITH_FILES))
    column = table.columns.index("job")
    for row in rows:
        yield f"{spec.source}, line {table.keys[row]}", table.column_values(row)[column]


def _programs(spec: RunSpec, table: SliceTable) -> Iterator[str]:
    """Yield the words of the first slice's command, its program with its path on PATH."""
    if isinstance(spec.command, CommandWords) and spec.command != JOB_COMMAND:
        columns = dict(zip(table.columns, table.column_values(0), strict=True))
        first, *others = slice_argv(spec.command, table.keys[0], columns)
        yield from (shutil.which(first) or first, *others)


def _read_text(path: str) -> str:
    """Return the text of a file; empty if there is no such file, or if it is no text."""
    try:
        if not os.path.isfile(path):
            return ""
        with open(path, "rb") as file:
            data = file.read(_MOST_BYTES)
    except (OSError, ValueError):  # unreadable, or no path (NUL)
        return ""
    return "" if b"\0" in data else data.decode("utf-8", "surrogateescape")
