"""The library simple_slurm, imported without its side effects on this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType


@contextmanager
def imported_simple_slurm() -> Iterator[ModuleType]:
    """Import simple_slurm, and undo the side effects of the import.

    The import raises if SQUEUE_FORMAT is not a list of names, and configures the root logger.
    """
    import logging

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    hidden = os.environ.pop("SQUEUE_FORMAT", None)
    try:
        import simple_slurm.core  # late: 20 ms that most commands do not need

        yield simple_slurm.core
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        if hidden is not None:
            os.environ["SQUEUE_FORMAT"] = hidden


@cache
def simple_slurm_options() -> tuple[tuple[str, str | None], ...]:
    """Return the long name and the letter (or None) of each option of simple_slurm."""
    with imported_simple_slurm() as library:
        words = library.read_simple_txt("arguments.txt")
    return tuple((name.replace("_", "-"), *(letter or [None])) for name, *letter in words)
