"""The texts of a new run, and the text files that its command names."""

from __future__ import annotations

import os.path
import shutil
from collections.abc import Iterable, Iterator

from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.array_variables import possible_paths
from slurmslice.spec.command import JOB_COMMAND, CommandWords, slice_argv
from slurmslice.spec.run_spec import RunSpec

_MOST_BYTES = 1 << 20
"""The bytes of a file that are read. Scripts are shorter."""

_JOBS_WITH_FILES = 100
"""The lines of a job file whose words are looked up as files: usually all name the same script."""


def run_texts(spec: RunSpec, table: SliceTable) -> Iterator[tuple[str, str]]:
    """Yield the texts of a run, each with its place for a person."""
    if spec.command == JOB_COMMAND:
        yield from _jobs(spec, table)
    elif isinstance(spec.command, CommandWords):
        yield from (("The command", word) for word in spec.command.words)
    else:
        yield "--shell", spec.command.text
    yield "--setup", spec.setup
    yield "--check", spec.check.text


def named_files(
    texts: Iterable[tuple[str, str]], words: Iterable[str] = ()
) -> Iterator[tuple[str, str]]:
    """Yield each text file that one of the words, or a word of a text, names: path and text."""
    others = (word for _, text in texts for word in possible_paths(text))
    for path in dict.fromkeys((*words, *others)):
        if text := _read_text(path):
            yield path, text


def _jobs(spec: RunSpec, table: SliceTable) -> Iterator[tuple[str, str]]:
    """Yield lines of a job file: the first ones; all if one of them uses a number of the array."""
    every = b"SLURM_ARRAY_TASK_" in table.data
    rows = range(len(table) if every else min(len(table), _JOBS_WITH_FILES))
    column = table.columns.index("job")
    for row in rows:
        yield f"{spec.source}, line {table.keys[row]}", table.column_values(row)[column]


def first_command(spec: RunSpec, table: SliceTable) -> Iterator[str]:
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
