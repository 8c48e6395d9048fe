"""The warden: the small process that starts a runner's tasks, reaps them and lets none outlive it.

It is the tasks' parent and the reaper of whatever they orphan (PR_SET_CHILD_SUBREAPER,
prctl(2)), so every process of a task is, sooner or later, a child of the warden, however often
it forked or called setsid. When a task's script ends, or when the runner's end of the socket
closes (killed, logged out, done), what is left is ended here. A process of its own and not the
runner, because then every child is a task's, none is the caller's; because it outlives a
``kill -9`` of the runner; and because ``ru_maxrss`` counts what the parent held at the fork: a
few MiB here, a whole slice table there.

It runs by path, isolated and without site (``python -I -S warden.py MARKER GRACE [CELLS]``),
with a SOCK_SEQPACKET socket as file descriptor 0, and imports little of the standard library
and nothing else. Messages are fields joined by NUL:

- from the runner: ``start key log n VARIABLE=value… argv…`` · ``signal key number whole`` ·
  ``kill key`` (or ``*``) · ``leave``; the end of the stream means ``leave``.
- to the runner: ``began key pid epoch`` · ``failed key errno`` ·
  ``ended key status cpu_s max_rss_bytes elapsed_s epoch told`` (``told``: it was asked to end).
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time
from collections import deque
from contextlib import suppress

NICE = 10
KILL_WAIT_S = 10.0
"""How long a process that SIGKILL does not end (one that hangs in a dead file system) is waited
for before its task is said to have ended without it."""

_LOOK_S = 0.05
_MESSAGE_BYTES = 1 << 16
_PR_SET_CHILD_SUBREAPER = 36
_DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_TO_DEFAULT = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


class Task:
    """A task that was started and whose end has not been told yet."""

    __slots__ = ("began", "cpu_s", "elapsed_s", "ended", "key", "pid", "rss", "status", "told")

    def __init__(self, key: bytes, pid: int) -> None:
        self.key = key
        self.pid = pid  # also its process group
        self.began = time.monotonic()
        self.told = False
        self.status: int | None = None  # as wait(2) has it, once the script has ended
        self.elapsed_s = 0.0
        self.ended = 0.0  # epoch seconds
        self.cpu_s = 0.0
        self.rss = 0


class Warden:
    """The loop: messages in, ends out, no stray left."""

    def __init__(self, marker: bytes, grace_s: float) -> None:
        self._environment = dict(os.environb)
        self._marker = b"\0" + marker + b"="
        self._grace_s = grace_s
        self._tasks: dict[bytes, Task] = {}
        self._leaders: dict[int, Task] = {}  # by pid, until the script has ended
        self._owners: dict[int, bytes] = {}  # strays, and the task of each
        self._outbox: deque[bytes] = deque()
        self._leave_by: float | None = None  # monotonic: then all are killed
        self.orphaned = False

    def serve(self, wakeup: int) -> bool:
        """Work until told to leave and nothing is left; whether nothing is."""
        poller = select.poll()
        poller.register(0, select.POLLIN)
        poller.register(wakeup, select.POLLIN)
        while not self._may_go():
            waiting = self._leave_by is not None or len(self._tasks) > len(self._leaders)
            for fd, _ in poller.poll(_LOOK_S * 1000 if waiting else None):
                if fd == wakeup:
                    os.read(wakeup, 4096)
            self._reap()
            self._tidy()
            if not self.orphaned:
                self._talk()
                poller.modify(0, select.POLLIN | (select.POLLOUT if self._outbox else 0))
                if self.orphaned:
                    poller.unregister(0)
            self._hurry()
        return not children(os.getpid())

    # -- the runner --------------------------------------------------------------------------

    def _talk(self) -> None:
        """Send the runner what is due and take in its messages; notice that it is gone."""
        try:
            self._send()
            with suppress(BlockingIOError):
                while message := os.read(0, _MESSAGE_BYTES):
                    self._heed(message.split(b"\0"))
                self.orphaned = True
            self._send()
        except OSError:  # it was killed before it had read everything
            self.orphaned = True
        if self.orphaned:
            self._leave()

    def _send(self) -> None:
        """Send as much as the socket takes: a runner that is slow to read must not stop us."""
        with suppress(BlockingIOError):
            while self._outbox:
                os.write(0, self._outbox[0])
                self._outbox.popleft()

    def _heed(self, fields: list[bytes]) -> None:
        word, *rest = fields
        if word == b"start" and self._leave_by is None:
            at = 3 + int(rest[2])
            self._start(rest[0], rest[1], rest[3:at], rest[at:])
        elif word == b"leave":
            self._leave()
        elif word == b"kill":
            for task in list(self._leaders.values()):
                if rest[0] in (task.key, b"*"):
                    self._signal(task, signal.SIGKILL, True)
        elif word == b"signal" and (known := self._tasks.get(rest[0])):
            self._signal(known, int(rest[1]), rest[2] == b"1")

    def _say(self, *fields: object) -> None:
        """Put a message to the runner on its way; it is sent when the socket takes it."""
        texts = (f if isinstance(f, bytes) else str(f).encode() for f in fields)
        self._outbox.append(b"\0".join(texts))

    # -- tasks -------------------------------------------------------------------------------

    def _start(self, key: bytes, log: bytes, variables: list[bytes], argv: list[bytes]) -> None:
        """Start a task in a process group of its own, its output appended to its log."""
        environment = dict(self._environment)
        for variable in variables:
            name, _, environment[name] = variable.partition(b"=")
        append = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        try:
            pid = os.posix_spawn(
                argv[0],
                argv,
                environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, b"/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, append, 0o666),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setpgroup=0,
                setsigmask=(),
                setsigdef=_TO_DEFAULT,
            )
        except OSError as why:
            self._say("failed", key, why.errno)
            return
        task = Task(key, pid)
        self._tasks[key] = self._leaders[pid] = task
        self._say("began", key, pid, f"{time.time():.3f}")

    def _signal(self, task: Task, number: int, whole: bool) -> None:
        """Signal a task that has not ended: all of its processes, or its script alone."""
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        if task.status is not None or os.waitid(os.P_PID, task.pid, ended):
            return  # by itself
        task.told = task.told or whole
        if not whole:
            _kill(task.pid, number)
            return
        outside = self._outside(task)
        for pid in (-task.pid, *outside):
            _kill(pid, number)
        _kill(-task.pid, signal.SIGCONT)

    def _outside(self, task: Task) -> list[int]:
        """A task's processes that left its process group."""
        seen = [task.pid, *(p for p in self._strays() if self._owner(p) == task.key)]
        for pid in seen:  # grows as it goes
            seen.extend(child for child in children(pid) if child not in seen)
        return [pid for pid in seen if _group(pid) not in (task.pid, None)]

    # -- ends --------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Reap what has ended. A script's group is killed while its zombie still holds the id."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            task = self._leaders.pop(ended.si_pid, None)
            if task is not None:
                task.elapsed_s = time.monotonic() - task.began
                task.ended = time.time()
                _kill(-task.pid, signal.SIGKILL)
            owner = task or self._tasks.get(self._owner(ended.si_pid) or b"")
            _, status, usage = os.wait4(ended.si_pid, 0)
            self._owners.pop(ended.si_pid, None)
            if owner is not None:
                owner.cpu_s += usage.ru_utime + usage.ru_stime
                owner.rss = max(owner.rss, usage.ru_maxrss * 1024)
            if task is not None:
                task.status = status

    def _tidy(self) -> None:
        """End what ended tasks left behind; tell the end of those that left nothing more."""
        ended = [task for task in self._tasks.values() if task.status is not None]
        if not ended and self._leaders:
            return
        held = self._kill_strays()
        for task in ended:
            waited = time.monotonic() - task.began - task.elapsed_s
            if (task.key in held or b"" in held) and waited < KILL_WAIT_S:
                continue
            del self._tasks[task.key]
            usage = (f"{task.cpu_s:.3f}", task.rss, f"{task.elapsed_s:.3f}", f"{task.ended:.3f}")
            self._say("ended", task.key, task.status, *usage, int(task.told))

    def _kill_strays(self) -> set[bytes]:
        """Kill strays of tasks that run no more; whose they are, empty where nobody can tell.

        One whose task cannot be told (it wiped its environment and left the group) is spared
        while any task runs: it may be that one's.
        """
        held = set()
        for pid in self._strays():
            owner = self._owner(pid)
            task = self._tasks.get(owner) if owner else None
            if (task is None or task.status is not None) and (owner or not self._leaders):
                _kill(pid, signal.SIGKILL)
                held.add(owner or b"")
        return held

    def _strays(self) -> list[int]:
        """What tasks orphaned: children of the warden that it did not start."""
        return [pid for pid in children(os.getpid()) if pid not in self._leaders]

    def _owner(self, pid: int) -> bytes | None:
        """The key of a stray's task, by its process group or the marker; None: cannot be told."""
        if pid in self._owners:
            return self._owners[pid]
        group = _group(pid)
        owner = next((task.key for task in self._tasks.values() if task.pid == group), None)
        if owner is None:
            owner = _marked(pid, self._marker)
        if owner is not None:
            self._owners[pid] = owner
        return owner

    # -- the end -----------------------------------------------------------------------------

    def _leave(self) -> None:
        """Ask every task to end; ``_hurry`` makes it end when the grace is over."""
        if self._leave_by is None:
            self._leave_by = time.monotonic() + self._grace_s
            for task in list(self._leaders.values()):
                self._signal(task, signal.SIGTERM, True)

    def _hurry(self) -> None:
        if self._leave_by is not None and time.monotonic() > self._leave_by:
            for task in list(self._leaders.values()):
                self._signal(task, signal.SIGKILL, True)

    def _may_go(self) -> bool:
        """Whether the warden was told to leave, and nothing is left or can be helped."""
        if self._leave_by is None:
            return False
        if time.monotonic() > self._leave_by + KILL_WAIT_S:
            return True
        unsaid = self._outbox and not self.orphaned
        return not self._tasks and not unsaid and not children(os.getpid())


_LISTED = os.path.exists(f"/proc/self/task/{os.getpid()}/children")
"""Whether the kernel lists children (CONFIG_PROC_CHILDREN); else every process is looked at."""


def children(pid: int) -> list[int]:
    """The children of a process, zombies included; none where it is gone (proc(5))."""
    if not _LISTED:
        pids = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
        return [child for child in pids if _stat(child, 1) == pid]
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as listing:
                found += map(int, listing.read().split())
    return found


def _stat(pid: int, field: int) -> int | None:
    """A number of /proc/PID/stat, counted from the state as 0; None where it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return int(stat.read().rpartition(b")")[2].split()[field])
    except OSError:
        return None


def _group(pid: int) -> int | None:
    return _stat(pid, 2)


def _marked(pid: int, marker: bytes) -> bytes | None:
    """What the environment of a process says after the marker; None where it does not."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:
            _, found, rest = (b"\0" + environ.read()).partition(marker)
    except OSError:
        return None
    return rest.partition(b"\0")[0] if found else None


def _kill(pid: int, number: int) -> None:
    """Signal a process, or the group of a negative number."""
    with suppress(OSError):  # gone, or another user's (a setuid program)
        os.kill(pid, number)


def _set_up() -> int:
    """Make this process deaf to what ends others, and a reaper; where SIGCHLD is heard."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    for fd in os.listdir("/proc/self/fd"):
        if int(fd) > 2:
            with suppress(OSError):
                os.close(int(fd))
    reading, writing = os.pipe()
    for end in (0, reading, writing):
        os.set_blocking(end, False)
    for number in (*_DEAF_TO, signal.SIGCHLD, signal.SIGPIPE):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return reading


def main(marker: str, grace_s: str, cells: str = "") -> int:
    """Serve; 0 where no process of a task is left at the end.

    Args:
        marker: the variable that marks tasks' processes.
        grace_s: seconds from SIGTERM to SIGKILL.
        cells: the control group whose groups the runner removes, if it lives to do so.
    """
    wakeup = _set_up()
    warden = Warden(os.fsencode(marker), float(grace_s))
    clean = warden.serve(wakeup)
    if warden.orphaned and cells:
        with suppress(OSError):
            for cell in [entry.path for entry in os.scandir(cells) if entry.is_dir()]:
                os.rmdir(cell)
            os.rmdir(cells)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
