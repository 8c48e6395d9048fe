"""The end of a steward: its place for whatever follows an unattended run."""

from __future__ import annotations

from slurmslice.run.run import Run


def at_steward_end(run: Run, reason: str) -> None:
    """Do what follows the end of an unattended run, once. Nothing does yet.

    The steward calls this after it has recorded its end, without the lock of the run. An error here
    must not change the run.

    Args:
        run: the run.
        reason: the reason of the end: ``done``, ``held``, or a sentence about what is in the way.
    """
