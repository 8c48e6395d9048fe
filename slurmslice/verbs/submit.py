"""Submit and resubmit: rows into submissions, each journalled before and after sbatch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from slurmslice.errors import BadInput, Full, NoAnswer, SlurmsliceError, Unsure
from slurmslice.errors import Refused as RefusedByEngine
from slurmslice.journal import Refused, Submitted
from slurmslice.plan import to_resubmit
from slurmslice.run import Run
from slurmslice.states import State
from slurmslice.submission import Draft, check_table, drafts
from slurmslice.verbs.poll import look_again
from slurmslice.verbs.settle import DOUBT_S, settle, settle_locked


@dataclass(frozen=True, slots=True)
class Taken:
    """A submission that was taken.

    Attributes:
        draft: what was sent.
        job: the array's job id.
        notes: what a person should know of it.
    """

    draft: Draft
    job: str
    notes: tuple[str, ...]


Choose = Callable[[Run], Sequence[int]]
"""Picks rows by the standings, once the lock is held and doubts are settled."""


def waiting(only: Sequence[int] | int | None) -> Choose:
    """The slices that wait: all, the first so many, or those among these rows."""

    def choose(run: Run) -> Sequence[int]:
        rows = [row for row, s in enumerate(run.standings) if s.state is State.WAITING]
        if only is None:
            return rows
        if isinstance(only, int):
            return rows[:only]
        _refuse_in_flight(run, [row for row in only if row not in set(rows)])
        return sorted(only)

    return choose


def _refuse_in_flight(run: Run, rows: Sequence[int]) -> None:
    if not rows:
        return
    key, state = run.table.keys[rows[0]], run.standings[rows[0]].state
    raise BadInput(
        f"Slice {key!r} is {state}, not WAITING.",
        "`slurmslice resubmit` puts slices in again that have ended.",
    )


def failed(states: frozenset[State] | None, rows: Sequence[int] | None) -> Choose:
    """The slices that failed, or that are in one of these states; among these rows if given."""

    def choose(run: Run) -> Sequence[int]:
        picked = to_resubmit(run.standings.states(), states)
        return picked if rows is None else sorted(set(picked) & set(rows))

    return choose


def submit(run: Run, choose: Choose, changes: Mapping[str, str], verb: str) -> list[Taken]:
    """Put the chosen slices into submissions; what was taken.

    The lock is held for each sbatch, not longer. A doubt about an earlier submission is waited
    out first, without the lock.

    Raises:
        BadInput: the request cannot be understood, or can never be honoured.
        EngineError: refused, full, or in doubt; what was taken before stays taken.
    """
    wait_out_doubts(run)
    with run.place.lock(verb):
        run.reload()
        settle_locked(run)
        run.take_back()
        look_again(run, choose(run))
        rows = choose(run)
        return [_send(run, draft) for draft in drafts(run, rows, changes)]


def preview(run: Run, choose: Choose, changes: Mapping[str, str]) -> list[Draft]:
    """What ``submit`` would send; nothing is made."""
    return drafts(run, choose(run), changes)


def wait_out_doubts(run: Run) -> None:
    """Let a submission in doubt show itself, or be barred, before anything else goes in.

    Raises:
        NoAnswer: it could not be looked up, so nothing may be submitted.
    """
    deadline = run.clock() + DOUBT_S + 10
    while True:
        run.reload()
        silences = settle(run).silences
        if not run.ledger.in_doubt():
            return
        if silences or run.clock() > deadline:
            number = run.ledger.in_doubt()[0].number
            raise NoAnswer(
                f"Whether submission {number:03d} was taken is not known, and it cannot be "
                f"looked up now: {'; '.join(silences) or 'another slurmslice is at it'}.",
                "Nothing more is submitted until it is; try again when Slurm answers.",
            )
        run.engine.wait(1.0)


def _send(run: Run, draft: Draft) -> Taken:
    """One submission: folder, intent, engine, answer. Hold the lock."""
    check_table(run, draft.number)
    sha = ""
    if draft.number > 1:
        sha = run.place.prepare(draft.number, run.table, draft.table_rows, run.asked.direct)
    run.decide(draft.intent(run, run.clock(), sha or run.asked.slices_sha256))
    try:
        receipt = run.engine.submit(draft.order(run))
    except (RefusedByEngine, Full, BadInput) as no:
        if draft.number > 1 and not run.place.bar(draft.number):
            return _ran_all_the_same(run, draft, no)
        run.decide(Refused(draft.number, no.message, run.clock()))
        raise
    except Unsure as doubt:
        return _look_up(run, draft, doubt)
    run.decide(Submitted(draft.number, receipt.job, receipt.cluster, "sbatch", run.clock()))
    return Taken(draft, receipt.job, receipt.notes)


def _ran_all_the_same(run: Run, draft: Draft, no: SlurmsliceError) -> Taken:
    """A refusal that was none: a task has claimed the submission.

    The bar of a true refusal keeps a job that appears after all from running. The first
    submission is not barred: it may still be sent by hand, and is found by its token.
    """
    job = run.place.owner(draft.number)
    if job is None:  # the task is writing its claim at this moment
        return _look_up(run, draft, Unsure(no.message))
    run.decide(Submitted(draft.number, job, None, "claimed", run.clock()))
    return Taken(draft, job, ("sbatch said no, but the job runs.",))


def _look_up(run: Run, draft: Draft, doubt: Unsure) -> Taken:
    """After a doubtful answer: the queue may know the token already."""
    settled = settle_locked(run)
    submission = run.ledger.submissions[draft.number]
    if submission.job:
        return Taken(draft, submission.job, settled.notes)
    raise Unsure(
        f"{doubt.message} Whether submission {draft.number:03d} was taken is not known yet.",
        "`slurmslice status` looks it up; nothing is submitted twice.",
    )
