"""Choose where the steward of a run runs: its partition, and the nodes to avoid (docs/adr/0031)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from slurmslice.errors import SlurmsliceError
from slurmslice.plan.avoided_nodes import excluded_by_person
from slurmslice.plan.run_script import script_request
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import ResourceRequest

_FEW_NODES = frozenset(
    {"nodelist", "nodefile", "constraint", "cluster-constraint", "reservation", "licenses", "gres"}
    | {"gpus", "gpus-per-node", "gpus-per-task", "mem", "mem-per-cpu", "exclusive", "nodes"}
)
"""Options with which a job may fit on fewer nodes than its partition has."""

_NODES = re.compile(r"[A-Za-z0-9_.,\[\]-]*", re.ASCII)
"""The lists of nodes that steward.sh accepts."""


def steward_places(run: Run, options: ResourceRequest) -> Iterator[ResourceRequest]:
    """Yield the options that decide where the steward runs, the best first.

    That is what the person typed; else the default partition; else that of the run. What the site
    says replaces it.
    """
    theirs = script_request(run)
    chosen = {name: theirs[name] for name in ("account", "partition", "qos") if name in theirs}
    for name in ("account", "partition", "qos"):
        variable = run.environ.get(f"SBATCH_{name.upper()}")
        if variable and name not in chosen:
            chosen[name] = variable
    account = {"account": chosen["account"]} if "account" in chosen else {}
    yield ResourceRequest.of(account).overridden_by(options)
    if not options and chosen.keys() - account.keys():
        yield ResourceRequest.of(chosen)


def steward_excludes(run: Run, options: ResourceRequest) -> str | None:
    """Return the nodes that the steward's job excludes: those of its options, and suspected ones.

    None to leave its list as it is. No suspected node is among them unless others are left in each
    of its partitions: a steward that waits for a node follows nothing.

    Args:
        run: the run.
        options: the person's options for its job.
    """
    decided = run.journal_state.nodes
    places = [place.overridden_by(run.site.steward_sbatch) for place in _places(run, options)]
    own = excluded_by_person(places[0])
    if not (decided.periods or decided.released_at):
        return None
    if any(not _FEW_NODES.isdisjoint(place) for place in places):
        return None
    suspected = [node for node in decided.excluded(run.clock()) if node not in own]
    if suspected and not all(_has_more(run, place, len(own) + len(suspected)) for place in places):
        suspected = []
    nodes = ",".join([*own, *suspected])
    return nodes if _NODES.fullmatch(nodes) else None


def _places(run: Run, options: ResourceRequest) -> list[ResourceRequest]:
    try:
        return list(steward_places(run, options))
    except SlurmsliceError:  # the script cannot be read now
        return [options]


def _has_more(run: Run, place: ResourceRequest, nodes: int) -> bool:
    """Tell if a partition has more nodes than this number; False if that is not known."""
    try:
        return (run.engine.limits(place).nodes or 0) > nodes
    except SlurmsliceError:
        return False
