"""The journal: decisions of a run, one JSON object a line, and their replay.

Appended and flushed to disk before what they announce is done. A torn last line (the process
was killed while it wrote) is no decision yet: it is left out, and cut off by the next writer.
The replay is a pure fold: events in, ledger out; it never fails on a prefix of a journal.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slurmslice.errors import DamagedRun
from slurmslice.files import whole_length
from slurmslice.resources import ResourceRequest


@dataclass(frozen=True, slots=True)
class Intent:
    """A submission is about to be made. Written before sbatch is called (promise 4).

    Attributes:
        number: the submission's number, from 1.
        token, job_name: what it can be found by.
        array: indices and throttle, in sbatch's syntax.
        rows: the rows of the slice table that the indices carry, pairwise, same syntax.
        overrides: sbatch options given beside the script, ``array`` and names included.
        changes: those of them that change the request, which later attempts keep.
        script_sha256, table_sha256: digests of the script and of the task table (empty: none).
        at: epoch seconds.
        pack: slices that an array task carries; the last task may carry fewer.
    """

    number: int
    token: str
    job_name: str
    array: str
    rows: str
    overrides: ResourceRequest
    changes: ResourceRequest
    script_sha256: str
    table_sha256: str
    at: float
    pack: int = 1


@dataclass(frozen=True, slots=True)
class Queued:
    """The person wants these rows submitted, with this request; they go in as there is room."""

    rows: str
    changes: ResourceRequest
    at: float


@dataclass(frozen=True, slots=True)
class Dropped:
    """These rows leave the queue: they are where they were before."""

    rows: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Submitted:
    """The submission was taken. ``how``: sbatch, found (by its token) or attached.

    ``job_name``: the job's, where it is not the intent's.
    """

    number: int
    job: str
    cluster: str | None
    how: str
    at: float
    job_name: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The engine refused the submission: its slices are where they were before.

    ``passing``: only for now; what is queued stays queued. A refusal for good empties the queue:
    the same would be refused again. ``too_many``: fewer tasks may be let in.
    """

    number: int
    message: str
    at: float
    passing: bool = False
    too_many: bool = False


@dataclass(frozen=True, slots=True)
class Barred:
    """Neither queue nor accounting knew the token, and the claim was taken from the job.

    A job that still appears stops before its command; its slices are where they were before.
    """

    number: int
    at: float


@dataclass(frozen=True, slots=True)
class Dismissed:
    """A barred submission's job did appear; it found the bar, and was cancelled."""

    number: int
    job: str
    at: float


@dataclass(frozen=True, slots=True)
class Returned:
    """Slices that were given back without having used up an attempt.

    A local runner ended, or a pack before their turn. ``queued``: they are still wanted, with
    the same request.
    """

    number: int
    rows: str
    reason: str
    at: float
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Restarted:
    """Slurm has started the task of rows that had been given back: they belong to it again."""

    number: int
    rows: str
    at: float


@dataclass(frozen=True, slots=True)
class Widened:
    """The job of a submission carries more than was meant: these indices, and their rows."""

    number: int
    array: str
    rows: str
    at: float


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The person cancelled these rows of a submission, or WAITING ones (number 0).

    ``anew``: they were held, and go in again once the engine has let them go.
    """

    number: int
    rows: str
    at: float
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Throttled:
    """The person changed how many slices may run at once; None is no limit."""

    limit: int | None
    at: float


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """The person changed the policy of the run. None leaves a part of it as it was.

    Attributes:
        max_attempts: the number of attempts that each slice gets.
        at: epoch seconds.
        max_failures: as ``RunSpec`` has it.
    """

    max_attempts: int | None
    at: float
    max_failures: int | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """So many tasks of a submission's array may run at once; 0 is no more, None is no limit.

    Written before an array is told a larger share, and after it was told a smaller one.
    """

    number: int
    share: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Held:
    """The circuit breaker holds all slices that have not started, because too many failed."""

    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Released:
    """The person released the slices that were held. The circuit breaker may hold them again."""

    at: float


_EVENTS = (
    *(Intent, Queued, Dropped, Submitted, Refused, Barred, Dismissed, Returned),
    *(Restarted, Widened, Cancelled, Throttled, PolicyChanged, Shared, Held, Released),
)
Event = (
    Intent | Queued | Dropped | Submitted | Refused | Barred | Dismissed | Returned
    | Restarted | Widened | Cancelled | Throttled | PolicyChanged | Shared | Held | Released
)  # fmt: skip
_KINDS: dict[str, type[Any]] = {kind.__name__.lower(): kind for kind in _EVENTS}


def to_line(event: Event) -> bytes:
    """One line of the journal, LF included."""
    values = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    record = {"event": type(event).__name__.lower(), **values}
    return json.dumps(record, default=ResourceRequest.to_json).encode("ascii") + b"\n"


def from_lines(data: bytes, first: int = 1) -> Iterator[Event]:
    """The events of a journal, or of its lines from a number on.

    Raises:
        DamagedRun: a line that is not the torn last one cannot be read.
    """
    for number, line in enumerate(whole_lines(data), start=first):
        try:
            yield _event(line)
        except (ValueError, TypeError, KeyError, AttributeError) as why:
            raise DamagedRun(
                f"Line {number} of journal.jsonl is damaged ({type(why).__name__}: {why}).",
                "Mend that line in an editor, or restore the file; nothing was changed.",
                path="journal.jsonl",
                line=number,
            ) from why


def whole_lines(data: bytes) -> list[bytes]:
    """The lines of a journal without the torn last one."""
    return data[: whole_length(data)].splitlines()


def _event(line: bytes) -> Event:
    record = json.loads(line)
    kind = _KINDS[record.pop("event")]
    for field in ("overrides", "changes"):
        if field in record:
            record[field] = ResourceRequest.from_json(record[field])
    return kind(**record)  # type: ignore[no-any-return]
