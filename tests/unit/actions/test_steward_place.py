"""Where the steward runs: it avoids accused nodes as long as others are left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from slurmslice.actions.steward import ensure_steward
from slurmslice.actions.steward_round import do_round, submit_successor
from slurmslice.engines.protocol import TaskLimits
from slurmslice.errors import NoAnswerError
from slurmslice.run.journal import NodeExcluded, NodeIncluded
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.unit.actions.test_steward import fakes, next_of

__all__ = ["fakes"]


def accuse(run: Run, *nodes: str) -> None:
    """Record that these nodes are excluded for a day."""
    now = run.clock()
    for node in nodes:
        run.decide(NodeExcluded(node, "node", now, 1, 0, 0, 1.0, now + 86400, now))


def nodes_of(run: Run, options: ResourceRequest = NO_REQUEST) -> str | None:
    """Return the nodes that a round tells bash to avoid; None if it tells none."""
    found = ensure_steward(run, options).steward
    do_round(run, found.token, found.job)
    *_, last = next_of(run).split()
    return last.partition("=")[2] if last.startswith("ExcNodeList=") else None


@pytest.fixture
def run(new_run: Callable[..., Run], engine: FakeEngine) -> Run:
    """Make a run on a cluster with four nodes."""
    engine.limited = TaskLimits(1001, nodes=4)
    return new_run()


def test_without_an_accused_node_nothing_is_told(run: Run) -> None:
    """The list of the job is left alone, whatever it is."""
    assert nodes_of(run, ResourceRequest.of({"exclude": "n9"})) is None


@pytest.mark.parametrize(
    ("options", "nodes"),
    [
        ({}, "n3"),
        ({"exclude": "n1,m[2-4]"}, "n1,m[2-4],n3"),
        ({"exclude": "n3"}, "n3"),
        ({"partition": "serial"}, "n3"),
        ({"constraint": "fast"}, None),
        ({"nodelist": "n3"}, None),
        ({"exclude": "/home/ada/nodes"}, None),
    ],
)
def test_a_steward_avoids_an_accused_node(
    options: dict[str, str], nodes: str | None, run: Run
) -> None:
    """Beside what a person excludes, and unless a person chose the nodes."""
    accuse(run, "n3")
    assert nodes_of(run, ResourceRequest.of(options)) == nodes


@pytest.mark.parametrize(("known", "nodes"), [(1, ""), (2, ""), (3, "n3,n4"), (None, "")])
def test_a_node_must_be_left(known: int | None, nodes: str, run: Run, engine: FakeEngine) -> None:
    """A steward that waits for a node follows nothing."""
    accuse(run, "n3", "n4")
    engine.limited = TaskLimits(1001, nodes=known)
    assert nodes_of(run) == nodes


def test_without_an_answer_no_node_is_avoided(
    run: Run, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not known if another node is left."""
    accuse(run, "n3")

    def no_answer(request: ResourceRequest) -> TaskLimits:
        raise NoAnswerError("away")

    monkeypatch.setattr(engine, "limits", no_answer)
    assert nodes_of(run) == ""


def test_a_node_that_is_used_again_is_told(run: Run) -> None:
    """The job got it in its list before."""
    accuse(run, "n3")
    assert nodes_of(run) == "n3"
    run.decide(NodeIncluded("n3", "a person decided that", run.clock()))
    assert nodes_of(run, ResourceRequest.of({})) == ""


def test_options_of_the_site_count(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """They replace those of a person."""
    accuse(run, "n3")
    rules = replace(run.site, steward_sbatch=ResourceRequest.of({"exclude": "n7"}))
    monkeypatch.setattr("slurmslice.actions.site_rules.rules_in_force", lambda: rules)
    assert nodes_of(run, ResourceRequest.of({"exclude": "n1"})) == "n7,n3"


def test_a_new_steward_and_the_next_of_a_chain_avoid_it_too(run: Run, engine: FakeEngine) -> None:
    """By sbatch's option."""
    assert engine.stewards
    accuse(run, "n3")
    found = ensure_steward(run).steward
    do_round(run, found.token, found.job)
    submit_successor(run, found.token, found.job)
    orders = list(engine.stewards.orders.values())
    assert [order.options["exclude"] for order in orders] == ["n3", "n3"]
    assert State.PENDING is engine.stewards.reports["901"].state
