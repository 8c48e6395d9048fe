"""The journal of a run: its decisions as events, one JSON object per line.

Each event is appended and flushed to disk before its action is carried out. An incomplete last
line, left by a killed writer, does not count: readers ignore it, and the next writer removes it.
``slurmslice.run.journal_state`` computes a run's state from the events. Every prefix of a journal
is valid.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from slurmslice.errors import DamagedRunError
from slurmslice.run.acceptances import AcceptanceUndone, AcceptEvent, FailureAccepted
from slurmslice.run.queue_changes import QueueChanged
from slurmslice.run.raised_requests import RequestRaised
from slurmslice.run.slice_changes import RunClosed, SlicesChanged
from slurmslice.run.steward_record import (
    StewardEnded,
    StewardEvent,
    StewardIntent,
    StewardSubmitted,
)
from slurmslice.run.then_record import (
    ThenCalledOff,
    ThenEnded,
    ThenEvent,
    ThenIntent,
    ThenSubmitted,
)
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.spec.code_record import NO_CODE, CodeRecord
from slurmslice.spec.recorded_environment import RecordedEnvironment
from slurmslice.spec.run_spec import FailureLimit
from slurmslice.system.files import whole_lines_length


@dataclass(frozen=True, slots=True)
class Intent:
    """A submission is about to be made. This event is written before sbatch is called (promise 4).

    Attributes:
        number: the submission's number, from 1.
        token, job_name: they identify its job in Slurm.
        array: array indices and throttle, in sbatch's syntax.
        rows: rows of the slice table in the order of the indices, in the same syntax.
        overrides: all sbatch options on sbatch's command line, also ``array`` and names.
        changes: the overrides that change the request; later attempts keep them.
        script_sha256, table_sha256: digests of the script and of the task table (empty: none).
        at: epoch seconds.
        pack: slices per array task; the last task may have fewer.
        options: every sbatch option in force, long names.
        arguments: the arguments of the script.
        code: the code at this time.
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
    options: ResourceRequest = NO_REQUEST
    arguments: tuple[str, ...] = ()
    code: CodeRecord = NO_CODE


@dataclass(frozen=True, slots=True)
class Queued:
    """Submit these rows with these changed options, when there is room.

    Attributes:
        rows: an array expression.
        changes: the options that differ from the script's.
        at: epoch seconds.
        cause: the cause of failure that the policy repairs; ``continue:CAUSE`` if the slices go on
            from their checkpoints; empty if a person wants the rows.
    """

    rows: str
    changes: ResourceRequest
    at: float
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Dequeued:
    """These rows leave the queue and return to their earlier state."""

    rows: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class Submitted:
    """Slurm accepted the submission.

    Attributes:
        number: the submission's number, from 1.
        job: the array's job id.
        cluster: the cluster that accepted it; None if sbatch named none.
        how: ``sbatch`` answered, the job was ``found`` by its token, or a person ``attached`` it.
        at: the time of the decision, epoch seconds.
        job_name: the job's name if it differs from the intent's; else empty.
        slurm_at: the time of its submission by Slurm's clock, if a person attached it, epoch
            seconds; else None.
    """

    number: int
    job: str
    cluster: str | None
    how: str
    at: float
    job_name: str = ""
    slurm_at: int | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """The engine rejected the submission; its slices return to their earlier state.

    Attributes:
        number: the submission's number, from 1.
        message: the reason.
        at: the time of the decision, epoch seconds.
        temporary: the rejection is temporary, so the queue is kept. Otherwise the queue is
            cleared, because the same request would be rejected again.
        too_many_tasks: a smaller submission may be accepted now.
    """

    number: int
    message: str
    at: float
    temporary: bool = False
    too_many_tasks: bool = False


@dataclass(frozen=True, slots=True)
class Fenced:
    """The submission was fenced: neither queue nor accounting knew its token.

    Its job can no longer obtain its claim. If it appears after all, it stops before
    its command. Its slices return to their earlier state.
    """

    number: int
    at: float


@dataclass(frozen=True, slots=True)
class Unclear:
    """The submission got an answer that is not Slurm's: these words. It may have been accepted."""

    number: int
    said: str
    at: float


@dataclass(frozen=True, slots=True)
class LateJobCancelled:
    """The job of a fenced submission appeared; it did not start its command, and was cancelled."""

    number: int
    job: str
    at: float


@dataclass(frozen=True, slots=True)
class SlicesReturned:
    """Slices were returned without using an attempt.

    Either a local runner ended, or a pack ended before their turn. If ``queued``, they are
    submitted again with the same request.
    """

    number: int
    rows: str
    reason: str
    at: float
    queued: bool = False


@dataclass(frozen=True, slots=True)
class Requeued:
    """Slurm started the task of returned rows, so its submission holds these rows again."""

    number: int
    rows: str
    at: float


@dataclass(frozen=True, slots=True)
class JobCarriesMore:
    """The job of a submission has more indices than intended: all its indices and their rows."""

    number: int
    array: str
    rows: str
    at: float


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A person cancelled these rows of a submission, or waiting rows (number 0).

    Attributes:
        submit_again: the rows were held. They are submitted again after the engine has released
            them.
        partly: array indices of tasks that go on with their other slices; the other tasks end.
    """

    number: int
    rows: str
    at: float
    submit_again: bool = False
    partly: str = ""


@dataclass(frozen=True, slots=True)
class Throttled:
    """A person changed how many slices may run at once; None means no limit."""

    limit: int | None
    at: float


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """The person changed the policy of the run. None leaves a part of it as it was.

    Attributes:
        max_attempts: the number of attempts that each slice gets.
        at: epoch seconds.
        max_failures, retry, on, budget, cancel_rest, allow_changed, continue_on, max_continues: as
            ``RunSpec`` has them.
    """

    max_attempts: int | None
    at: float
    max_failures: FailureLimit | None = None
    retry: bool | None = None
    on: tuple[str, ...] | None = None
    budget: str | None = None
    cancel_rest: bool | None = None
    allow_changed: bool | None = None
    continue_on: str | None = None
    max_continues: int | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """The throttle of a submission's array changed; 0: no more tasks start; None: no limit.

    Written before the engine gets a larger throttle, and after it got a smaller one.
    """

    number: int
    share: int | None
    at: float


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing more may start, because too many attempts have failed.

    Attributes:
        reason: the reason, for a person.
        at: epoch seconds.
        cancelled: the slices that had not started were cancelled.
        probe: the rows that are tried first (an array expression); if they are done, the rest goes
            on. Empty if a person decides.
    """

    reason: str
    at: float
    cancelled: bool = False
    probe: str = ""


@dataclass(frozen=True, slots=True)
class Released:
    """The held slices were released, by a person or after a good probe. They may be held again."""

    at: float


@dataclass(frozen=True, slots=True)
class EnvironmentRecorded:
    """The environment of all later attempts: that of the first one, or a person changed it."""

    environment: RecordedEnvironment
    at: float


@dataclass(frozen=True, slots=True)
class NodeExcluded:
    """A node is suspected: submissions from now on exclude it.

    Attributes:
        node: the node.
        cause: ``node`` or ``boot`` if it failed itself; ``failures`` if slices failed on it.
        since: the start of the first of the failures, epoch seconds.
        failed, others_failed, others_good, p: the evidence, as ``policy.bad_nodes.Suspicion``.
        until: the end of the exclusion, epoch seconds.
        at: epoch seconds.
    """

    node: str
    cause: str
    since: float
    failed: int
    others_failed: int
    others_good: int
    p: float
    until: float
    at: float


@dataclass(frozen=True, slots=True)
class NodeIncluded:
    """A node is used again before its time. What failed there before does not count any more."""

    node: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class QueueAvoids:
    """The pending tasks of a submission avoid these suspected nodes now, or Slurm refused that.

    Written after the update: only then it is known. An update that is made twice changes nothing.

    Attributes:
        number: the submission's number, from 1.
        nodes: the nodes beside those of its options, with commas; empty for none.
        at: epoch seconds.
        refusal: the words of the refusal; empty if there was none.
    """

    number: int
    nodes: str
    at: float
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class CanaryEnded:
    """The slices beside the canary may be submitted, and the reason."""

    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class AfterMet:
    """The run does not wait for the other one (``--after``) any more, and the reason."""

    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class EndTold:
    """The person is told the end of the run in one way: ``mail`` or ``on-end``.

    Written before that, so that a second process does not tell it too; and again if it failed.
    """

    way: str
    at: float
    failed: bool = False


_EVENTS = (
    *(Intent, Queued, Dequeued, Submitted, Rejected, Fenced, LateJobCancelled, SlicesReturned),
    *(Requeued, JobCarriesMore, Cancelled, Throttled, PolicyChanged, Shared, Held, Released),
    *(Unclear, EnvironmentRecorded, NodeExcluded, NodeIncluded, QueueAvoids, CanaryEnded),
    *(AfterMet, RequestRaised, EndTold, StewardIntent, StewardSubmitted, StewardEnded),
    *(ThenIntent, ThenSubmitted, ThenEnded, ThenCalledOff, QueueChanged),
    *(FailureAccepted, AcceptanceUndone),
    *(SlicesChanged, RunClosed),
)
Event = (
    Intent | Queued | Dequeued | Submitted | Rejected | Fenced | LateJobCancelled | SlicesReturned
    | Requeued | JobCarriesMore | Cancelled | Throttled | PolicyChanged | Shared | Held | Released
    | Unclear | EnvironmentRecorded | NodeExcluded | NodeIncluded | QueueAvoids | CanaryEnded
    | AfterMet | RequestRaised | EndTold | StewardEvent | ThenEvent | QueueChanged | AcceptEvent
    | SlicesChanged | RunClosed
)  # fmt: skip


def _event_name(kind: type) -> str:
    """The name of an event in the file: ``policy_changed`` for PolicyChanged."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


_KINDS: dict[str, type[Any]] = {_event_name(kind): kind for kind in _EVENTS}


def format_event(event: Event) -> bytes:
    """Return an event as one line of the journal, with its LF."""
    values = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    record = {"event": _event_name(type(event)), **values}
    return json.dumps(record, default=lambda value: value.to_json()).encode("ascii") + b"\n"


def parse_events(data: bytes, first: int = 1) -> Iterator[Event]:
    """Yield the events of journal lines; ``first`` is the number of the first line.

    Raises:
        DamagedRunError: a line is invalid.
    """
    for number, line in enumerate(split_whole_lines(data), start=first):
        try:
            yield _event(line)
        except (ValueError, TypeError, KeyError, AttributeError) as why:
            raise DamagedRunError(
                f"Line {number} of journal.jsonl is damaged ({type(why).__name__}: {why}).",
                "Correct that line in an editor, or restore the file; nothing was changed.",
                path="journal.jsonl",
                line=number,
            ) from why


def split_whole_lines(data: bytes) -> list[bytes]:
    """The lines of a journal, without an incomplete last one."""
    return data[: whole_lines_length(data)].splitlines()


def _event(line: bytes) -> Event:
    record = json.loads(line)
    kind = _KINDS[record.pop("event")]
    for field in ("overrides", "changes", "options"):
        if field in record:
            record[field] = ResourceRequest.from_json(record[field])
    if "environment" in record:
        record["environment"] = RecordedEnvironment.from_json(record["environment"])
    if "code" in record:
        record["code"] = CodeRecord.from_json(record["code"])
    for field in ("arguments", "on"):
        if record.get(field) is not None:
            record[field] = tuple(map(str, record[field]))
    return kind(**record)  # type: ignore[no-any-return]
