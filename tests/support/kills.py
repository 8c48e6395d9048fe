"""``kill -9``, or a full disk, at every step: at each file change and each call of the cluster.

A step can end in several ways. A write can be cut anywhere. If an sbatch is killed, its job may
exist, not exist, or come later. Each way is a *point*. A test repeats the same action and ends it
at the next point each time, until no point is left.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.support.fakes import FakeEngine

CHANGES = ("mkdir", "rmdir", "rename", "replace", "link", "unlink", "remove", "chmod", "truncate",
           "ftruncate", "fsync")  # fmt: skip
"""Functions of ``os`` that change a file, or wait until it is on the disk."""

GROWS = ("mkdir", "link", "open", "create", "write")
"""Steps that fail on a full disk."""

WORDS = ("cancel", "throttle", "hold", "release")
"""The calls of the cluster, except sbatch."""


class Killed(BaseException):
    """The end of the process, as by ``kill -9``: later actions have no effect."""


def end(order: object) -> None:
    """Kill the process in its sbatch; for ``on_submit`` and ``after_submit``."""
    raise Killed


class Killer:
    """A kill, or a full disk, at one of the points of an action.

    Attributes:
        at: the point, from 0; the action is not ended if it is beyond the last.
        error: an errno; if it is set, the action is not killed, but all later writes fail.
        die_by: the function that ends it; None raises ``Killed``.
        counts: returns if a change of this file is a step; after writes fail, all are.
        points: the number of points so far.
        dead: the action was ended.
        away: the present actions are those of other processes.
        where: the step at which it was ended, for a person.
    """

    def __init__(
        self,
        at: int,
        error: int = 0,
        die_by: Callable[[], None] | None = None,
        counts: Callable[[str], bool] = lambda path: True,
    ) -> None:
        self.at = at
        self.error = error
        self.die_by = die_by
        self.counts = counts
        self.points = 0
        self.dead = self.away = False
        self.where = ""

    def step(self, what: str, ways: int = 1, path: Path | str = "") -> int | None:
        """Pass a step that can end in several ways; return the way if it ends now."""
        if self.away or not (self.dead or self.counts(str(path))):
            return None
        if self.dead and not self.error:  # a killed process does nothing
            raise Killed
        if self.dead:
            return 0 if what.split(maxsplit=1)[0] in GROWS else None
        first, self.points = self.points, self.points + ways
        if not first <= self.at < self.points:
            return None
        self.where = f"{what}, way {self.at - first} of {ways}"
        return self.at - first

    def die(self, path: object = "") -> NoReturn:
        """End the action; with ``error``, fail the write of this file."""
        self.dead = True
        if self.error:
            raise OSError(self.error, os.strerror(self.error), path)
        if self.die_by is not None:
            self.die_by()
        raise Killed


def tears(size: int) -> list[int]:
    """Return the places where a write of this size is cut: start, half, before the last byte."""
    return sorted({0, size // 2, max(0, size - 1)})


class _File(io.FileIO):
    """A file whose writes are steps."""

    killer: Killer

    def write(self, data: Any, /) -> int:
        if self.killer.dead and not (
            self.killer.away or self.killer.error
        ):  # Python flushes its buffers; a killed process would not
            return len(data)
        cuts = tears(len(data))
        way = self.killer.step(f"write to {self.name}", len(cuts), str(self.name))
        if way is not None:
            super().write(bytes(data)[: cuts[way]])
            self.killer.die(self.name)
        return super().write(data)

    def truncate(self, size: int | None = None, /) -> int:
        if self.killer.step(f"truncate {self.name}", path=str(self.name)) is not None:
            self.killer.die(self.name)
        return super().truncate(size)


def kill_at(killer: Killer, patch: pytest.MonkeyPatch) -> None:
    """Make every file change and every call of the fake cluster a step."""
    _patch_files(killer, patch)
    for name in CHANGES:
        patch.setattr(os, name, _step(killer, name, getattr(os, name)))
    for name in () if killer.error else WORDS:
        patch.setattr(FakeEngine, name, _word(killer, name, getattr(FakeEngine, name)))
    if not killer.error:
        patch.setattr(FakeEngine, "submit", _sbatch(killer, FakeEngine.submit))


def _step(killer: Killer, name: str, whole: Callable[..., Any]) -> Callable[..., Any]:
    def change(*args: Any, **more: Any) -> Any:
        if name == "mkdir" and os.path.isdir(args[0]):
            return whole(*args, **more)  # this changes nothing
        path = _named(args[0])
        if killer.step(f"{name} {path}", path=path) is not None:
            killer.die(path)
        # Other processes see a write before fsync as after it.
        return None if name == "fsync" else whole(*args, **more)

    return change


def _named(what: Any) -> str:
    """Return the path of a path or a file descriptor."""
    return os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else os.fspath(what)


def _word(killer: Killer, name: str, whole: Callable[..., Any]) -> Callable[..., Any]:
    def say(engine: FakeEngine, *args: Any) -> Any:
        way = killer.step(f"{name} {args}", 2)
        if way == 0:
            killer.die()
        result = whole(engine, *args)
        if way == 1:
            killer.die()
        return result

    return say


LATE_S = (5, 60, 400)
"""Seconds until the job of a killed sbatch exists: before the fence, and after it."""


def _sbatch(killer: Killer, whole: Callable[..., Any]) -> Callable[..., Any]:
    """Call sbatch: it is not received, its answer is lost, or its job comes later."""

    def submit(engine: FakeEngine, order: Any) -> Any:
        way = killer.step(f"sbatch {order.number}", 2 + len(LATE_S))
        receipt = whole(engine, order) if way in {None, 1} else None
        if way is None:
            return receipt
        if way > 1:
            engine.later.append((LATE_S[way - 2], order))
        return killer.die()

    return submit


def _patch_files(killer: Killer, patch: pytest.MonkeyPatch) -> None:
    opened, os_open, os_write = io.open, os.open, os.write

    def file(path: Any, mode: str = "r", buffering: int = -1, *text: Any, **more: Any) -> Any:
        if not set(mode) & set("wax+") or isinstance(path, int):
            return opened(path, mode, buffering, *text, **more)
        makes = "w" in mode or not os.path.exists(path)
        if makes and killer.step(f"open {path}", path=path) is not None:
            killer.die(path)
        raw = _File(path, mode.replace("b", "").replace("t", ""))
        raw.killer = killer
        both = "+" in mode
        buffered: Any = io.BufferedRandom(raw) if both else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *text, **more)

    def descriptor(path: Any, flags: int, *args: Any, **more: Any) -> int:
        makes = flags & os.O_CREAT and not os.path.exists(path)
        if makes and killer.step(f"create {path}", path=path) is not None:
            killer.die(path)
        return os_open(path, flags, *args, **more)

    def write(fd: int, data: Any) -> int:
        cuts = tears(len(data))
        path = _named(fd)
        way = killer.step(f"write to {path}", len(cuts), path)
        if way is not None:
            os_write(fd, bytes(data)[: cuts[way]])
            killer.die()
        return os_write(fd, data)

    patch.setattr(io, "open", file)
    patch.setattr(builtins, "open", file)
    patch.setattr(os, "open", descriptor)
    patch.setattr(os, "write", write)


def points(attempt: Callable[[Killer], None], error: int = 0) -> int:
    """Repeat an action, ended at each of its points in turn, until it is not ended.

    Returns:
        the number of its points.
    """
    for at in range(2000):
        killer = Killer(at, error)
        attempt(killer)
        if not killer.dead:
            return at
    raise AssertionError("it never came to its end")
