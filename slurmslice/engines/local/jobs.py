"""The jobs of the local engine. The run reads them from its journal."""

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
class TaskResources:
    """The resources of one task.

    Attributes:
        cpus: requested CPUs.
        memory: requested memory, bytes; 0 if none was requested.
        used: memory in use at the last measurement, bytes; 0 before the first one.
    """

    cpus: int
    memory: int
    used: int = 0


@dataclass(frozen=True, slots=True)
class LocalJob:
    """An accepted submission: an array of tasks.

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
        partly_cancelled: tasks of which some slices were cancelled; their other slices go on.
        cancelled: the times at which tasks were cancelled, epoch seconds, by index.
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
    partly_cancelled: frozenset[int] = frozenset()

    @property
    def id(self) -> str:
        """The array's job id: the submission's number."""
        return str(self.number)

    @property
    def claim_path(self) -> Path:
        """The claim file: the job id, then the runner that claimed the job."""
        return self.folder / "job"

    def cancelled_version(self, index: int) -> tuple[int, int] | None:
        """Return the version of the file with a task's cancelled slots; None if there is none."""
        if index not in self.partly_cancelled:
            return None
        try:
            file = (self.folder / "cancelled" / str(index)).stat()
        except OSError:
            return None
        return file.st_ino, file.st_mtime_ns

    def read_runner(self) -> str | None:
        """Return the runner that claimed this job; None if no runner did.

        The text is empty if the claim has no second line: then no living runner has the job.
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
    """The source of jobs and of requests by other processes.

    Attributes:
        jobs: the jobs by job id, as they were last read.
        held: no task may start.
        version: a number that grows when something new was read.
    """

    jobs: dict[str, LocalJob]
    held: bool
    version: int

    def refresh(self) -> bool:
        """Read new jobs and requests. Return ``True`` if there were any."""
