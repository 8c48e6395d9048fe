"""Paths with ``{}`` and ``{column}`` that name one file for each slice."""

from __future__ import annotations

import os.path
from collections.abc import Collection, Iterable, Iterator, Sequence

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import check_command_word, expand_word, word_placeholders


def check_slice_path(path: str, columns: Collection[str], option: str) -> None:
    """Refuse a path with an obvious mistake.

    Args:
        path: the path, as typed.
        columns: the names of the columns.
        option: the long name of its option, without dashes.

    Raises:
        BadInputError: it names an unknown column, holds NUL, or is the same for every slice.
    """
    try:
        check_command_word(path, columns)
    except BadInputError as why:
        raise why.inside(f"--{option}", option=option) from why
    if not word_placeholders(path):
        raise BadInputError(
            f"--{option} {path!r} is the same file for every slice.",
            "Put {} or a {column} into the path. Use --check for a file that all slices share.",
            code="file-for-all",
            option=option,
            value=path,
        )


def refuse_shared_paths(paths: Sequence[str], table: SliceTable, option: str) -> None:
    """Refuse a file that belongs to two slices: one would overwrite the other's.

    Args:
        paths: checked paths of one option.
        table: the slices.
        option: the long name of the option, without dashes.

    Raises:
        BadInputError: the paths of two slices are equal; the message names both.
    """
    if _distinct_by_keys(paths, table):
        return
    owners: dict[str, int] = {}
    for pattern in paths:
        for row, path in enumerate(expand_word(pattern, table.values)):
            owner = owners.setdefault(os.path.normpath(path), row)
            if owner != row:
                keys = table.keys[owner], table.keys[row]
                raise BadInputError(
                    f"Slices {keys[0]!r} and {keys[1]!r} have the same --{option}: {path!r}.",
                    "Put {} or more columns into the path, and into the command's output. Use "
                    "--check for a file that slices share.",
                    code="file-shared",
                    option=option,
                    keys=keys,
                    path=path,
                )


def slice_paths(path: str, table: SliceTable, rows: Iterable[int]) -> Iterator[tuple[int, str]]:
    """Pair rows with their paths."""
    some = list(rows)
    places = {name: place for place, name in enumerate(table.columns)}

    def values(name: str) -> Iterator[str]:
        if not name:
            return (table.keys[row] for row in some)
        return (table.column_values(row)[places[name]] for row in some)

    return zip(some, expand_word(path, values), strict=False)


def _distinct_by_keys(paths: Sequence[str], table: SliceTable) -> bool:
    """Tell if the paths differ because the keys do; ``a`` and ``./a`` are one file."""
    only_key = len(paths) == 1 and word_placeholders(paths[0]) == {""}
    return only_key and not any("/" in key for key in table.keys)
