"""What is asked of a run's runner: ``inbox.tsv``, a line a request, only ever appended to.

Any process writes, the runner reads on: its size alone tells that something is new.

- ``epoch  order  job``: there is an order to work on.
- ``epoch  cancel  job  indices`` (an array expression; ``*`` is: whatever has not ended)
- ``epoch  throttle  job  N`` (0 is: no limit)
- ``epoch  hold  job``, ``epoch  release  job``: start no more tasks of it; start them again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

from slurmslice.errors import BadInput
from slurmslice.ranges import compress, parse_array


class Inbox:
    """The requests of a run. ``refresh`` reads on; the rest is what was read.

    Attributes:
        throttles: the limit that was asked for last, by job; None is: no limit.
        held: jobs of which no more tasks are to start.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._cancels: dict[str, list[Collection[int] | None]] = {}
        self.throttles: dict[str, int | None] = {}
        self.held: set[str] = set()

    # -- writing -----------------------------------------------------------------------------

    def order(self, job: str) -> None:
        """Say that there is a new order."""
        self._write("order", job)

    def cancel(self, job: str, indices: Collection[int] | None) -> None:
        """Ask that these tasks be cancelled, or all that have not ended."""
        self._write("cancel", job, "*" if indices is None else str(compress(sorted(indices))))

    def throttle(self, job: str, limit: int | None) -> None:
        """Ask that at most so many tasks run at once; None for no limit."""
        self._write("throttle", job, str(limit or 0))

    def hold(self, job: str) -> None:
        """Ask that no more tasks of a job start."""
        self._write("hold", job)

    def release(self, job: str) -> None:
        """Ask that its tasks start again."""
        self._write("release", job)

    def _write(self, *fields: str) -> None:
        line = "\t".join((str(int(time.time())), *fields)) + "\n"
        self._path.parent.mkdir(exist_ok=True)
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)

    # -- reading -----------------------------------------------------------------------------

    def size(self) -> int:
        """Its bytes now; what has grown holds something new."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def refresh(self) -> bool:
        """Read on; whether there was anything new."""
        if self.size() <= self._offset:
            return False
        with self._path.open("rb") as inbox:
            inbox.seek(self._offset)
            data = inbox.read()
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        for line in data[:whole].decode("utf-8", "replace").split("\n"):
            self._take(line.split("\t")[1:])
        return whole > 0

    def _take(self, fields: list[str]) -> None:
        try:
            match fields:
                case ["cancel", job, "*"]:
                    self._cancels.setdefault(job, []).append(None)
                case ["cancel", job, indices]:
                    self._cancels.setdefault(job, []).append(set(parse_array(indices)))
                case ["throttle", job, limit]:
                    self.throttles[job] = int(limit) or None
                case ["hold", job]:
                    self.held.add(job)
                case ["release", job]:
                    self.held.discard(job)
        except (ValueError, BadInput):
            return  # torn by a crash: whoever asked was never told that it was done

    def wishes(self, job: str) -> bool:
        """Whether anything of a job was to be cancelled."""
        return job in self._cancels

    def cancelled(self, job: str, among: Collection[int]) -> list[int]:
        """Which of these tasks of a job were to be cancelled, in their order."""
        wishes = self._cancels.get(job)
        if wishes is None:
            return []
        if None in wishes:
            return list(among)
        return [index for index in among if any(wish and index in wish for wish in wishes)]
