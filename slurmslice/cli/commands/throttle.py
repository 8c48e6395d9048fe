"""The verb ``throttle``: change the number of slices that run at once."""

from __future__ import annotations

import click

from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import poll
from slurmslice.actions.throttle import set_throttle
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import dry_run_option
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.cli.output.summary import note_on_throttle
from slurmslice.errors import BadInputError
from slurmslice.reports.counts import count_text
from slurmslice.sbatch.units import parse_digits


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="[RUN] N|none")
@dry_run_option
def command(words: tuple[str, ...], dry_run: bool) -> int:
    """Change how many slices of a run may run at once, now and in later submissions."""
    if len(words) > 2:
        raise BadInputError(
            "throttle takes a run and a number.",
            "slurmslice throttle [RUN] N",
            code="too-many-words",
        )
    limit = _limit(words[-1])
    directory = locate_run.find_run(words[0] if len(words) == 2 else None, changing=True)
    run = open_run(directory, changing=True, read_only=dry_run)
    poll(run)  # ended arrays need no share of the throttle
    if dry_run:
        arrays = len(run.submissions_in_flight())
        message = f"Would set the throttle of {count_text(arrays, 'array')} to {words[-1]}."
        emit_note("would-throttle", message, limit=limit, arrays=arrays)
        return 0
    arrays = set_throttle(run, limit)
    message = (
        f"At most {words[-1]} slices run at once, in {count_text(arrays, 'array')}."
        if limit
        else f"No throttle any more, in {count_text(arrays, 'array')}."
    )
    emit_note("throttle-changed", message, limit=limit, arrays=arrays)
    if held := note_on_throttle(run):
        print_note(held)
    return 0


def _limit(text: str) -> int | None:
    if text == "none":
        return None
    number = parse_digits(text)
    if not number:
        raise BadInputError(
            f"{text!r} is not a number of slices from 1 up.",
            "To remove the throttle: none. To stop slices: slurmslice cancel",
            code="bad-number",
            option="throttle",
            value=text,
        )
    return number
