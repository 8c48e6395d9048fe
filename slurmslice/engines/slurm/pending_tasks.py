"""Change the tasks of an array that wait in the queue: one update, judged by the queue.

docs/adr/0031 and docs/adr/0040.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from slurmslice.engines.slurm import commands, job_records
from slurmslice.engines.slurm.client import SlurmClient
from slurmslice.errors import BadInputError, EngineError, NoAnswerError
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.sbatch.units import format_time, parse_memory, parse_time
from slurmslice.status.identity import JobIdentity
from slurmslice.status.states import State

_MOST_NAMED = 1000
"""Tasks that one update names."""


@dataclass(frozen=True, slots=True)
class _WaitingTask:
    """A task of an array that has not started, as squeue shows it.

    Attributes:
        indices: the array indices of the record.
        nodes: the nodes that it avoids.
        values: its request, by the words of ``scontrol update``.
    """

    indices: frozenset[int]
    nodes: frozenset[str]
    values: dict[str, object]


def avoid_nodes(
    slurm: SlurmClient, job: JobIdentity, add: Collection[str], remove: Collection[str]
) -> None:
    """Change the nodes that the pending tasks of an array avoid.

    Raises:
        NoAnswerError, EngineError: as ``Engine.avoid_nodes``.
    """
    _change(slurm, job, NO_REQUEST, add, remove)


def change_pending_tasks(
    slurm: SlurmClient, job: JobIdentity, request: ResourceRequest
) -> frozenset[int]:
    """Change the request of the pending tasks of an array. As ``Engine.change_waiting``."""
    nodes = request.get("exclude", "")
    return _change(slurm, job, request.without({"exclude"}), [nodes] if nodes else [], ())


def _change(
    slurm: SlurmClient,
    job: JobIdentity,
    request: ResourceRequest,
    add: Collection[str],
    remove: Collection[str],
) -> frozenset[int]:
    """Update an array, unless all its pending tasks are so already.

    scontrol fails if one task runs or has ended, and changes the others all the same (seen on each
    release). So the queue is asked what they have now.

    Returns:
        the indices of the pending tasks.

    Raises:
        NoAnswerError, EngineError: as ``Engine.change_waiting``.
    """
    before = _waiting_tasks(slurm, job)
    add = frozenset[str]().union(*(slurm.expand(nodes) for nodes in add))
    kept = frozenset[str]().union(*(task.nodes for task in before)) - set(remove)
    nodes, values = kept.union(add), _update_words(request)
    same_nodes = not (add or remove) or all(task.nodes == nodes for task in before)
    if same_nodes and all(_has(task, values) for task in before):
        return _indices(before)
    if add or remove:
        values["ExcNodeList"] = ",".join(sorted(nodes))
    tasks = _tasks_to_name(slurm, job, before) if "TimeLimit" in values else job.job
    refusal = EngineError("Slurm did not change them.", code="slurm-error", command="scontrol")
    try:
        slurm.control_job(job, commands.scontrol_update(tasks, values))
    except NoAnswerError:
        raise
    except EngineError as why:
        refusal = why
    after = _waiting_tasks(slurm, job)
    for task in after:
        if not (_has(task, values) and task.nodes >= add and task.nodes.isdisjoint(remove)):
            raise refusal
    return _indices(after)


def _tasks_to_name(slurm: SlurmClient, job: JobIdentity, waiting: Iterable[_WaitingTask]) -> str:
    """Return the tasks to name in an update of a time limit: the array if none of it runs.

    An update of the array lowers the limit of its running tasks too (seen on 22.05), and nobody
    but an administrator raises it again.

    Raises:
        NoAnswerError: the queue did not answer.
        EngineError: they are too many: each named task gets a record of its own in slurmctld.
    """
    if not slurm.running_tasks(job):
        return job.job
    indices = sorted(_indices(waiting))
    if len(indices) > _MOST_NAMED:
        raise EngineError(
            f"more than {_MOST_NAMED} tasks wait and others run, whose time limit would change too",
            code="slurm-error",
            command="scontrol",
        )
    return f"{job.job}_[{compress_indices(indices)}]"


def _update_words(request: ResourceRequest) -> dict[str, str]:
    """Return sbatch's options as ``scontrol update`` has them: memory in MiB, time in minutes."""
    words: dict[str, str] = {}
    for option, value in request.options:
        if option == "time":
            seconds = parse_time(value)
            time = None if seconds is None else format_time(seconds + -seconds % 60)
            words["TimeLimit"] = time or "UNLIMITED"
        elif option == "partition":
            words["Partition"] = value
        else:
            word = {"mem": "MinMemoryNode", "mem-per-cpu": "MinMemoryCPU"}[option]
            words[word] = str(parse_memory(value))
    return words


def _has(task: _WaitingTask, words: dict[str, str]) -> bool:
    """Tell if a task has these values."""
    return all(
        task.values[word] == _value(word, text)
        for word, text in words.items()
        if word in task.values
    )


def _value(word: str, text: str) -> object:
    """Return a value in a form that can be compared; None if it cannot be read."""
    try:
        if word == "TimeLimit":
            return parse_time(text) or "UNLIMITED"
        return set(text.split(",")) if word == "Partition" else parse_memory(text)
    except BadInputError:
        return None


def _waiting_tasks(slurm: SlurmClient, job: JobIdentity) -> list[_WaitingTask]:
    """Ask for the pending tasks of an array; none if another job has its id now."""
    text = slurm.query(commands.squeue_waiting(job.job))
    expanded: dict[str, frozenset[str]] = {}
    found = []
    for record, shown in job_records.parse_waiting_tasks(text):
        if record.report.state is not State.PENDING or not job_records.is_own_record(
            record, {job.job: job.name}, {job.job: job}
        ):
            continue
        nodes, memory = shown["ExcludedNodes"], _value("MinMemoryNode", shown["MinMemory"])
        if nodes not in expanded:
            expanded[nodes] = slurm.expand(nodes)
        values = {
            **{word: _value(word, shown[word]) for word in ("Partition", "TimeLimit")},
            **dict.fromkeys(("MinMemoryNode", "MinMemoryCPU"), memory),
        }
        found.append(_WaitingTask(frozenset(record.indices or ()), expanded[nodes], values))
    return found


def _indices(tasks: Iterable[_WaitingTask]) -> frozenset[int]:
    return frozenset[int]().union(*(task.indices for task in tasks))
