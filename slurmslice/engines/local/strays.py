"""Processes of tasks whose runner and warden are gone: found by the variable that marks them."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

SWEEP_S = 5.0
"""How long processes that were killed are waited for, seconds."""

_LOOK_S = 0.02


def marker(run_dir: Path) -> str:
    """The name of the variable that marks the processes of a run's tasks: one name a run.

    A run inside a task of another run bears both marks, and is found by either.
    """
    return f"SLURMSLICE_LOCAL_{hashlib.sha256(os.fsencode(run_dir.resolve())).hexdigest()[:16]}"


def sweep(mark: str) -> bool:
    """End every process that bears the mark; whether none is left.

    Only this user's can be seen. Processes of which this one is a part are spared, and then
    some are left.
    """
    import psutil

    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    deadline = time.monotonic() + SWEEP_S
    while found := [process for process in psutil.process_iter() if _bears(process, mark)]:
        if time.monotonic() > deadline or any(process.pid in ours for process in found):
            return False
        for process in found:  # they may fork meanwhile, and are looked for again
            _kill(process)
        time.sleep(_LOOK_S)
    return True


def _bears(process: psutil.Process, mark: str) -> bool:
    import psutil

    try:
        return mark in process.environ()
    except (psutil.Error, OSError):
        return False  # gone, a zombie, or another user's


def _kill(process: psutil.Process) -> None:
    import psutil

    with suppress(psutil.Error):
        process.kill()
