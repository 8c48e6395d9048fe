"""Tell the end of a run outside of this terminal: by mail, and to the person's command."""

from __future__ import annotations

from collections.abc import Callable

from slurmslice.actions.site_rules import rules_in_force
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.cli.output.summary import next_commands
from slurmslice.errors import LockedError, SlurmsliceError
from slurmslice.notes import Note
from slurmslice.run.run import Run
from slurmslice.spec.run_spec import RunRecord

MailByJob = Callable[[str, str], None]
"""A function that lets the cluster mail a subject to an address."""


def tell_end(run: Run, stopped: str = "", mail_by_job: MailByJob | None = None) -> None:
    """Tell the end of a run once, if the person wants it; print notes.

    Args:
        run: the run.
        stopped: the reason why it cannot go on; empty if it has ended or is held.
        mail_by_job: as for ``notify_end``.
    """
    if not (run.record.mail or run.record.on_end) or run.directory.read_only:
        return
    from slurmslice.notify.notify_end import notify_end

    try:
        notes = notify_end(run, next_commands(run), stopped, mail_by_job)
    except LockedError as why:  # it must not change the exit code of the run
        notes = [Note("end-not-told", why.message)]
    for note in notes:
        print_note(note)


def note_missing_mail(record: RunRecord, *, by_job: bool) -> None:
    """Say before a run starts that no mail can leave this machine, if the person wants one.

    Args:
        record: the run.
        by_job: a steward will follow it, so that Slurm can mail the end.
    """
    site = rules_in_force()
    if not record.mail or (by_job and site.may_mail_by_job):
        return
    from slurmslice.notify.send_mail import mail_way, no_way_error
    from slurmslice.settings.mail_settings import read_mail_settings

    try:
        if mail_way(read_mail_settings(), site.mail):
            return
        why: SlurmsliceError = no_way_error(site.mail)
    except SlurmsliceError as fault:
        why = fault
    message = f"The end of this run will not be mailed from here: {why.message} {why.hint}"
    emit_note("mail-has-no-way", message.rstrip())
