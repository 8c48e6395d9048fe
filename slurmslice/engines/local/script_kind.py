"""How a worker runs the tasks of a script: in subshells of its own, or a bash for each."""

from __future__ import annotations

from slurmslice.engines.local.jobs import LocalJob


def worker_kind(job: LocalJob) -> str:
    """Return ``inline`` or ``each``."""
    return "each"
