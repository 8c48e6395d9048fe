"""Cancel, throttle, release: what a person changes in a run that is going on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from slurmslice.command import join
from slurmslice.errors import BadInput, NoAnswer
from slurmslice.journal import Cancelled, Released, Throttled
from slurmslice.ledger import Fate, Submission
from slurmslice.packing import check_throttle
from slurmslice.ranges import compress
from slurmslice.run import Run
from slurmslice.rundir import digest, read_or_damaged
from slurmslice.states import State
from slurmslice.submission import check_script, read_script, script_request
from slurmslice.verbs.poll import poll
from slurmslice.verbs.settle import wait_out_doubts
from slurmslice.verbs.share import share_out


def cancel(run: Run, rows: Collection[int] | None) -> list[int]:
    """Cancel these slices, or all that have not ended; the rows that it was.

    Raises:
        BadInput: one of them shares its array task with others, which would end with it.
        NoAnswer: the engine could not be told; the wish is journalled, try again. Or another
            process was killed at this moment while it submitted; nothing was cancelled.
    """
    wait_out_doubts(run)
    with run.place.lock("cancel"):
        run.reload()
        groups = to_cancel(run, rows)
        for number, members in groups.items():
            run.decide(Cancelled(number, str(compress(members)), run.clock()))
        for number, members in groups.items():
            _tell(run, number, members)
    return sorted(chain.from_iterable(groups.values()))


def to_cancel(run: Run, rows: Collection[int] | None) -> dict[int, list[int]]:
    """Of these slices, or of all, the rows that have not ended, by their submission. Hold the lock.

    Those that wait are in none: 0.

    Raises:
        BadInput, NoAnswer: as ``cancel``.
    """
    _refuse_in_doubt(run)
    run.take_back()
    groups: dict[int, list[int]] = {}
    for row in range(len(run.table)) if rows is None else sorted(rows):
        if not run.standings.ended(row):
            number = 0 if row in run.ledger.queue else run.ledger.holder[row]
            groups.setdefault(number, []).append(row)
    _refuse_shared(run, groups)
    return groups


def _refuse_in_doubt(run: Run) -> None:
    """A submission without a job cannot be cancelled, and might be taken all the same."""
    for submission in run.ledger.in_doubt():
        raise NoAnswer(
            f"Whether submission {submission.number:03d} was taken is not known yet.",
            "Nothing was cancelled: the same line again looks it up first.",
            code="submission-unknown",
            submission=submission.number,
        )


def _refuse_shared(run: Run, groups: Mapping[int, Sequence[int]]) -> None:
    for number, rows in groups.items():
        submission = run.ledger.submissions.get(number)
        if submission is None or submission.intent.pack == 1:
            continue
        tasks = {submission.index_of(row) for row in rows}
        theirs = {r for r in run.open_rows(submission) if submission.index_of(r) in tasks}
        if shared := theirs.difference(rows):
            chosen, other = _of_one_task(submission, rows, shared)
            keys = run.table.keys
            raise BadInput(
                f"Slice {keys[chosen]!r} shares an array task with {keys[other]!r}, which would "
                "end with it.",
                _line_of_all(run, [keys[row] for row in sorted({*rows, *theirs})]),
                code="shared-task",
                key=keys[chosen],
                other=keys[other],
            )


def _line_of_all(run: Run, keys: Sequence[str]) -> str:
    """What to type to cancel all of them, where that is a line that one can read."""
    if len(keys) > _READABLE:
        return "Name all slices of the task (`slurmslice status --slices` shows them under JOB)."
    return f"All that would end: {join(('slurmslice', 'cancel', run.record.name, '--', *keys))}"


_READABLE = 20


def _of_one_task(
    submission: Submission, rows: Collection[int], others: Collection[int]
) -> tuple[int, int]:
    """The first of these rows that shares an array task with one of the others, and that one."""
    by_task = {submission.index_of(other): other for other in sorted(others, reverse=True)}
    chosen = min(row for row in rows if submission.index_of(row) in by_task)
    return chosen, by_task[submission.index_of(chosen)]


def _tell(run: Run, number: int, rows: Sequence[int]) -> None:
    submission = run.ledger.submissions.get(number)
    if submission is None or submission.fate is not Fate.SUBMITTED:
        return
    whole = len(rows) == len(list(run.open_rows(submission)))
    indices = sorted({submission.index_of(row) for row in rows})
    run.engine.cancel(submission.job, submission.name, None if whole else indices)


def throttle(run: Run, limit: int | None) -> int:
    """Let at most so many slices run at once; how many arrays were told.

    Raises:
        BadInput: the limit is not positive.
        NoAnswer: the engine could not be told.
    """
    if limit is not None and limit < 1:
        raise BadInput(
            "The throttle must be 1 or more.",
            "`none` takes it away.",
            code="bad-number",
            option="throttle",
        )
    check_throttle(limit, run.record.packing.at_once)
    with run.place.lock("throttle"):
        run.reload()
        run.decide(Throttled(limit, run.clock()))
        share_out(run, script_request(run))
        return len(run.in_flight())


@dataclass(frozen=True, slots=True)
class LetGo:
    """What was held: none where nothing was.

    Attributes:
        released: rows that start as they were submitted, or go in as there is room.
        renewed: rows that were cancelled, and go in anew with the script as it is now.
    """

    released: tuple[int, ...] = ()
    renewed: tuple[int, ...] = ()


def release(run: Run) -> LetGo:
    """Release the slices that the circuit breaker holds.

    Slurm keeps the script that it was given: what it holds of one that was edited since is
    cancelled, and goes in anew.

    Raises:
        BadInput: bash cannot read the edited script.
        EngineError: the engine could not be told; try again.
    """
    with run.place.lock("release"):
        run.reload()
        held = _held(run)
        outdated = _outdated(run) if held else {}
        if outdated:
            check_script(run, read_script(run))
        for number, rows in outdated.items():
            run.decide(Cancelled(number, str(compress(rows)), run.clock(), anew=True))
            _tell(run, number, rows)
        run.decide(Released(run.clock()))  # last: whoever is killed before does all of it again
        for submission in run.in_flight():
            if submission.share != 0 and not submission.anew.issuperset(run.open_rows(submission)):
                run.engine.release(submission.job, submission.name)
    renewed = sorted(chain.from_iterable(outdated.values()))
    return LetGo(tuple(sorted(held.difference(renewed))), tuple(renewed))


def _held(run: Run) -> set[int]:
    if not run.ledger.held:
        return set()
    return {*run.standings.rows_in({State.PENDING, State.SUBMITTED}), *run.ledger.queue}


def _outdated(run: Run) -> dict[int, list[int]]:
    """Rows that Slurm has not started of a script that was edited since, by their submission.

    On one machine a task runs the script as it stands when it starts.
    """
    if run.record.engine != "slurm":
        return {}
    now = digest(read_or_damaged(run.place.script))
    old = (submission for submission in run.in_flight() if submission.intent.script_sha256 != now)
    found = {submission.number: _not_begun(run, submission) for submission in old}
    return {number: rows for number, rows in found.items() if rows}


def _not_begun(run: Run, submission: Submission) -> list[int]:
    """The rows of its array tasks of which no slice has begun, as far as anybody has seen."""
    pending = set(run.standings.rows_in({State.PENDING})).intersection(run.open_rows(submission))
    begun = {submission.index_of(row) for row in submission.rows if row not in pending}
    return sorted(row for row in pending if submission.index_of(row) not in begun)


LET_GO_S = 30.0
"""How long Slurm is waited for to let cancelled tasks go; a few seconds is what it takes."""


def wait_until_gone(run: Run, rows: Collection[int]) -> bool:
    """Whether all of these that were cancelled can be submitted anew: look until they can."""
    deadline = run.clock() + LET_GO_S
    while True:
        poll(run)
        if not any(run.standings.state(row).in_flight for row in rows):
            return True
        if run.clock() > deadline:
            return False
        run.engine.wait(1.0)
