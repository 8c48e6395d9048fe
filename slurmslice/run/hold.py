"""The hold of a run by its circuit breaker or a person, by the journal. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from slurmslice.run.journal import Held, Released
from slurmslice.sbatch.array_expression import parse_array


@dataclass(frozen=True, slots=True)
class Hold:
    """The newest hold of a run and its release.

    Attributes:
        reason: the reason why nothing may start; empty if the run is not held.
        rest_cancelled: the rest was not held, but cancelled.
        probe: the rows that are tried while the run is held; empty if a person decides.
        before_probe: the number of the last submission before the newest hold.
        released_at: the last release of held slices, epoch seconds; 0 if there was none.
    """

    reason: str = ""
    rest_cancelled: bool = False
    probe: tuple[int, ...] = ()
    before_probe: int = 0
    released_at: float = 0.0

    def after(self, event: Held | Released, newest: int) -> Hold:
        """Return the hold after an event; ``newest`` is the number of the newest submission."""
        if isinstance(event, Released):
            return Hold(before_probe=self.before_probe, released_at=event.at)
        probe = tuple(parse_array(event.probe)) if event.probe else ()
        return Hold(event.reason, event.cancelled, probe, newest, self.released_at)
