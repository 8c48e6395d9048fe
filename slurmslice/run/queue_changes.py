"""Changed requests of slices that wait in the engine's queue, by the journal. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from slurmslice.sbatch.resource_request import ResourceRequest


@dataclass(frozen=True, slots=True)
class QueueChanged:
    """A person changed the request of slices of a submission that had not started.

    Written after the update: only then it is known. An update that is made twice changes nothing.

    Attributes:
        number: the submission's number, from 1.
        rows: an array expression.
        changes: the options of these slices that differ from the script's; later attempts keep
            them.
        options: every sbatch option in force for their tasks.
        at: epoch seconds.
    """

    number: int
    rows: str
    changes: ResourceRequest
    options: ResourceRequest
    at: float
