"""The measured figures of a slice as texts. A figure that nobody measured is said to be so."""

from __future__ import annotations

from slurmslice.sbatch.units import format_time
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import State

NOT_MEASURED = "not measured"


def elapsed_s(status: SliceStatus, now: float) -> float | None:
    """Return the wall-clock seconds of an attempt; of a running one, the time until now."""
    if status.elapsed_s is None and status.started_at and status.state in _GROWING:
        return max(0.0, now - status.started_at)
    return status.elapsed_s


_GROWING = frozenset({State.RUNNING, State.SUSPENDED})


def elapsed_text(status: SliceStatus, now: float) -> str:
    """Return the wall-clock time of an attempt; of a running one, the time until now."""
    elapsed = elapsed_s(status, now)
    return _if_ended(status, "" if elapsed is None else _seconds(elapsed))


def cpu_text(status: SliceStatus) -> str:
    """Return the CPU time of an attempt."""
    return _if_ended(status, "" if status.cpu_s is None else _seconds(status.cpu_s))


def memory_text(status: SliceStatus) -> str:
    """Return the peak memory of an attempt: without the file cache if that is known."""
    if status.max_rss_bytes is not None:
        return mib_text(status.max_rss_bytes)
    if status.peak_with_cache_bytes is not None:
        return f"{mib_text(status.peak_with_cache_bytes)} with cache"
    return _if_ended(status, "")


def mib_text(value: int | None) -> str:
    """Return an amount of memory in MiB: ``64M``; empty for None."""
    return "" if value is None else f"{value / 2**20:.0f}M"


def _if_ended(status: SliceStatus, text: str) -> str:
    """Return the text; if it is empty, and the attempt began and ended, say so."""
    ended = status.state.final and status.started_at is not None
    return NOT_MEASURED if ended and not text else text


def _seconds(value: float) -> str:
    return f"{value:.1f}s" if value < 60 else format_time(round(value))
