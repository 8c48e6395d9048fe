"""Plans for tests."""

from __future__ import annotations

from collections.abc import Mapping

from slurmslice.actions.submit import ChooseRows
from slurmslice.plan.plan import Choice, Plan, make_plan
from slurmslice.plan.planned_submission import PlannedSubmission
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import NO_REQUEST


def a_plan(run: Run, choose: ChooseRows, changes: Mapping[str, str] = NO_REQUEST) -> Plan:
    """Return a plan to submit the chosen slices."""
    return make_plan(run, Choice(choose(run), changes))


def planned(run: Run, choose: ChooseRows) -> list[PlannedSubmission]:
    """Return the submissions that would be made for the chosen slices."""
    return list(a_plan(run, choose).submissions(run))
