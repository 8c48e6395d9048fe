"""Feed: make submissions of what is queued, as few as can be, as far as there is room."""

from __future__ import annotations

from dataclasses import dataclass, field

from slurmslice.engines import Intake
from slurmslice.errors import BadInput, EngineError, Full, SlurmsliceError, TooMany, Unsure
from slurmslice.errors import Refused as RefusedByEngine
from slurmslice.journal import Dropped, Refused, Submitted
from slurmslice.ledger import Fate
from slurmslice.next_submission import SubmissionBounds, next_submission
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
class Taken:
    """A submission that was taken.

    Attributes:
        draft: what was sent.
        job: the array's job id.
        notes: what a person should know of it.
        starved: its rows that went over their memory before, and have no more of it now.
    """

    draft: PlannedSubmission
    job: str
    notes: tuple[str, ...]
    starved: tuple[int, ...] = ()


@dataclass
class Fed:
    """What feeding came to.

    Attributes:
        taken: the submissions that were made.
        waits: why what is still queued is not in; empty where nothing is queued.
        drains: what is in flight has no more tasks than run, and its share goes to what waits.
        hindrance: the error that ended it, where one did.
        queued: what was asked for is written down, with its request, whatever came of it.
        left_out: rows of the plan that were no longer as they were when it was made.
    """

    taken: list[Taken] = field(default_factory=list)
    waits: str = ""
    drains: bool = False
    hindrance: EngineError | None = None
    queued: bool = False
    left_out: tuple[int, ...] = ()

    def check(self, *, passing: bool) -> None:
        """Nothing where all went well.

        Args:
            passing: a hindrance that may pass is none; else it is where nothing was taken.

        Raises:
            EngineError: what hindered it.
        """
        for_good = isinstance(self.hindrance, RefusedByEngine)
        if self.hindrance and (for_good or not (passing or self.taken)):
            raise self.hindrance


def feed(run: Run, verb: str) -> Fed:
    """Submit of what is queued what fits now. The lock is held for each sbatch, not longer."""
    fed = Fed()
    try:
        wait_out_doubts(run)
        _feed(run, verb, fed)
    except EngineError as why:
        fed.hindrance, fed.waits = why, why.message
    return fed


def _feed(run: Run, verb: str, fed: Fed) -> None:
    gone_in, intake = 0, None
    while True:
        with run.place.lock(verb):
            run.reload()
            settle_locked(run)
            run.take_back()
            script = read_script(run)
            spare = share_out(run, script.request)
            fed.waits = run.ledger.held
            if not run.ledger.queue or fed.waits:
                return
            fed.drains = spare is not None and _drains(run)
            intake = intake or run.engine.intake(script.request.verify())
            bounds, fed.waits = _bounds(run, intake, gone_in, spare)
            if bounds is None:
                return
            gone_in += _feed_one(run, script, bounds, fed)


def _drains(run: Run) -> bool:
    """Whether no array in flight has many more tasks than it may run at once."""
    claims = (claim_of(run, submission) for submission in run.in_flight())
    return all(claim.open <= 2 * claim.taken for claim in claims)


def _feed_one(run: Run, script: RunScript, bounds: SubmissionBounds, fed: Fed) -> int:
    """Submit what comes next; how many array tasks went in."""
    draft = next_submission(
        run, script, run.ledger.queue, bounds,
        number=run.ledger.next_number, script_is_next=untouched(run),
    )  # fmt: skip
    if _runs_again(run, draft):
        return 0
    fed.taken.append(_send(run, draft))
    return len(draft.batch.array)


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


def _runs_again(run: Run, draft: PlannedSubmission) -> bool:
    """Whether Slurm runs slices of this draft again, or still ends them; these leave the queue."""
    again = look_again(run, draft.batch.rows)
    if queued := [row for row in again if row in run.ledger.queue]:
        run.decide(Dropped(str(compress(queued)), "Slurm still has them", run.clock()))
    return bool(again)


def _send(run: Run, draft: PlannedSubmission) -> Taken:
    """One submission: folder, intent, engine, answer. Hold the lock."""
    check_table(run, draft.number)
    check_script(run, draft.script)
    sha = run.record.first_sha256
    if draft.number > 1:
        _keep_script_out(run)
        sha = run.place.prepare(draft.number, run.table, draft.table_rows, run.record.direct)
    starved = starved_again(run, draft)
    run.decide(draft.intent(run, run.clock(), sha))
    try:
        receipt = run.engine.submit(draft.order(run))
    except (RefusedByEngine, Full, BadInput) as no:
        if draft.number > 1 and not run.place.bar(draft.number):
            return _ran_all_the_same(run, draft, no)
        passing, too_many = isinstance(no, Full), isinstance(no, TooMany)
        run.decide(Refused(draft.number, no.message, run.clock(), passing, too_many))
        if untouched(run) and _script_may_come(run):
            run.place.unbar(1)  # it may be sent by hand, as before
        raise
    except Unsure as doubt:
        return _look_up(run, draft, doubt)
    run.decide(Submitted(draft.number, receipt.job, receipt.cluster, "sbatch", run.clock()))
    run.told.add(draft.number)
    return Taken(draft, receipt.job, (*receipt.notes, *over_edited(run, draft)), starved)


def _keep_script_out(run: Run) -> None:
    """Bar the script's own submission where another is the first: sent by hand, it would double.

    Raises:
        Unsure: it was sent by hand at this moment.
    """
    if _script_may_come(run) and not run.place.bar(1):
        raise Unsure(
            "The script was sent by hand just now.", "`slurmslice status` takes it into the run."
        )


def _script_may_come(run: Run) -> bool:
    """Whether a job of the script's own submission may run: by hand, or since a "no" was wrong."""
    first = run.ledger.submissions.get(1)
    return first is None or first.fate is Fate.REFUSED


def _ran_all_the_same(run: Run, draft: PlannedSubmission, no: SlurmsliceError) -> Taken:
    """A refusal that was none: a task has claimed the submission.

    The bar of a true refusal keeps a job that appears after all from running. The first
    submission is not barred: it may still be sent by hand, and is found by its token.
    """
    job = run.place.owner(draft.number)
    if job is None:  # the task is writing its claim at this moment
        return _look_up(run, draft, Unsure(no.message))
    run.decide(Submitted(draft.number, job, None, "claimed", run.clock()))
    return Taken(draft, job, ("sbatch said no, but the job runs.",))


def _look_up(run: Run, draft: PlannedSubmission, doubt: Unsure) -> Taken:
    """After a doubtful answer: the queue may know the token already."""
    settled = settle_locked(run)
    submission = run.ledger.submissions[draft.number]
    if submission.job:
        return Taken(draft, submission.job, settled.notes)
    raise Unsure(
        f"{doubt.message} Whether submission {draft.number:03d} was taken is not known yet.",
        "`slurmslice status` looks it up; nothing is submitted twice.",
    )
