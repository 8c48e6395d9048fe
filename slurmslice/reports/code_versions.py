"""The versions of the code with which the slices of a run ran."""

from __future__ import annotations

from collections.abc import Sequence

from slurmslice.notes import Note
from slurmslice.plan.same_code import codes_of_slices
from slurmslice.reports.counts import count_text, key_ranges
from slurmslice.run.run import Run
from slurmslice.spec.code_record import CodeRecord


def other_code_note(run: Run) -> Note | None:
    """Return a note on slices that ran with other code than the newest ones; None if none did."""
    intents = [one.intent.code for one in run.journal_state.submissions.values()]
    if all(code == intents[0] for code in intents):
        return None  # the usual case, without a look at each slice
    versions = codes_of_slices(run)
    if not versions:
        return None
    newest, files, rows, commits = versions[-1][0], set[str](), list[int](), set[str]()
    for code, some in versions[:-1]:
        differing = code.differences(newest)
        files.update(differing)
        commits |= {code.commit} if code.other_commit(newest) else set()
        rows += some if differing or code.other_commit(newest) else []
    if not rows:
        return None
    keys = key_ranges([run.table.keys[row] for row in sorted(rows)])
    what = _described(sorted(files), commits, newest)
    message = f"{count_text(len(rows))} ran with {what}: {keys}"
    return Note(
        "other-code",
        message,
        {"slices": len(rows), "keys": keys, "files": sorted(files), "commits": sorted(commits)},
    )


def _described(files: Sequence[str], commits: set[str], newest: CodeRecord) -> str:
    """Describe the differences: ``another x.py, at another git commit (1a2b3c, then 4d5e6f)``."""
    parts = [f"another {', '.join(files)}"] if files else []
    if commits:
        old = ", ".join(sorted(commit[:10] for commit in commits))
        parts.append(f"another git commit ({old}; the newest: {newest.commit[:10]})")
    return " and ".join(parts)
