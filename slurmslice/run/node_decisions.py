"""The decisions of a run about nodes, by its journal: which ones are excluded, since when, and why.

``slurmslice.policy.bad_nodes`` has the rule. Here is only what was decided.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from slurmslice.run.journal import NodeExcluded, NodeIncluded


@dataclass
class NodeDecisions:
    """The decisions about nodes.

    Attributes:
        periods: for each node, the decisions to exclude it since its last release.
        released_at: for each node that was used again before its time: when, epoch seconds.
    """

    periods: dict[str, list[NodeExcluded]] = field(default_factory=dict)
    released_at: dict[str, float] = field(default_factory=dict)

    def apply(self, event: NodeExcluded | NodeIncluded) -> None:
        """Apply one event. A release withdraws all that was decided about the node before."""
        if isinstance(event, NodeExcluded):
            self.periods.setdefault(event.node, []).append(event)
        else:
            self.periods.pop(event.node, None)
            self.released_at[event.node] = event.at

    def excluded(self, now: float) -> dict[str, NodeExcluded]:
        """Return the nodes that are excluded at a time, each with the newest decision."""
        newest = {node: events[-1] for node, events in sorted(self.periods.items())}
        return {node: event for node, event in newest.items() if event.until > now}

    def blames(self, node: str | None, started_at: float | None) -> bool:
        """Tell if an attempt that failed on a node counts as a failure of the node."""
        if not self.periods or node is None or started_at is None:
            return False
        return any(
            one.cause == BY_FAILURES and one.since <= started_at < one.until
            for one in self.periods.get(node, ())
        )


BY_FAILURES = "failures"
"""The cause of an exclusion because slices failed on the node, and not the node itself."""
