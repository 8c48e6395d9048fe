"""Settle doubts: was a submission taken whose answer never came? Was the script sent by hand?

A doubt is settled by the token: the claim on the node first, since it is proof, then the queue
and accounting. Where none of them knows it for ``DOUBT_S``, the claim is taken from the job, so
that a job that still appears stops before its command; only then are its slices free again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from slurmslice.engines import Identity
from slurmslice.errors import BadInput, Busy, DamagedRun, EngineError, NoAnswer
from slurmslice.journal import Barred, Dismissed, Intent, Returned, Submitted, Widened
from slurmslice.ledger import Submission
from slurmslice.notes import Note
from slurmslice.progress import parse
from slurmslice.ranges import ArrayExpression, compress
from slurmslice.run import Run
from slurmslice.submission import (
    PlannedSubmission,
    by_script,
    job_name_of,
    read_script,
    rows_of_index,
    script_array,
    script_request,
    untouched,
)

DOUBT_S = 20.0
"""How long a submission is looked for before it is barred. sbatch takes far less once slurmctld
answers; one that comes later still finds the bar."""

UNSENT_S = 5.0
"""So long it is believed that nobody has sent the script by hand, once Slurm has said so. Should
somebody have done it meanwhile, the claim on the node decides between the two jobs."""

LATE_S = 3600.0
"""How long a job is looked for that might still come of a submission that was barred."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What was found out.

    Attributes:
        notes: for a person.
        silences: why a look-up was no answer; then the doubt stays.
    """

    notes: tuple[Note, ...] = ()
    silences: tuple[str, ...] = ()


def wait_out_doubts(run: Run) -> tuple[Note, ...]:
    """Let a submission in doubt show itself, or be barred, before anything else goes in.

    Returns:
        what became of it.

    Raises:
        NoAnswer: it could not be looked up, so nothing may be submitted.
    """
    deadline = run.clock() + DOUBT_S + 10
    notes: tuple[Note, ...] = ()
    while True:
        run.reload()
        settled = settle(run)
        notes, silences = notes + settled.notes, settled.silences
        if not run.ledger.in_doubt():
            return notes
        if silences or run.clock() > deadline:
            number = run.ledger.in_doubt()[0].number
            raise NoAnswer(
                f"Whether submission {number:03d} was taken is not known, and it cannot be "
                f"looked up now: {'; '.join(silences) or 'another slurmslice is at it'}.",
                "Nothing more is submitted until it is; try again when Slurm answers.",
                code="submission-unknown",
                submission=number,
            )
        run.engine.wait(1.0)


def settle(run: Run) -> Settled:
    """Look up what is in doubt, if nobody is submitting at this moment. Waits for nothing."""
    if not (run.ledger.in_doubt() or _barred_lately(run) or _may_be_sent(run)):
        return Settled()
    try:
        with run.place.lock("status", wait=0):
            run.reload()
            return settle_locked(run)
    except (Busy, OSError):
        return Settled()  # its owner is at it; what it finds is in the journal then


def settle_locked(run: Run) -> Settled:
    """The same, with the lock held."""
    notes: list[Note] = []
    try:
        for submission in run.ledger.in_doubt():
            notes += _settle_one(run, submission)
        for submission in _barred_lately(run):
            notes += _dismiss(run, submission)
        if _may_be_sent(run):
            notes += _take_in(run)
    except EngineError as silence:
        return Settled(tuple(notes), (silence.message,))
    return Settled(tuple(notes))


def _settle_one(run: Run, submission: Submission) -> list[Note]:
    number = submission.number
    job = run.place.owner(number) or _sighted(run, submission.intent)
    if job is None and _may_appear(run, submission):
        return []
    if job is None and run.place.bar(number):
        run.decide(Barred(number, run.clock()))
        message = f"Submission {number:03d} never reached the queue; its slices are free again."
        return [Note("submission-freed", message, {"submission": number})]
    job = job or run.place.owner(number)
    if job is None:
        return []  # a task is writing its claim at this moment
    run.decide(Submitted(number, job, None, "found", run.clock()))
    message = f"Submission {number:03d} was taken after all: job {job}."
    return [Note("submission-found", message, {"submission": number, "job": job})]


def _may_appear(run: Run, submission: Submission) -> bool:
    """Whether a job that nobody knows may be on its way.

    On this machine there is no way: an order is on disk before its writer lets go of the lock.
    """
    return run.record.engine == "slurm" and run.clock() - submission.intent.at < DOUBT_S


def claimed_by_others(run: Run) -> list[Submission]:
    """Submissions in flight whose claim another job has than the one that sbatch named.

    Two jobs of one submission (a wrapper that submits twice, the script sent by hand as well)
    race for the claim; the tasks of the other stop before their command, which is no failure.
    Reads one small file for each submission in flight.
    """
    return [s for s in run.in_flight() if run.place.owner(s.number) not in {None, s.job}]


def adopt(run: Run, doubled: Sequence[Submission]) -> tuple[Note, ...]:
    """Follow the claims: who owns a submission runs it. What was done, a note each."""
    try:
        with run.place.lock("status", wait=0):
            return tuple(_adopt(run, submission) for submission in doubled)
    except (Busy, OSError):
        return ()  # whoever holds the lock sees it too


def _adopt(run: Run, submission: Submission) -> Note:
    number, other = submission.number, submission.job
    owner = run.place.owner(number) or ""
    identity = _identity(run, owner)
    carried = identity.array if identity else None
    if left := _not_of(run, submission, owner, carried):
        # First of all: whoever is killed here finds the claim again, and these are free already.
        why = f"job {owner}, which runs submission {number:03d}, does not carry it"
        wanted = run.record.engine == "slurm"
        run.decide(Returned(number, str(compress(left)), why, run.clock(), wanted))
    if number == 1:
        _widen(run, submission, owner, carried or ())
    run.decide(Submitted(number, owner, None, "claimed", run.clock()))
    found = f"Job {owner} runs submission {number:03d}; job {other} is its double"
    names = {"submission": number, "job": owner, "double": other}
    try:
        run.engine.cancel(other, submission.name, None)
    except EngineError as why:
        message = f"{found}, and cannot be cancelled: {why.message}"
        return Note("duplicate-job", message, {**names, "cancelled": False})
    done = not run.place.read_only
    return Note("duplicate-job", f"{found} and is cancelled.", {**names, "cancelled": done})


def _sent_by_hand(run: Run, name: str) -> tuple[str, ArrayExpression | None] | None:
    """The job of the script, and its array where that is known: by the claim, or by its name."""
    if owner := run.place.owner(1):
        identity = _identity(run, owner)
        return owner, identity.array if identity else None
    sighting = run.engine.find(run.record.token, name, run.record.created_at)
    if sighting is None or _runs_another(run, _identity(run, sighting.job)):
        return None
    return sighting.job, sighting.array


def _identity(run: Run, job: str) -> Identity | None:
    """What a job is; None where nobody tells."""
    try:
        return run.engine.identify(job)
    except (BadInput, EngineError):
        return None


def _runs_another(run: Run, identity: Identity | None) -> bool:
    """Whether a job with this run's name runs another file: the script of a copy of the run.

    One that is not there may be ours, which has been moved since.
    """
    try:
        return identity is not None and not os.path.samefile(identity.command, run.place.script)
    except OSError:
        return False


def _widen(run: Run, submission: Submission, owner: str, carried: Iterable[int]) -> None:
    """Take in what the owner carries beyond what was meant: the script was sent with more.

    What it has begun it carries, also where the controller has forgotten it.
    """
    known = set(submission.array)
    try:
        written = script_array(script_request(run))
        begun = (index for index in written if _began(run, submission.number, index, owner))
        indices = sorted(known.union(carried, begun))
        rows = [row for index in indices for row in rows_of_index(run, index)]
    except (BadInput, DamagedRun):
        return  # a script that cannot be read, or indices without slices, whose tasks stop
    if len(indices) == len(known):
        return
    array = str(compress(indices, submission.array.throttle))
    run.decide(Widened(submission.number, array, str(compress(rows)), run.clock()))


def _not_of(
    run: Run, submission: Submission, owner: str, array: ArrayExpression | None
) -> list[int]:
    """Slices of a submission that the job which claimed it does not carry; none if not known.

    The script may have been sent by hand with a smaller array. A task that has begun has written
    so: should the controller have forgotten it, it is the owner's all the same.
    """
    if array is None:
        return []
    carried, number = set(array), submission.number
    return [
        row
        for row in run.ledger.rows_of(number)
        if (index := submission.index_of(row)) not in carried
        and not run.standings.ended(row)
        and not _began(run, number, index, owner)
    ]


def _began(run: Run, number: int, index: int, job: str) -> bool:
    return parse(run.place.read_task_log(number, index) or b"", job).restart is not None


def _sighted(run: Run, intent: Intent) -> str | None:
    sighting = run.engine.find(intent.token, intent.job_name, intent.at)
    return sighting.job if sighting else None


def _barred_lately(run: Run) -> list[Submission]:
    return run.ledger.barred_since(run.clock() - LATE_S)


def _may_be_sent(run: Run) -> bool:
    """Whether the script may have been sent by hand, as far as is known."""
    return untouched(run) and run.clock() - run.unsent_at > UNSENT_S


def _dismiss(run: Run, submission: Submission) -> list[Note]:
    """Cancel a job that came after its submission was barred: all its tasks would be refused."""
    job = _sighted(run, submission.intent)
    if job is None:
        return []
    run.engine.cancel(job, submission.name, None)
    run.decide(Dismissed(submission.number, job, run.clock()))
    message = f"Job {job} of submission {submission.number:03d} came too late and is cancelled."
    names = {"submission": submission.number, "job": job, "cancelled": not run.place.read_only}
    return [Note("late-job", message, names)]


def _take_in(run: Run) -> list[Note]:
    """Take a job into the run that a person submitted with plain ``sbatch script.sh``."""
    try:
        script = read_script(run)
        name = job_name_of(run, script.request)
        planned = by_script(run, script, name)
    except BadInput:
        return []  # a script that cannot be read cannot have been submitted as it is
    sent = _sent_by_hand(run, name)
    if sent is None:
        run.unsent_at = run.clock()
        return []
    job, array = sent
    if 1 not in run.ledger.submissions:
        run.decide(intent_of(run, planned, array))
    run.decide(Submitted(1, job, None, "found", run.clock()))
    message = f"Job {job} was submitted by hand: it is submission 001 of this run now."
    return [Note("job-submitted-by-hand", message, {"job": job, "submission": 1})]


def intent_of(run: Run, planned: PlannedSubmission, array: ArrayExpression | None) -> Intent:
    """What a person did by hand, as if slurmslice had meant to."""
    if array is not None:
        known = [index for index in sorted(planned.batch.array) if index in set(array)]
        rows = tuple(row for index in known for row in rows_of_index(run, index))
        indices = compress(known, planned.batch.array.throttle)
        planned = replace(planned, batch=replace(planned.batch, array=indices, rows=rows))
    return planned.intent(run, run.clock(), run.record.first_sha256)
