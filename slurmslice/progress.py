r"""What an array task writes of itself: the lines, the bash that writes them, and their parser.

A task's standard output is ``submissions/NNN/tasks/<index>.log``. It holds one line for each
thing that happened, between what the setup prints and what slurmstepd says::

    slurmslice start job=419 restart=0 at=1795424103 host=n3 slot=0
    slurmslice end job=419 restart=0 at=1795424180 host=n3 slot=0 exit=0
    slurmslice setup job=419 restart=0 at=1795424103 host=n3 exit=1
    slurmslice refused job=420 restart=0 at=1795424103 host=n4 owner=419

``job`` is the array's job id, ``restart`` how often Slurm has started the task anew, ``at``
epoch seconds on the node's clock, ``slot`` the slice's place in its task, from 0. ``setup``
stands only where the setup failed. Later fields may be added at the end of a line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

_HEAD = rb"job=(?P<job>\S+) restart=(?P<restart>\d{1,9}) at=(?P<at>\d{1,12}) host=(?P<host>\S+)"
_SLOT = rb" slot=(?P<slot>\d{1,9})"
_EXIT = rb" exit=(?P<exit>\d{1,3})"
# Anywhere in a line: the setup may have printed one without its newline. Up to a newline: a
# line that was not written to its end says nothing.
_START = re.compile(rb"slurmslice start " + _HEAD + _SLOT + rb"(?: [^\n]*)?\n")
_END = re.compile(rb"slurmslice end " + _HEAD + _SLOT + _EXIT + rb"(?: [^\n]*)?\n")
_SETUP = re.compile(rb"slurmslice setup " + _HEAD + _EXIT + rb"(?: [^\n]*)?\n")
_REFUSED = re.compile(rb"slurmslice refused " + _HEAD + rb" owner=(?P<owner>[^\n]*)\n")

BASH = r"""_progress() {
  printf 'slurmslice %s job=%s restart=%s at=%(%s)T host=%s %s\n' "$1" "$SLURM_ARRAY_JOB_ID" \
    "${SLURM_RESTART_COUNT:-0}" -1 "${SLURMD_NODENAME:-$HOSTNAME}" "$2"
}"""
"""The function that writes a line: its kind, then the fields which are its own.

Bash's own printf, so that a line costs no process and is one write (bash(1), ``%(…)T``).
"""


@dataclass(frozen=True, slots=True)
class SlotProgress:
    """What a task wrote of one of its slices, in its newest restart; None: it did not.

    Attributes:
        started_at, ended_at: epoch seconds on the node's clock.
        host: the node's name for Slurm, or the machine's.
        exit_code: of the command, 0 to 255; 128 + n where signal n ended it.
    """

    started_at: int | None = None
    host: str | None = None
    ended_at: int | None = None
    exit_code: int | None = None


@dataclass(frozen=True, slots=True)
class TaskProgress:
    """What one array task wrote.

    Attributes:
        restart: its newest restart of which there is a line; None where there is none.
        slots: its slices by their place in the task, from 0.
        setup_exit: the setup's exit code where the setup failed, or ended the task (then 0 is
            no success either: the command did not run).
        refused: who owned the submission, where the task stopped because that was another job.
    """

    restart: int | None = None
    slots: Mapping[int, SlotProgress] = field(default_factory=dict)
    setup_exit: int | None = None
    refused: str | None = None


def parse(data: bytes, job: str | None = None) -> TaskProgress:
    """What a task's own output says; never fails, whatever the bytes are.

    Lines that are torn, forged in part, or of an older restart count for nothing.

    Args:
        data: the bytes of ``tasks/<index>.log``.
        job: the array's job id: lines of other jobs, which may have been refused, are not
            this task's. None takes the lines of all.
    """
    refused = [_text(line["owner"]) for line in _lines(_REFUSED, data, job)]
    starts, ends, setups = (list(_lines(kind, data, job)) for kind in (_START, _END, _SETUP))
    restart = max((int(line["restart"]) for line in (*starts, *ends, *setups)), default=None)
    exits = [int(line["exit"]) for line in setups if int(line["restart"]) == restart]
    return TaskProgress(
        restart=restart,
        slots=_slots(line for line in (*starts, *ends) if int(line["restart"]) == restart),
        setup_exit=exits[-1] if exits else None,
        refused=refused[-1] if refused else None,
    )


def _lines(kind: re.Pattern[bytes], data: bytes, job: str | None) -> Iterator[dict[str, bytes]]:
    for match in kind.finditer(data):
        if job is None or _text(match["job"]) == job:
            yield match.groupdict()


def _slots(lines: Iterable[Mapping[str, bytes]]) -> dict[int, SlotProgress]:
    """By slot; ``lines`` has all starts before the ends, and the last of each counts."""
    slots: dict[int, SlotProgress] = {}
    for line in lines:
        slot, at, host = int(line["slot"]), int(line["at"]), _text(line["host"])
        if "exit" in line:
            started_at = slots.get(slot, SlotProgress()).started_at
            slots[slot] = SlotProgress(started_at, host, at, int(line["exit"]))
        else:
            slots[slot] = SlotProgress(at, host)
    return slots


def signal_of(exit_code: int | None) -> int | None:
    """The signal that ended a command, from bash's exit code (128 + n); None where none did.

    Source: bash(1), EXIT STATUS. Signals end at 64 (signal(7)), and a program's own exit of
    129 to 192 cannot be told apart from them.
    """
    return exit_code - 128 if exit_code is not None and 128 < exit_code <= 192 else None


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
