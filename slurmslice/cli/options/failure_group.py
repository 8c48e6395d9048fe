"""The option ``--group``: the slices of a group that ``failures`` shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from slurmslice.cli.output.console import emit_note
from slurmslice.cli.output.long_work import shown_if_long
from slurmslice.errors import BadInputError
from slurmslice.reports.counts import count_text, key_ranges
from slurmslice.reports.failure_groups import FailureGroups
from slurmslice.reports.failure_texts import joined_since
from slurmslice.run.run import Run
from slurmslice.system.shell_quoting import quote

group_option: Callable[[Callable[..., Any]], Callable[..., Any]] = click.option(
    "--group",
    "groups",
    multiple=True,
    metavar="ID",
    help="Only slices of this group of failures, as slurmslice failures shows it. Separate several "
    "by commas.",
)


def rows_in_groups(run: Run, groups: Sequence[str]) -> list[int]:
    """Return the rows of the slices in some groups, in order, after a poll.

    A note names the slices that have joined them since somebody last looked.

    Args:
        run: the run.
        groups: ids, or unique beginnings of them; several may be joined by commas.

    Raises:
        BadInputError: there is no such group, or several begin so.
    """
    with shown_if_long("Reading the logs") as show:
        found = FailureGroups(run, show)
    rows = sorted({row for text in ",".join(groups).split(",")
                   for row in found.rows[_group_id(run, text.strip(), found.rows)]})  # fmt: skip
    if joined := joined_since(found.texts, rows):
        keys = key_ranges(run.table.keys.of(joined))
        message = f"New in {','.join(groups)} since you looked: {count_text(len(joined))} ({keys})"
        emit_note("group-grew", message, slices=len(joined), keys=keys)
    return rows


def among_rows(rows: Iterable[int] | None, chosen: Sequence[int]) -> list[int]:
    """Return the chosen rows that are among some rows; None stands for all rows."""
    named = None if rows is None else set(rows)
    return [row for row in chosen if named is None or row in named]


def _group_id(run: Run, text: str, known: Mapping[str, Sequence[int]]) -> str:
    """Return the id that begins with a text."""
    found = [one for one in known if one.startswith(text)] if text else []
    if text in found or len(found) == 1:
        return text if text in found else found[0]
    some = ", ".join(list(found or known)[:_SHOWN]) or "none"
    hint = f"Groups: {some}. To see what they are: slurmslice failures {quote(run.record.name)}"
    if found:
        message = f"{len(found)} groups begin with {text!r}."
        raise BadInputError(message, hint, code="ambiguous-group", group=text)
    raise BadInputError(f"There is no group {text!r}.", hint, code="unknown-group", group=text)


_SHOWN = 8
