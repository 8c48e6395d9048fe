"""``slurmslice logs``."""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import click

from slurmslice import files
from slurmslice.cli import places
from slurmslice.cli.console import data, one_line, out, say
from slurmslice.cli.engine import open_run
from slurmslice.cli.preview import relative
from slurmslice.cli.shared import KeysCommand, keys_from_words, parse_states, state_option
from slurmslice.command import quote
from slurmslice.errors import BadInput
from slurmslice.ledger import Fate, Submission
from slurmslice.progress import parse, without_others
from slurmslice.run import Run
from slurmslice.verbs.poll import poll

_LOOK_S = 0.5
_POLL_S = 10.0


@click.command(cls=KeysCommand)
@click.argument("names", nargs=-1, metavar="[RUN] KEY...")
@state_option
@click.option("-f", "--follow", is_flag=True, help="Go on as it grows, until the slice has ended.")
@click.option("--all", "every", is_flag=True, help="Earlier attempts too, the first one first.")
@click.option("--task", is_flag=True, help="What the array task and slurmstepd said instead.")
@click.option("--path", "only_path", is_flag=True, help="Only the files' paths.")
def command(
    names: tuple[str, ...],
    states: tuple[str, ...],
    follow: bool,
    every: bool,
    task: bool,
    only_path: bool,
) -> int:
    """Show what slices wrote in their newest attempt; RUN goes before several keys.

    Of several, a line before each log says whose it is. With --state it is [RUN] [KEY]...: no
    key is all slices. A key that begins with a dash follows --.
    """
    chosen = parse_states(states)
    if not names and chosen is None:
        raise BadInput("Name a slice.", "slurmslice logs [RUN] KEY")
    run, rows = _named(names) if chosen is None else _any_of(names)
    poll(run)
    if chosen is not None:
        rows = [row for row in rows if run.standings[row].state in chosen]
        if not rows:
            say("None of these slices is in such a state.")
    if follow and len(rows) > 1:
        raise BadInput(f"-f follows one slice, and these are {len(rows)}.", "Name one of them.")
    several = len(rows) > 1 or (every and any(run.ledger.attempts[row] > 1 for row in rows))
    wish = _Wish(task=task, only_path=only_path, follow=follow, headed=several)
    for row in rows:
        if (newest := run.ledger.of_row(row) or run.ledger.last_of(row)) is None:
            _tell_unsubmitted(run, row, alone=len(rows) == 1)
            continue
        _tell_earlier(run, row, newest, wish, every=every)
        _tell_newest(run, row, newest, wish)
    return 0


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is wanted of logs.

    Attributes:
        task: the array task's in place of the slice's.
        only_path: just where it is.
        follow: as it grows.
        headed: whose it is stands with the text, since there are several; else on stderr.
    """

    task: bool
    only_path: bool
    follow: bool
    headed: bool


def _named(names: tuple[str, ...]) -> tuple[Run, Sequence[int]]:
    """The run and the rows of its slices that were named.

    Raises:
        BadInput: there is no such run or slice; or a run was named, and no slice of it.
    """
    run_name = names[0] if len(names) > 1 else None
    try:
        found = places.find(run_name, changing=False, keys_of="logs", keys=names[1:])
        run = open_run(found)
        return run, run.table.select(names[1:] or names)
    except BadInput as why:
        if run_name is None and places.is_named(names[0]):
            raise BadInput(
                f"{names[0]!r} names a run, and no slice of it.",
                f"Name a slice too: slurmslice logs {quote(names[0])} KEY",
            ) from why
        raise


def _any_of(names: tuple[str, ...]) -> tuple[Run, Sequence[int]]:
    """The run that was named first, if any, and the rows of the slices after it; else all."""
    run_name, keys = (names[0], names[1:]) if names else (None, ())
    run = open_run(places.find(run_name, changing=False, keys_of="logs", keys=keys))
    named = keys_from_words(run, keys)
    return run, range(len(run.table)) if named is None else named


def _tell_earlier(run: Run, row: int, newest: Submission, wish: _Wish, *, every: bool) -> None:
    """Show what a slice wrote in the submissions before its newest, in order; or how many."""
    if run.ledger.attempts[row] < 2:
        return
    taken = (s for s in run.ledger.submissions.values() if s.fate is Fate.SUBMITTED)
    earlier = [s for s in taken if s.number < newest.number and row in s.places]
    for submission in earlier if every else ():
        _show(run, row, submission, replace(wish, follow=False), "an earlier attempt")
    if earlier and not every and not wish.only_path:
        say(f"There are earlier attempts: {len(earlier)}; --all shows them.")


def _tell_newest(run: Run, row: int, newest: Submission, wish: _Wish) -> None:
    """Show what a slice wrote last; where it failed without a word, what its array task said."""
    standing = run.standings[row]
    how = f"{standing.state}: {standing.reason}"
    silent = standing.state.failed and not _written(_path(run, row, newest, task=False))
    if silent and not wish.task:
        _tell_nothing(run, row, newest, "This is what its array task said:")
        _show(run, row, newest, replace(wish, task=True, follow=False), how, alone=True)
    else:
        _show(run, row, newest, wish, how)


def _tell_unsubmitted(run: Run, row: int, *, alone: bool) -> None:
    message = f"Slice {run.table.keys[row]!r} was not submitted yet: it has no log."
    if alone:
        raise BadInput(message)
    say(message)


def _show(
    run: Run, row: int, submission: Submission, wish: _Wish, how: str, *, alone: bool = False
) -> None:
    """Put out one log and whose it is, or its path.

    ``alone``: of a task's log, without what is said of the other slices of its pack.
    """
    path = _path(run, row, submission, task=wish.task)
    if wish.only_path:
        data((os.fsencode(path) + b"\n",))
        return
    whose = f"{one_line(run.table.keys[row])}: {relative(path)}  ({how})"
    out(f"==> {whose} <==") if wish.headed else say(whose)
    pieces: Iterable[bytes] = _pieces(run, row, path, wish.follow)
    if alone:
        pieces = (without_others(b"".join(pieces), submission.places[row][1]),)
    data(_to_a_line_end(pieces) if wish.headed else pieces)
    if _written(path):
        return
    if wish.task and path.exists():
        say("The array task wrote nothing.")
    elif wish.task and (lines := _of_workers(run, row, submission)):
        data((lines,))
    elif wish.task:
        say("There is no such file: the array task wrote nothing, or it was deleted.")
    else:
        _tell_nothing(run, row, submission)


def _to_a_line_end(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """These, and a line end where they have none: what follows begins on its own line."""
    last = b"\n"
    for piece in pieces:
        yield piece
        last = piece[-1:] or last
    if last != b"\n":
        yield b"\n"


def _written(path: Path) -> bool:
    return path.exists() and not (path.is_file() and path.stat().st_size == 0)


def _path(run: Run, row: int, submission: Submission, *, task: bool) -> Path:
    if task:
        return run.place.task_log(submission.number, submission.index_of(row))
    return run.place.log(submission.number, run.table.log_of(row))


def _tell_nothing(run: Run, row: int, submission: Submission, more: str = "") -> None:
    """Why there is no log: nothing was written, or it was, and the file is not there any more."""
    path = _path(run, row, submission, task=False)
    index, slot = submission.places[row]
    log = run.place.read_task_log(submission.number, index)
    wrote = parse(log or _of_workers(run, row, submission), submission.job)
    if slot in wrote.slots and not path.exists():  # a task makes it before the command begins
        say(f"It began, and its log is not there any more: {relative(path)} was deleted or moved. "
            f"{more}".rstrip())  # fmt: skip
    elif run.standings[row].state.final or submission.number != run.ledger.holder[row]:
        say(f"The slice itself wrote nothing. {more}".rstrip())
    else:
        say("It has written nothing yet.")


def _of_workers(run: Run, row: int, submission: Submission) -> bytes:
    """Return what the workers of this machine wrote of a task."""
    return run.place.read_worker_lines(submission.number, submission.index_of(row))


def _pieces(run: Run, row: int, path: Path, follow: bool) -> Iterator[bytes]:
    """The file's bytes; with ``follow``, as they come, until the slice is over."""
    asked = time.monotonic()
    file: BinaryIO | None = None
    with contextlib.ExitStack() as opened:
        while True:
            ended = run.standings[row].state.final
            if file is None and path.exists():
                file = opened.enter_context(open(files.opened(path), "rb"))
            if file is not None:
                yield from iter(functools.partial(file.read, 1 << 16), b"")
            if not follow or ended:
                break
            run.engine.wait(_LOOK_S)
            if time.monotonic() - asked > _POLL_S:
                poll(run)
                asked = time.monotonic()
