"""The stewards of a run, as its files have them: the events, the newest steward, the rounds. Pure.

docs/adr/0022 describes the steward. Each sbatch call has a token of its own, as a submission has.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace

from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest


@dataclass(frozen=True, slots=True)
class StewardIntent:
    """A steward is about to be submitted. This event is written before sbatch is called.

    Attributes:
        token, job_name: they identify its job; the name ends in the token and ``-steward``.
        at: epoch seconds.
        options: the options of the person for its job (``--steward-sbatch``).
        way: a job that puts itself back (``BY_JOB``), or one of ``TABLES``, whose line has no job.
    """

    token: str
    job_name: str
    at: float
    options: ResourceRequest = NO_REQUEST
    way: str = "steward"


BY_JOB = "steward"
"""The way of a run that a job follows."""

TABLES = {"scrontab": "scrontab", "cron": "crontab"}
"""The other ways: a line in a table of the user. For each the program of the table."""


@dataclass(frozen=True, slots=True)
class StewardSubmitted:
    """The steward has a job: ``sbatch`` answered, or it was ``found``, or it has ``claimed``.

    A line has the place of its table instead of a job: ``scrontab``, or ``cron@MACHINE``.
    """

    token: str
    job: str
    how: str
    at: float


@dataclass(frozen=True, slots=True)
class StewardEnded:
    """The steward does nothing more, for this reason."""

    token: str
    reason: str
    at: float


StewardEvent = StewardIntent | StewardSubmitted | StewardEnded


@dataclass(frozen=True, slots=True)
class Steward:
    """The newest steward of a run.

    Attributes:
        intent: its announcement.
        job: its job id; empty if it is not known if Slurm accepted it.
        ended: the reason of its end; empty if the journal has none. Slurm may have ended it.
    """

    intent: StewardIntent
    job: str = ""
    ended: str = ""

    @property
    def token(self) -> str:
        """Its token."""
        return self.intent.token

    @property
    def is_line(self) -> bool:
        """True if it is a line of a table, and no job."""
        return self.intent.way in TABLES

    @property
    def name_end(self) -> str:
        """The end of its job's name, by which the job is found."""
        return f"{self.token}{NAME_END}"


NAME_END = "-steward"
"""The end of the name of each steward's job."""


def steward_after(steward: Steward | None, event: StewardEvent) -> Steward | None:
    """Return the newest steward after an event. An event about an older one changes nothing."""
    if isinstance(event, StewardIntent):
        return Steward(event)
    if steward is None or steward.token != event.token:
        return steward
    if isinstance(event, StewardSubmitted):
        return replace(steward, job=event.job)
    return replace(steward, ended=event.reason)


@dataclass(frozen=True, slots=True)
class Round:
    """One round of a steward.

    Attributes:
        at: its end, epoch seconds.
        job: the steward's job id.
        changed: it submitted something, or changed the run in another way.
        waits_for: what the steward waits for after it, for a person; empty if it ended.
        trouble: what went wrong, for a person; empty if nothing did.
        not_before: the earliest time of the next round, epoch seconds; 0 if there is none.
    """

    at: float
    job: str
    changed: bool
    waits_for: str = ""
    trouble: str = ""
    not_before: float = 0.0

    def to_line(self) -> bytes:
        """Return its line in ``rounds.jsonl``."""
        return json.dumps(asdict(self)).encode("ascii") + b"\n"


def parse_rounds(lines: Iterable[bytes]) -> list[Round]:
    """Read the lines of ``rounds.jsonl``; a damaged line is left out: only pauses depend on it."""
    found = []
    for line in lines:
        try:
            found.append(Round(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return found


@dataclass(frozen=True, slots=True)
class Trouble:
    """A round of a job in which Python did not start, or was ended: bash has recorded it.

    Attributes:
        why: the reason, for a person.
        not_before: the earliest time of the next round, epoch seconds.
    """

    why: str
    not_before: float


def parse_trouble(lines: Sequence[bytes]) -> Trouble | None:
    """Read the newest line of ``trouble``; None if it is damaged."""
    at, _, why = lines[-1].partition(b" ") if lines else (b"", b"", b"")
    return Trouble(why.decode("utf-8", "replace"), float(at)) if at.isdigit() else None
