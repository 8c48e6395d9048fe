"""The groups of failed slices on stdout: a few lines for each, so that the largest fit a screen."""

from __future__ import annotations

from collections.abc import Iterator

from slurmslice.cli.output.console import emit_note, print_line
from slurmslice.reports.counts import count_text, key_ranges, shorten_text
from slurmslice.reports.failure_groups import FailureGroup, FailureGroups
from slurmslice.run.run import Run
from slurmslice.system.escaping import escape
from slurmslice.system.shell_quoting import quote_words

_MOST_GROUPS = 8
_MOST_LINE = 160


def print_failures(run: Run, groups: FailureGroups, *, every: bool) -> None:
    """Print the groups, the largest first; say if there are no failed slices.

    Args:
        run: the run.
        groups: its groups.
        every: print all groups; otherwise the largest.
    """
    name, slices = run.record.name, count_text(len(run.table))
    failed = sum(map(len, groups.rows.values()))
    if not failed:
        emit_note("no-failures", f"{name}: no slice of {slices} has failed.", run=name)
        return
    how_many = count_text(len(groups), "group")
    emit_note("failures-found", f"{name}: {failed} of {slices} failed, in {how_many}",
              run=name, failed=failed, groups=len(groups))  # fmt: skip
    shown = len(groups) if every else min(_MOST_GROUPS, len(groups))
    for number in range(shown):
        for line in group_lines(run, groups[number]):
            print_line(line)
    if left := list(groups.rows.values())[shown:]:
        slices = count_text(sum(map(len, left)))
        message = f"… and {count_text(len(left), 'smaller group')} with {slices}. To show: --all"
        emit_note("more-groups", message, groups=len(left))


def group_lines(run: Run, group: FailureGroup) -> Iterator[str]:
    """Yield the lines for one group."""
    keys = key_ranges(run.table.keys.of(group.rows))
    yield f"{group.id}  {len(group.rows):>5}  {group.title}  {keys}"
    status = run.statuses[group.example]
    line = group.line or status.reason
    yield f"    {escape(run.table.keys[group.example])}: {shorten_text(line, _MOST_LINE)}"
    if facts := "; ".join(_facts(group)):
        yield f"    {facts}"
    for words in group.next:
        yield f"    {quote_words(words)}"


def _facts(group: FailureGroup) -> Iterator[str]:
    total = len(group.rows)
    if group.node:
        yield f"{group.node[1]} of {total} on node {group.node[0]}"
    for one in group.shared:
        yield f"{one.count} of {total} have {one.column}={escape(one.value)}"
