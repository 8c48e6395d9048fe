"""What differs between releases of Slurm, from 20.11 to 26.05: the one table of it. Pure.

sbatch's options have a table of their own: ``slurmslice.directives.option_table``.

Each change was seen on real clusters of 20.11.4, 22.05.8, 24.11.5 and 26.05.5; where its release
is not one of these, it is from the release notes. Answers are read by their form wherever the
form tells the release, so that no answer needs a second question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

Release = tuple[int, int]
"""A release: year and month."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that another release does otherwise.

    Attributes:
        since: the first release that does it, or the first one in which it was seen.
        now: what it does.
        before: what older releases do.
    """

    since: Release
    now: str
    before: str

    def holds(self, release: Release) -> bool:
        """Whether a release does it."""
        return release >= self.since


EXIT_CODE_WHOLE = Change(
    (25, 11),
    "sacct shows the exit codes 128 to 255 as they are",
    "it takes 128 from them: 143 is 15:0, 200 is 72:0",
)
QUEUE_EXIT_PAIR = Change(
    (24, 11), "squeue's exit_code is 3:0, exit code and signal", "it is what wait(2) gave: 768"
)
MEMORY_PLAIN = Change(
    (21, 8), "sacct's ReqMem is a job's: 4000M", "with a letter, of a node (n) or a CPU (c): 4000Mn"
)
REFUSED_UNSTARTED = Change(
    (24, 11),
    "sacct's record of a job that was refused has no start",
    "it started and ended when it was submitted",
)
LEFTOVERS_AT_ONCE = Change(
    (25, 5),
    "a job step that goes on at its task's end may end in that very second (seen on 26.05)",
    "it ends a second or more later",
)
PREEMPTED_IN_GRACE = Change(
    (24, 11),
    "what ends in its GraceTime is PREEMPTED or put back, a script that came to its end as well",
    "it is COMPLETED or FAILED by its script's exit code, and is not put back",
)
ESCAPED_BLANK = Change(
    (24, 11),
    r"sbatch takes `a\ b` in a script's line for one word",
    "the blank ends the word, and sbatch refuses the line",
)


def release_of(version: str) -> Release | None:
    """The release of a version, ``22.05.8``; None where the text is none."""
    match = re.match(r"(\d{2})\.(\d{2})(?!\d)", version, re.ASCII)
    return (int(match[1]), int(match[2])) if match else None


def may_lack_128(exit_code: int | None, release: Release | None) -> bool:
    """Whether an exit code of sacct's may be 128 more than it says, by a release if it is known.

    Which of the two it is only the task itself can tell.
    """
    before = release is None or not EXIT_CODE_WHOLE.holds(release)
    return before and exit_code is not None and exit_code < 128
