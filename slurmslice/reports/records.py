"""A run as plain records: what ``--json`` prints. Fields are only ever added."""

from __future__ import annotations

import json
from collections.abc import Collection

from slurmslice.evidence import FACTS
from slurmslice.reports.requested import Requested
from slurmslice.run import Run

Record = dict[str, object]


def to_json(run: Run, rows: Collection[int] | None = None) -> str:
    """The run and its slices; ASCII, so that bytes that are not UTF-8 can be read back."""
    return json.dumps(run_record(run, rows), indent=1)


def run_record(run: Run, rows: Collection[int] | None = None) -> Record:
    """The run as a record; ``counts`` is of all slices, ``slices`` of these rows."""
    chosen = range(len(run.table)) if rows is None else rows
    requested = Requested(run)
    return {
        "run": run.record.name,
        "directory": str(run.place.path),
        "engine": run.record.engine,
        "cluster": run.record.cluster,
        "finished": run.finished,
        "counts": {str(state): number for state, number in run.standings.tally().items()},
        "slices": [slice_record(run, row, requested) for row in chosen],
    }


def slice_record(run: Run, row: int, requested: Requested) -> Record:
    """One slice. Times are epoch seconds; what is not known is None."""
    standing, asked = run.standings[row], requested.of(row)
    log = None
    if standing.submission:
        log = str(run.place.log(standing.submission, run.table.log_of(row)))
    return {
        "key": run.table.keys[row],
        "row": row,
        "state": str(standing.state),
        "attempt": standing.attempt,
        "job": run.job_of(standing),
        **{name: getattr(standing, name) for name in FACTS},
        "requested_mem_bytes": asked.mem_bytes,
        "time_limit_s": asked.time_s,
        "log": log,
        "evidence": str(standing.evidence),
        "reason": standing.reason,
    }
