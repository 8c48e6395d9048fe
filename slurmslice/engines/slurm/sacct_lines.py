"""A fast path for sacct's usual lines: one line for one array task of ours. Pure.

A poll asks sacct for whole arrays, but reads only the tasks still open before it. So each line
is checked at once, and its fields are parsed only if its report is requested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from slurmslice.status.observation import TaskId, TaskReport

TaskLines = dict[str, dict[str, str]]
"""Lines by job id and array index, both as Slurm prints them."""

_TASK = re.compile(r"(\d{1,10})_(0|[1-9]\d{0,7})\|", re.ASCII)
_OTHER_JOB: tuple[str, int, dict[str, str]] = ("", -1, {})


def pick_task_lines(
    lines: Iterable[str], fields: int, names: Mapping[str, str]
) -> tuple[TaskLines, list[str]]:
    """Separate the lines of our tasks from all other lines.

    A job name may hold line ends. Such a record continues on the next line, which is then
    returned among the other lines and begins no record.

    Args:
        lines: the lines of sacct's answer.
        fields: the number of fields of a record; the last one is the job name.
        names: our jobs, and the name of each.

    Returns:
        the first line of each of our tasks, and the other lines in their order.
    """
    found: TaskLines = {job: {} for job in names}
    ours = {
        job: (f"|{name}", fields - 1 + name.count("|"), found[job]) for job, name in names.items()
    }
    others: list[str] = []
    for line in lines:
        if match := _TASK.match(line):
            job, index = match.groups()
            end, bars, known = ours.get(job, _OTHER_JOB)
            is_complete = line.endswith(end) and line.count("|") == bars
            if is_complete and known.setdefault(index, line) is line:
                continue
        others.append(line)
    return found, others


class LazyReports(Mapping[TaskId, TaskReport]):
    """Accounting's reports by task; a line is parsed each time its report is requested.

    Args:
        lines: the lines found by ``pick_task_lines``; lines of tasks in ``parsed`` are removed.
        parsed: reports parsed already, from other lines.
        parse: parses one line.
    """

    def __init__(
        self,
        lines: TaskLines,
        parsed: Mapping[TaskId, TaskReport],
        parse: Callable[[str], TaskReport],
    ) -> None:
        self._lines = lines
        self._parsed = parsed
        self._parse = parse
        for job, index in parsed:
            lines.get(job, {}).pop(str(index), None)

    def __getitem__(self, task: TaskId) -> TaskReport:
        job, index = task
        line = self._lines.get(job, {}).get(str(index))
        return self._parsed[task] if line is None else self._parse(line)

    def __iter__(self) -> Iterator[TaskId]:
        for job, lines in self._lines.items():
            for index in lines:
                yield job, int(index)
        yield from self._parsed

    def __len__(self) -> int:
        return sum(map(len, self._lines.values())) + len(self._parsed)
