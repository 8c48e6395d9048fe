"""The code of a submission, and the refusal of a later attempt with other code (docs/adr/0017)."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from slurmslice.errors import BadInputError, SlurmsliceError
from slurmslice.plan.plan import Choice, divide
from slurmslice.plan.run_script import RunScript, read_script
from slurmslice.run.run import Run
from slurmslice.run.submission import SubmissionStatus
from slurmslice.spec.code_record import (
    SCRIPT_NAME,
    CodeRecord,
    may_be_code,
    without_directives,
    words_of_script,
)
from slurmslice.spec.command import CommandWords
from slurmslice.status.states import State
from slurmslice.system.files import open_regular
from slurmslice.system.git_commit import git_commit

_MOST_FILES = 200
_MOST_TEXT = 1 << 20
"""A larger file counts only if it is executable."""
_MOST_HASHED = 64 << 20
"""Of a larger program, its size and the time of its last change count."""
_DIGITS = 16


CODE_CHANGED = "has changed since its attempt"
"""The end of the reason to leave a slice whose code is not that of its attempt any more."""

_NOT_RUN = frozenset({State.WAITING, State.SUBMITTED, State.PENDING, State.CANCELLED})


def codes_of_slices(run: Run) -> list[tuple[CodeRecord, list[int]]]:
    """List the code of each accepted submission, with the rows whose last attempt ran with it.

    The newest submission is the last one.
    """
    found = []
    for submission in run.journal_state.submissions.values():
        code = submission.intent.code
        if submission.status is SubmissionStatus.SUBMITTED and code.files:
            held = run.journal_state.rows_held_by(submission.number)
            rows = [row for row in held if run.statuses.seen(row).state not in _NOT_RUN]
            if rows:
                found.append((code, rows))
    return found


def read_code(run: Run, script: RunScript) -> CodeRecord:
    """Read the files of code that a script names, as they are now."""
    folder, words = Path(run.record.work_dir), dict.fromkeys(_words(run, script))
    text = without_directives(script.text).encode("utf-8", "surrogateescape")
    files = {SCRIPT_NAME: hashlib.sha256(text).hexdigest()[:_DIGITS]}
    for word in words:
        if len(files) > _MOST_FILES:
            break
        path = folder / word
        if path.parent != run.directory.path and (digest := _digest_of(str(path))):
            files[word] = digest
    return CodeRecord(files, git_commit(folder))


def _words(run: Run, script: RunScript) -> Iterator[str]:
    command = run.record.command
    yield from words_of_script(script.text)
    if isinstance(command, CommandWords):
        yield from command.words


def _digest_of(path: str) -> str:
    """Return the digest of a file of code; empty if there is none, or it is no code."""
    if path.startswith(("/dev/fd/", "/dev/std", "/proc/")):  # streams of this process
        return ""
    try:
        found = os.stat(path)
    except (OSError, ValueError):  # no such file, or no path at all
        return ""
    if not stat.S_ISREG(found.st_mode):
        return ""
    executable = bool(found.st_mode & 0o111)
    if found.st_size > (_MOST_HASHED if executable else _MOST_TEXT):
        return f"{found.st_size}-{found.st_mtime_ns}" if executable else ""
    return _digest(path, executable, found.st_ino, found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _digest(path: str, executable: bool, *_version: int) -> str:
    """Return the digest of one version of a file."""
    try:
        with open(open_regular(Path(path)), "rb") as file:
            head = file.read(1024)
            if not may_be_code(path, executable=executable, head=head):
                return ""
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()[:_DIGITS]
    except OSError:
        return ""


def check_same_code(run: Run) -> None:
    """Refuse a later attempt if ``--same-code`` is in force and the code has changed.

    Raises:
        BadInputError: a file differs from an earlier attempt, or the commit does.
    """
    if run.same_code:
        refuse_other_code(run, read_code(run, read_script(run)))


def refuse_other_code(run: Run, now: CodeRecord) -> None:
    """Refuse code that differs from that of earlier attempts, if ``--same-code`` is in force.

    Raises:
        BadInputError: it differs.
    """
    earlier = [code for code, _ in codes_of_slices(run)] if run.same_code else []
    files = sorted({name for code in earlier for name in now.differences(code)})
    commits = [code.commit for code in earlier if now.other_commit(code)]
    if not files and not commits:
        return
    what = list(files)
    if commits:
        what.append(f"the git commit ({commits[0][:10]}, now {now.commit[:10]})")
    raise BadInputError(
        f"Nothing was submitted, because the code has changed since earlier attempts: "
        f"{', '.join(what)}.",
        "Restore it, or type --any-code to go on with the code as it is now.",
        code="other-code",
        run=run.record.name,
        files=tuple(files),
        commit=now.commit if commits else "",
    )


def divide_by_code(
    run: Run, due: Sequence[Choice]
) -> tuple[list[Choice], list[tuple[Choice, str]]]:
    """Divide repairs into slices whose code is as it was, and the others with a reason.

    A slice whose program has changed is no repair of the same attempt. If the script cannot be
    read, the submission tells why.
    """
    try:
        now = read_code(run, read_script(run))
    except SlurmsliceError:
        return list(due), []
    state = run.journal_state
    reasons = {one.number: _change(one.intent.code, now) for one in state.submissions.values()}
    if not any(reasons.values()):
        return list(due), []
    return divide(due, lambda choice, row: reasons[state.holder[row]])


def _change(before: CodeRecord, now: CodeRecord) -> str:
    """Describe the change of code since an attempt; empty if there is none."""
    files = ", ".join(now.differences(before))
    if files:
        return f"{files} {CODE_CHANGED}"
    if now.other_commit(before):
        return f"the git commit {before.commit[:10]} {CODE_CHANGED}"
    return ""
