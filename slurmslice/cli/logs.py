"""``slurmslice logs``."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import click

from slurmslice.cli import places
from slurmslice.cli.console import data, say
from slurmslice.cli.engine import open_run
from slurmslice.cli.preview import relative
from slurmslice.cli.shared import KeysCommand
from slurmslice.errors import BadInput
from slurmslice.run import Run
from slurmslice.verbs.poll import poll

_LOOK_S = 0.5
_POLL_S = 10.0


@click.command(cls=KeysCommand)
@click.argument("names", nargs=-1, metavar="[RUN] KEY")
@click.option("-f", "--follow", is_flag=True, help="Go on as it grows, until the slice has ended.")
@click.option("--task", is_flag=True, help="What the array task and slurmstepd said instead.")
@click.option("--path", "only_path", is_flag=True, help="Only the file's path.")
def command(names: tuple[str, ...], follow: bool, task: bool, only_path: bool) -> int:
    """Show what a slice wrote in its newest attempt. A key that begins with a dash follows --."""
    if len(names) not in (1, 2):
        raise BadInput("Name one slice.", "slurmslice logs [RUN] KEY")
    run_name = names[0] if len(names) == 2 else None
    run = open_run(places.find(run_name, changing=False, keys_of="logs"))
    row = run.table.select([names[-1]])[0]
    poll(run)
    path = _path(run, row, task)
    if not task and run.standings[row].state.failed and not _written(path):
        path = _path(run, row, task=True)
        say("The slice itself wrote nothing; this is what its array task said:")
    if only_path:
        data((os.fsencode(path) + b"\n",))
        return 0
    say(f"{relative(path)}  ({run.standings[row].state}: {run.standings[row].reason})")
    data(_pieces(run, row, path, follow))
    return 0


def _written(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _path(run: Run, row: int, task: bool) -> Path:
    submission = run.ledger.of_row(row) or run.ledger.last_of(row)
    if submission is None:
        raise BadInput(f"Slice {run.table.keys[row]!r} was not submitted yet: it has no log.")
    if task:
        return run.place.task_log(submission.number, submission.index_of(row))
    return run.place.log(submission.number, run.table.log_of(row))


def _pieces(run: Run, row: int, path: Path, follow: bool) -> Iterator[bytes]:
    """The file's bytes; with ``follow``, as they come, until the slice is over."""
    asked = time.monotonic()
    file: BinaryIO | None = None
    with contextlib.ExitStack() as opened:
        while True:
            ended = run.standings[row].state.final
            if file is None and path.exists():
                file = opened.enter_context(path.open("rb"))
            if file is not None:
                yield from iter(functools.partial(file.read, 1 << 16), b"")
            if not follow or ended:
                break
            run.engine.wait(_LOOK_S)
            if time.monotonic() - asked > _POLL_S:
                poll(run)
                asked = time.monotonic()
    if file is None:
        say("It has written nothing yet.")
