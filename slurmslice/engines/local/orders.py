"""Orders on disk: ``order.json`` in the submission's folder, and who finds it there.

::

    {"number": 2, "token": "…", "job_name": "…", "script": "/…/script.sh", "arguments": ["002"],
     "array": "0-98%10", "request": {"mem": "4G"}, "overrides": {},
     "submitted_at": 1795424103.25, "directory": "/where/it/was/given"}

It is written whole or not at all, once, and never changes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurmslice import files
from slurmslice.engines import Order
from slurmslice.engines.local.books import Books
from slurmslice.errors import DamagedRun
from slurmslice.ranges import parse_array
from slurmslice.resources import ResourceRequest

_NAME = "order.json"


@dataclass(frozen=True, slots=True)
class Placed:
    """An order that was taken, and the books that are kept of it.

    Attributes:
        order: as it was given; its folder is where it was found.
        submitted_at: when, epoch seconds.
        directory: the working directory of whoever submitted it.
        books: what became of its tasks.
    """

    order: Order
    submitted_at: float
    directory: str
    books: Books

    @property
    def job(self) -> str:
        """The array's job id: the submission's number."""
        return str(self.order.number)

    @property
    def open(self) -> bool:
        """Whether tasks of it may still run, as far as its books were read."""
        return self.books.returned is None and len(self.books.ended) < len(self.order.array)


def place(order: Order, now: float) -> None:
    """Put an order on disk, for good."""
    record = {
        "number": order.number,
        "token": order.token,
        "job_name": order.job_name,
        "script": os.path.abspath(order.script),
        "arguments": order.arguments,
        "array": str(order.array),
        "request": order.request.to_json(),
        "overrides": order.overrides.to_json(),
        "submitted_at": now,
        "directory": os.getcwd(),
    }
    (order.folder / "tasks").mkdir(parents=True, exist_ok=True)
    files.replace(order.folder / _NAME, (json.dumps(record, indent=1) + "\n").encode())
    _sync(order.folder)


def _sync(folder: Path) -> None:
    """Put a folder's entries on the disk (fsync(2))."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Orders:
    """All orders of a run directory, found by looking; each is read once."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / "submissions"
        self._placed: dict[str, Placed] = {}

    def look(self) -> list[Placed]:
        """The orders that are there now, by number.

        Raises:
            DamagedRun: one cannot be understood.
        """
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return []
        for name in names:
            if name not in self._placed:
                placed = _read(self._folder / name)
                if placed is not None:
                    self._placed[name] = placed
        return sorted(self._placed.values(), key=lambda placed: placed.order.number)

    def unfinished(self) -> Iterator[Placed]:
        """The open ones, by what their books say now."""
        for placed in self.look():
            if placed.open:
                placed.books.refresh()
                if placed.open:
                    yield placed


def _read(folder: Path) -> Placed | None:
    path = folder / _NAME
    try:
        data = files.read(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return _placed(folder, json.loads(data))
    except (ValueError, KeyError, TypeError, AttributeError) as why:
        raise DamagedRun(
            f"{path} cannot be understood: {why}.", "Restore it.", path=str(path)
        ) from why


def _placed(folder: Path, record: dict[str, Any]) -> Placed:
    order = Order(
        number=int(record["number"]),
        job_name=record["job_name"],
        token=record["token"],
        script=Path(record["script"]),
        folder=folder,
        array=parse_array(record["array"]),
        overrides=ResourceRequest.from_json(record["overrides"]),
        arguments=tuple(record["arguments"]),
        request=ResourceRequest.from_json(record["request"]),
    )
    books = Books(folder / "local.tsv", order.request.mem_mib, int(record["submitted_at"]))
    return Placed(order, float(record["submitted_at"]), record["directory"], books)
