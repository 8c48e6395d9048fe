"""The use of memory, time and CPUs by one slice that is done, against its request. ADR 44."""

from __future__ import annotations

from dataclasses import dataclass

from slurmslice.reports.slice_requests import SliceRequest
from slurmslice.status.reconcile import SliceStatus

_MIB, _HOUR = 2**20, 3600
_LEAST_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class Hours:
    """Requested amounts of a resource over time, as far as their use was measured.

    Attributes:
        core, gib: core-hours and GiB-hours.
        unused_core, unused_gib: the parts of these that were not used.
    """

    core: float = 0.0
    gib: float = 0.0
    unused_core: float = 0.0
    unused_gib: float = 0.0

    def __add__(self, other: Hours) -> Hours:
        return Hours(
            self.core + other.core,
            self.gib + other.gib,
            self.unused_core + other.unused_core,
            self.unused_gib + other.unused_gib,
        )

    def record(self) -> dict[str, float]:
        """Return them as a plain record, for ``--json``."""
        return {
            "core_hours": self.core,
            "gib_hours": self.gib,
            "wasted_core_hours": self.unused_core,
            "wasted_gib_hours": self.unused_gib,
        }


@dataclass(frozen=True, slots=True)
class SliceUse:
    """The use of resources by a slice that is done.

    Attributes:
        row: its row.
        status: its last attempt.
        request: the request of that attempt.
        continued: an earlier attempt did a part of its work.
    """

    row: int
    status: SliceStatus
    request: SliceRequest
    continued: bool

    @property
    def elapsed_s(self) -> float:
        """Its duration, seconds."""
        return self.status.elapsed_s or 0.0

    @property
    def few_samples(self) -> bool:
        """Its peak comes from fewer than three measurements, so it may be too small."""
        samples = self.status.peak_samples
        return samples is not None and samples < _LEAST_SAMPLES

    @property
    def above_limit(self) -> bool:
        """Its peak is above its limit, so it is not true."""
        peak, limit = self.status.max_rss_bytes, self.request.mem_bytes
        return peak is not None and bool(limit) and peak > (limit or 0)

    @property
    def peak_mib(self) -> float | None:
        """Its peak of memory, MiB; None without a reliable one."""
        peak = self.status.max_rss_bytes
        return None if peak is None or self.few_samples or self.above_limit else peak / _MIB

    @property
    def cpus(self) -> float | None:
        """The average number of CPUs that it used; None if that was not measured."""
        cpu = self.status.cpu_s
        return cpu / self.elapsed_s if cpu is not None and self.elapsed_s else None

    @property
    def hours(self) -> Hours:
        """The hours that it requested and did not use, as far as they were measured."""
        core = gib = unused_core = unused_gib = 0.0
        if self.status.cpu_s is not None:
            core = (self.request.cpus or 1) * self.elapsed_s / _HOUR
            unused_core = max(0.0, core - self.status.cpu_s / _HOUR)
        if (mib := self.peak_mib) is not None and self.request.mem_bytes:
            had = self.request.mem_bytes / _MIB
            gib = had / 1024 * self.elapsed_s / _HOUR
            unused_gib = max(0.0, had - mib) / 1024 * self.elapsed_s / _HOUR
        return Hours(core, gib, unused_core, unused_gib)
