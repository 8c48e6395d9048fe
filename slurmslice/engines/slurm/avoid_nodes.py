"""Let what waits in the queue avoid nodes (docs/adr/0031): one update, judged by the queue."""

from __future__ import annotations

from collections.abc import Collection

from slurmslice.engines.slurm import commands, job_records
from slurmslice.engines.slurm.client import SlurmClient
from slurmslice.errors import EngineError, NoAnswerError
from slurmslice.status.identity import JobIdentity
from slurmslice.status.states import State


def avoid_nodes(
    slurm: SlurmClient, job: JobIdentity, add: Collection[str], remove: Collection[str]
) -> None:
    """Change the nodes that the pending tasks of an array avoid.

    scontrol fails if one task runs or has ended, and changes the others all the same (seen on each
    release). So the queue is asked what they avoid now.

    Raises:
        NoAnswerError, EngineError: as ``Engine.avoid_nodes``.
    """
    before = _avoided_by_tasks(slurm, job)
    add = frozenset[str]().union(*(_expanded(slurm, nodes) for nodes in add))
    kept = frozenset[str]().union(*before) - set(remove)
    if all(nodes == kept.union(add) for nodes in before):
        return
    refusal = EngineError("Slurm did not change the nodes.", code="slurm-error", command="scontrol")
    try:
        slurm.control_job(job, commands.scontrol_exclude(job.job, sorted(kept.union(add))))
    except NoAnswerError:
        raise
    except EngineError as why:
        refusal = why
    for nodes in _avoided_by_tasks(slurm, job):
        if not (nodes.issuperset(add) and nodes.isdisjoint(remove)):
            raise refusal


def _avoided_by_tasks(slurm: SlurmClient, job: JobIdentity) -> set[frozenset[str]]:
    """Return the sets of nodes that pending tasks of an array avoid; empty if none is pending."""
    text = slurm.query(commands.squeue_excluded(job.job))
    lists = {
        nodes
        for record, nodes in job_records.parse_excluded_nodes(text)
        if job_records.is_own_record(record, {job.job: job.name}, {job.job: job})
        and record.report.state is State.PENDING
    }
    return {_expanded(slurm, nodes) for nodes in lists}


def _expanded(slurm: SlurmClient, nodes: str) -> frozenset[str]:
    names = slurm.query(commands.scontrol_hostnames(nodes)) if "[" in nodes else nodes
    return frozenset(name for line in names.splitlines() for name in line.split(",") if name)
