"""The rules in the preview of a new run: what is submitted first, what not, and when it stops."""

from __future__ import annotations

import os
from collections.abc import Iterator

from slurmslice.actions.create import RunInputs
from slurmslice.cli.output.console import emit_note, printable_line
from slurmslice.notes import Note
from slurmslice.policy.failure_limit import limit_in_slices
from slurmslice.policy.log_causes import parse_causes
from slurmslice.reports.counts import count_text, key_ranges, shorten_text
from slurmslice.spec.canary import canary_rows
from slurmslice.spec.run_spec import NO_LIMIT, RunRecord


def note_all_done(new: RunInputs) -> bool:
    """Tell if all slices were done before, and print that: there is no run to make."""
    if len(new.done.rows) < len(new.table):
        return False
    message = f"All {count_text(len(new.table))} were done before; no run was made."
    emit_note("all-done-before", message, slices=len(new.table))
    return True


def done_before_notes(record: RunRecord, new: RunInputs) -> Iterator[Note]:
    """Return notes on the slices that were done before, and on those with young files."""
    if not record.skip_done:
        return
    keys = key_ranges(new.table.keys.of(new.done.rows)) if new.done.rows else ""
    which = f" ({keys})" if keys else ""
    of = f"{len(new.done.rows)} of {count_text(record.slices)}{which}"
    done = f"{of} done before, not submitted"
    weak = "; that a file is not empty is a weak check" if keys else ""
    fields = {"slices": len(new.done.rows), "keys": keys}
    yield Note("done-before", f"{done}{weak}", fields)
    if new.done.young:
        keys = key_ranges(new.table.keys.of(new.done.young))
        message = f"{keys}: submitted, because a file changed in the last 10 minutes"
        yield Note("done-too-young", message, {"slices": len(new.done.young), "keys": keys})


def canary_note(record: RunRecord, new: RunInputs) -> Note | None:
    """Return a note on the slices that are submitted first; None if all are."""
    rows = canary_rows(record.canary, new.table, record.done_rows)
    if not rows:
        return None
    keys = key_ranges(new.table.keys.of(rows))
    rest = record.slices - len({*rows, *record.done_rows})
    message = f"{keys} first; the other slices when they are done"
    if not rest:
        message = f"{keys} are all slices, so no other slice waits for them"
    return Note("canary", message, {"keys": keys, "slices": len(rows), "rest": rest})


def after_text(record: RunRecord) -> str:
    """Describe the run that this one waits for; empty if there is none."""
    other = printable_line(os.path.basename(record.after))
    return f"nothing is submitted until the run {other} is done" if other else ""


def then_text(record: RunRecord) -> str:
    """Describe the step after the run; empty if there is none."""
    rule = record.then
    if rule is None:
        return ""
    command = shorten_text(printable_line(rule.command.strip()), 60)
    own = f" ({rule.request})" if rule.request else ""
    return f"{command}{own} when {rule.when}"


def end_text(record: RunRecord) -> str:
    """Describe what tells the end of the run; empty if nothing does."""
    ways = list[str]()
    if record.mail:
        ways.append(f"one mail to {record.request['mail-user']}")
    elif "mail-user" in record.request and "mail-type" not in record.request:
        ways.append("no mail: --mail-user only says where to; add --mail")
    ways += [f"calls {printable_line(record.on_end.strip())}"] if record.on_end else []
    return shorten_text("; ".join(ways), 100)


def cause_notes(record: RunRecord) -> Iterator[Note]:
    """Return a note on each named cause of the person that no rule names."""
    named = {rule.partition("=")[0] for rule in record.on} | {*record.continue_on.split(",")}
    for cause in parse_causes(record.cause):
        if cause.name not in named:
            message = (
                f"{cause.name} is only shown: no rule names it, and such a failure is left. "
                f"To repair it: --on {cause.name}=again"
            )
            yield Note("cause-without-rule", message, {"cause": cause.name})


def continue_note(record: RunRecord) -> Note | None:
    """Return a note on the slices that continue from their checkpoints; None without the option."""
    if not record.continue_on:
        return None
    path = shorten_text(printable_line(record.checkpoint), 60)
    message = (
        f"after {record.continue_on} while {path} changes, at most {record.max_continues}×; "
        "no attempt, no budget"
    )
    fields = {"causes": record.continue_on, "max_continues": record.max_continues}
    return Note("continue-rule", message, fields)


def stop_note(record: RunRecord) -> Note | None:
    """Return a note on ``--max-failures`` as a number of slices; None without it."""
    if record.max_failures is None:
        return None
    limit = limit_in_slices(record.max_failures, record.slices)
    if limit == NO_LIMIT:
        return Note("stop-rule", "never, however many slices fail", {"failures": None})
    what = "cancel" if record.cancel_rest else "hold"
    message = f"{what} the rest after {count_text(limit)} failed for good"
    return Note("stop-rule", message, {"failures": limit, "cancels": record.cancel_rest})
