"""The step after a run: look at it, start it once, record its end, call it off (docs/adr/0027)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from slurmslice.actions.resolve_doubts import FENCE_AFTER_S
from slurmslice.actions.same_environment import next_environ
from slurmslice.engines.aside import Aside
from slurmslice.engines.stewards import StewardOrder
from slurmslice.errors import (
    EngineError,
    LockedError,
    NoAnswerError,
    SubmissionRejectedError,
    SubmissionUnknownError,
)
from slurmslice.notes import Note
from slurmslice.plan.planned_submission import new_token
from slurmslice.plan.run_script import check_library, read_script, script_request
from slurmslice.plan.then_phase import ThenPhase, then_phase
from slurmslice.run.run import Run
from slurmslice.run.then_folder import FENCED, ThenFolder
from slurmslice.run.then_record import (
    NAME_END,
    ThenCalledOff,
    ThenEnded,
    ThenIntent,
    ThenSeen,
    ThenStep,
    ThenSubmitted,
)
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.script.template_files import templates_folder
from slurmslice.spec.run_spec import job_name
from slurmslice.spec.then_rule import ThenRule
from slurmslice.status.identity import JobIdentity
from slurmslice.status.states import State
from slurmslice.system.shell_quoting import quote

GRACE_S = 120.0
"""Seconds for which the recorded end of a job may be invisible after Slurm told its end."""


def folder_of(run: Run, step: ThenStep) -> ThenFolder:
    """Return the files of a start of the step."""
    return ThenFolder(run.directory.path, step.token)


# -- looking ---------------------------------------------------------------------------------


def look_at_then(run: Run) -> None:
    """Find out the state of a step that has not ended, and keep it in ``run.then_seen``.

    Raises:
        NoAnswerError: the engine did not answer.
    """
    step = run.journal_state.then
    if step is not None and step.state is None:
        run.then_seen = ThenSeen(step.token, *_state_of(run, step))


def _state_of(run: Run, step: ThenStep) -> tuple[State, str]:
    """Return the state of a start that the journal has not ended, and the reason."""
    code = folder_of(run, step).exit_code()
    if code == 0:
        return State.COMPLETED, ""
    if run.engine.aside is not None:
        if code is not None:
            return State.FAILED, f"exit {code}"
        return (State.RUNNING, "") if run.engine.aside.runs else (State.WAITING, "interrupted")
    if not step.job:
        return State.SUBMITTED, "it is not known yet if Slurm accepted it"
    return _state_of_job(run, step, code)


def _state_of_job(run: Run, step: ThenStep, code: int | None) -> tuple[State, str]:
    assert run.engine.stewards is not None  # noqa: S101 - an engine has jobs, or runs programs
    try:
        report = run.engine.stewards.look(JobIdentity(step.job, step.intent.job_name))
    except NoAnswerError:
        if code is None:
            raise
        report = None
    if report is not None and report.state.final and report.state is not State.COMPLETED:
        return report.state, report.reason if code is None else f"exit {code}"
    if code is not None:
        return State.FAILED, f"exit {code}"
    if report is not None and not report.state.final:
        return report.state, report.reason
    known = step.intent.at if report is None else report.ended_at or step.intent.at
    if run.clock() - known < GRACE_S:
        return State.SUBMITTED, "its end is not known yet"
    said = "Slurm does not know its job" if report is None else "Slurm says COMPLETED"
    return State.FAILED, f"{said}, and it has recorded no end"


# -- the usual way ---------------------------------------------------------------------------


def follow_then(run: Run) -> tuple[Note, ...]:
    """Record the end of the step if it has ended; start it if it is due.

    Raises:
        LockedError, NoAnswerError: try again later.
        BadInputError: the environment, the script or its library is not that of the slices.
    """
    if run.record.then is None:
        return ()
    settle_then(run)
    return start_then(run) if then_phase(run) is ThenPhase.DUE else ()


def settle_then(run: Run) -> None:
    """Record what is known of a start that the journal has not ended.

    Raises:
        LockedError, NoAnswerError: try again later.
    """
    step = run.journal_state.then
    if step is None or step.state is not None:
        return
    with run.directory.lock("run"):
        run.reload()
        step = run.journal_state.then
        if step is None or step.state is not None:
            return
        if not step.job and run.engine.aside is None:
            _resolve_doubt(run, step)
            return
        look_at_then(run)
        seen = run.then_seen
        if seen and (seen.state.final or seen.state is State.WAITING):
            run.decide(ThenEnded(step.token, seen.state, seen.reason, run.clock()))


def _resolve_doubt(run: Run, step: ThenStep) -> None:
    """Find the job of a start without an answer; after a while, make sure that it never begins."""
    if job := _find_job(run, step):
        run.decide(ThenSubmitted(step.token, job, "found", run.clock()))
    elif run.clock() - step.intent.at >= FENCE_AFTER_S and folder_of(run, step).fence():
        reason = "it never reached the queue"
        run.decide(ThenEnded(step.token, State.WAITING, reason, run.clock()))


def _find_job(run: Run, step: ThenStep) -> str:
    claimed = folder_of(run, step).claiming_job()
    if claimed and claimed != FENCED:
        return claimed
    found = run.engine.find_job(step.name_end, step.intent.job_name, step.intent.at)
    return found.job if found else ""


# -- starting --------------------------------------------------------------------------------


def start_then(
    run: Run, options: ResourceRequest | None = None, *, again: bool = False
) -> tuple[Note, ...]:
    """Start the step, unless another process has started it; on this machine, wait for its end.

    Args:
        run: the run.
        options: the sbatch options of its job; None for those of the run.
        again: a person starts it, whatever its phase is, unless it runs now.

    Raises:
        LockedError, NoAnswerError: try again later; nothing is started twice.
        BadInputError: the environment, the script or its library is not that of the slices.
    """
    rule = run.record.then
    if rule is None:
        return ()
    with run.directory.lock("run"):
        run.reload()
        phase = then_phase(run)
        if phase is ThenPhase.STARTED or not (again or phase is ThenPhase.DUE):
            return ()
        step, environ = _announce(run, rule, rule.request if options is None else options)
        aside = run.engine.aside
        if aside is None:
            return tuple(_submit(run, step, environ))
        note = _start_here(run, aside, step, environ)
    with _recorded_interruption(run, step):
        code = aside.wait()
        _record_end(run, step, State.FAILED if code else State.COMPLETED, _said(code))
    return (note,)


def _said(code: int) -> str:
    return f"exit {code}" if code else ""


def _announce(
    run: Run, rule: ThenRule, options: ResourceRequest
) -> tuple[ThenStep, dict[str, str]]:
    """Write the files of a start, then the event. The caller holds the lock."""
    check_library(run)
    if run.engine.aside is not None and run.engine.aside.runs:
        raise LockedError("Another slurmslice runs slices or a step of this run here.")
    script = read_script(run)
    environ = next_environ(run, script, script.request)
    token = new_token()
    missing = (
        run.table.keys[row]
        for row in range(len(run.table))
        if run.statuses.state(row) is not State.COMPLETED
    )
    text = (templates_folder() / "then.sh").read_bytes()
    ThenFolder(run.directory.path, token).prepare(text, rule.command, missing)
    name = job_name(run.record.name, token) + NAME_END
    newest = run.journal_state.newest_accepted
    run.decide(ThenIntent(token, name, run.clock(), newest, options))
    step = run.journal_state.then
    assert step is not None  # noqa: S101 - it was recorded just now
    return step, dict(environ)


def _submit(run: Run, step: ThenStep, environ: dict[str, str]) -> Iterator[Note]:
    """Submit the announced job. The caller holds the lock."""
    assert run.engine.stewards is not None  # noqa: S101 - an engine has jobs, or runs programs
    folder = folder_of(run, step)
    own = {
        "job-name": step.intent.job_name,
        "output": str(folder.log).replace("%", "%%"),
        "open-mode": "append",
        "export": script_request(run).get("export", "ALL"),
    }
    asked = _place(run).overridden_by(step.intent.options).overridden_by(own)
    order = StewardOrder(folder.script, (str(run.directory.path), step.token), asked, environ)
    try:
        job = run.engine.stewards.submit(order)
    except SubmissionUnknownError as why:
        with contextlib.suppress(NoAnswerError):
            if job := _find_job(run, step):
                run.decide(ThenSubmitted(step.token, job, "found", run.clock()))
                yield _started(run, step, f"job {job}", job)
                return
        raise NoAnswerError(f"{why.message} It is not known yet if the step was accepted.") from why
    except SubmissionRejectedError as why:
        reason = f"sbatch refused it: {why.message}"
        run.decide(ThenEnded(step.token, State.FAILED, reason, run.clock()))
    except EngineError as why:
        run.decide(ThenEnded(step.token, State.WAITING, why.message, run.clock()))
        raise NoAnswerError(why.message) from why
    else:
        run.decide(ThenSubmitted(step.token, job, "sbatch", run.clock()))
        yield _started(run, step, f"job {job}", job)


def _place(run: Run) -> ResourceRequest:
    """Return the account, partition and QOS of the run's script, or of the person's variables."""
    theirs = script_request(run)
    found = {}
    for name in ("account", "partition", "qos"):
        value = theirs.get(name, "") or run.environ.get(f"SBATCH_{name.upper()}", "")
        found.update({name: value} if value else {})
    return ResourceRequest.of(found)


def _start_here(run: Run, aside: Aside, step: ThenStep, environ: dict[str, str]) -> Note:
    """Start the announced program on this machine. The caller holds the lock."""
    folder = folder_of(run, step)
    argv = ("bash", str(folder.script), str(run.directory.path), step.token)
    try:
        pid = aside.start(argv, environ, folder.log)
    except (EngineError, OSError) as why:
        run.decide(ThenEnded(step.token, State.WAITING, str(why), run.clock()))
        raise
    run.decide(ThenSubmitted(step.token, pid, "started", run.clock()))
    return _started(run, step, f"process {pid}", pid)


@contextlib.contextmanager
def _recorded_interruption(run: Run, step: ThenStep) -> Iterator[None]:
    """Record that the step was interrupted, so that the next ``run`` starts it again."""
    try:
        yield
    except BaseException:
        _record_end(run, step, State.WAITING, "interrupted")
        raise


def _record_end(run: Run, step: ThenStep, state: State, reason: str) -> None:
    with run.directory.lock("run"):
        run.reload()
        newest = run.journal_state.then
        if newest and newest.token == step.token and newest.state is None:
            run.decide(ThenEnded(step.token, state, reason, run.clock()))


def _started(run: Run, step: ThenStep, what: str, job: str) -> Note:
    log = os.path.relpath(folder_of(run, step).log)
    message = f"The step afterwards was started: {what}. Its output: {quote(log)}"
    return Note("then-started", message, {"job": job, "log": log})


# -- ending ----------------------------------------------------------------------------------


def call_off_then(run: Run) -> str:
    """Cancel the step if it runs, and never start it by itself; return its job id, else "".

    Raises:
        EngineError: the engine did not answer, or refused it.
    """
    if run.record.then is None:
        return ""
    settle_then(run)
    with run.directory.lock("cancel"):
        run.reload()
        run.decide(ThenCalledOff(run.clock()))
        step = run.journal_state.then
        if step is None or step.state is not None or not step.job or run.engine.aside:
            return ""
        run.decide(ThenEnded(step.token, State.CANCELLED, "cancelled", run.clock()))
        run.engine.cancel(JobIdentity(step.job, step.intent.job_name), None)
    return step.job
