"""Plans for tests."""

from __future__ import annotations

from collections.abc import Mapping

from slurmslice.resources import NO_REQUEST
from slurmslice.run import Run
from slurmslice.submission import PlannedSubmission
from slurmslice.submission_plan import Choice, Plan, make_plan
from slurmslice.verbs.submit import ChooseRows


def a_plan(run: Run, choose: ChooseRows, changes: Mapping[str, str] = NO_REQUEST) -> Plan:
    """A plan to submit the chosen slices."""
    return make_plan(run, Choice(choose(run), changes))


def planned(run: Run, choose: ChooseRows) -> list[PlannedSubmission]:
    """The submissions that would be made of the chosen slices."""
    return list(a_plan(run, choose).submissions(run))
