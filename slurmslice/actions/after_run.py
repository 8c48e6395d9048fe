"""Wait for another run (``--after``): look at it, and record that it is done (docs/adr/0027)."""

from __future__ import annotations

from pathlib import Path

from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import poll
from slurmslice.errors import BadInputError, SlurmsliceError
from slurmslice.plan.canary_phase import stop_reason
from slurmslice.plan.then_phase import ThenPhase, is_over, then_phase
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import AfterMet
from slurmslice.run.run import AfterSeen, Run

NO_RUN = "none"
"""The value of ``--after`` with which an existing run waits no longer."""


def other_run(run: Run) -> Run:
    """Open the run that this one waits for, only to read it.

    Raises:
        BadInputError, DamagedRunError: it is not there any more, or cannot be read.
    """
    return open_run(RunDirectory.open(Path(run.record.after)), read_only=True)


def look_at_other(run: Run) -> None:
    """Find out if the other run is done, and keep it in ``run.after_seen``."""
    if not run.waits_for_other:
        return
    try:
        other = other_run(run)
        look_at_other(other)
        poll(other)
        run.after_seen = _seen(other)
    except BadInputError as why:
        run.after_seen = AfterSeen(failed=why.message)
    except SlurmsliceError as why:  # no answer is no information
        run.after_seen = AfterSeen(silence=why.message)


def _seen(other: Run) -> AfterSeen:
    name = other.record.name
    if is_over(other) and other.succeeded and then_phase(other) is not ThenPhase.FAILED:
        return AfterSeen(done=True)
    if reason := stop_reason(other):
        return AfterSeen(failed=f"the run {name} stopped: {reason}")
    if not is_over(other):
        return AfterSeen()
    if other.succeeded:
        return AfterSeen(failed=f"the step after the run {name} failed")
    return AfterSeen(failed=f"the run {name} has ended, and not every slice of it is done")


def follow_other(run: Run) -> None:
    """Look at the other run; if it is done, record that this one need not wait any more.

    Raises:
        LockedError: another process holds the lock for too long.
    """
    look_at_other(run)
    if run.waits_for_other and run.after_seen.done:
        wait_no_longer(run, "it is done")


def wait_no_longer(run: Run, reason: str) -> None:
    """Record that a run need not wait for the other one any more.

    Raises:
        LockedError: another process holds the lock for too long.
    """
    with run.directory.lock("run"):
        run.reload()
        if run.waits_for_other:
            run.decide(AfterMet(reason, run.clock()))


def check_after(after: Path, own: Path) -> str:
    """Check the run that a new run waits for, and return its path.

    Args:
        after: its run directory.
        own: the directory of the new run.

    Raises:
        BadInputError: it is the new run itself, or waits for it.
        DamagedRunError: it cannot be read.
    """
    known, path = set[str](), str(after)
    while path and path not in known:
        known.add(path)
        if Path(path) == own:
            raise BadInputError(
                f"The run {own.name} would wait for itself.",
                "Name another run, or give this one another --name.",
                code="after-itself",
                option="after",
                run=own.name,
            )
        directory = RunDirectory(Path(path))
        path = directory.read_record().after if (Path(path) / "run.json").exists() else ""
    return str(after)
