"""``slurmslice throttle``."""

from __future__ import annotations

import click

from slurmslice.cli import places
from slurmslice.cli.console import note, print_note
from slurmslice.cli.engine import open_run
from slurmslice.cli.shared import dry_run_option
from slurmslice.cli.summary import note_on_throttle
from slurmslice.errors import BadInput
from slurmslice.reports.counts import count
from slurmslice.verbs.poll import poll
from slurmslice.verbs.steer import throttle


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[RUN] N|none")
@dry_run_option
def command(words: tuple[str, ...], dry_run: bool) -> int:
    """Change how many slices of a run may run at once, now and in what is submitted later."""
    if len(words) > 2:
        raise BadInput("Too many words.", "slurmslice throttle [RUN] N", code="too-many-words")
    limit = _limit(words[-1])
    place = places.find(words[0] if len(words) == 2 else None, changing=True)
    run = open_run(place, changing=True, read_only=dry_run)
    poll(run)  # what has ended since somebody looked needs no share
    if dry_run:
        arrays = len(run.in_flight())
        message = f"Would tell {count(arrays, 'array')}: {words[-1]} at once."
        note("would-throttle", message, limit=limit, arrays=arrays)
        return 0
    told = throttle(run, limit)
    message = (
        f"At most {words[-1]} at once, told to {count(told, 'array')} in the queue or running."
        if limit else f"No throttle any more, told to {count(told, 'array')}."
    )  # fmt: skip
    note("throttle-changed", message, limit=limit, arrays=told)
    if held := note_on_throttle(run):
        print_note(held)
    return 0


def _limit(text: str) -> int | None:
    if text == "none":
        return None
    if not (text.isascii() and text.isdecimal()) or int(text) == 0:
        raise BadInput(
            f"{text!r} is not a number of slices from 1 up.",
            "`none` takes the throttle away; `slurmslice cancel` stops slices.",
            code="bad-number",
            option="throttle",
            value=text,
        )
    return int(text)
