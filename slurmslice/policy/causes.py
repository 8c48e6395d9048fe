"""The causes of failed attempts, in the words that rules take. Pure.

A cause is text: a word of ``CAUSES``, a named cause (``EXIT_CAUSES``, ``log_causes``), ``exit:N``,
or ``signal:NAME``. ``docs/adr/0021`` gives the reasons for their order.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from slurmslice.run.continuations import is_continuation
from slurmslice.script.progress_lines import signal_number
from slurmslice.status.exit_reason import is_setup_reason
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import State


@dataclass(frozen=True, slots=True)
class CauseKind:
    """One kind of cause.

    Attributes:
        word: the word for it.
        meaning: its meaning, for a person.
        state: the state that has this cause; None if the state alone does not tell.
        counts: an attempt that ended so uses up one of ``--max-attempts``.
    """

    word: str
    meaning: str
    state: State | None = None
    counts: bool = True


CAUSES = {
    kind.word: kind
    for kind in (
        CauseKind("oom", "exceeded its memory", State.OUT_OF_MEMORY),
        CauseKind("timeout", "exceeded its time limit", State.TIMEOUT),
        CauseKind("hang", "used almost no CPU time until its time limit"),
        CauseKind("node", "its node failed", State.NODE_FAIL, counts=False),
        CauseKind("preempted", "gave way to another job", State.PREEMPTED, counts=False),
        CauseKind("boot", "its node did not start", State.BOOT_FAIL, counts=False),
        CauseKind("bad-node", "failed on a node that is excluded now", counts=False),
        CauseKind("setup", "its setup failed"),
        CauseKind("check", "its result check or a job step failed"),
        CauseKind("failed", "any other failure"),
    )
}
"""The causes with a word of their own, in the order in which they count."""

_BY_STATE = {kind.state: kind.word for kind in CAUSES.values() if kind.state}
EXIT, SIGNAL = "exit:", "signal:"
EXIT_CAUSES = {
    f"{EXIT}126": "not-executable",
    f"{EXIT}127": "not-found",
    f"{EXIT}132": "illegal-instruction",
    f"{SIGNAL}ILL": "illegal-instruction",
}
"""The exits with a name of their own, which a rule may name by either word. Source of 126 and 127:
bash(1), EXIT STATUS."""

HANG_CPU_S, HANG_ELAPSED_S = 10.0, 300.0
"""A slice hung if it used less CPU time than this until a time limit of at least so long."""

SIGNAL_NAMES = frozenset(member.name.removeprefix("SIG") for member in signal.Signals)
"""The names after ``signal:``."""


def cause_of(status: SliceStatus) -> str:
    """Return the cause of a failed attempt; empty if it has not failed."""
    if not status.state.failed:
        return ""
    if word := _BY_STATE.get(status.state):
        return "hang" if word == "timeout" and _hung(status) else word
    if status.log_cause:
        return status.log_cause
    if is_setup_reason(status.reason):
        return "setup"
    if status.state is State.FAILED:
        ended = _end_word(status)
        return EXIT_CAUSES.get(ended, ended)
    return "failed" if status.state is not State.CHECK_FAILED else "check"


def _hung(status: SliceStatus) -> bool:
    if status.cpu_s is None or status.elapsed_s is None:
        return False
    return status.cpu_s < HANG_CPU_S and status.elapsed_s >= HANG_ELAPSED_S


def _end_word(status: SliceStatus) -> str:
    """Return the word for the exit code or the signal of a slice that FAILED."""
    if status.signal:
        return f"{SIGNAL}{signal_name(status.signal)}"
    return f"{EXIT}{status.exit_code:d}" if status.exit_code else "failed"


def matching_words(cause: str) -> tuple[str, ...]:
    """Return the words by which a rule may name a cause, the most exact first.

    An exit code above 128 is that of a signal in bash: ``exit:139``, ``signal:SEGV``, ``failed``.
    A named cause is not a case of ``failed``: only a rule that names it repairs it.
    """
    if exits := tuple(word for word, name in EXIT_CAUSES.items() if name == cause):
        return cause, *exits
    if cause.startswith(SIGNAL):
        return cause, "failed"
    if not cause.startswith(EXIT):
        return (cause,)
    number = signal_number(int(cause.removeprefix(EXIT)))
    return cause, *([f"{SIGNAL}{signal_name(number)}"] if number else []), "failed"


def counts(cause: str) -> bool:
    """Tell if an attempt with this cause uses up one of ``--max-attempts``."""
    kind = CAUSES.get(cause)
    return not is_continuation(cause) and (kind is None or kind.counts)


def signal_name(number: int) -> str:
    """Return the name of a signal without SIG; its number if it has none."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:  # a real-time signal
        return str(number)
