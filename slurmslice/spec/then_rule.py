"""The step after a run (``--then``): its command, its condition, and its request. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slurmslice.errors import BadInputError
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest

DONE, ENDED = "done", "ended"
_SHARE = re.compile(r"(\d{1,3})(?:\.(\d{1,6}))?%", re.ASCII)


@dataclass(frozen=True, slots=True)
class ThenRule:
    """The step after a run.

    Attributes:
        command: shell text; checked.
        condition: ``done``, ``ended``, or the least share of slices that are done (``95%``);
            checked.
        request: the sbatch options of its job.
    """

    command: str
    condition: str = DONE
    request: ResourceRequest = NO_REQUEST

    def is_met(self, done: int, accepted: int, slices: int) -> bool:
        """Tell if the step may run, after all slices have ended.

        Args:
            done: the number of slices that are done.
            accepted: the number of others whose failure is accepted.
            slices: the number of all.
        """
        if self.condition == ENDED:
            return True
        share = _SHARE.fullmatch(self.condition)
        if share is None:
            return done + accepted == slices
        part = share[2] or ""
        return done * 100 * int("1" + "0" * len(part)) >= slices * int(share[1] + part)

    @property
    def when(self) -> str:
        """The condition in words for a person."""
        if self.condition == DONE:
            return "every slice is done"
        if self.condition == ENDED:
            return "every slice has ended"
        return f"every slice has ended and {self.condition} are done"


def check_condition(text: str) -> str:
    """Check the value of ``--then-if``, and return it.

    Raises:
        BadInputError: it is none of ``done``, ``P%`` and ``ended``.
    """
    share = _SHARE.fullmatch(text)
    if text in {DONE, ENDED} or (share and 0 < float(text.removesuffix("%")) <= 100):
        return text
    raise BadInputError(
        f"{text!r} is no condition of the step after a run.",
        "Write --then-if done, --then-if ended, or a share above 0 and up to 100: --then-if 95%.",
        code="bad-then-condition",
        value=text,
    )
