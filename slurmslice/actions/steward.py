"""See to it that a run has one steward: look at it, submit it, end it (docs/adr/0022)."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace

from slurmslice.actions.after_run import other_run
from slurmslice.actions.resolve_doubts import FENCE_AFTER_S
from slurmslice.actions.site_rules import load_site_rules
from slurmslice.actions.steward_place import steward_excludes, steward_places
from slurmslice.actions.table_line import is_in_place, remove_line
from slurmslice.actions.unattended_way import needs_slurm
from slurmslice.engines.stewards import StewardOrder, Stewards
from slurmslice.errors import (
    BadInputError,
    EngineError,
    NoAnswerError,
    SlurmsliceError,
    SubmissionRejectedError,
    SubmissionUnknownError,
)
from slurmslice.plan.planned_submission import new_token
from slurmslice.policy.steward_wake import (
    LEAST_PAUSE_S,
    MAX_TERMS,
    NOTHING,
    Wake,
    make_wake,
    wake_for_job,
)
from slurmslice.run.identity import job_identity
from slurmslice.run.run import Run
from slurmslice.run.steward_folder import StewardFolder
from slurmslice.run.steward_record import (
    NAME_END,
    Round,
    Steward,
    StewardEnded,
    StewardIntent,
    StewardSubmitted,
)
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.sbatch.units import parse_duration
from slurmslice.script.template_files import templates_folder
from slurmslice.spec.run_spec import job_name
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import TaskReport
from slurmslice.system.shell_quoting import quote

TIME_LIMIT_MIN = 15
"""The time limit of a round, minutes. steward.sh ends one that hangs earlier."""

LONGEST_ROUND_S = 540
"""Seconds for one round, if the limit of the job allows them."""

_SOON_S = 60
"""The pause before the next round of a steward that waits, after a person typed the line again."""

NEVER_ARRIVED = "it never reached the queue"
REFUSED = "Slurm refused it"


@dataclass(frozen=True, slots=True)
class StewardInPlace:
    """The steward of a run.

    Attributes:
        steward: the steward, with its job.
        is_new: it was submitted just now.
        partition: its partition if one was requested; empty for the default one.
        wake: what it waits for, if it is new.
    """

    steward: Steward
    is_new: bool
    partition: str = ""
    wake: Wake = NOTHING


def stewards_of(run: Run) -> Stewards:
    """Return what the engine does for stewards.

    Raises:
        BadInputError: the engine has none.
    """
    if run.engine.stewards is None:
        raise needs_slurm()
    return run.engine.stewards


def job_of(steward: Steward) -> JobIdentity:
    """Return the identity of a steward's job."""
    return JobIdentity(steward.job, steward.intent.job_name)


def look_at(run: Run, steward: Steward) -> TaskReport | None:
    """Ask the engine about a steward's job; None if nothing knows it any more.

    Raises:
        NoAnswerError: a source did not answer.
    """
    return stewards_of(run).look(job_of(steward))


def wake_now(run: Run, pause_s: int = 0, *, soon: bool = False) -> Wake:
    """Return what a steward of the run waits for, by the queue at this moment.

    Args:
        run: the run.
        pause_s: the least pause, seconds.
        soon: something is not known or not done yet. A slice in flight without a task in the
            queue is such a thing: it has ended, and its end is not known yet.

    Raises:
        NoAnswerError: the queue did not answer.
    """
    flying = run.submissions_in_flight()
    tasks = stewards_of(run).live_tasks([job_identity(run, one) for one in flying])
    listed = {(task.job, task.index) for task in tasks}
    unlisted = any(
        (one.job, one.array_index_of(row)) not in listed
        for one in flying
        for row in run.unfinished_rows(one)
    )
    if not flying and not soon and (job := _job_afterwards(run)):
        return wake_for_job(job, pause_s)
    if not flying and not soon and run.waits_for_other:
        with contextlib.suppress(SlurmsliceError):
            other = other_run(run)
            if other.engine.stewards is not None:
                return wake_now(other, max(pause_s, LEAST_PAUSE_S))
    shared = len(flying) > 1 and any(one.share is not None for one in flying)
    any_end = bool(run.journal_state.queue or run.hold.probe) or shared
    return make_wake(
        tasks, now=run.clock(), pause_s=pause_s, any_end=any_end, soon=soon or unlisted,
        most_terms=min(MAX_TERMS, run.site.terms), rounds=len(steward_rounds(run)),
    )  # fmt: skip


def steward_rounds(run: Run) -> list[Round]:
    """Return the recorded rounds of a run's stewards, the oldest first."""
    return StewardFolder(run.directory.path).rounds()


def _job_afterwards(run: Run) -> str:
    """Return the job of the step after the run, if it has not ended; else an empty text."""
    step = run.journal_state.then
    return step.job if step and step.state is None else ""


def ensure_steward(run: Run, options: ResourceRequest = NO_REQUEST) -> StewardInPlace:
    """Submit a steward unless the run has one that lives.

    Args:
        run: the run.
        options: the person's options for its job.

    Raises:
        BadInputError: the engine has no stewards.
        NoAnswerError: it is not known if a steward is there.
        SubmissionRejectedError: Slurm refused it.
        SubmissionUnknownError: it is not known if Slurm accepted it; call this again.
    """
    settle_doubt(run)
    wake = wake_now(run)
    with run.directory.lock("run"):
        run.reload()
        steward = run.journal_state.steward
        if steward and steward.is_line and not steward.ended:
            _end_line(run, steward, "a job follows the run")
        elif steward and not steward.ended:
            if not steward.job:
                raise _unknown(run)
            report = look_at(run, steward)
            if report is not None and not report.state.final:
                # A person may have submitted what it does not wait for yet. Never "now": a job that
                # starts in the second in which it was put back fails on some releases (seen).
                soon = replace(wake, pause_s=_SOON_S)
                stewards_of(run).wait_for(job_of(steward), soon.words)
                return StewardInPlace(steward, is_new=False)
            state = "Slurm does not know it any more" if report is None else report.state.lower()
            run.decide(StewardEnded(steward.token, state, run.clock()))
        return submit_steward(run, wake, options)


def submit_steward(run: Run, wake: Wake, options: ResourceRequest) -> StewardInPlace:
    """Submit a steward, and record its intent before. The caller holds the lock.

    Raises:
        EngineError: as ``ensure_steward``.
    """
    load_site_rules(run)
    StewardFolder(run.directory.path).prepare((templates_folder() / "steward.sh").read_bytes())
    refusals: list[SubmissionRejectedError] = []
    for place in steward_places(run, options):
        token = new_token()
        name = job_name(run.record.name, token) + NAME_END
        run.decide(StewardIntent(token, name, run.clock(), options))
        try:
            job = stewards_of(run).submit(_order(run, token, name, place, wake))
        except SubmissionUnknownError:
            job = find_steward(run) or ""
            if not job:
                raise _unknown(run) from None
        except EngineError as why:
            run.decide(StewardEnded(token, REFUSED, run.clock()))
            if not isinstance(why, SubmissionRejectedError):
                raise why.inside(_NOT_SUBMITTED, _how_to_go_on(run)) from why
            refusals.append(why)
            continue
        run.decide(StewardSubmitted(token, job, "sbatch", run.clock()))
        steward = run.journal_state.steward
        assert steward is not None  # noqa: S101 - it was recorded just now
        return StewardInPlace(steward, is_new=True, partition=place.get("partition", ""), wake=wake)
    raise refusals[0].inside(
        _NOT_SUBMITTED,
        f"To choose its partition: add --steward-sbatch '-p PARTITION'\n{_how_to_go_on(run)}",
    )


_NOT_SUBMITTED = "What is in the queue goes on, but nobody follows it: the steward was refused"


def _how_to_go_on(run: Run) -> str:
    line = f"slurmslice run {quote(run.record.name)}"
    return f"To try again: {line} --unattended\nTo follow it from here: {line}"


def _order(run: Run, token: str, name: str, place: ResourceRequest, wake: Wake) -> StewardOrder:
    folder = StewardFolder(run.directory.path)
    own = {
        "job-name": name,
        "output": str(folder.log).replace("%", "%%"),
        "open-mode": "append",
        "requeue": "",
        "export": "ALL",
        "ntasks": "1",
        "cpus-per-task": "1",
        "mem": f"{512 + len(run.table) // 500}M",
        "time": str(TIME_LIMIT_MIN),
    }
    if run.record.mail and "slurm" in run.site.mail:  # a job that was killed cannot tell it
        own |= {"mail-type": "FAIL", "mail-user": run.record.request["mail-user"]}
    asked = ResourceRequest.of(own).overridden_by(place).overridden_by(run.site.steward_sbatch)
    asked = asked.overridden_by(dict(wake.options))
    if excluded := steward_excludes(run, place):
        asked = asked.overridden_by({"exclude": excluded})
    arguments = (str(run.directory.path), token, sys.executable, str(round_seconds(asked)))
    return StewardOrder(folder.script, arguments, asked, run.environ)


def round_seconds(asked: ResourceRequest) -> int:
    """Return the time for one round: the rest of the job's limit is for putting itself back."""
    try:
        limit_s = parse_duration(asked["time"])
    except BadInputError:  # no limit
        return LONGEST_ROUND_S
    return max(1, min(LONGEST_ROUND_S, int(limit_s * 0.6)))


def _unknown(run: Run) -> SubmissionUnknownError:
    return SubmissionUnknownError(
        "It is not known yet if the steward was accepted.",
        f"Type: slurmslice run {quote(run.record.name)} --unattended. It looks for its job first, "
        "and submits no second one.",
        code="submission-unknown",
        run=run.record.name,
    )


def find_steward(run: Run) -> str | None:
    """Find the job of a steward without an answer: by its claim, or by its token.

    Raises:
        NoAnswerError: the engine did not answer.
    """
    steward = run.journal_state.steward
    if steward is None:
        return None
    if claimed := StewardFolder(run.directory.path).claiming_job():
        return claimed
    intent = steward.intent
    found = run.engine.find_job(steward.name_end, intent.job_name, intent.at)
    return found.job if found else None


def settle_doubt(run: Run) -> None:
    """Wait until it is known if Slurm accepted the newest steward.

    Raises:
        NoAnswerError: the engine did not answer.
    """
    while True:
        with run.directory.lock("run"):
            run.reload()
            steward = run.journal_state.steward
            if steward is None or steward.job or steward.ended:
                return
            if steward.is_line:
                _settle_line(run, steward)
                return
            if job := find_steward(run):
                run.decide(StewardSubmitted(steward.token, job, "found", run.clock()))
                return
            if run.clock() - steward.intent.at >= FENCE_AFTER_S:
                run.decide(StewardEnded(steward.token, NEVER_ARRIVED, run.clock()))
                return
        run.engine.wait(1.0)


def _settle_line(run: Run, steward: Steward) -> None:
    """Find out if the line of a run was added; the caller was killed while it did that."""
    if is_in_place(steward):
        run.decide(StewardSubmitted(steward.token, steward.intent.way, "found", run.clock()))
    else:
        run.decide(StewardEnded(steward.token, NEVER_ARRIVED, run.clock()))


def _end_line(run: Run, steward: Steward, reason: str) -> None:
    """End a line and remove it. If that is not possible from here, its next call removes it."""
    run.decide(StewardEnded(steward.token, reason, run.clock()))
    with contextlib.suppress(NoAnswerError):
        remove_line(run, steward)


def end_job(run: Run, reason: str) -> None:
    """End the steward of a run if it is a job.

    Raises:
        EngineError: as ``end_steward``.
    """
    steward = run.journal_state.steward
    if steward and not steward.is_line:
        end_steward(run, reason)


def end_steward(run: Run, reason: str) -> str:
    """End the steward of a run, if it has one; return its job id, else an empty text.

    A line of a table is removed; its place is returned.

    Raises:
        EngineError: the engine did not answer, or refused it.
    """
    steward = run.journal_state.steward
    if steward is None or steward.ended or run.engine.stewards is None:
        return ""
    settle_doubt(run)
    with run.directory.lock("cancel"):
        run.reload()
        steward = run.journal_state.steward
        if steward is None or steward.ended:
            return ""
        if steward.is_line:
            _end_line(run, steward, reason)
        else:
            run.decide(StewardEnded(steward.token, reason, run.clock()))
            run.engine.cancel(job_of(steward), None)
    return steward.job
