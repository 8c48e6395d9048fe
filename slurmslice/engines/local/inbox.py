"""What is asked of a run's runner: ``inbox.tsv``, a line a request, only ever appended to.

Who holds the run's lock writes, the runner reads on.

- ``epoch  order  job``: there is an order to work on.
- ``epoch  cancel  job  indices`` (an array expression; ``*`` is: whatever has not ended)
- ``epoch  throttle  job  N`` (0 is: no limit)
- ``epoch  hold  job``, ``epoch  release  job``: start no more tasks of it; start them again.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

from slurmslice import files
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
        files.append(self._path, line.encode(), durably=False)

    # -- reading -----------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Read on; whether there was anything new."""
        lines, self._offset = files.read_on(self._path, self._offset)
        for line in lines.decode("utf-8", "replace").split("\n"):
            self._take(line.split("\t")[1:])
        return bool(lines)

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
            return  # spoilt by hand, or by a crash of the machine

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
