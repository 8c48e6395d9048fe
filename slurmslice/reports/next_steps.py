"""The commands to type next for a run, as words, for ``--json``. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from slurmslice.plan.repairs import rows_to_repair
from slurmslice.plan.then_phase import is_over
from slurmslice.run.run import Run
from slurmslice.status.states import State

_MORE = {State.OUT_OF_MEMORY: ("--mem", "2x"), State.TIMEOUT: ("--time", "2x")}
"""The change of the request that helps, by state."""


def next_steps(run: Run) -> list[list[str]]:
    """Return the commands, the most useful first; none if the run is done."""
    return [["slurmslice", *words] for words in _steps(run)]


def _steps(run: Run) -> Iterator[tuple[str, ...]]:
    name, failed = run.record.name, run.failed_rows
    if failed:
        yield "failures", name
    if run.hold.reason:
        yield "run", name, "--max-failures", "none"
        return
    if failed and not (run.has_steward and rows_to_repair(run)):
        for state in sorted({run.statuses.state(row) for row in failed}):
            yield "resubmit", name, "--state", str(state), *_MORE.get(state, ())
    if not run.finished or not (failed or is_over(run)):
        yield ("watch" if run.has_steward else "run"), name
