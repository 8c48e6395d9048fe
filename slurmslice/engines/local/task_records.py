"""The records of a job's tasks, read from the progress files of its workers and its runner.

Each worker is the only writer of ``tasks/worker-<n>.log``, and the runner of ``tasks/runner.log``.
The lines are progress lines (``slurmslice.script.progress_lines``) with more fields at the end::

    0m0.000s 0m0.004s
    0m0.270s 0m0.010s
    slurmslice start job=1 restart=0 at=1795424103 host=n3 slot=0 task=5
    slurmslice check job=1 restart=0 at=1795424104 host=n3 slot=0 exit=1 task=5
    0m0.000s 0m0.006s
    0m0.560s 0m0.030s
    slurmslice end job=1 restart=0 at=1795424104 host=n3 slot=0 exit=1 task=5 us=1203 with_cache=9
    slurmslice peak job=1 restart=0 at=1795424104 host=n3 task=7 rss=41943040
    slurmslice dropped job=1 restart=0 at=1795424104 host=n3 task=8-99

Fields:

- ``task``: the array index. ``dropped`` has a list of indices that will never start.
- ``slot``: the task has one slice, and these lines are its only record.
- ``us``: wall-clock time, microseconds.
- ``rss``: the highest memory that the runner has measured, bytes.
- ``with_cache``: the peak memory of the task's control group, with the file cache, bytes.
- ``stopped=1``: the runner ended the task.

A ``timeout`` or ``memory`` line precedes the end that it explains. The output of bash's ``times``
is at the beginning of the file and before each end. It is the CPU time of the worker, and of all
its children so far.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count

from slurmslice.engines.local.jobs import LocalJob
from slurmslice.engines.local.machine import MEASURE_EVERY_S
from slurmslice.errors import BadInputError
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.script.progress_lines import SlotProgress, describe_check_file
from slurmslice.status.observation import NO_JOB_STEPS, TaskReport
from slurmslice.status.states import State
from slurmslice.system import files

_MIB = 1 << 20
_LINE = re.compile(
    rb"(?P<a>\d{1,9})m(?P<b>\d+[.,]\d+)s (?P<c>\d{1,9})m(?P<d>\d+[.,]\d+)s\n|"
    rb"slurmslice (?P<kind>[a-z]+) job=\d{1,9} restart=0 at=(?P<at>\d{1,12}) host=(?P<host>\S+)"
    rb"(?P<fields>(?: [a-z_]+=\S*)+)\n"
)
_KILLED_BY = {129: "HUP", 130: "INT", 143: "TERM"}


@dataclass(slots=True)
class _Attempt:
    """The start of a task, and the lines that explain its end."""

    started_at: int | None = None
    timed_out: bool = False
    oom_killed: bool = False
    check_exit: int | None = None
    check_file: str = ""
    setup: bool = False
    rss: int | None = None
    cpu_before: float | None = None


class TaskRecords:
    """The records of a job's tasks, as of the last ``refresh``.

    Args:
        job: the job.

    Attributes:
        read: the number of bytes read.
        ended: the reports of tasks that ended by themselves, at the time limit or out of memory.
        stopped: the reports of tasks that the runner ended.
        dropped: the indices that the runner will never start.
    """

    def __init__(self, job: LocalJob) -> None:
        self._folder = job.folder / "tasks"
        self._memory = None if job.request.mem_mib is None else job.request.mem_mib * _MIB
        self._submitted_at = int(job.submitted_at)
        self._offsets: dict[str, int] = {}
        self._cpu: dict[str, float | None] = {}
        self._attempts: dict[int, _Attempt] = {}
        self.read = 0
        self.ended: dict[int, TaskReport] = {}
        self.stopped: dict[int, TaskReport] = {}
        self.dropped: set[int] = set()

    @property
    def started(self) -> Mapping[int, int | None]:
        """The start times of tasks without an end, epoch seconds, by index."""
        return {
            i: attempt.started_at for i, attempt in self._attempts.items() if attempt.started_at
        }

    def refresh(self) -> bool:
        """Read the new lines. Return ``True`` if there were any."""
        before = self.read
        for name in self._names():
            offset = self._offsets.get(name, 0)
            lines, self._offsets[name] = files.read_new_lines(self._folder / name, offset)
            self.read += len(lines)
            cpu = self._cpu.get(name)
            for line in _LINE.finditer(lines):
                if line["kind"] is None:
                    cpu = _seconds(line["a"], line["b"]) + _seconds(line["c"], line["d"])
                else:
                    self._apply_line(line, cpu)
            self._cpu[name] = cpu
        return self.read != before

    def _names(self) -> Iterator[str]:
        """Yield the names of the files. The runner's peaks are read before the workers' ends."""
        yield "runner.log"
        for number in count():
            name = f"worker-{number}.log"
            if name not in self._offsets and not (self._folder / name).exists():
                return
            yield name

    def _apply_line(self, line: re.Match[bytes], cpu: float | None) -> None:
        words = line["fields"].decode("utf-8", "replace")[1:].split(" ")
        fields = dict(word.split("=", 1) for word in words)
        try:
            if line["kind"] == b"dropped":
                self.dropped.update(parse_array(fields["task"]))
            elif line["kind"] != b"log":
                self._apply_to_task(line, int(fields["task"]), fields, cpu)
        except (KeyError, ValueError, OverflowError, BadInputError):
            return  # the line is damaged

    def _apply_to_task(
        self, line: re.Match[bytes], index: int, fields: Mapping[str, str], cpu: float | None
    ) -> None:
        if index in self.ended:
            return
        attempt = self._attempts.setdefault(index, _Attempt())
        match line["kind"]:
            case b"start":
                attempt.started_at, attempt.cpu_before = int(line["at"]), cpu
            case b"timeout":
                attempt.timed_out = True
            case b"memory":
                attempt.oom_killed = True
            case b"check":
                attempt.check_exit = int(fields["exit"])
                attempt.check_file = describe_check_file(fields.get("file", ""))
            case b"setup":
                attempt.setup = True
            case b"peak":
                attempt.rss = int(fields["rss"])
            case b"end":
                report = self._end_report(line, attempt, fields, cpu)
                (self.stopped if "stopped" in fields else self.ended)[index] = report
                del self._attempts[index]

    def _end_report(
        self,
        line: re.Match[bytes],
        attempt: _Attempt,
        fields: Mapping[str, str],
        cpu: float | None,
    ) -> TaskReport:
        code, elapsed, before = int(fields["exit"]), fields.get("us"), attempt.cpu_before
        state, reason = State.FAILED if code else State.COMPLETED, ""
        if attempt.oom_killed:
            state, reason = State.OUT_OF_MEMORY, "the kernel killed a process of it: out of memory"
        if attempt.timed_out:
            state, reason = State.TIMEOUT, ""
        host = line["host"].decode("utf-8", "replace")
        return replace(
            self.report(state, reason, attempt.started_at, host),
            exit_code=code,
            ended_at=int(line["at"]),
            elapsed_s=None if elapsed is None else max(0, int(elapsed)) / 1e6,
            cpu_s=None if cpu is None or before is None else max(0.0, cpu - before),
            max_rss_bytes=attempt.rss or None,
            peak_with_cache_bytes=int(fields.get("with_cache", 0)) or None,
            sampling_s=MEASURE_EVERY_S,
            progress=_progress(line, attempt, fields, host) if "slot" in fields else None,
        )

    def report(
        self, state: State, reason: str, started_at: int | None = None, host: str | None = None
    ) -> TaskReport:
        """Return the report of a task that has no end."""
        return TaskReport(
            state,
            state.value,
            submitted_at=self._submitted_at,
            started_at=started_at,
            requested_mem_bytes=self._memory,
            node=host,
            reason=reason,
            steps=NO_JOB_STEPS,
        )


def _seconds(minutes: bytes, seconds: bytes) -> float:
    """Parse a time of bash's ``times``, in seconds. The decimal separator may be a comma."""
    return 60 * int(minutes) + float(seconds.replace(b",", b"."))


def _progress(
    line: re.Match[bytes], attempt: _Attempt, fields: Mapping[str, str], host: str
) -> SlotProgress:
    """Return the progress of the only slice of a task."""
    code = int(fields["exit"])
    signal_received = _KILLED_BY.get(code, "") if attempt.setup else ""
    return SlotProgress(
        started_at=attempt.started_at,
        host=host,
        ended_at=int(line["at"]),
        exit_code=code,
        timed_out=attempt.timed_out,
        oom_candidates=1 if attempt.oom_killed else None,
        check_exit=attempt.check_exit,
        check_file=attempt.check_file,
        signal_received=fields.get("told", signal_received),
        in_setup=attempt.setup,
    )
