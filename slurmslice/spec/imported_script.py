"""Translate an sbatch script into options and the command of a run (``docs/adr/0037``). Pure."""

from __future__ import annotations

import os.path
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from slurmslice import sbatch
from slurmslice.errors import BadInputError
from slurmslice.notes import Note
from slurmslice.sbatch.ignored_lines import find_ignored_lines
from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.script_lines import read_directives

_WITHOUT_EFFECT = frozenset(
    {"wait", "parsable", "verbose", "quiet", "test-only", "ignore-pbs", "clusters"}
)
"""Options that change how sbatch is called, and not what a slice does."""

_OWN = {
    "array": "--array",
    "job-name": "--name",
    "output": "--output",
    "error": "--error",
    "open-mode": "--open-mode",
}
"""Options of sbatch that ``render`` takes by itself, with its names."""

_FIRST_LINE = re.compile(r"#![ \t]*([^ \t\n]+)[ \t]*([^\n]*)")
_USUAL_OUTPUT = "slurm-%A_%a.out"
"""The name of sbatch for the output of an array task (sbatch(1), --output)."""
_NAMES_ITS_LOG = re.compile(r"^(?!\s*#).*slurm-[^\n]*\.out", re.MULTILINE)
_OWN_PATH = re.compile(r"\$\{?0\b|BASH_SOURCE|__file__")
_NAME_PATTERN = re.compile(r"%(%|x)")
_PLACEHOLDER = re.compile(r"\{((?:[A-Za-z_]\w*)?)\}", re.ASCII)
_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9._+@-]+")


@dataclass(frozen=True, slots=True)
class ImportedScript:
    """An sbatch script as a run.

    Attributes:
        options: the words of ``render`` that its lines stand for, by sbatch's name.
        job_name: the name that sbatch gives the job; the name of a run may be another.
        interpreter: the words before its path.
        chdir: its working directory; empty for the present one.
        notes: notes for the person.
        asks_name: it uses the variable ``SLURM_JOB_NAME``.
    """

    options: tuple[tuple[str, tuple[str, ...]], ...]
    job_name: str
    interpreter: tuple[str, ...]
    chdir: str
    notes: tuple[Note, ...]
    asks_name: bool

    def words(self, typed: Collection[str]) -> list[str]:
        """Return the options as words, without those that a person typed in another way."""
        left_out = {*typed, *(MEMORY_OPTIONS if set(MEMORY_OPTIONS) & set(typed) else ())}
        same = dict(self.options)["job-name"] == (f"--name={self.job_name}",)
        own = "" if same or "job-name" in typed else self.job_name
        return [
            _with_job_name(word, own) if name in {"output", "error"} else word
            for name, words in self.options
            if name not in left_out
            for word in words
        ]

    @property
    def doubtful_options(self) -> tuple[str, ...]:
        """The long names of options that only this cluster's sbatch may know, if any."""
        known = {*sbatch.known_options(), *_OWN}
        return tuple(name for name, _ in self.options if name not in known)


def read_imported_script(path: str, text: str) -> ImportedScript:
    """Read an sbatch script.

    Args:
        path: its path, for messages and for the name of the run.
        text: the whole script.

    Raises:
        BadInputError: sbatch would refuse the script, or an option of it has no place in a run.
    """
    first = _FIRST_LINE.match(text)
    if first is None:
        raise BadInputError(
            f"{path} is no sbatch script: its first line does not name an interpreter.",
            "Write #!/bin/bash in its first line.",
            code="script-without-interpreter",
            path=path,
        )
    try:
        given = dict(read_directives(text))
    except BadInputError as why:
        raise why.inside(path, path=path) from why
    file_name = os.path.basename(path)
    job_name = given.get("job-name", file_name)
    given.setdefault("job-name", os.path.splitext(file_name)[0])
    if "output" not in given and _NAMES_ITS_LOG.search(text):
        given["output"] = _USUAL_OUTPUT
    dropped = [name for name in given if name in _WITHOUT_EFFECT]
    options = tuple(
        (name, words)
        for name, value in given.items()
        if name != "chdir" and name not in _WITHOUT_EFFECT
        for words in [_words(path, name, value)]
    )
    return ImportedScript(
        options,
        job_name,
        (first[1], *filter(None, [first[2].strip()])),
        given.get("chdir", ""),
        tuple(_notes(path, text, dropped)),
        "SLURM_JOB_NAME" in text,
    )


def _words(path: str, name: str, value: str) -> tuple[str, ...]:
    """Return the words of ``render`` for an option of the script."""
    if name == "job-name":
        value = run_name(value)
    elif name in {"output", "error"}:
        value = literal_braces(value.replace("%J", "%j"))
    elif name not in _OWN:
        if name in sbatch.OWNED_OPTIONS:
            raise BadInputError(
                f"{path} has --{name}, and a run has no place for it.",
                f"Remove its #SBATCH line. If the script needs it, do in the script what --{name} "
                "does.",
                code="option-not-imported",
                path=path,
                option=name,
            )
        known = name in sbatch.known_options() and name != "profile"  # render has its own
        shown = f"{name}={value}" if value else name
        return (f"--{shown}",) if known else ("--sbatch", shown)
    return (f"{_OWN[name]}={value}",)


def _with_job_name(word: str, job_name: str) -> str:
    """Return a name of a file with the job's name for ``%x``; without a name, as it is."""
    if not job_name or set(job_name) & set("/\\"):
        return word
    name = literal_braces(job_name).replace("%", "%%")
    return _NAME_PATTERN.sub(lambda found: name if found[1] == "x" else found[0], word)


def literal_braces(text: str) -> str:
    """Return a word of a command in which no brace is a placeholder."""
    return _PLACEHOLDER.sub(r"{{\1}}", text)


def run_name(text: str) -> str:
    """Return the nearest name of a run for the name of a job."""
    return _NOT_IN_NAME.sub("-", text).strip("._+@-")[:100] or "imported"


def _notes(path: str, text: str, dropped: list[str]) -> Iterator[Note]:
    if dropped:
        names = ", ".join(f"--{name}" for name in dropped)
        fields: dict[str, object] = {"path": path, "options": dropped}
        yield Note(
            "import-dropped", f"These options of {path} do nothing in a run: {names}", fields
        )
    for found in find_ignored_lines(text):
        message = (
            f"{path}, line {found.number}: sbatch ignores {found.written!r}, and so does import."
        )
        fields = {"path": path, "line": found.number, "written": found.written}
        yield Note("ignored-directive", message, fields)
    for number, line in enumerate(text.splitlines(), 1):
        if _OWN_PATH.search(line) and not line.lstrip().startswith("#"):
            message = (
                f"{path}, line {number}: the script finds itself in the run directory, where its "
                "copy is. With sbatch it would be the spool of a node."
            )
            yield Note("import-own-path", message, {"path": path, "line": number})
            return
