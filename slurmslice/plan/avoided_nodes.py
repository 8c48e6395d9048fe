"""The suspected nodes that a submission excludes, beside those that a person excludes.

They are no part of a slice's request: a later attempt may use them again.
"""

from __future__ import annotations

from collections.abc import Iterable

from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import ResourceRequest

_CHOOSE_NODES = frozenset({"nodelist", "nodefile"})


def avoided_nodes(run: Run, request: ResourceRequest) -> tuple[str, ...]:
    """Return the suspected nodes to exclude from a submission.

    There are none if a person chose the nodes (``--nodelist``).

    Args:
        run: the run.
        request: every option in force.
    """
    if run.uses_all_nodes or not _CHOOSE_NODES.isdisjoint(request):
        return ()
    own = excluded_by_person(request)
    return tuple(node for node in run.journal_state.nodes.excluded(run.clock()) if node not in own)


def excluded_by_person(request: ResourceRequest) -> list[str]:
    """Return the words of ``--exclude``: nodes, and ranges of nodes."""
    return [word for word in request.get("exclude", "").split(",") if word]


def excluding(request: ResourceRequest, nodes: Iterable[str]) -> str:
    """Return the value of ``--exclude`` with more nodes."""
    return ",".join([*excluded_by_person(request), *nodes])
