"""Tell the end of a run outside of this terminal: by mail, and to the person's command."""

from __future__ import annotations

from collections.abc import Callable

from slurmslice.cli.output.console import print_note
from slurmslice.cli.output.summary import next_commands
from slurmslice.errors import LockedError
from slurmslice.notes import Note
from slurmslice.run.run import Run

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
