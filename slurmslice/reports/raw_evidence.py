"""The words of each source about a slice's newest attempt, before the rules decide on its state."""

from __future__ import annotations

import re
from dataclasses import dataclass

from slurmslice.run.identity import job_identity
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.script.progress_lines import remove_other_slices
from slurmslice.status.observation import SourceAnswer, TaskReport

_OWN_LINE = re.compile(rb"^slurmslice [a-z]+ job=.*$", re.MULTILINE)
_MOST_LINES = 12


@dataclass(frozen=True, slots=True)
class RawEvidence:
    """The words of the sources about one attempt.

    Attributes:
        accounting, queue: a source's own words, or that it does not know the task.
        lines: the lines that the task wrote about the slice, the newest last.
    """

    accounting: str
    queue: str
    lines: tuple[str, ...]


def ask_sources(run: Run, submission: Submission, row: int) -> RawEvidence:
    """Ask the engine once about the task of a slice, and read what the task wrote."""
    index, slot = submission.places[row]
    found = run.engine.observe([job_identity(run, submission)])
    task = (submission.job, index)
    return RawEvidence(
        _words_of(found.accounting, task), _words_of(found.queue, task),
        _own_lines(run, submission, index, slot),
    )  # fmt: skip


def _words_of(answer: SourceAnswer, task: tuple[str, int]) -> str:
    if not answer.answered:
        return f"no answer: {answer.silence}"
    report = answer.reports.get(task)
    return "does not know it" if report is None else _describe(report)


def _describe(report: TaskReport) -> str:
    words = [report.word or str(report.state)]
    if report.exit_code is not None:
        words.append(f"exit {report.exit_code}, signal {report.signal or 0}")
    words += [report.reason] if report.reason and report.reason != "None" else []
    words += [f"on {report.node}"] if report.node else []
    words += [f"restarted {report.restarts} times"] if report.restarts else []
    return ", ".join(words)


def _own_lines(run: Run, submission: Submission, index: int, slot: int) -> tuple[str, ...]:
    folder, number = run.directory, submission.number
    log = folder.read_task_log(number, index) or folder.read_worker_lines(number, index)
    found = _OWN_LINE.findall(remove_other_slices(log, slot))
    return tuple(line.decode("utf-8", "surrogateescape") for line in found[-_MOST_LINES:])
