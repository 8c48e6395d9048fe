"""The budget of automatic attempts: CPU hours, and GPU hours apart from them. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slurmslice.errors import BadInputError
from slurmslice.sbatch.resource_request import ResourceRequest

BUDGET_FORM = "1x (as much as all first attempts may use) or 200h (CPU hours)"


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of attempts.

    Attributes:
        cpu_s: CPU seconds: CPUs × seconds.
        gpu_s: GPU seconds.
    """

    cpu_s: float = 0.0
    gpu_s: float = 0.0

    @classmethod
    def of(cls, request: ResourceRequest, seconds: float) -> Cost:
        """Return the cost of a request for so many seconds."""
        return cls(request.cpus * seconds, (request.gpus or 0) * seconds)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.cpu_s + other.cpu_s, self.gpu_s + other.gpu_s)

    def times(self, factor: float) -> Cost:
        """Return so many times the cost."""
        return Cost(self.cpu_s * factor, self.gpu_s * factor)

    def within(self, other: Cost) -> bool:
        """Tell if neither its CPU time nor its GPU time exceeds that of another cost."""
        return self.cpu_s <= other.cpu_s and self.gpu_s <= other.gpu_s

    def __str__(self) -> str:
        gpus = f" and {self.gpu_s / 3600:,.1f} GPU hours" if self.gpu_s else ""
        return f"{self.cpu_s / 3600:,.1f} CPU hours{gpus}"


NO_COST = Cost()
"""The cost of nothing."""

_BUDGET = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)(x|h)", re.ASCII)


def check_budget(text: str) -> str:
    """Return a budget as typed.

    Raises:
        BadInputError: it has neither form, or it is 0 (``bad-budget``).
    """
    match = _BUDGET.fullmatch(text)
    if match is None or not float(match[1]):
        zero = " It repairs nothing: use --max-attempts 1 for that." if match else ""
        raise BadInputError(
            f"{text!r} is not a budget.{zero}",
            f"Write {BUDGET_FORM}.",
            code="bad-budget",
            value=text,
        )
    return text


def budget_limit(text: str, first: Cost) -> Cost:
    """Return what automatic attempts may use.

    ``Nh`` limits the CPU hours, and as many GPU hours.

    Args:
        text: a checked budget.
        first: the most that the first attempts of all slices may use.
    """
    number = float(text[:-1])
    if text.endswith("x"):
        return first.times(number)
    return Cost(number * 3600, number * 3600)
