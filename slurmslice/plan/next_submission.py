"""The next submission: the queued slices that it carries, and the options on sbatch's command line.

It is planned from the script as it is now (``submission``). Nothing is written here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from slurmslice.plan.avoided_nodes import avoided_nodes, excluding
from slurmslice.plan.batches import Batch, make_batch, rows_that_fit
from slurmslice.plan.planned_submission import (
    PlannedSubmission,
    is_unsubmitted,
    new_token,
    submission_output_pattern,
)
from slurmslice.plan.run_script import (
    RunScript,
    check_script_paths,
    script_array,
    script_job_name,
    script_rows_of_index,
)
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.spec.packing import slice_time_argument, task_request
from slurmslice.spec.run_spec import job_name

QueuedRequests = Mapping[int, ResourceRequest]
"""The rows to submit, in order; for each the options that differ from the script's."""


@dataclass(frozen=True, slots=True)
class SubmissionBounds:
    """The maximum size of the next submission.

    Attributes:
        max_tasks: the maximum number of array tasks, from 1.
        throttle: the number of them that may run at once; None for no limit.
    """

    max_tasks: int
    throttle: int | None = None


def next_submissions(
    run: Run, script: RunScript, queue: QueuedRequests, bounds: SubmissionBounds
) -> Iterator[PlannedSubmission]:
    """Plan the submissions that carry all queued slices, as few as possible, one after another.

    Raises:
        BadInputError: the script cannot be understood.
    """
    left, number, script_is_next = dict(queue), run.journal_state.next_number, is_unsubmitted(run)
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
    queue: QueuedRequests,
    bounds: SubmissionBounds,
    *,
    number: int,
    script_is_next: bool,
) -> PlannedSubmission:
    """Plan the submission that carries the first queued slice and as many others as possible.

    Args:
        run: the run.
        script: its script as it is now.
        queue: rows and their requests, in order; not empty.
        bounds: the maximum size.
        number: its number; 001 is the script's own submission.
        script_is_next: the script may be submitted as it is.

    Raises:
        BadInputError: the script cannot be understood.
    """
    check_script_paths(run, script)
    script_is_next = script_is_next and not run.first_is_outdated
    first = _first(run, script, queue, bounds, number) if script_is_next else None
    return first or _later(run, script, queue, bounds, max(number, 2))


def _first(
    run: Run,
    script: RunScript,
    queue: QueuedRequests,
    bounds: SubmissionBounds,
    number: int,
) -> PlannedSubmission | None:
    """Plan the script as it is, with as few options on the command line as possible.

    Returns:
        None if the first queued slices are not all those of the script's array. Then a part of
        them gets a submission of its own: if a person also submits the script by hand, that job
        carries more slices than the part.
    """
    changes, written = next(iter(queue.values())), script_array(script.request)
    rows = tuple(row for index in sorted(written) for row in script_rows_of_index(run, index))
    if len(written) > bounds.max_tasks or any(queue.get(row) != changes for row in rows):
        return None
    array = compress_indices(sorted(written), bounds.throttle)
    name = script_job_name(run, script.request)
    token = run.record.token if number == 1 else new_token()
    overrides: dict[str, str] = {}
    if bounds.throttle != written.throttle:
        overrides["array"] = str(array)
    if number > 1 or token not in name or "job-name" in changes:
        name = _job_name(run, script, changes, token)
        overrides["job-name"] = name
    part = Batch(rows, array, changes)
    return _planned(
        run, script, number=number, token=token, name=name, part=part, overrides=overrides,
        table_rows=run.first_rows,
    )  # fmt: skip


def _later(
    run: Run,
    script: RunScript,
    queue: QueuedRequests,
    bounds: SubmissionBounds,
    number: int,
) -> PlannedSubmission:
    """Plan the script with another array, and a new task table."""
    changes, record = next(iter(queue.values())), run.record
    direct, pack = record.direct, record.packing.pack
    alike = (row for row, wanted in queue.items() if wanted == changes)
    some = list(islice(alike, bounds.max_tasks * pack))
    rows = rows_that_fit(run.table, some, direct=direct, pack=pack, most=bounds.max_tasks)
    part = make_batch(
        run.table, rows, direct=direct, pack=pack, throttle=bounds.throttle, changes=changes
    )
    token = new_token()
    name = _job_name(run, script, changes, token)
    overrides = {"array": str(part.array), "job-name": name}
    return _planned(
        run, script, number=number, token=token, name=name, part=part, overrides=overrides,
        table_rows=part.rows,
    )  # fmt: skip


def _job_name(run: Run, script: RunScript, changes: ResourceRequest, token: str) -> str:
    """Return the name that a person gave the jobs, with a token: typed, or in the script."""
    name = changes.get("job-name") or script_job_name(run, script.request)
    return job_name(name.removesuffix(f"-{run.record.token}"), token)


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
    limit = slice_time_argument(part.changes, packing)
    if number > 1 or limit:
        arguments = (f"{number:03d}", *limit)
    output = {"output": submission_output_pattern(run, number)} if number > 1 else {}
    changes = task_request(part.changes.without({"job-name"}), packing, len(part.rows))
    if number > 1 and "time" not in part.changes:
        changes = changes.overridden_by(_less_time(run, script, len(part.rows)))
    sent = ResourceRequest.of({**overrides, **output, **changes})
    request = script.request.overridden_by(sent)
    avoided = avoided_nodes(run, request)
    if avoided:
        sent = sent.overridden_by({"exclude": excluding(request, avoided)})
    return PlannedSubmission(
        number, token, name, part, sent, script, table_rows, arguments, avoided
    )


def _less_time(run: Run, script: RunScript, slices: int) -> ResourceRequest:
    """Return the time limit of tasks with less than a whole pack, if it is shorter.

    It is empty if a person edited the script's time limit, because that edit counts.
    """
    asked, packing = run.record.first_request.only({"time"}), run.record.packing
    whole, less = (task_request(asked, packing, n) for n in (None, slices))
    return NO_REQUEST if script.request.only({"time"}) != whole else less.differing_from(whole)
