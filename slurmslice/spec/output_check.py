"""The output check: conditions that must hold after a slice's command exits with 0.

A check is part of the script. It has a shell text, with access to ``$SLICE`` and
``$SLICE_<COLUMN>`` like the command, and files that must exist, not be empty and be of this
attempt. If it fails, the slice is CHECK_FAILED.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from slurmslice.spec.command import check_shell_text, word_to_bash
from slurmslice.spec.slice_path import check_slice_path


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
            check_slice_path(path, columns, "check-file")

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
