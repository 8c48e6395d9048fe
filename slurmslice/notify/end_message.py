"""The one message about the end of a run."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass

from slurmslice.actions.judge_nodes import excluded_nodes, node_evidence
from slurmslice.actions.raise_requests import raise_note
from slurmslice.errors import NoAnswerError
from slurmslice.plan.attempt_costs import AttemptCosts
from slurmslice.plan.canary_phase import stop_reason
from slurmslice.plan.failure_causes import cause_of_row
from slurmslice.plan.repairs import Repairs, find_repairs
from slurmslice.reports.counts import count_text, counts_by_state, key_ranges
from slurmslice.reports.then import ThenReport, report_then
from slurmslice.run.continuations import count_continuations
from slurmslice.run.run import Run
from slurmslice.sbatch.units import format_time
from slurmslice.status.states import State
from slurmslice.system.escaping import escape
from slurmslice.system.shell_quoting import quote

_MOST_SUBJECT = 200


@dataclass(frozen=True, slots=True)
class EndMessage:
    """The message about the end of a run.

    Attributes:
        subject: counts only, one line of the characters that Slurm's mail takes.
        text: the body, plain lines.
    """

    subject: str
    text: str

    @property
    def html(self) -> str:
        """The body as HTML; every text in it is escaped."""
        body = html.escape(self.text)
        return f"<!DOCTYPE html><html><body><pre>{body}</pre></body></html>\n"


def end_message(run: Run, stopped: str, next_step: str) -> EndMessage:
    """Return the message about a run that has ended, or that cannot go on.

    Args:
        run: the run.
        stopped: the reason why it cannot go on; empty if it has ended or is held.
        next_step: the commands to type next; empty if there are none.
    """
    stopped = stopped or stop_reason(run)
    lines = [*_outcome(run, stopped), "", *_counts(run), "", *_figures(run), *_failures(run)]
    lines += ["", *_afterwards(run, then)] if (then := report_then(run)) else []
    nodes = [node_evidence(one) for one in excluded_nodes(run).values()]
    lines += ["", "Nodes:", *(f"  {line}" for line in nodes)] if nodes else []
    if next_step:
        lines += ["", "What to type next:", *(f"  {line}" for line in next_step.splitlines())]
    lines += ["", f"Logs: {run.directory.path / 'submissions'}"]
    return EndMessage(_subject(run, stopped), "\n".join(lines) + "\n")


def _subject(run: Run, stopped: str) -> str:
    counts = run.statuses.state_counts()
    done, total = counts.get(State.COMPLETED, 0), len(run.table)
    failed, accepted = len(run.failed_rows), len(run.accepted_rows)
    parts = [f"all {total} done" if done == total else f"{done} of {total} done"]
    parts += [f"{failed} failed"] if failed else []
    parts += [f"{accepted} accepted"] if accepted else []
    then = report_then(run)
    if then and then.outcome:
        parts.append(f"then {then.outcome}{' but stale' if then.stale else ''}")
    parts += ["stopped"] if stopped else []
    text = f"{run.record.name}: {', '.join(parts)}"
    return re.sub(r"[^A-Za-z0-9 .,:;_-]", "-", text)[:_MOST_SUBJECT]


def _afterwards(run: Run, then: ThenReport) -> Iterator[str]:
    yield f"Afterwards: {then.text}."
    if then.stale:
        again = f"slurmslice then {quote(run.record.name)}"
        yield f"It is stale, because slices were submitted later. To run it again: {again}"


def _outcome(run: Run, stopped: str) -> list[str]:
    name, total = run.record.name, count_text(len(run.table))
    if stopped:
        return [f"The run {name} ({total}) stopped: {escape(stopped)}."]
    some = f"; {count_text(len(run.accepted_rows), 'accepted failure')}"
    is_done = f"is done{some if run.accepted_rows else ''}"
    how = is_done if run.succeeded else "has ended; not every slice is done"
    return [f"The run {name} ({total}) {how}."]


def _counts(run: Run) -> list[str]:
    return [
        f"{len(one.rows):>8}  {one.state:<14} {one.keys}  ({one.why})"
        for one in counts_by_state(run)
    ]


def _figures(run: Run) -> list[str]:
    costs = AttemptCosts(run)
    used = costs.all_attempts()
    with contextlib.suppress(NoAnswerError):
        used += costs.restarted()
    lines = [f"Used: {used}, of which repairs {costs.repairs()}."]
    first = min((s.intent.at for s in run.journal_state.submissions.values()), default=None)
    ends = (end for _, end in run.statuses.times(range(len(run.table))) if end is not None)
    last = max(ends, default=None)
    if first is not None and last is not None:
        lines.append(f"Duration: {format_time(max(0, int(last - first)))}, from the first "
                     "submission to the last end.")  # fmt: skip
    histories = run.journal_state.repairs.begun.values()
    repaired = sum(count_continuations(causes) < len(causes) for causes in histories)
    continued = sum(count_continuations(causes) > 0 for causes in histories)
    lines += [f"Repaired: {count_text(repaired)}."] if repaired else []
    lines += [f"Continued from their checkpoints: {count_text(continued)}."] if continued else []
    return [*lines, *(raise_note(one).message for one in run.journal_state.raised.events)]


def _failures(run: Run) -> list[str]:
    """List the failures by cause, without accepted ones, and why the policy left them."""
    rows = run.failed_rows
    if not rows:
        return []
    repairs = find_repairs(run)
    causes: dict[tuple[str, str], list[int]] = {}
    reasons = _reasons(repairs)
    for row in rows:
        known = cause_of_row(run, row), reasons.get(row, "")
        causes.setdefault(known, []).append(row)
    found = sorted(causes.items(), key=lambda one: -len(one[1]))
    return ["", "Failures:", *(_failure(run, *which, some) for which, some in found)]


def _reasons(repairs: Repairs) -> dict[int, str]:
    return {row: left.reason for left in repairs.left for row in left.rows}


def _failure(run: Run, cause: str, reason: str, rows: list[int]) -> str:
    keys = key_ranges([run.table.keys[row] for row in rows])
    nodes = {run.statuses.seen(row).node for row in rows}
    (node,) = nodes if len(nodes) == 1 and len(rows) > 1 else (None,)
    where = f"; all on {node}" if node else ""
    why = f"; left: {reason}" if reason else ""
    return f"{len(rows):>8}  {cause}: {keys}{where}{escape(why)}"
