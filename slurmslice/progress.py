r"""What an array task writes of itself: the lines, and their parser.

The library of the script writes them (``templates/slurmslice.sh``, ``_progress``).

A task's standard output is ``submissions/NNN/tasks/<index>.log``. It holds one line for each
thing that happened, between what the setup prints and what slurmstepd says::

    slurmslice start job=419 restart=0 at=1795424103 host=n3 slot=0 format=1
    slurmslice end job=419 restart=0 at=1795424180 host=n3 slot=0 exit=0
    slurmslice end job=419 restart=0 at=1795424181 host=n3 slot=3 exit=0 told=TERM
    slurmslice timeout job=419 restart=0 at=1795424763 host=n3 slot=1
    slurmslice memory job=419 restart=0 at=1795424770 host=n3 slot=2 of=1
    slurmslice check job=419 restart=0 at=1795424790 host=n3 slot=2 exit=1
    slurmslice end job=419 restart=1 at=1795424901 host=n4 slot=0 exit=0 kept=1
    slurmslice setup job=419 restart=0 at=1795424103 host=n3 exit=1
    slurmslice refused job=420 restart=0 at=1795424103 host=n4 owner=419

``job`` is the array's job id, ``restart`` how often Slurm has started the task anew, ``at``
epoch seconds on the node's clock, ``slot`` the slice's place in its task, from 0. ``told``: it had
been told to end, from outside, by this signal; what it exits with then is no end of its own, 0
least of all (a command may save what it has, and exit well). ``timeout``: the slice had taken its
time and was told to end; its end follows. ``memory``: while it was one of so many slices of the
task that ran, the kernel ended a process for want of memory. ``check``: the command exited 0 and
its check did not; the end that follows has the check's exit code. ``kept=1``: the slice was done
by an earlier start of the task, and has no start line in this one. ``setup`` stands only where the
setup failed. Later fields may be added at the end of a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

_Line = Mapping[str, bytes]

_HEAD = rb"job=(?P<job>\S+) restart=(?P<restart>\d{1,9}) at=(?P<at>\d{1,12}) host=(?P<host>\S+)"
_SLOT = rb" slot=(?P<slot>\d{1,9})"
_EXIT = rb" exit=(?P<exit>\d{1,3})"
# Anywhere in a line: the setup may have printed one without its newline. Up to a newline: a
# line that was not written to its end says nothing.
_FORMAT = rb"(?! format=(?!1[ \n]))"  # lines of another format may mean something else
_START = re.compile(rb"slurmslice start " + _HEAD + _SLOT + _FORMAT + rb"(?: [^\n]*)?\n")
_TIMEOUT = re.compile(rb"slurmslice timeout " + _HEAD + _SLOT + rb"(?: [^\n]*)?\n")
_MEMORY = re.compile(rb"slurmslice memory " + _HEAD + _SLOT + rb" of=(?P<of>\d{1,9})(?: [^\n]*)?\n")
_CHECK = re.compile(rb"slurmslice check " + _HEAD + _SLOT + _EXIT + rb"(?: [^\n]*)?\n")
_TOLD = rb"(?: told=(?P<told>[A-Z]{1,9}))?"
_END = re.compile(rb"slurmslice end " + _HEAD + _SLOT + _EXIT + _TOLD + rb"(?: [^\n]*)?\n")
_SETUP = re.compile(rb"slurmslice setup " + _HEAD + _EXIT + _TOLD + rb"(?: [^\n]*)?\n")
_OF_SLOT = re.compile(rb"slurmslice \w+ " + _HEAD + _SLOT + rb"(?: [^\n]*)?\n")
_REFUSED = re.compile(rb"slurmslice refused " + _HEAD + rb" owner=(?P<owner>[^\n]*)\n")

_LONGEST = 4096
_ANY = re.compile(rb"slurmslice [a-z]{3,7} job=[^\n]{0,%d}\n" % _LONGEST)


@dataclass(frozen=True, slots=True)
class SlotProgress:
    """What a task wrote of one of its slices, in its newest restart; None: it did not.

    Attributes:
        started_at, ended_at: epoch seconds on the node's clock.
        host: the node's name for Slurm, or the machine's.
        exit_code: of the command, 0 to 255; 128 + n where signal n ended it.
        timed_out: it was told to end because it had taken its time.
        lost_among: the kernel ended a process of the task for want of memory while so many
            slices of it ran, this one among them; where it was 1, the process was this one's.
        told: the signal by which it had been told to end, from outside: ``TERM``, ``INT`` or
            ``HUP``; empty where it ended untold.
        in_setup: it is the setup that exited so, and the command was not run.
        restart: the start of the task in which it wrote this: 0 is the first.
        check_exit: the exit code of its check, where the command exited 0 and the check did
            not; ``exit_code`` is the same then.
    """

    started_at: int | None = None
    host: str | None = None
    ended_at: int | None = None
    exit_code: int | None = None
    timed_out: bool = False
    lost_among: int | None = None
    check_exit: int | None = None
    told: str = ""
    in_setup: bool = False
    restart: int = 0


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """What one array task wrote.

    Attributes:
        restart: its newest restart of which there is a line; None where there is none.
        slots: its slices by their place in the task, from 0.
        older: slices that an older start wrote of, and the newest did not.
        setup_exit: the setup's exit code where the setup failed, or ended the task (then 0 is
            no success either: the command did not run).
        setup_ended_at: when that was, epoch seconds on the node's clock.
        setup_told: the signal by which it had been told to end, from outside; empty for none.
        refused: who owned the submission, where the task stopped because that was another job.
    """

    restart: int | None = None
    slots: Mapping[int, SlotProgress] = field(default_factory=dict)
    older: frozenset[int] = frozenset()
    setup_exit: int | None = None
    setup_ended_at: int | None = field(default=None, compare=False)
    setup_told: str = ""
    refused: str | None = None


def parse(data: bytes, job: str | None = None) -> TaskProgress:
    """What a task's own output says; never fails, whatever the bytes are.

    Lines that are torn, forged in part, or of an older restart count for nothing.

    Args:
        data: the bytes of ``tasks/<index>.log``, ``sifted`` or not.
        job: the array's job id: lines of other jobs, which may have been refused, are not
            this task's. None takes the lines of all.
    """
    refused = [_text(line["owner"]) for line in _lines(_REFUSED, data, job)]
    kinds = (_START, _TIMEOUT, _MEMORY, _CHECK, _END, _SETUP)
    *of_slots, setups = (list(_lines(kind, data, job)) for kind in kinds)
    restarts = (int(line["restart"]) for line in chain(*of_slots, setups))
    restart = max(restarts, default=None)
    slots = _slots(*(_of(restart, lines) for lines in of_slots))
    of_setup = _of(restart, setups)[-1:]
    return TaskProgress(
        restart=restart,
        slots=slots,
        older=frozenset(int(line["slot"]) for line in chain(*of_slots)) - slots.keys(),
        setup_exit=int(of_setup[0]["exit"]) if of_setup else None,
        setup_ended_at=int(of_setup[0]["at"]) if of_setup else None,
        setup_told=_text(of_setup[0]["told"] or b"") if of_setup else "",
        refused=refused[-1] if refused else None,
    )


def of_setup(wrote: TaskProgress) -> SlotProgress:
    """How a task's only slice ended with the setup, which failed or ended the script."""
    return SlotProgress(
        ended_at=wrote.setup_ended_at,
        exit_code=wrote.setup_exit or 1,  # the script exits 1 after a setup that exits 0
        told=wrote.setup_told,
        in_setup=True,
        restart=wrote.restart or 0,
    )


def sifted(chunks: Iterable[bytes]) -> bytes:
    """The lines that may be progress, of an output that may be larger than the memory.

    ``parse`` and ``refusals`` find in them what they find in all of it; but of a line that is
    longer than 4 KiB from its word on.

    Args:
        chunks: the bytes of ``tasks/<index>.log``, piece by piece.
    """
    kept, rest = [], b""
    for chunk in chunks:
        text, end = rest + chunk, 0
        for line in _ANY.finditer(text):
            kept.append(line[0])
            end = line.end()
        rest = text[max(end, len(text) - _LONGEST - 32) :]  # 32: more than its first words take
    return b"".join(kept)


def refusals(data: bytes) -> dict[str, tuple[str, int]]:
    """The jobs that were refused in a task's output: whose the submission was, and when.

    Args:
        data: the bytes of ``tasks/<index>.log``, ``sifted`` or not.

    Returns:
        by array job id: what the claim said, the owner's job id, and epoch seconds.
    """
    lines = _lines(_REFUSED, data, None)
    return {_text(line["job"]): (_text(line["owner"]), int(line["at"])) for line in lines}


def without_others(data: bytes, slot: int) -> bytes:
    """A task's output without the lines about other slices than the one in this slot."""
    return _OF_SLOT.sub(lambda line: line[0] if int(line["slot"]) == slot else b"", data)


def _lines(kind: re.Pattern[bytes], data: bytes, job: str | None) -> Iterator[_Line]:
    for match in kind.finditer(data):
        if job is None or _text(match["job"]) == job:
            yield match.groupdict()


def _of(restart: int | None, lines: Iterable[_Line]) -> list[_Line]:
    return [line for line in lines if int(line["restart"]) == restart]


def _slots(
    starts: Iterable[_Line],
    timeouts: Iterable[_Line],
    losses: Iterable[_Line],
    checks: Iterable[_Line],
    ends: Iterable[_Line],
) -> dict[int, SlotProgress]:
    """By slot; of several lines of a kind the last counts."""
    slots: dict[int, SlotProgress] = {}

    def say(line: _Line, **known: Any) -> None:
        slot = int(line["slot"])
        own = slots.get(slot, SlotProgress(restart=int(line["restart"])))
        slots[slot] = replace(own, host=_text(line["host"]), **known)

    for line in starts:
        say(line, started_at=int(line["at"]))
    for line in timeouts:
        say(line, timed_out=True)
    for line in losses:
        say(line, lost_among=int(line["of"]))
    for line in checks:
        say(line, check_exit=int(line["exit"]))
    for line in ends:
        told = _text(line["told"] or b"")
        say(line, ended_at=int(line["at"]), exit_code=int(line["exit"]), told=told)
    return slots


def signal_of(exit_code: int | None) -> int | None:
    """The signal that ended a command, from bash's exit code (128 + n); None where none did.

    Source: bash(1), EXIT STATUS. Signals end at 64 (signal(7)), and a program's own exit of
    129 to 192 cannot be told apart from them.
    """
    return exit_code - 128 if exit_code is not None and 128 < exit_code <= 192 else None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
