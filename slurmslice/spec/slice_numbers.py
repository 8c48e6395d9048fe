"""The numbers of slices from a range, which the command sees as SLURM_ARRAY_TASK_ID."""

from __future__ import annotations

from dataclasses import dataclass

from slurmslice.sbatch.array_expression import ArrayExpression


@dataclass(frozen=True, slots=True)
class SliceNumbers:
    """The numbers of all slices of a run. The number of a slice is its key.

    Attributes:
        lowest, highest: the lowest and the highest number.
        step: the first step above 1 in the range; else 1. Slurm does the same (seen on 22.05).
        one_range: the numbers are one range, so row R has the number ``lowest + R * step``.
    """

    lowest: int
    highest: int
    step: int
    one_range: bool

    @classmethod
    def of(cls, expression: ArrayExpression) -> SliceNumbers:
        """Return the numbers that an array expression names."""
        parts = expression.parts
        return cls(
            lowest=min(part[0] for part in parts),
            highest=expression.highest,
            step=next((part.step for part in parts if part.step > 1), 1),
            one_range=len(parts) == 1,
        )

    def __str__(self) -> str:
        """Return the form of the script: ``0-98``, ``0-98:7``."""
        return f"{self.lowest}-{self.highest}" + (f":{self.step}" if self.step > 1 else "")
