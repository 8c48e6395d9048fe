"""The events that wake the steward of an unattended run: a list of dependencies, or a time. Pure.

Source: sbatch(1), ``--dependency``; ``?`` between terms means that any one suffices. docs/adr/0022.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from slurmslice.engines.stewards import LiveTask

MAX_TERMS = 100
"""Terms in a list; everyone who lists jobs sees them."""

HEARTBEAT_MIN = 30
"""Minutes after which the steward looks if nothing has woken it."""

BLIND_HEARTBEAT_MIN = 10
"""The same if the list cannot name each task, so that a failure does not wake the steward."""

SOON_MIN = 2
"""The same in the first rounds of a run, or if an end is not known yet: no event of the queue would
wake the steward for it."""

FIRST_ROUNDS = 6
"""Rounds that may follow each other quickly: most faults of a run show in its first minutes."""

LEAST_PAUSE_S = 120
"""Seconds until the next round if the queue has no task to wait for."""


@dataclass(frozen=True, slots=True)
class Wake:
    """The events that the steward waits for; pause and dependency must both hold.

    Attributes:
        pause_s: at least this time, seconds.
        dependency: any one of these events, in Slurm's words; empty for none.
        every_failure: the list names each task.
        look_min: minutes after which the steward looks at the latest, counted from now, or from the
            start of a slice if none has started; None if only the pause counts.
        none_started: no slice has started.
    """

    pause_s: int = 0
    dependency: str = ""
    every_failure: bool = False
    look_min: int | None = None
    none_started: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The words of ``scontrol update`` that set it."""
        pause = (f"StartTime=now+{self.pause_s}",) if self.pause_s else ()
        return (*pause, *((f"Dependency={self.dependency}",) if self.dependency else ()))

    @property
    def options(self) -> tuple[tuple[str, str], ...]:
        """The same as options of sbatch."""
        pause = (("begin", f"now+{self.pause_s}"),) if self.pause_s else ()
        return (*pause, *((("dependency", self.dependency),) if self.dependency else ()))

    def __str__(self) -> str:
        """Describe it for a person: "a slice fails, job 12 has ended, or …"."""
        if not self.dependency:
            return f"{_minutes(self.pause_s)} have passed"
        terms = self.dependency.split("?")
        arrays = [t.partition(":")[2] for t in terms if t.startswith("afterany:") and "_" not in t]
        what = ["a slice ends" if "afterany:" in terms[0] and "_" in terms[0] else "a slice fails"]
        shown = ", ".join(arrays[:3]) + (" …" if len(arrays) > 3 else "")
        ended = f"{'job' if len(arrays) == 1 else 'one of the jobs'} {shown} has ended"
        looks = f"{_minutes(60 * (self.look_min or 0))} have passed"
        looks += " since the start of a slice" if self.none_started else ""
        parts = [*(what if self.every_failure else ()), ended, looks]
        return f"{', '.join(parts[:-1])}, or {parts[-1]}"


NOTHING = Wake()
"""The steward waits for nothing."""


def _minutes(seconds: int) -> str:
    number = -(-seconds // 60)
    return "1 minute" if number == 1 else f"{number} minutes"


def make_wake(
    tasks: Sequence[LiveTask],
    *,
    now: float,
    pause_s: int = 0,
    any_end: bool = False,
    soon: bool = False,
    most_terms: int = MAX_TERMS,
    rounds: int = 0,
) -> Wake:
    """Return what the steward waits for.

    Args:
        tasks: the tasks of the run in the queue, as Slurm lists them at this moment. Ids that
            Slurm has forgotten may not be among them.
        now: epoch seconds, for the heartbeat.
        pause_s: the least pause, seconds (``steward_rounds.next_pause_s``).
        any_end: slices wait for room, or arrays for a share of the throttle. So each end counts,
            and not only a failure.
        soon: something is not known or not done yet, so look again although nothing ends.
        most_terms: the most terms of the list, from 3.
        rounds: the rounds of the run so far.
    """
    if not tasks or (soon and all(task.started_at is None for task in tasks)):
        return Wake(max(pause_s, LEAST_PAUSE_S))
    arrays = list(dict.fromkeys(task.job for task in tasks))[: most_terms - 1]
    names_all = len(tasks) + len(arrays) < most_terms
    beat = _heartbeat_min(names_all=names_all, soon=soon, rounds=rounds)
    kind = "afterany" if any_end else "afternotok"
    terms = [f"{kind}:{task.name}" for task in tasks if names_all]
    terms += [f"afterany:{job}" for job in (_last_arrays(tasks) if names_all else arrays)]
    beat = max(beat, pause_s // 60)
    newest = max(tasks, key=lambda task: task.started_at or 0.0)
    age_min = int(max(0.0, now - newest.started_at) // 60) if newest.started_at else 0
    terms.append(f"after:{newest.name}+{age_min + beat}")
    return Wake(pause_s, "?".join(terms), names_all, beat, newest.started_at is None)


def _heartbeat_min(*, names_all: bool, soon: bool, rounds: int) -> int:
    if soon or (not names_all and rounds < FIRST_ROUNDS):
        return SOON_MIN
    return HEARTBEAT_MIN if names_all else BLIND_HEARTBEAT_MIN


def wake_for_job(job: str, pause_s: int = 0) -> Wake:
    """Return what the steward waits for if only one job beside the slices is left."""
    beat = max(HEARTBEAT_MIN, pause_s // 60)
    return Wake(pause_s, f"afterany:{job}?after:{job}+{beat}", look_min=beat)


def _last_arrays(tasks: Sequence[LiveTask]) -> list[str]:
    """Return the array that probably ends last, to notice the end of the run.

    If each task is named, another array that ends well is no reason to look.
    """
    sizes = Counter(task.job for task in tasks)
    return [max(sorted(sizes, key=int), key=lambda job: sizes[job])]
