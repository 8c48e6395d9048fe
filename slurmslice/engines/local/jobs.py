"""What the engine is to run. The run reads it from its journal and gives it to the engine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from slurmslice.sbatch.array_expression import ArrayExpression
from slurmslice.sbatch.resource_request import ResourceRequest

_CLAIM_BYTES = 1024


@dataclass(frozen=True, slots=True)
class LocalJob:
    """A submission that was taken: an array of tasks.

    Attributes:
        number: the submission's number, from 1.
        name: the job's name.
        array: the indices.
        script: the run's script.
        folder: the submission's folder.
        arguments: the script's arguments.
        request: the request of each task.
        packed: each task carries several slices.
        submitted_at: epoch seconds.
        throttle: the number of tasks that may run at a time; None for no limit.
        cancelled: when tasks were cancelled, epoch seconds, by index.
    """

    number: int
    name: str
    array: ArrayExpression
    script: Path
    folder: Path
    arguments: tuple[str, ...]
    request: ResourceRequest
    packed: bool
    submitted_at: float
    throttle: int | None
    cancelled: Mapping[int, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The array's job id: the submission's number."""
        return str(self.number)

    @property
    def claim_path(self) -> Path:
        """The submission's claim: the job id and, in the second line, the runner that has it."""
        return self.folder / "job"

    def read_runner(self) -> str | None:
        """Return the runner that claimed this job; None if none did.

        A claim without a second line is nobody's that lives: the empty text.
        """
        try:
            fd = os.open(self.claim_path, os.O_RDONLY | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        try:
            lines = os.read(fd, _CLAIM_BYTES).decode("utf-8", "replace").split("\n")
        finally:
            os.close(fd)
        return lines[1] if len(lines) > 2 else ""


class JobSource(Protocol):
    """Where the engine learns of jobs, and of what other processes ask for.

    Attributes:
        jobs: the jobs by job id, as they were last read.
        held: no task is to start.
        version: grows whenever something new was read.
    """

    jobs: dict[str, LocalJob]
    held: bool
    version: int

    def refresh(self) -> bool:
        """Read what is new, and return ``True`` if anything was."""
