"""The run that another one waits for (``--after``), in ``status`` and at the end of a command."""

from __future__ import annotations

import os

from slurmslice.notes import Note
from slurmslice.run.run import Run
from slurmslice.system.shell_quoting import quote


def note_on_other_run(run: Run) -> Note | None:
    """Return a note on the run that this one waits for; None if it waits for none."""
    if not run.waits_for_other:
        return None
    other, name = os.path.basename(run.record.after), quote(run.record.name)
    seen = run.after_seen
    fields = {"after": run.record.after, "done": seen.done, "failed": seen.failed}
    if seen.failed:
        message = (
            f"Nothing was submitted: {seen.failed}.\n"
            f"Repair:        slurmslice status {quote(run.record.after)}\n"
            f"Then:          slurmslice run {name}\n"
            f"To go on without it: slurmslice run {name} --after none"
        )
    else:
        why = f" (not known now: {seen.silence})" if seen.silence else ""
        message = f"It waits until the run {other} is done{why}. To follow: slurmslice run {name}"
    return Note("after-state", message, fields)
