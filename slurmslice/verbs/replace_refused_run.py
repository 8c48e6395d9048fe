"""Make a run anew: another takes the place of one of which nothing was ever taken."""

from __future__ import annotations

from slurmslice.errors import BadInput
from slurmslice.ledger import Fate
from slurmslice.run import Run
from slurmslice.run_spec import RunRecord
from slurmslice.rundir import RunDirectory, create
from slurmslice.script import library
from slurmslice.verbs.create import RunInputs, render
from slurmslice.verbs.settle import settle, settle_locked


def replaceable(run: Run) -> bool:
    """Whether all that was ever done with a run was to be refused, as far as can be known.

    A script that was sent or edited by hand is a person's work, and stays.
    """
    return _only_refused(run) and not settle(run).silences and _only_refused(run)


def _only_refused(run: Run) -> bool:
    fates = {submission.fate for submission in run.ledger.submissions.values()}
    return fates == {Fate.REFUSED} and not run.place.script_edited


def replace_refused_run(run: Run, record: RunRecord, new: RunInputs) -> RunDirectory:
    """Make another run in the place of one that is ``replaceable``: whole, or not at all.

    Raises:
        BadInput: something of it was taken at this moment, or there was no look-up.
        Busy: another slurmslice holds it.
    """
    text = render(record, new, run.place.path)
    with run.place.lock("run"):
        run.reload()
        if settle_locked(run).silences or not _only_refused(run):
            raise BadInput(
                f"Something was done with {run.place.path} at this moment.",
                "`slurmslice status` shows where it stands.",
                code="changed-meanwhile",
                run=run.place.path.name,
            )
        data = text.encode("utf-8", "surrogateescape")
        return create(run.place.path, record, new.table, data, library(), instead=True)
