"""Named causes: what the end of a failed slice's log says about its failure. Pure.

A named cause is repaired only by a rule that names it. Most of them do not pass by trying again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from slurmslice.errors import BadInputError

LOG_TAIL_BYTES = 64 << 10
"""Only so much of the end of a log is searched."""

CAUSE_FORM = "NAME=PATTERN, as in --cause 'licence=no licence is free'"


@dataclass(frozen=True, slots=True)
class LogCause:
    """A named cause.

    Attributes:
        name: its name, as rules take it.
        texts: texts of the log, each of which shows the cause.
        pattern: a regular expression for such a text; None for none.
    """

    name: str
    texts: tuple[bytes, ...] = ()
    pattern: re.Pattern[bytes] | None = None

    def last_place(self, log: bytes) -> int:
        """Return the place of its last text in a log; -1 if there is none."""
        places = [log.rfind(text) for text in self.texts]
        if self.pattern:
            places += [match.start() for match in self.pattern.finditer(log)]
        return max(places, default=-1)


# Fixed texts: to search 64 KiB for them takes a hundredth of the time of regular expressions.
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
    """Parse a person's causes, ``NAME=PATTERN``. A later one replaces an earlier one of its name.

    Raises:
        BadInputError: a text has another form (``bad-cause``), or its pattern is no regular
            expression of Python or matches everything (``bad-pattern``).
    """
    return tuple({cause.name: cause for cause in map(_parse_cause, texts)}.values())


_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


def _parse_cause(text: str) -> LogCause:
    name, _, pattern = (part.strip() for part in text.partition("="))
    if not _NAME.fullmatch(name) or not pattern:
        raise BadInputError(
            f"{text!r} is not a cause.",
            f"Write {CAUSE_FORM}. A name has small letters, digits and -.",
            code="bad-cause",
            value=text,
        )
    try:
        compiled = re.compile(pattern.encode("utf-8", "surrogateescape"))
    except (re.error, OverflowError, RecursionError) as why:
        raise _bad_pattern(name, pattern, str(why)) from why
    if compiled.search(b""):
        raise _bad_pattern(name, pattern, "it matches an empty log")
    return LogCause(name, pattern=compiled)


def _bad_pattern(name: str, pattern: str, why: str) -> BadInputError:
    return BadInputError(
        f"The pattern of the cause {name} cannot be used: {why}.",
        "Write a text of the log; put \\ before ( ) [ ] { } . * + ? ^ $ | and \\.",
        code="bad-pattern",
        cause=name,
        value=pattern,
    )


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
