"""What sbatch's getopt says to a name: known or not, with a value or without."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from slurmslice.sbatch import Option, Release, Takes

Run = Callable[[list[str]], subprocess.CompletedProcess[str]]


def ask(run: Run, name: str) -> Takes | None:
    """What an option of this name takes, by the complaints of a real sbatch; None: unknown.

    Args:
        run: runs a command.
        name: the long name. getopt_long(3) takes the beginning of another name, too.
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
    """What an option takes in a release, by our table."""
    early = option.value_since is not None and release < option.value_since
    late = option.value_gone is not None and release >= option.value_gone
    return Takes.NOTHING if early or late else option.takes
