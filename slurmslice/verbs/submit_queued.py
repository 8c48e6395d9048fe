"""Submit the queued slices: as few submissions as possible, as far as there is room."""

from __future__ import annotations

from dataclasses import dataclass, field

from slurmslice.engines import Intake
from slurmslice.errors import BadInput, EngineError, Full, SlurmsliceError, TooMany, Unsure
from slurmslice.errors import Refused as RefusedByEngine
from slurmslice.journal import Dropped, Refused, Submitted
from slurmslice.ledger import Fate
from slurmslice.next_submission import SubmissionBounds, next_submission
from slurmslice.notes import Note
from slurmslice.ranges import compress
from slurmslice.run import Run
from slurmslice.submission import (
    PlannedSubmission,
    RunScript,
    check_script,
    check_table,
    over_edited,
    read_script,
    starved_again,
    untouched,
)
from slurmslice.verbs.poll import look_again
from slurmslice.verbs.settle import settle_locked, wait_out_doubts
from slurmslice.verbs.share import claim_of, share_out


@dataclass(frozen=True, slots=True)
class AcceptedSubmission:
    """A submission that the engine accepted.

    Attributes:
        planned: the submission.
        job: the array's job id.
        notes: for a person, a line each.
        starved: the rows that ran out of memory before and get no more now.
    """

    planned: PlannedSubmission
    job: str
    notes: tuple[Note, ...]
    starved: tuple[int, ...] = ()


@dataclass
class SubmitOutcome:
    """The result of submitting queued slices.

    Attributes:
        taken: the accepted submissions.
        waits: why slices are still queued; empty if none is.
        drains: almost all tasks in flight run, so a share of the throttle is free soon.
        error: the error that ended it; None if there was none.
        queued: the slices of the plan are queued, whatever happened after that.
        left_out: rows of the plan that were no longer as they were when it was made.
    """

    taken: list[AcceptedSubmission] = field(default_factory=list)
    waits: str = ""
    drains: bool = False
    error: EngineError | None = None
    queued: bool = False
    left_out: tuple[int, ...] = ()

    def check(self, *, passing: bool) -> None:
        """Nothing where all went well.

        Args:
            passing: a error that may pass is none; else it is where nothing was taken.

        Raises:
            EngineError: what hindered it.
        """
        for_good = isinstance(self.error, RefusedByEngine)
        if self.error and (for_good or not (passing or self.taken)):
            raise self.error


def submit_queued(run: Run, verb: str) -> SubmitOutcome:
    """Submit queued slices as far as they fit now. The lock is held for one sbatch at a time."""
    outcome = SubmitOutcome()
    try:
        wait_out_doubts(run)
        _submit_queued(run, verb, outcome)
    except EngineError as why:
        outcome.error, outcome.waits = why, why.message
    return outcome


def _submit_queued(run: Run, verb: str, outcome: SubmitOutcome) -> None:
    gone_in, intake = 0, None
    while True:
        with run.place.lock(verb):
            run.reload()
            settle_locked(run)
            run.take_back()
            script = read_script(run)
            spare = share_out(run, script.request)
            outcome.waits = run.ledger.held
            if not run.ledger.queue or outcome.waits:
                return
            outcome.drains = spare is not None and _drains(run)
            intake = intake or run.engine.intake(script.request.verify())
            bounds, outcome.waits = _bounds(run, intake, gone_in, spare)
            if bounds is None:
                return
            gone_in += _submit_next(run, script, bounds, outcome)


def _drains(run: Run) -> bool:
    """Whether no array in flight has many more tasks than it may run at once."""
    claims = (claim_of(run, submission) for submission in run.in_flight())
    return all(claim.open <= 2 * claim.taken for claim in claims)


def _submit_next(
    run: Run, script: RunScript, bounds: SubmissionBounds, outcome: SubmitOutcome
) -> int:
    """Make the next submission; the number of array tasks that were submitted."""
    planned = next_submission(
        run, script, run.ledger.queue, bounds,
        number=run.ledger.next_number, script_is_next=untouched(run),
    )  # fmt: skip
    if _runs_again(run, planned):
        return 0
    outcome.taken.append(_send(run, planned))
    return len(planned.batch.array)


def _bounds(
    run: Run, intake: Intake, gone_in: int, spare: int | None
) -> tuple[SubmissionBounds | None, str]:
    """How large the next submission may be; None, and why, where there is no room for one."""
    if spare == 0:
        return None, "as many run as the throttle lets"
    most = min(intake.max_array_size, intake.per_array)
    if intake.tasks is not None:
        if intake.tasks <= gone_in:
            return None, intake.why
        most = min(most, intake.tasks - gone_in)
    return SubmissionBounds(min(most, run.ledger.most or most), spare), ""


def _runs_again(run: Run, planned: PlannedSubmission) -> bool:
    """Take slices out of the queue that Slurm runs again or still ends; true if there are any."""
    again = look_again(run, planned.batch.rows)
    if queued := [row for row in again if row in run.ledger.queue]:
        run.decide(Dropped(str(compress(queued)), "Slurm still has them", run.clock()))
    return bool(again)


def _send(run: Run, planned: PlannedSubmission) -> AcceptedSubmission:
    """One submission: folder, intent, engine, answer. Hold the lock."""
    check_table(run, planned.number)
    check_script(run, planned.script)
    sha = run.record.first_sha256
    if planned.number > 1:
        _keep_script_out(run)
        sha = run.place.prepare(planned.number, run.table, planned.table_rows, run.record.direct)
    starved = starved_again(run, planned)
    run.decide(planned.intent(run, run.clock(), sha))
    try:
        receipt = run.engine.submit(planned.order(run))
    except (RefusedByEngine, Full, BadInput) as no:
        if planned.number > 1 and not run.place.bar(planned.number):
            return _ran_all_the_same(run, planned, no)
        passing, too_many = isinstance(no, Full), isinstance(no, TooMany)
        run.decide(Refused(planned.number, no.message, run.clock(), passing, too_many))
        if untouched(run) and _script_may_come(run):
            run.place.unbar(1)  # it may be sent by hand, as before
        raise
    except Unsure as doubt:
        return _look_up(run, planned, doubt)
    run.decide(Submitted(planned.number, receipt.job, receipt.cluster, "sbatch", run.clock()))
    run.told.add(planned.number)
    return AcceptedSubmission(
        planned, receipt.job, (*receipt.notes, *over_edited(run, planned)), starved
    )


def _keep_script_out(run: Run) -> None:
    """Bar the script's own submission where another is the first: sent by hand, it would double.

    Raises:
        Unsure: it was sent by hand at this moment.
    """
    if _script_may_come(run) and not run.place.bar(1):
        raise Unsure(
            "The script was sent by hand just now.",
            "`slurmslice status` takes it into the run.",
            code="script-sent-by-hand",
        )


def _script_may_come(run: Run) -> bool:
    """Whether a job of the script's own submission may run: by hand, or since a "no" was wrong."""
    first = run.ledger.submissions.get(1)
    return first is None or first.fate is Fate.REFUSED


def _ran_all_the_same(
    run: Run, planned: PlannedSubmission, no: SlurmsliceError
) -> AcceptedSubmission:
    """A refusal that was none: a task has claimed the submission.

    The bar of a true refusal keeps a job that appears after all from running. The first
    submission is not barred: it may still be sent by hand, and is found by its token.
    """
    job = run.place.owner(planned.number)
    if job is None:  # the task is writing its claim at this moment
        return _look_up(run, planned, Unsure(no.message))
    run.decide(Submitted(planned.number, job, None, "claimed", run.clock()))
    said = Note("runs-despite-refusal", "sbatch said no, but the job runs.", {"job": job})
    return AcceptedSubmission(planned, job, (said,))


def _look_up(run: Run, planned: PlannedSubmission, doubt: Unsure) -> AcceptedSubmission:
    """After a doubtful answer: the queue may know the token already."""
    settled = settle_locked(run)
    submission = run.ledger.submissions[planned.number]
    if submission.job:
        return AcceptedSubmission(planned, submission.job, settled.notes)
    raise Unsure(
        f"{doubt.message} Whether submission {planned.number:03d} was taken is not known yet.",
        "`slurmslice status` looks it up; nothing is submitted twice.",
        submission=planned.number,
    )
