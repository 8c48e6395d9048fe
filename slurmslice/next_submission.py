"""The next submission: which of the queued slices it carries, and what is given beside the script.

Read from the script as it stands now (``submission``); nothing is made here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from slurmslice.packing import limit_argument, task_request
from slurmslice.plan import Batch, batch, portion
from slurmslice.ranges import compress
from slurmslice.resources import NO_REQUEST, ResourceRequest
from slurmslice.run import Run
from slurmslice.run_spec import job_name
from slurmslice.submission import (
    PlannedSubmission,
    RunScript,
    check_place,
    job_name_of,
    new_token,
    output_pattern,
    rows_of_index,
    script_array,
    untouched,
)

Queue = Mapping[int, ResourceRequest]
"""Rows that are to be submitted, in order, and the options in which each differs from the script.
"""


@dataclass(frozen=True, slots=True)
class SubmissionBounds:
    """How large the next submission may be.

    Attributes:
        most: array tasks that it may have, from 1.
        throttle: how many of them may run at once; None for no limit.
    """

    most: int
    throttle: int | None = None


def next_submissions(
    run: Run, script: RunScript, queue: Queue, bounds: SubmissionBounds
) -> Iterator[PlannedSubmission]:
    """The submissions that would carry what is queued, one after another, as few as can be.

    Raises:
        BadInput: the script cannot be understood.
    """
    left, number, script_is_next = dict(queue), run.ledger.next_number, untouched(run)
    while left:
        planned = next_submission(
            run, script, left, bounds, number=number, script_is_next=script_is_next
        )
        for row in planned.batch.rows:
            del left[row]
        number, script_is_next = planned.number + 1, False
        yield planned


def next_submission(
    run: Run,
    script: RunScript,
    queue: Queue,
    bounds: SubmissionBounds,
    *,
    number: int,
    script_is_next: bool,
) -> PlannedSubmission:
    """The submission that carries what is queued first, and as much of the rest as it can.

    Args:
        run: the run.
        script: its script as it stands now.
        queue: rows and their requests, in order; not empty.
        bounds: how large it may be.
        number: what it gets; 001 is the script's own.
        script_is_next: the script may be sent as it stands.

    Raises:
        BadInput: the script cannot be understood.
    """
    check_place(run, script)
    first = _first(run, script, queue, bounds, number) if script_is_next else None
    return first or _later(run, script, queue, bounds, max(number, 2))


def _first(
    run: Run,
    script: RunScript,
    queue: Queue,
    bounds: SubmissionBounds,
    number: int,
) -> PlannedSubmission | None:
    """The script as it stands, with as few options beside it as can be.

    None where what is queued first is not all that the script's array carries. A part of that is
    a submission of its own: should the script be sent by hand as well, its job would have more.
    """
    changes, written = next(iter(queue.values())), script_array(script.request)
    rows = tuple(row for index in sorted(written) for row in rows_of_index(run, index))
    if len(written) > bounds.most or any(queue.get(row) != changes for row in rows):
        return None
    array = compress(sorted(written), bounds.throttle)
    name, token = job_name_of(run, script.request), run.record.token if number == 1 else new_token()
    overrides: dict[str, str] = {}
    if bounds.throttle != written.throttle:
        overrides["array"] = str(array)
    if number > 1 or token not in name:
        name = job_name(name.removesuffix(f"-{run.record.token}"), token)
        overrides["job-name"] = name
    part = Batch(rows, array, changes)
    return _planned(
        run, script, number=number, token=token, name=name, part=part, overrides=overrides,
        table_rows=run.first_rows,
    )  # fmt: skip


def _later(
    run: Run,
    script: RunScript,
    queue: Queue,
    bounds: SubmissionBounds,
    number: int,
) -> PlannedSubmission:
    """The script with a task table, and an array, of its own."""
    changes, record = next(iter(queue.values())), run.record
    direct, pack = record.direct, record.packing.pack
    alike = (row for row, wanted in queue.items() if wanted == changes)
    some = list(islice(alike, bounds.most * pack))
    rows = portion(run.table, some, direct=direct, pack=pack, most=bounds.most)
    part = batch(
        run.table, rows, direct=direct, pack=pack, throttle=bounds.throttle, changes=changes
    )
    token = new_token()
    name = job_name(record.name, token)
    overrides = {"array": str(part.array), "job-name": name}
    return _planned(
        run, script, number=number, token=token, name=name, part=part, overrides=overrides,
        table_rows=part.rows,
    )  # fmt: skip


def _planned(
    run: Run,
    script: RunScript,
    *,
    number: int,
    token: str,
    name: str,
    part: Batch,
    overrides: Mapping[str, str],
    table_rows: Sequence[int],
) -> PlannedSubmission:
    packing = run.record.packing
    arguments: tuple[str, ...] = ()
    limit = limit_argument(part.changes, packing)
    if number > 1 or limit:
        arguments = (f"{number:03d}", *limit)
    output = {"output": output_pattern(run, number)} if number > 1 else {}
    changes = task_request(part.changes, packing, len(part.rows))
    if number > 1 and "time" not in part.changes:
        changes = changes.overridden_by(_less_time(run, script, len(part.rows)))
    sent = ResourceRequest.of({**overrides, **output, **changes})
    return PlannedSubmission(number, token, name, part, sent, script, table_rows, arguments)


def _less_time(run: Run, script: RunScript, slices: int) -> ResourceRequest:
    """The time limit of a task that carries less than a whole pack, if that is a shorter one.

    Nothing if the script's was edited: what a person wrote there counts.
    """
    asked, packing = run.record.first_request.only({"time"}), run.record.packing
    whole, less = (task_request(asked, packing, n) for n in (None, slices))
    return NO_REQUEST if script.request.only({"time"}) != whole else less.differing_from(whole)
