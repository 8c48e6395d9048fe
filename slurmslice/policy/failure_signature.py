"""The signature of a failure: what its cause and log have in common with others. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from slurmslice.policy.causes import CAUSES, SIGNAL, matching_words
from slurmslice.policy.error_lines import ErrorLine, find_error_line, first_line
from slurmslice.policy.log_causes import causes_in_force
from slurmslice.policy.signatures import SliceValues, line_signature

_BY_SLURM = frozenset({"oom", "timeout", "hang", "node", "preempted", "boot"})
_WITH_NAME = frozenset({"module-missing"})
"""Named causes whose line also names what is missing."""


@dataclass(frozen=True, slots=True)
class LogSignature:
    """The signature of a failure, and the line that it comes from.

    Attributes:
        signature: the signature.
        line: the line as it stands; empty if there is none.
    """

    signature: str
    line: str = ""


NO_SIGNATURE = LogSignature("")
"""The signature of a failure whose log says nothing."""


def needs_log(cause: str) -> bool:
    """Tell if the log tells more than the cause."""
    return cause not in _BY_SLURM


def cause_signature(cause: str) -> LogSignature:
    """Return the signature of a failure whose cause Slurm has told."""
    return LogSignature(CAUSES[cause].meaning)


def log_signature(
    tail: bytes,
    cause: str,
    values: SliceValues,
    own_causes: tuple[str, ...] = (),
    reason: bytes = b"",
) -> LogSignature | None:
    """Return the signature of a failure by its log; None if that has no text.

    Args:
        tail: the end of the log.
        cause: the cause of the failure.
        values: the texts that stand for the slice.
        own_causes: the person's causes.
        reason: what the program wrote to ``$SLURMSLICE_ERROR``.
    """
    named = cause if any(one.name == cause for one in causes_in_force(own_causes)) else ""
    found = first_line(reason) or find_error_line(tail, named, own_causes)
    if named and named not in _WITH_NAME:
        return LogSignature(named, found.text if found else "")
    if found and not found.is_error and _by_signal(cause):
        return LogSignature("", found.text)
    return _of_line(found, values) if found else None


def _by_signal(cause: str) -> bool:
    """Tell if a signal ended the program: then its last line is only what it did last."""
    return any(word.startswith(SIGNAL) for word in matching_words(cause))


def _of_line(found: ErrorLine, values: SliceValues) -> LogSignature:
    frame = f" ({found.frame})" if found.frame else ""
    return LogSignature(f"{line_signature(found.text, values)}{frame}", found.text)
