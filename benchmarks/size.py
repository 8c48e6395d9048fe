"""Sizes of the benchmarks: full for valid figures, small to see that each one works."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from benchmarks.measure import WORK


class Size(StrEnum):
    """The size that a benchmark runs at. Only the full size is compared with a bar."""

    FULL = "full"
    SMALL = "small"

    def pick(self, full: int, small: int) -> int:
        """Return one of two numbers, by size."""
        return full if self is Size.FULL else small

    @property
    def folder(self) -> Path:
        """The folder for all files of the benchmarks. A small run starts without it."""
        return WORK if self is Size.FULL else WORK / "small"
