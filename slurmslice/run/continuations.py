"""Continuations in the history of a slice: further attempts from its checkpoint. Pure.

The journal has them among the causes that were repaired, as ``continue:CAUSE``.
"""

from __future__ import annotations

from collections.abc import Iterable

CONTINUE = "continue:"


def is_continuation(cause: str) -> bool:
    """Tell if a cause in the journal is that of a continuation."""
    return cause.startswith(CONTINUE)


def count_continuations(causes: Iterable[str]) -> int:
    """Count the continuations in a history."""
    return sum(map(is_continuation, causes))
