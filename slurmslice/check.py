"""The output check: what must hold once a slice's command has exited 0.

A check is part of the script: a shell text that finds the slice in ``$SLICE`` and
``$SLICE_<COLUMN>`` as the command does, and files that must exist and not be empty. Where it says
no, the slice is CHECK_FAILED.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from slurmslice.command import check_text, check_word, placeholders_of, word_to_bash
from slurmslice.errors import BadInput


@dataclass(frozen=True, slots=True)
class Check:
    """What is looked at; nothing where both are empty.

    Attributes:
        text: a shell text that exits 0 where all is well (``--check``).
        files: paths with ``{}`` and ``{column}`` as words of a command have them; each is a
            file that is not empty then (``--check-file``).
    """

    text: str = ""
    files: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text or self.files)

    @property
    def shown(self) -> str:
        """What is looked at, for a person; empty for nothing."""
        files = (f"{path} is not empty" for path in self.files)
        return "; ".join([*files, *([self.text] if self.text else [])])

    def verify(self, columns: Collection[str]) -> None:
        """Refuse a check that cannot mean what it says.

        Raises:
            BadInput: the text has placeholders and no ``$SLICE``; a path names a column that is
                not there, holds NUL, or is the same for every slice.
        """
        if self.text:
            check_text(self.text, "the text of --check")
        for path in self.files:
            try:
                check_word(path, columns)
            except BadInput as why:
                raise why.inside("--check-file", option="check-file") from why
            if not placeholders_of(path):
                raise BadInput(
                    f"--check-file {path!r} is the same file for every slice.",
                    "Put {} or a {column} in its place; a file of all slices is for --check.",
                    code="check-file-for-all",
                    option="check-file",
                    value=path,
                )

    def to_bash(self) -> str:
        """The body of the function that looks; empty for nothing."""
        text = self.text if "\n" in self.text else f"  {self.text}"
        return "\n".join([*map(_look_at, self.files), *([text] if self.text else [])])


NO_CHECK = Check()


def _look_at(path: str) -> str:
    word = word_to_bash(path)
    said = f"printf 'slurmslice: there is no %s, or it is empty\\n' {word} >&2"
    return f"  [[ -f {word} && -s {word} ]] || {{\n    {said}\n    return 1\n  }}"
