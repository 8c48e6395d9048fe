"""The failed slices of a run, grouped by cause and signature (ADR 43)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from slurmslice.plan.repairs import rows_to_repair
from slurmslice.policy.causes import signal_name
from slurmslice.policy.failure_signature import needs_log
from slurmslice.policy.signatures import group_id
from slurmslice.reports.counts import shorten_text
from slurmslice.reports.failure_texts import FailureTexts, cached_failures
from slurmslice.reports.shared_values import SharedValue, common_value, shared_values
from slurmslice.run.failure_cache import KnownFailure
from slurmslice.run.run import Run
from slurmslice.script.progress_lines import signal_number
from slurmslice.status.reconcile import SliceStatus


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Failed slices with one cause and one signature.

    Attributes:
        id: its id, the same in every process and as long as the run exists.
        cause: the cause, in the word that ``--on`` takes.
        signature: what their error lines have in common; empty if the logs say nothing.
        rows: its slices, in order.
        end: how most of them ended: ``exit 1``, ``signal SEGV``; empty if not known.
        nodes: the nodes with the number of their slices, the most first.
        node: the node that most of them had, with their number; None if that may be by chance.
        shared: values that they share.
        example: the row of the slice with the example.
        line: the error line of that slice as it stands; empty if there is none.
        next: the commands to type, as words.
    """

    id: str
    cause: str
    signature: str
    rows: tuple[int, ...]
    end: str
    nodes: tuple[tuple[str, int], ...]
    node: tuple[str, int] | None
    shared: tuple[SharedValue, ...]
    example: int
    line: str
    next: tuple[tuple[str, ...], ...]

    @property
    def title(self) -> str:
        """The cause, and how its slices ended if the cause does not say so."""
        end = self.end.removeprefix(self.cause.replace(":", " ")).removeprefix(", ")
        return f"{self.cause} ({end})" if end else self.cause

    def record(self, run: Run) -> dict[str, object]:
        """Return it as a plain record, for ``--json``."""
        return {
            "id": self.id,
            "cause": self.cause,
            "signature": self.signature,
            "count": len(self.rows),
            "keys": run.table.keys.of(self.rows),
            "end": self.end or None,
            "nodes": dict(self.nodes),
            "columns": [
                {"column": one.column, "value": one.value, "count": one.count}
                for one in self.shared
            ],
            "example": {
                "key": run.table.keys[self.example],
                "line": self.line or None,
                "reason": run.statuses[self.example].reason,
            },
            "next": [list(words) for words in self.next],
        }


class FailureGroups(Sequence[FailureGroup]):
    """The groups of a run's failed slices, the largest first.

    Args:
        run: the run.
        on_look: as ``FailureTexts`` calls it.

    Attributes:
        texts: what the logs say.
    """

    def __init__(self, run: Run, on_look: Callable[[int, int], None] | None = None) -> None:
        self._run, self.texts = run, FailureTexts(run, on_look)
        self._rows = rows_by_group(self.texts.now)
        self._order = sorted(self._rows, key=lambda found: (-len(self._rows[found]), found))

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, which: int) -> FailureGroup:  # type: ignore[override]
        found = self._order[which]
        return self._group(found, self._rows[found])

    @property
    def rows(self) -> Mapping[str, list[int]]:
        """The rows of each group, by id, the largest first."""
        return {found: self._rows[found] for found in self._order}

    def _group(self, found: str, rows: list[int]) -> FailureGroup:
        run, known = self._run, self.texts.now
        statuses = [run.statuses[row] for row in rows]
        nodes = Counter(status.node for status in statuses if status.node)
        example = next((row for row in rows if known[row].line), rows[0])
        names = run.table.columns if len(rows) > 1 else ()
        return FailureGroup(
            id=found,
            cause=known[rows[0]].cause,
            signature=known[rows[0]].signature,
            rows=tuple(rows),
            end=_common_end(statuses) if needs_log(known[rows[0]].cause) else "",
            nodes=tuple(nodes.most_common()),
            node=common_value(nodes, self._starts),
            shared=tuple(shared_values(self._values(rows, names), self._everywhere)),
            example=example,
            line=known[example].line,
            next=tuple(self._next(found, rows)),
        )

    @cached_property
    def _starts(self) -> Counter[str]:
        """The number of slices that last ran on each node."""
        starts = self._run.statuses.starts_by_node(range(len(self._run.table)))
        return Counter({node: len(some) for node, some in starts.items()})

    @cached_property
    def _everywhere(self) -> dict[str, Counter[str]]:
        return self._values(range(len(self._run.table)), self._run.table.columns)

    def _values(self, rows: Sequence[int], names: Sequence[str]) -> dict[str, Counter[str]]:
        found = {name: Counter[str]() for name in names}
        for row in rows if names else ():
            for name, value in zip(names, self._run.table.column_values(row), strict=True):
                found[name][value] += 1
        return found

    @cached_property
    def _repaired(self) -> frozenset[int]:
        """The rows that a steward repairs by itself: a person's resubmit would begin anew."""
        return frozenset(rows_to_repair(self._run) if self._run.has_steward else ())

    def _next(self, found: str, rows: list[int]) -> list[tuple[str, ...]]:
        name, cause = self._run.record.name, self.texts.now[rows[0]].cause
        commands: list[tuple[str, ...]] = [("slurmslice", "logs", name, "--group", found)]
        mine = self._run.directory.foreign_owner is None
        if mine and not self._repaired.issuperset(rows):
            more = _MORE.get(cause, ())
            commands.append(("slurmslice", "resubmit", name, "--group", found, *more))
        return commands


_MOST_TITLE = 50
"""Characters of a signature in ``status``."""

_MORE = {
    "oom": ("--mem", "2x"),
    "memory-error": ("--mem", "2x"),
    "timeout": ("--time", "2x"),
}
"""The change of the request that helps, by cause."""


def rows_by_group(known: Mapping[int, KnownFailure]) -> dict[str, list[int]]:
    """Group rows by the id of their cause and signature."""
    found: dict[str, list[int]] = {}
    ids: dict[tuple[str, str], str] = {}
    for row, one in known.items():
        both = one.cause, one.signature
        if both not in ids:
            ids[both] = group_id(*both)
        found.setdefault(ids[both], []).append(row)
    return found


def known_group_texts(run: Run) -> dict[int, str]:
    """Return the known groups of failures in words, by row; it reads no log.

    Failures of which Slurm tells the cause have a better reason, with amounts.
    """
    known = {row: one for row, one in cached_failures(run).items() if one.files}
    found: dict[int, str] = {}
    for group, rows in rows_by_group(known).items():
        title = shorten_text(known[rows[0]].signature, _MOST_TITLE) or known[rows[0]].cause
        found |= dict.fromkeys(rows, f"{group} {title}")
    return found


def _common_end(statuses: Sequence[SliceStatus]) -> str:
    """Return the exit code or the signal of most of some slices, in words; empty if not known."""
    ends = Counter((status.exit_code, status.signal) for status in statuses)
    code, signal = ends.most_common(1)[0][0]
    if signal:
        return f"signal {signal_name(signal)}"
    if not code:
        return ""
    number = signal_number(code)
    return f"exit {code}, signal {signal_name(number)}" if number else f"exit {code}"
