"""Tell the end of a run once: by mail, and to the person's command."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from slurmslice.errors import MailError, OnEndError, SlurmsliceError
from slurmslice.notes import Note
from slurmslice.notify.end_message import end_message
from slurmslice.notify.send_mail import send_mail
from slurmslice.plan.canary_phase import stop_reason
from slurmslice.plan.then_phase import is_over
from slurmslice.reports.records import run_record
from slurmslice.run.journal import EndTold
from slurmslice.run.run import Run
from slurmslice.settings.mail_settings import read_mail_settings
from slurmslice.system.process import run_hook

_COMMAND_TIMEOUT_S = 300.0


def notify_end(
    run: Run,
    next_step: str,
    stopped: str = "",
    mail_by_job: Callable[[str, str], None] | None = None,
) -> list[Note]:
    """Tell the person the end of a run, once for each way that the person wants.

    If a way fails, the run is not affected, and the next command that follows the run tries it
    again. After a new submission or a release, the next end is told too.

    Args:
        run: the run.
        next_step: the commands to type next.
        stopped: the obstacle if the run cannot go on; empty if it has ended or is held.
        mail_by_job: lets Slurm mail a subject to an address at the end of this job; None if this is
            no job. Used unless the settings name an SMTP server: mail of a node's sendmail is
            often lost.

    Returns:
        a note on each way that was used.

    Raises:
        LockedError: another process holds the lock of the run for too long.
    """
    if not (is_over(run) or stop_reason(run) or stopped):
        return []
    ways: dict[str, Callable[[], str]] = {}
    if run.record.mail:
        ways["mail"] = lambda: _mail(run, next_step, stopped, mail_by_job)
    if run.record.on_end:
        ways["on-end"] = lambda: _call(run)
    return [note for way, tell in ways.items() for note in _tell(run, way, tell)]


def _tell(run: Run, way: str, tell: Callable[[], str]) -> Iterator[Note]:
    with run.directory.lock("run"):
        run.reload()
        if way in run.journal_state.end_told:
            return
        run.decide(EndTold(way, run.clock()))
    try:
        told = tell()
    except BaseException as why:
        with run.directory.lock("run"):
            run.reload()
            run.decide(EndTold(way, run.clock(), failed=True))
        if not isinstance(why, SlurmsliceError):
            raise
        message = f"{why.message} The next command that follows the run tries it again."
        yield Note("end-not-told", message, {"way": way})
    else:
        yield Note("end-told", told, {"way": way})


def _mail(
    run: Run, next_step: str, stopped: str, mail_by_job: Callable[[str, str], None] | None
) -> str:
    if run.site.fault:  # nobody knows which ways the site allows
        raise MailError(run.site.fault)
    to = run.record.request["mail-user"]
    settings = read_mail_settings()
    message = end_message(run, stopped, next_step)
    by_smtp = settings.smtp_host and "smtp" in run.site.mail
    if mail_by_job and not by_smtp and run.site.may_mail_by_job:
        mail_by_job(message.subject, to)
    else:
        send_mail(message, to, settings, run.site.mail)
    return f"Mail to {to}: {message.subject}"


def _call(run: Run) -> str:
    """Run the person's command in the working directory; it reads the status as JSON.

    Raises:
        OnEndError: it did not exit with 0.
    """
    status = json.dumps(run_record(run)).encode()
    argv = ("bash", "-c", run.record.on_end)
    code, said = run_hook(argv, data=status, timeout=_COMMAND_TIMEOUT_S, cwd=run.record.work_dir)
    if code != 0:
        why = "did not end within 5 minutes" if code is None else f"exited {code}"
        raise OnEndError(f"--on-end {why}{': ' + said if said else ''}.")
    return "--on-end was called."
