"""The step after a run, in ``status`` and at the end of a run."""

from __future__ import annotations

from slurmslice.cli.output.console import printable_line
from slurmslice.cli.output.preview import relative_path
from slurmslice.notes import Note
from slurmslice.plan.then_phase import ThenPhase
from slurmslice.reports.then import report_then
from slurmslice.run.run import Run
from slurmslice.system.shell_quoting import quote


def note_on_then(run: Run) -> Note | None:
    """Return a note on the step after the run; None if there is none."""
    from pathlib import Path

    report = report_then(run)
    if report is None:
        return None
    lines = [f"{report.text[0].upper()}{printable_line(report.text[1:])}."]
    again = f"slurmslice then {quote(run.record.name)}"
    if report.outcome:
        lines.append(f"Its output: {quote(relative_path(Path(report.log)))}")
    if report.stale:
        lines.append("It is stale: slices were submitted after its start.")
    if report.phase is ThenPhase.FAILED or report.stale:
        lines.append(f"To run it again: {again}")
    elif report.phase is ThenPhase.NOT_MET:
        lines.append(f"To run it all the same: {again}")
    elif report.phase is ThenPhase.DUE and not run.has_steward:
        lines.append(f"To start it: slurmslice run {quote(run.record.name)}")
    return Note("then-state", "\n".join(lines), report.record())
