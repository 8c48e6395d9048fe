"""Answers of sbatch's getopt to a name: known or not, with a value or without."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from slurmslice.sbatch import Option, Release, Takes

Run = Callable[[list[str]], subprocess.CompletedProcess[str]]


def ask(run: Run, name: str) -> Takes | None:
    """Return the kind of value of an option, from a real sbatch's errors; None if unknown.

    Args:
        run: runs a command.
        name: the long name. getopt_long(3) also accepts the beginning of another name.
    """
    with_value = _complaint(run, f"--{name}=@@")
    if f"unrecognized option '--{name}=@@'" in with_value:
        return None
    if "doesn't allow an argument" in with_value:
        return Takes.NOTHING
    left = f"unrecognized option '{_NONE}'" in _complaint(run, f"--{name}")
    return Takes.OPTIONAL if left else Takes.VALUE


_NONE = "--no-such-option"


def _complaint(run: Run, word: str) -> str:
    # The words before --help and the like end sbatch, so that nothing is submitted.
    return run(["sbatch", "--test-only", word, _NONE]).stderr


def takes_in(option: Option, release: Release) -> Takes:
    """Return the kind of value of an option in a release, from our table."""
    early = option.value_since is not None and release < option.value_since
    late = option.value_gone is not None and release >= option.value_gone
    return Takes.NOTHING if early or late else option.takes
