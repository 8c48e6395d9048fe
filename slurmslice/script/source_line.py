"""The last lines of ``script.sh``. They source the library and pass it the form. Pure.

::

    source /home/ada/runs/x/slurmslice.sh table pack=50 at_once=4 check slices=99 ids=0-98 -- "$@"
    echo '…' >&2
    exit 125

The library never returns. So the message appears only if the library is missing or damaged.
"""

from __future__ import annotations

import os.path
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from slurmslice.system.shell_quoting import quote

LIBRARY_NAME = "slurmslice.sh"
"""The library's file name in a run directory and in the templates folder."""

NOT_BEGUN_MESSAGE = "slurmslice.sh is damaged, so no slice began. Type: slurmslice status"
"""The message of a script that could not read its library."""

NOT_BEGUN_LINE = f"echo {quote(NOT_BEGUN_MESSAGE)} >&2"
"""The line that prints it."""

NOT_BEGUN_EXIT = 125
"""The exit code of a script that could not read its library. No slice has begun then."""

_LINE = re.compile(
    r'^(?:(?:source|\.) (?P<library>.+?)|set --) (?P<words>(?:direct|table)\b.*) -- "\$@"$',
    re.MULTILINE,
)
_PACK = re.compile(r"pack=\d{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SourceLine:
    """The words after ``source`` in a rendered script.

    Attributes:
        run_dir: the run directory, which holds the library; absolute.
        form: ``direct`` if the array index is the key, ``table`` if it names lines of a table.
        pack: the number of slices in an array task, 1 or more.
        at_once: the number of them that run at a time, 1 or more.
        slice_time: the time limit of a slice of a pack in seconds; 0 for its task's limit.
        check: ``check_slice`` runs after the command exits 0.
        log_folders: direct form only: each folder holds 1,000 logs.
        keep_logs: ``failed`` removes the log of a slice that is done; ``all`` keeps it.
        output: ``name_output`` of the script names the files for the output of a slice.
        open_mode: ``append`` or ``truncate`` for these files; empty for the library's own rule.
        slices: the number of slices in the run.
        numbers: the numbers of slices from a range, ``0-98:7``; empty for other slices.
        scattered: direct form only: the rows of the slices do not follow from their numbers.
    """

    run_dir: str
    form: str
    pack: int = 1
    at_once: int = 1
    slice_time: int = 0
    check: bool = False
    log_folders: bool = False
    keep_logs: str = "all"
    output: bool = False
    open_mode: str = ""
    slices: int = 0
    numbers: str = ""
    scattered: bool = False

    @property
    def words(self) -> str:
        """The form and the options as words of bash, without options at their default."""
        words = [self.form]
        words += [f"pack={self.pack}"] if self.pack > 1 else []
        words += [f"at_once={self.at_once}"] if self.at_once > 1 else []
        words += [f"slice_time={self.slice_time}"] if self.slice_time else []
        words += ["check"] if self.check else []
        words += ["log_folders"] if self.log_folders else []
        words += [f"keep_logs={self.keep_logs}"] if self.keep_logs != "all" else []
        words += ["output"] if self.output else []
        words += [f"open_mode={self.open_mode}"] if self.open_mode else []
        words += [f"slices={self.slices}"]
        words += [f"ids={self.numbers}"] if self.numbers else []
        words += ["scattered"] if self.scattered else []
        return " ".join(words)

    def to_bash(self) -> str:
        """Return the line that sources the library, and the line that says so if it could not.

        Raises:
            BadInputError: the path of the run directory contains NUL.
        """
        library = quote(os.path.join(self.run_dir, LIBRARY_NAME))
        return f'source {library} {self.words} -- "$@"\n{NOT_BEGUN_LINE}'

    def with_library(self, script: str, library: str) -> str:
        """Return the script with the library's text instead of the line that sources it."""
        words = f'set -- {self.words} run={quote(self.run_dir)} -- "$@"'
        head, _, tail = script.rpartition(self.to_bash())
        return f"{head}{words}\n{library.rstrip()}{tail}"


@dataclass(frozen=True, slots=True)
class ParsedSourceLine:
    """The source line that was found in a script. A person may have edited it.

    Attributes:
        library: the library's path as bash reads it, with its quotes; empty if the script contains
            the library's text.
        form: ``direct`` or ``table``.
        pack: the number of slices in an array task.
    """

    library: str
    form: str
    pack: int

    def names(self, library: Path) -> bool:
        """Return whether the line names this file, in any spelling of its path."""
        if self.library in {"", quote(str(library))}:
            return True
        try:
            (path,) = shlex.split(self.library)
            return os.path.samefile(os.path.dirname(path), library.parent)
        except (ValueError, OSError):
            return False


def find_source_line(script: str) -> ParsedSourceLine | None:
    """Find the last line of a script that sources the library, or that precedes its text.

    Returns:
        None if there is no such line.
    """
    found = list(_LINE.finditer(script))
    if not found:
        return None
    words = found[-1]["words"].split()
    packs = [word.removeprefix("pack=") for word in words if _PACK.fullmatch(word)]
    return ParsedSourceLine(found[-1]["library"] or "", words[0], int(packs[-1]) if packs else 1)
