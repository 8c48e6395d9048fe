"""The peak memory of an attempt: the figure of Slurm, and that of the task itself. Pure.

Both are the highest of measurements at intervals.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from slurmslice.script.progress_lines import SlotProgress
from slurmslice.status.observation import AttemptFacts, TaskReport
from slurmslice.status.states import State

_Facts = TypeVar("_Facts", bound=AttemptFacts)


def with_credible_peak(report: TaskReport) -> TaskReport:
    """Leave out the peak of an ended task if its measurements probably missed it.

    The figures of tasks shorter than an interval (slurm.conf(5), JobAcctGatherFrequency) were too
    small by a factor of 40 (seen), and so were those of tasks that the kernel killed at their
    limit. A figure above the request is always a fact.
    """
    used, requested, every = report.max_rss_bytes, report.requested_mem_bytes, report.sampling_s
    samples = None if every is None else int((report.elapsed_s or 0) // every)
    few = report.state is State.OUT_OF_MEMORY or (samples is not None and samples < 2)
    if used is None or (few and (requested is None or used <= requested)):
        return replace(report, max_rss_bytes=None)
    return replace(report, peak_samples=samples)


def with_own_peak(found: _Facts, own: SlotProgress | None, state: State) -> _Facts:
    """Add the peak that the task measured while its slice ran: the larger figure counts.

    But Slurm may count shared memory several times: then its figure is above the request, and that
    of the task is not.

    Args:
        found: the facts with a credible peak, or without one.
        own: the lines about the slice; None without any.
        state: the state of the attempt. Until the kernel kills, measurements miss the peak.
    """
    if own is None or own.peak_bytes is None or state is State.OUT_OF_MEMORY:
        return found
    if own.restart < (found.restarts or 0):
        return found  # Slurm has started the task again since then
    peak, limit = found.max_rss_bytes, found.requested_mem_bytes
    if peak is None or (limit is not None and peak > limit >= own.peak_bytes):
        return replace(found, max_rss_bytes=own.peak_bytes, peak_samples=own.peak_samples)
    samples = max(found.peak_samples or 0, own.peak_samples or 0)
    return replace(found, max_rss_bytes=max(peak, own.peak_bytes), peak_samples=samples)
