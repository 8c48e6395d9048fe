"""The output check: conditions that must hold after a slice's command exits with 0.

A check is part of the script. It has a shell text, with access to ``$SLICE`` and
``$SLICE_<COLUMN>`` like the command, and files that must exist, not be empty and be of this
attempt. If it fails, the slice is CHECK_FAILED.
"""

from __future__ import annotations

import os.path
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import (
    check_command_word,
    check_shell_text,
    expand_word,
    word_placeholders,
    word_to_bash,
)


@dataclass(frozen=True, slots=True)
class OutputCheck:
    """The conditions of an output check; there is no check if both are empty.

    Attributes:
        text: a shell text that exits with 0 if the output is good (``--check``).
        files: paths with ``{}`` and ``{column}`` as in the command; each must be a file
            with content (``--check-file``).
    """

    text: str = ""
    files: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.files)

    @property
    def shown(self) -> str:
        """The conditions as text for a person; empty if there is no check."""
        files = (f"{path} is not empty" for path in self.files)
        return "; ".join([*files, *([self.text] if self.text else [])])

    def verify(self, columns: Collection[str]) -> None:
        """Refuse a check with an obvious mistake.

        Raises:
            BadInputError: the text has placeholders and no ``$SLICE``; or a path names an unknown
                column, holds NUL, or is the same for every slice.
        """
        if self.text:
            check_shell_text(self.text, "the text of --check")
        for path in self.files:
            try:
                check_command_word(path, columns)
            except BadInputError as why:
                raise why.inside("--check-file", option="check-file") from why
            if not word_placeholders(path):
                raise BadInputError(
                    f"--check-file {path!r} is the same file for every slice.",
                    "Put {} or a {column} into the path. Use --check for a file that all slices "
                    "share.",
                    code="check-file-for-all",
                    option="check-file",
                    value=path,
                )

    def refuse_shared_files(self, table: SliceTable) -> None:
        """Refuse a file that belongs to two slices: one would overwrite the other's.

        Raises:
            BadInputError: the paths of two slices are equal; the message names both.
        """
        if _distinct_by_keys(self.files, table):
            return
        owners: dict[str, int] = {}
        for pattern in self.files:
            for row, path in enumerate(expand_word(pattern, table.values)):
                owner = owners.setdefault(os.path.normpath(path), row)
                if owner != row:
                    keys = table.keys[owner], table.keys[row]
                    raise BadInputError(
                        f"Slices {keys[0]!r} and {keys[1]!r} have the same --check-file: {path!r}.",
                        "Put {} or more columns into the path, and into the command's output. Use "
                        "--check for a file that slices share.",
                        code="check-file-shared",
                        keys=keys,
                        path=path,
                    )

    def to_bash(self) -> str:
        """The body of the script's check function; empty if there is no check."""
        text = self.text if "\n" in self.text else f"  {self.text}"
        return "\n".join([*_file_test(self.files), *([text] if self.text else [])])


NO_CHECK = OutputCheck()


def _file_test(paths: Sequence[str]) -> Iterator[str]:
    """One command of bash, if there are paths; ``_check_file`` is a function of the library.

    It stands first and has all paths: before the slice, the library asks only this command.
    """
    if paths:
        words = " \\\n    ".join(map(word_to_bash, paths))
        yield f"  _check_file {words} || return"


def _distinct_by_keys(paths: Sequence[str], table: SliceTable) -> bool:
    """Tell if the paths differ because the keys do; ``a`` and ``./a`` are one file."""
    only_key = len(paths) == 1 and word_placeholders(paths[0]) == {""}
    return only_key and not any("/" in key for key in table.keys)
