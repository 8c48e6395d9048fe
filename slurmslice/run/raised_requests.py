"""The requests that were raised before the first attempt of their slices, by the journal. Pure.

``slurmslice.policy.repair_forward`` has the rule. Here is only what was decided.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from slurmslice.sbatch.resource_request import ResourceRequest


@dataclass(frozen=True, slots=True)
class RequestRaised:
    """These queued rows request more memory, because others with their request exceeded it.

    Attributes:
        rows: an array expression.
        changes: the options that differ from the script's, as in ``Queued``.
        rung: the steps of the ladder for ``oom`` that this request is ahead of the first one.
        before, now: the memory, as sbatch reads it.
        over, judged: the evidence, as ``policy.repair_forward.MemoryEvidence``.
        given_bytes: the memory that tasks got that requested none; None if not known.
        at: epoch seconds.
    """

    rows: str
    changes: ResourceRequest
    rung: int
    before: str
    now: str
    over: int
    judged: int
    given_bytes: int | None
    at: float


@dataclass
class RaisedRequests:
    """The raised requests of a run.

    Attributes:
        events: all decisions, in order.
        of_row: for each row, the newest decision, unless a person submitted the row after it.
    """

    events: list[RequestRaised] = field(default_factory=list)
    of_row: dict[int, RequestRaised] = field(default_factory=dict)

    def apply(self, event: RequestRaised, rows: Iterable[int]) -> None:
        """Apply a decision on rows."""
        self.events.append(event)
        self.of_row.update(dict.fromkeys(rows, event))

    def forget(self, rows: Iterable[int]) -> None:
        """Forget the decisions on rows that a person submits with a request of their own."""
        for row in rows if self.of_row else ():
            self.of_row.pop(row, None)
