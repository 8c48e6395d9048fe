"""The code of a submission: digests of the files that its script names. Pure (docs/adr/0017)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Self

from slurmslice.spec.array_variables import possible_paths

SCRIPT_NAME = "script.sh"
"""The name of the run's own script in a record."""

_ENDINGS = frozenset(
    {
        *("awk", "bash", "bat", "c", "cc", "cfg", "conf", "cpp", "csh", "cu", "cxx", "do", "f"),
        *("f03", "f08", "f77", "f90", "f95", "for", "gms", "go", "gp", "h", "hpp", "in", "inc"),
        *("ini", "inp", "jar", "java", "jl", "js", "ksh", "lua", "m", "mdp", "mjs", "ml", "mod"),
        *("nml", "par", "pl", "plt", "pm", "ps1", "py", "pyx", "r", "rb", "rmd", "rs", "sas"),
        *("sbatch", "scala", "sed", "sh", "slurm", "smk", "sql", "stan", "tcl", "toml", "ts"),
        *("yaml", "yml", "zsh"),
    }
)
"""The endings of code and of settings. Results and data have others: txt, csv, json, h5 …"""

_WRITTEN = re.compile(r">[>|&]?\s*[^\s;&|()<>]+")
"""A redirection into a file: the command writes it, so it is no code."""

_EQUALS = re.compile(r"^[^=/]*=")


@dataclass(frozen=True)
class CodeRecord:
    """The code at the time of a submission.

    Attributes:
        files: the digest of each file, by its path as the script names it.
        commit: the git commit of the working directory; empty if there is none.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""

    def differences(self, other: CodeRecord) -> tuple[str, ...]:
        """Return the names of the files that both have, with different digests."""
        common = self.files.keys() & other.files.keys()
        return tuple(sorted(name for name in common if self.files[name] != other.files[name]))

    def other_commit(self, other: CodeRecord) -> bool:
        """Tell if both have a commit, and not the same one."""
        return bool(self.commit and other.commit) and self.commit != other.commit

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"files": dict(self.files), "commit": self.commit}

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Self:
        """Read the JSON form.

        Raises:
            TypeError: it is not one.
        """
        files, commit = value.get("files"), value.get("commit")
        if not (isinstance(files, dict) and isinstance(commit, str)):
            raise TypeError("code has files and a commit")
        return cls({str(name): str(digest) for name, digest in files.items()}, commit)


NO_CODE = CodeRecord()


def words_of_script(script: str) -> Iterator[str]:
    """Yield the words of a script that may name files of code, the values of options too.

    Values of slices are not among them: the script has variables in their place.
    """
    for line in script.splitlines():
        if not line.lstrip().startswith("#"):
            for word in possible_paths(_WRITTEN.sub(" ", line)):
                yield word
                if shorter := _EQUALS.sub("", word, count=1):
                    yield shorter


def without_directives(script: str) -> str:
    """Return a script without its ``#SBATCH`` lines: they change the request, not the result."""
    lines = script.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#SBATCH"))


def may_be_code(path: str, *, executable: bool, head: bytes) -> bool:
    """Tell if a file is code by its name, its rights and its first bytes.

    Args:
        path: its path.
        executable: somebody may execute it.
        head: its first bytes.
    """
    ending = PurePath(path).suffix.removeprefix(".").lower()
    if executable or head.startswith(b"#!") or ending in _ENDINGS:
        return True
    return not ending and b"\0" not in head
