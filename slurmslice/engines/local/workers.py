"""A worker: one bash process that runs the tasks of a job one by one (``templates/worker.sh``)."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from slurmslice.engines.local.jobs import LocalJob, TaskResources
from slurmslice.engines.local.machine import (
    children,
    descendants,
    is_zombie,
    process_group,
    process_usage,
)
from slurmslice.engines.local.memory_cgroup import MemoryGroup
from slurmslice.engines.local.supported_requests import parse_warning_signal
from slurmslice.engines.local.worker_mode import choose_worker_mode, read_script_version
from slurmslice.errors import EngineError
from slurmslice.script.template_files import templates_folder
from slurmslice.system import files
from slurmslice.system.process import fork_worker

NICE = 10

REPEAT_S = 1.0
"""Seconds after which a signal is repeated if the task has not ended."""

STOP, TIME_IS_UP, KILL = signal.SIGPWR, signal.SIGALRM, signal.SIGQUIT
"""The signals to a worker. The kernel sends STOP too, when the runner dies."""

_PASSED_ON = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
)
"""Signals that a worker passes on to its task, as the library does."""

_NO_RESOURCES = TaskResources(0, 0)

_GROWTH = 1.05
"""A peak is recorded again when it exceeds this multiple of the last recorded peak."""


def find_bash() -> str:
    """Return the path of bash.

    Raises:
        EngineError: bash is not on PATH.
    """
    path = shutil.which("bash")
    if path is None:
        raise EngineError(
            "bash is not on PATH. The run's script needs it.",
            "Install bash, or add its folder to PATH.",
            code="no-bash",
        )
    return path


class Worker:
    """A started worker and its current task.

    Args:
        job: the job whose tasks the worker runs.
        number: the worker's number in the job, from 0. It alone writes ``worker-<number>.log``.
        bash: the path of bash.
        env: the environment of the job's tasks.
        marker: the environment variable that marks the run's processes.
        grace_s: seconds from SIGTERM to SIGKILL.

    Attributes:
        pid: its process id, which is also its session id.
        events_fd: the file descriptor for its reports of ends.
        script_version: the version of the script at its start.
        index: the array index of the current task; None if the worker is idle.
        place: the number of the current task among all that run at a time.
        resources: the resources of the current task; memory in use is from the last measurement.
        peak: the highest measured memory of the current task, bytes.
        ends_at, warns_at: the times of the time limit and of the warning, monotonic; None if there
            is none.
        ending: the signal that asked the worker to end the current task; None if there was none.
        memory_group: the control group of the current task; None if there is none.

    Raises:
        OSError: the worker could not be started.
    """

    def __init__(
        self,
        job: LocalJob,
        number: int,
        *,
        bash: str,
        env: Mapping[str, str],
        marker: str,
        grace_s: float,
    ) -> None:
        tasks_fd, self._tasks_fd = os.pipe()
        self.events_fd, events_fd = os.pipe()
        self.job, self.number = job, number
        self._warning = parse_warning_signal(job.request)
        self.script_version = read_script_version(job.script)
        try:
            log = job.folder / "tasks" / f"worker-{number}.log"
            output = files.open_regular(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            program = (bash, str(templates_folder() / "worker.sh"))
            numbers = (str(tasks_fd), str(events_fd), str(grace_s))
            script = (str(job.folder), choose_worker_mode(job.script), str(job.script))
            try:
                self.pid = fork_worker(
                    (*program, *numbers, *script, *job.arguments), env, output=output,
                    keep=(tasks_fd, events_fd), mark=marker, death_signal=STOP, nice=NICE,
                )  # fmt: skip
            finally:
                os.close(output)
        except BaseException:
            os.close(self._tasks_fd)
            os.close(self.events_fd)
            raise
        finally:
            os.close(tasks_fd)
            os.close(events_fd)
        os.set_blocking(self.events_fd, False)
        self._partial_line = b""
        self._set_task(None)

    def _set_task(
        self, index: int | None, resources: TaskResources = _NO_RESOURCES, place: int = 0
    ) -> None:
        self.index, self.place = index, place
        self.resources = resources
        self.peak = self._recorded_peak = 0
        self.ends_at: float | None = None
        self.warns_at: float | None = None
        self.ending: signal.Signals | None = None
        self._repeats_at = 0.0
        self._announced: tuple[int, int] | None = None
        self.memory_group: MemoryGroup | None = None

    # -- the task ----------------------------------------------------------------------------

    def assign(
        self,
        index: int,
        job_id: int,
        resources: TaskResources,
        group: MemoryGroup | None,
        place: int,
    ) -> None:
        """Give a task to the worker. If the worker is gone, ``read_events`` notices it later."""
        self._set_task(index, resources, place)
        self.memory_group = group
        self._start_clock()
        with suppress(BrokenPipeError):
            path = group.path if group else ""
            os.write(self._tasks_fd, f"{index} {job_id} {place} {path}\n".encode())

    def _start_clock(self) -> None:
        """Start the time limit of the current task now."""
        now, limit = time.monotonic(), self.job.request.time_s
        if limit is not None and self.index is not None and not self.ending:
            self.ends_at = now + limit
            self.warns_at = now + max(0, limit - self._warning[1]) if self._warning else None

    def free_task(self) -> None:
        """Forget the current task after its end."""
        if self.memory_group is not None:
            self.memory_group.remove()
        self._set_task(None)

    # -- signals -----------------------------------------------------------------------------

    def send_signal(self, number: int) -> None:
        """Send a signal to the worker."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def send_warning(self) -> None:
        """Send the warning signal (``--signal=B:USR1@60``) to the task's script."""
        self.warns_at = None
        if self._warning is None:
            return
        if self._warning[0] in _PASSED_ON:
            self._signal_living_task(self._warning[0])
        elif (task := self._find_task()) is not None:
            with suppress(OSError):
                os.kill(task, self._warning[0])

    def end_task(self, how: signal.Signals) -> None:
        """End the current task, and its processes that left its process group.

        Args:
            how: ``STOP`` or ``TIME_IS_UP``.
        """
        if self.ending or self.index is None:
            return
        self.ending, self.ends_at = how, None
        self._repeats_at = time.monotonic() + REPEAT_S
        task, outside = self._find_task(), list[int]()
        if task is not None:  # the worker itself signals its process group
            known = {self.pid, task, None}
            outside = [pid for pid in descendants(self.pid) if process_group(pid) not in known]
        self._signal_living_task(how)
        for pid in outside:
            with suppress(OSError):
                os.kill(pid, signal.SIGTERM)

    def announce_cancelled(self, job: LocalJob) -> None:
        """Let the current task look for cancelled slices, if their file has changed."""
        version = None if self.index is None else job.cancelled_version(self.index)
        if version is not None and version != self._announced:
            self._announced = version
            self._signal_living_task(signal.SIGURG)

    def repeat_end_task(self) -> None:
        """Repeat the signal of ``end_task`` if its time has come: bash can lose a trap."""
        if self.ending and time.monotonic() >= self._repeats_at:
            self._repeats_at = time.monotonic() + REPEAT_S
            self._signal_living_task(self.ending)

    def _find_task(self) -> int | None:
        """Return the process id of the task; None if it has not started or has ended."""
        below = children(self.pid)
        return below[0] if below else None  # the oldest child is the task

    def _signal_living_task(self, number: int) -> None:
        """Send a signal to the worker, unless its task has just ended.

        Bash loses the exit code of a process if a trapped signal arrives together with its end.
        """
        task = self._find_task()
        if task is None or not is_zombie(task):
            self.send_signal(number)

    # -- measurements ------------------------------------------------------------------------

    def measure(self) -> float:
        """Measure the task's memory. Return the CPU seconds of the worker and its descendants."""
        seen = [used for pid in descendants(self.pid) if (used := process_usage(pid))]
        if self.index is not None:
            group = self.memory_group
            memory = group.memory() if group else sum(used.rss for used in seen[1:])
            self.resources = replace(self.resources, used=memory)
            self.peak = max(self.peak, memory)
        return sum(used.cpu_s for used in seen)

    def peak_has_grown(self) -> bool:
        """Return ``True`` if the peak has grown enough to be recorded again."""
        if self.peak <= self._recorded_peak * _GROWTH:
            return False
        self._recorded_peak = self.peak
        return True

    # -- the end -----------------------------------------------------------------------------

    def read_events(self) -> bool | None:
        """Return ``True`` if the task ended, ``None`` if the worker ended, else ``False``.

        A worker first reports that it is ready. The time of its first task begins then.
        """
        try:
            data = os.read(self.events_fd, 4096)
        except BlockingIOError:
            return False
        if not data:
            return None
        *lines, self._partial_line = (self._partial_line + data).split(b"\n")
        if b"ready" in lines:
            self._start_clock()
        return any(line != b"ready" for line in lines)

    def close_tasks(self) -> None:
        """Send no more tasks. The worker exits after its current task."""
        if self._tasks_fd >= 0:
            os.close(self._tasks_fd)
            self._tasks_fd = -1

    def reap(self, within: float) -> tuple[int, float] | None:
        """Wait for the worker's end, up to ``within`` seconds; then kill it.

        Returns:
            its exit code (negative for a signal), and the CPU seconds of it and its children; None
            if the caller ignores SIGCHLD, because then the kernel keeps neither.
        """
        self.close_tasks()
        deadline = time.monotonic() + within
        try:
            while True:
                pid, status, used = os.wait4(self.pid, os.WNOHANG)
                if pid:
                    break
                if time.monotonic() >= deadline:
                    self.send_signal(signal.SIGKILL)
                    _, status, used = os.wait4(self.pid, 0)
                    break
                time.sleep(0.002)
        except ChildProcessError:
            return None
        finally:
            os.close(self.events_fd)
        return os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime
