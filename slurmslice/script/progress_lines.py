r"""The progress lines that an array task writes, and their parser.

The script's library writes them (``templates/slurmslice.sh``, ``_progress``) to the task's
standard output, ``submissions/NNN/tasks/<index>.log``. Other output may come between them, from the
setup or from slurmstepd. There is one line for each event::

    slurmslice start job=419 restart=0 at=1795424103 host=n3 slot=0 format=1
    slurmslice end job=419 restart=0 at=1795424180 host=n3 slot=0 exit=0 us=77203344 cpu_us=76990000
    slurmslice end job=419 restart=0 at=1795424180 host=n3 slot=1 exit=0 us=9 mem=81788 samples=9
    slurmslice end job=419 restart=0 at=1795424181 host=n3 slot=3 exit=0 told=TERM us=78100000
    slurmslice timeout job=419 restart=0 at=1795424763 host=n3 slot=1
    slurmslice cancel job=419 restart=0 at=1795424764 host=n3 slot=4
    slurmslice memory job=419 restart=0 at=1795424770 host=n3 slot=2 of=1
    slurmslice check job=419 restart=0 at=1795424790 host=n3 slot=2 exit=1 file=empty:out/2.h5
    slurmslice end job=419 restart=1 at=1795424901 host=n4 slot=0 exit=0 us=77203344 kept=1
    slurmslice setup job=419 restart=0 at=1795424103 host=n3 exit=1
    slurmslice refused job=420 restart=0 at=1795424103 host=n4 owner=419

Fields (new ones are added at the end of a line):

- ``job``: the array's job id.
- ``restart``: the number of times that Slurm has restarted the task.
- ``at``: epoch seconds on the node's clock.
- ``slot``: the slice's place in its task, from 0.
- ``told``: the signal that the slice received from outside. After a signal the exit code is
  ignored, even 0, because a command may save its work and exit 0.
- ``us``, ``cpu_us``: wall-clock time and CPU time of the slice, microseconds. With one slice in a
  task, they include the setup. A process that nobody waited for has no CPU time.
- ``mem``, ``samples``: the peak memory of its job without the file cache while it ran, bytes, and
  the number of measurements, 3 or more. If several slices of the task run at a time, the peak is
  divided by their number. Only if the job has a control group for memory.
- ``kept=1``: an earlier start of the task did the slice; this start has no start line for it.

Lines, except ``start`` and ``end``:

- ``timeout``: the slice exceeded its time limit and received a signal. Its end line follows.
- ``cancel``: a person cancelled the slice alone (``actions/cancel``). If it has begun, it received
  a signal, and its end line follows. If not, it will not begin.
- ``memory``: the kernel killed a process of the task (out of memory) while ``of`` of its slices
  ran, with this one among them.
- ``check``: the command exited 0 and its check failed. The end line that follows has the check's
  exit code. ``file`` is the wrong file of ``--check-file``, if there is one; ``%20`` is a blank.
- ``setup``: the setup failed or ended the script. Other setups write no line.
- ``refused``: the submission belongs to another job, ``owner``.
- ``log``: the log of a slice that has ended (``slurmslice.script.log_sections``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from slurmslice.script.log_sections import needed_end, skip_text

_Line = Mapping[str, bytes]

_HEAD = rb"job=(?P<job>\S+) restart=(?P<restart>\d{1,9}) at=(?P<at>\d{1,12}) host=(?P<host>\S+)"
_SLOT = rb" slot=(?P<slot>\d{1,9})"
_EXIT = rb" exit=(?P<exit>\d{1,3})"
# A progress line may begin anywhere in a line, because the setup may have printed text without a
# newline. It ends with a newline, because an incomplete line does not count.
_FORMAT = rb"(?! format=(?!1[ \n]))"  # lines of another format may mean something else
_START = re.compile(rb"slurmslice start " + _HEAD + _SLOT + _FORMAT + rb"(?: [^\n]*)?\n")
_TIMEOUT = re.compile(rb"slurmslice timeout " + _HEAD + _SLOT + rb"(?: [^\n]*)?\n")
_CANCEL = re.compile(rb"slurmslice cancel " + _HEAD + _SLOT + rb"(?: [^\n]*)?\n")
_MEMORY = re.compile(rb"slurmslice memory " + _HEAD + _SLOT + rb" of=(?P<of>\d{1,9})(?: [^\n]*)?\n")
_CHECK = re.compile(
    rb"slurmslice check " + _HEAD + _SLOT + _EXIT + rb"(?: file=(?P<file>\S+))?(?: [^\n]*)?\n"
)
_TOLD = rb"(?: told=(?P<told>[A-Z]{1,9}))?"
_TIMES = rb"(?: us=(?P<us>\d{1,18}))?(?: cpu_us=(?P<cpu>\d{1,18}))?"
_MEASURED = rb"(?: mem=(?P<mem>\d{1,18}) samples=(?P<samples>\d{1,9}))?"
_END = re.compile(
    rb"slurmslice end " + _HEAD + _SLOT + _EXIT + _TOLD + _TIMES + _MEASURED + rb"(?: [^\n]*)?\n"
)
_SETUP = re.compile(rb"slurmslice setup " + _HEAD + _EXIT + _TOLD + rb"(?: [^\n]*)?\n")
_OF_SLOT = re.compile(rb"slurmslice \w+ " + _HEAD + _SLOT + rb"(?: [^\n]*)?\n")
_REFUSED = re.compile(rb"slurmslice refused " + _HEAD + rb" owner=(?P<owner>[^\n]*)\n")

_LONGEST_LINE = 4096
_ANY = re.compile(rb"slurmslice [a-z]{3,7} job=[^\n]{0,%d}\n" % _LONGEST_LINE)


@dataclass(frozen=True, slots=True)
class SlotProgress:
    """The progress of one slice, from its lines in the newest start of its task.

    A field is None if there is no such line.

    Attributes:
        started_at, ended_at: epoch seconds on the node's clock.
        host: Slurm's name of the node, or the machine's name.
        exit_code: of the command, 0 to 255; 128 + n if signal n ended it.
        timed_out: it exceeded the time limit of a slice and received a signal.
        cancelled: a person cancelled it, and not its whole task; then it received a signal, or it
            does not begin.
        oom_candidates: the number of slices of the task, this one included, that ran when the
            kernel killed a process of the task (out of memory). If it is 1, the process belonged to
            this slice.
        check_exit: the exit code of its check, if the command exited 0 and the check failed;
            then ``exit_code`` is the same.
        check_file: the wrong file of ``--check-file`` and its fault, as text for a person:
            ``out/2.h5 is empty``; empty if there is none.
        signal_received: the signal that it received from outside: ``TERM``, ``INT`` or ``HUP``;
            empty if none.
        elapsed_s, cpu_s: seconds of wall clock and of CPU; None if not measured.
        peak_bytes: peak memory without the file cache, its share if several slices ran at a time.
        peak_samples: the number of measurements of ``peak_bytes``.
        in_setup: the setup ended with this exit code, and the command did not run.
        restart: the start of the task that wrote these lines; 0 is the first.
    """

    started_at: int | None = None
    host: str | None = None
    ended_at: int | None = None
    exit_code: int | None = None
    timed_out: bool = False
    cancelled: bool = False
    oom_candidates: int | None = None
    check_exit: int | None = None
    check_file: str = ""
    signal_received: str = ""
    elapsed_s: float | None = None
    cpu_s: float | None = None
    peak_bytes: int | None = None
    peak_samples: int | None = None
    in_setup: bool = False
    restart: int = 0


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """The progress of one array task, from all its lines.

    Attributes:
        restart: its newest restart that has a line; None if it has no line.
        slots: its slices by their place in the task, from 0.
        older_slots: slices with lines only from an older start.
        setup_exit: the setup's exit code, if the setup failed or ended the script. Even 0 is then
            no success, because the command did not run.
        setup_ended_at: the time of that end, epoch seconds on the node's clock.
        setup_signal: the signal that the setup received from outside; empty if none.
        refused: the owner of the submission, if the task stopped because another job owns it.
    """

    restart: int | None = None
    slots: Mapping[int, SlotProgress] = field(default_factory=dict)
    older_slots: frozenset[int] = frozenset()
    setup_exit: int | None = None
    setup_ended_at: int | None = field(default=None, compare=False)
    setup_signal: str = ""
    refused: str | None = None


def parse_progress(data: bytes, job: str | None = None) -> TaskProgress:
    """Parse the output of a task. Any bytes are accepted.

    Incomplete or malformed lines, and lines of an older restart, are ignored.

    Args:
        data: the lines of ``tasks/<index>.log`` (``extract_progress_lines``).
        job: the array's job id. Lines of other jobs, which may have been refused, are ignored.
            None accepts the lines of all jobs.
    """
    refused = [_text(line["owner"]) for line in _lines(_REFUSED, data, job)]
    kinds = (_START, _TIMEOUT, _CANCEL, _MEMORY, _CHECK, _END, _SETUP)
    *of_slots, setups = (list(_lines(kind, data, job)) for kind in kinds)
    restarts = (int(line["restart"]) for line in chain(*of_slots, setups))
    restart = max(restarts, default=None)
    slots = _slots(_of_restart(restart, lines) for lines in of_slots)
    last_setup = _of_restart(restart, setups)[-1:]
    return TaskProgress(
        restart=restart,
        slots=slots,
        older_slots=frozenset(int(line["slot"]) for line in chain(*of_slots)) - slots.keys(),
        setup_exit=int(last_setup[0]["exit"]) if last_setup else None,
        setup_ended_at=int(last_setup[0]["at"]) if last_setup else None,
        setup_signal=_text(last_setup[0]["told"] or b"") if last_setup else "",
        refused=refused[-1] if refused else None,
    )


def setup_progress(wrote: TaskProgress) -> SlotProgress:
    """Return the progress of a task's only slice, if the setup failed or ended the script."""
    return SlotProgress(
        ended_at=wrote.setup_ended_at,
        exit_code=wrote.setup_exit or 1,  # the script exits 1 after a setup that exits 0
        signal_received=wrote.setup_signal,
        in_setup=True,
        restart=wrote.restart or 0,
    )


def extract_progress_lines(chunks: Iterable[bytes]) -> bytes:
    """Extract the lines that may be progress from an output that may exceed the memory.

    Lines inside the logs of slices are left out (``slurmslice.script.log_sections``), and so is a
    progress line longer than 4 KiB.

    Args:
        chunks: the bytes of ``tasks/<index>.log``, in pieces of any size.
    """
    kept, rest = list[bytes](), b""
    for chunk in chain(chunks, (None,)):  # None: the end
        text, position = rest + (chunk or b""), 0
        while line := _ANY.search(text, position):
            if chunk is not None and needed_end(line[0], line.end()) > len(text):
                position = line.start()
                break
            kept.append(line[0])
            position = skip_text(text, line[0], line.end())
        else:  # its first words need less than 32
            position = max(position, len(text) - _LONGEST_LINE - 32)
        rest = text[position:]
    return b"".join(kept)


def find_refused_jobs(data: bytes) -> dict[str, tuple[str, int]]:
    """Find the jobs that were refused in a task's output.

    Args:
        data: the lines of ``tasks/<index>.log`` (``extract_progress_lines``).

    Returns:
        by array job id: the content of the claim (the owner's job id), and the time of the
        refusal in epoch seconds.
    """
    lines = _lines(_REFUSED, data, None)
    return {_text(line["job"]): (_text(line["owner"]), int(line["at"])) for line in lines}


def remove_other_slices(data: bytes, slot: int) -> bytes:
    """Remove the progress lines about slices in other slots from a task's output."""
    return _OF_SLOT.sub(lambda line: line[0] if int(line["slot"]) == slot else b"", data)


def _lines(kind: re.Pattern[bytes], data: bytes, job: str | None) -> Iterator[_Line]:
    for match in kind.finditer(data):
        if job is None or _text(match["job"]) == job:
            yield match.groupdict()


def _of_restart(restart: int | None, lines: Iterable[_Line]) -> list[_Line]:
    return [line for line in lines if int(line["restart"]) == restart]


def _slots(lines: Iterable[Iterable[_Line]]) -> dict[int, SlotProgress]:
    """Return the progress by slot. If there are several lines of a kind, the last counts.

    Args:
        lines: the lines of each kind.
    """
    starts, timeouts, cancels, losses, checks, ends = lines
    slots: dict[int, SlotProgress] = {}

    def update(line: _Line, **known: Any) -> None:
        slot = int(line["slot"])
        own = slots.get(slot, SlotProgress(restart=int(line["restart"])))
        slots[slot] = replace(own, host=_text(line["host"]), **known)

    for line in starts:
        update(line, started_at=int(line["at"]))
    for line in timeouts:
        update(line, timed_out=True)
    for line in cancels:
        begun = slots.get(int(line["slot"]), SlotProgress()).started_at is not None
        update(line, cancelled=True, ended_at=None if begun else int(line["at"]))
    for line in losses:
        update(line, oom_candidates=int(line["of"]))
    for line in checks:
        file = describe_check_file(_text(line["file"] or b""))
        update(line, check_exit=int(line["exit"]), check_file=file)
    for line in ends:
        signal_received = _text(line["told"] or b"")
        update(
            line,
            ended_at=int(line["at"]),
            exit_code=int(line["exit"]),
            signal_received=signal_received,
            elapsed_s=_seconds(line["us"]),
            cpu_s=_seconds(line["cpu"]),
            peak_bytes=_number(line["mem"]),
            peak_samples=_number(line["samples"]),
        )
    return slots


def _seconds(microseconds: bytes | None) -> float | None:
    return None if microseconds is None else int(microseconds) / 1e6


def _number(digits: bytes | None) -> int | None:
    return None if digits is None else int(digits)


_FILE_FAULTS = {
    "missing": "is missing",
    "nofile": "is not a file",
    "empty": "is empty",
    "earlier": "is of an earlier attempt",
}


def describe_check_file(value: str) -> str:
    """Return the field ``file`` of a check line as text for a person; empty if it is unknown."""
    fault, _, path = value.partition(":")
    path = path.replace("%20", " ").replace("%25", "%")
    return f"{path} {_FILE_FAULTS[fault]}" if fault in _FILE_FAULTS else ""


def signal_number(exit_code: int | None) -> int | None:
    """Return the number of the signal that ended a command, from bash's exit code (128 + n).

    Source: bash(1), EXIT STATUS. The highest signal is 64 (signal(7)). A program that itself exits
    with 129 to 192 cannot be distinguished from a program that a signal ended.

    Returns:
        None if no signal ended it.
    """
    return exit_code - 128 if exit_code is not None and 128 < exit_code <= 192 else None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
