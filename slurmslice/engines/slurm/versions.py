"""Differences between Slurm's releases, from 20.11 to 26.05. Pure; the only list of them.

sbatch's options have a table of their own: ``slurmslice.sbatch.option_table``.

Each change was seen on real clusters of 20.11.4, 22.05.8, 24.11.5 and 26.05.5. A release between
these is taken from the release notes. Parsers recognise the form of an answer if they can, so
most answers are read without asking for the release.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from slurmslice.sbatch.option_table import Release


@dataclass(frozen=True, slots=True)
class ReleaseChange:
    """One change of Slurm's behaviour.

    Attributes:
        since: the first release with the new behaviour, or the first release it was seen in.
        now: the new behaviour.
        before: the behaviour of older releases.
    """

    since: Release
    now: str
    before: str

    def applies_to(self, release: Release) -> bool:
        """True if a release has the new behaviour."""
        return release >= self.since


FULL_EXIT_CODES = ReleaseChange(
    (25, 11),
    "sacct prints the exit codes 128 to 255 as they are",
    "sacct subtracts 128 from them: 143 is printed as 15:0, 200 as 72:0",
)
QUEUE_EXIT_PAIR = ReleaseChange(
    (24, 11),
    "squeue's exit_code is 3:0, exit code and signal",
    "squeue's exit_code is the status of wait(2): 768",
)
PLAIN_MEMORY = ReleaseChange(
    (21, 8),
    "sacct's ReqMem is the memory of a job: 4000M",
    "a letter says per node (n) or per CPU (c): 4000Mn",
)
REFUSED_WITHOUT_START = ReleaseChange(
    (24, 11),
    "sacct's record of a refused job has no start time",
    "the record starts and ends at its submission",
)
STEPS_END_WITH_TASK = ReleaseChange(
    (25, 5),
    "a job step still running at its task's end may end in the same second (seen on 26.05)",
    "the step ends a second or more later",
)
PREEMPTED_IN_GRACE = ReleaseChange(
    (24, 11),
    "a task that ends in its GraceTime is PREEMPTED or requeued, even after a normal end",
    "it is COMPLETED or FAILED by the exit code of its script, and is not requeued",
)
ESCAPED_BLANK = ReleaseChange(
    (24, 11),
    r"sbatch reads `a\ b` in a script's line as one word",
    "the blank ends the word, and sbatch refuses the line",
)


def parse_release(version: str) -> Release | None:
    """Parse a version such as ``22.05.8``; None if the text is no version."""
    match = re.match(r"(\d{2})\.(\d{2})(?!\d)", version, re.ASCII)
    return (int(match[1]), int(match[2])) if match else None


def may_be_truncated(exit_code: int | None, release: Release | None) -> bool:
    """True if sacct may have subtracted 128 from an exit code (``FULL_EXIT_CODES``).

    Only the task's own log can tell the true code then.

    Args:
        exit_code: the code printed by sacct.
        release: Slurm's release; None if unknown.
    """
    before = release is None or not FULL_EXIT_CODES.applies_to(release)
    return before and exit_code is not None and exit_code < 128
