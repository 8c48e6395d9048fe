"""Named causes: what the end of a failed slice's log says about its failure. Pure.

A named cause is repaired only by a rule that names it. Most of them do not pass by trying again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from slurmslice.errors import BadInputError
from slurmslice.policy.causes import CAUSES, EXIT_CAUSES

LOG_TAIL_BYTES = 64 << 10
"""Only so much of the end of a log is searched."""

CAUSE_FORM = "NAME=TEXT, as in --cause 'licence=no licence is free'"


@dataclass(frozen=True, slots=True)
class LogCause:
    """A named cause.

    Attributes:
        name: its name, as rules take it.
        texts: texts of the log, each of which shows the cause.
        parts: parts of a line that also shows it, in order; empty for none.
    """

    name: str
    texts: tuple[bytes, ...] = ()
    parts: tuple[bytes, ...] = ()

    def last_place(self, log: bytes) -> int:
        """Return the place of its last text in a log; -1 if there is none."""
        places = [log.rfind(text) for text in self.texts]
        return max([*places, self._last_line(log)])

    def _last_line(self, log: bytes) -> int:
        """Return the place of the last line with all parts in order; -1 if there is none."""
        found, place = -1, 0
        for line in re.split(rb"(?<=[\r\n])", log) if self.parts else ():
            if self._is_in(line):
                found = place
            place += len(line)
        return found

    def _is_in(self, line: bytes) -> bool:
        end = 0
        for part in self.parts:
            at = line.find(part, end)
            if at < 0:
                return False
            end = at + len(part)
        return True


# Fixed texts: to search 64 KiB for them takes a hundredth of the time of regular expressions, and
# no text makes the search endless.
KNOWN_CAUSES = (
    LogCause(
        "cuda-oom",
        (
            b"CUDA out of memory",
            b"CUDA_ERROR_OUT_OF_MEMORY",
            b"cudaErrorMemoryAllocation",
            b"CUDA error: out of memory",
            b"HIP out of memory",
            b"RESOURCE_EXHAUSTED: Out of memory",
        ),
    ),
    LogCause(
        "memory-error",
        (
            b"MemoryError",  # Python, NumPy; the JVM's OutOfMemoryError
            b"std::bad_alloc",
            b"Cannot allocate memory",
            b"cannot allocate vector of size",
        ),
    ),
    LogCause("quota", (b"Disk quota exceeded", b"disk quota exceeded", b"EDQUOT")),
    LogCause("no-space", (b"No space left on device", b"ENOSPC")),
    LogCause("stale-handle", (b"Stale file handle", b"Stale NFS file handle", b"ESTALE")),
    LogCause(
        "module-missing",
        (
            b"ModuleNotFoundError",
            b"ImportError: No module named",
            b"there is no package called",
            b"The following module(s) are unknown",
            b"Unable to locate a modulefile",
        ),
    ),
)
"""The causes that slurmslice knows. The texts are those of errno(3), Python, R, the JVM, CUDA and
module systems, in English."""


def parse_causes(texts: Iterable[str]) -> tuple[LogCause, ...]:
    """Parse a person's causes, ``NAME=TEXT``. A later one replaces an earlier one of its name.

    ``*`` in a text stands for any characters in a line.

    Raises:
        BadInputError: a text has another form, or a name has a meaning already (``bad-cause``).
    """
    return tuple({cause.name: cause for cause in map(_parse_cause, texts)}.values())


_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_TAKEN = frozenset({*CAUSES, *EXIT_CAUSES.values(), "exit", "signal", "bad-node"})
"""Words with a meaning of their own, which no log may give to a slice."""


def _parse_cause(text: str) -> LogCause:
    name, _, match = (part.strip() for part in text.partition("="))
    parts = tuple(part.encode("utf-8", "surrogateescape") for part in match.split("*") if part)
    if not _NAME.fullmatch(name) or not parts or name in _TAKEN:
        taken = f"{name} has a meaning already. " if name in _TAKEN else ""
        raise BadInputError(
            f"{text!r} is not a cause.",
            f"{taken}Write {CAUSE_FORM}. A name has small letters, digits and -; * stands for any "
            "characters in a line.",
            code="bad-cause",
            value=text,
        )
    return LogCause(name, parts=parts)


@lru_cache(maxsize=8)
def causes_in_force(texts: tuple[str, ...]) -> tuple[LogCause, ...]:
    """Return a person's causes, and the known ones that they do not replace."""
    own = parse_causes(texts)
    names = {cause.name for cause in own}
    return (*own, *(cause for cause in KNOWN_CAUSES if cause.name not in names))


def find_cause(tail: bytes, texts: tuple[str, ...] = ()) -> str:
    """Return the named cause of a failure; empty if the log does not name one.

    A person's own cause comes first. Of several known ones, the last in the log counts, because
    the error that ends a program is usually its last one.

    Args:
        tail: the end of the log.
        texts: the person's causes.
    """
    own = {cause.name for cause in parse_causes(texts)}
    found = [
        (cause.name in own, place, cause.name)
        for cause in causes_in_force(texts)
        if (place := cause.last_place(tail)) >= 0
    ]
    return max(found)[2] if found else ""
