"""Sacct's common lines: one task of ours each, told apart at once and read when asked for. Pure.

A poll asks for whole arrays, and looks at the tasks that had not ended before. So every line is
checked when it comes, and its numbers are read only for the tasks that somebody looks at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from slurmslice.evidence import TaskId, TaskReport

TaskLines = dict[str, dict[str, str]]
"""Lines by job id and array index, both as Slurm writes them."""

_TASK = re.compile(r"(\d{1,10})_(0|[1-9]\d{0,7})\|", re.ASCII)
_NOT_OURS: tuple[str, int, dict[str, str]] = ("", -1, {})


def pick_task_lines(
    lines: Iterable[str], fields: int, names: Mapping[str, str]
) -> tuple[TaskLines, list[str]]:
    """Lines that are a record of one of our tasks, and the others in their order.

    A line that goes on in the next one (a name may hold line ends) is not told apart here: then
    some of the others begin no record. A task's second line is one of the others.

    Args:
        lines: of sacct's answer.
        fields: how many a record has; the last one is the job's name, which may hold ``|``.
        names: our jobs, and the name of each.
    """
    found: TaskLines = {job: {} for job in names}
    ours = {
        job: (f"|{name}", fields - 1 + name.count("|"), found[job]) for job, name in names.items()
    }
    others: list[str] = []
    for line in lines:
        if match := _TASK.match(line):
            job, index = match.groups()
            end, bars, known = ours.get(job, _NOT_OURS)
            whole = line.endswith(end) and line.count("|") == bars
            if whole and known.setdefault(index, line) is line:
                continue
        others.append(line)
    return found, others


class LazyReports(Mapping[TaskId, TaskReport]):
    """What accounting says, by task; a report is read from its line when it is asked for.

    Args:
        lines: the common lines; those of tasks in ``made`` are dropped.
        made: reports that came otherwise.
        read: what a line says.
    """

    def __init__(
        self,
        lines: TaskLines,
        made: Mapping[TaskId, TaskReport],
        read: Callable[[str], TaskReport],
    ) -> None:
        self._lines = lines
        self._made = made
        self._read = read
        for job, index in made:
            lines.get(job, {}).pop(str(index), None)

    def __getitem__(self, task: TaskId) -> TaskReport:
        job, index = task
        line = self._lines.get(job, {}).get(str(index))
        return self._made[task] if line is None else self._read(line)

    def __iter__(self) -> Iterator[TaskId]:
        for job, lines in self._lines.items():
            for index in lines:
                yield job, int(index)
        yield from self._made

    def __len__(self) -> int:
        return sum(map(len, self._lines.values())) + len(self._made)
