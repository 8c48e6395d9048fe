"""The verb ``explain``: the life of a slice, why it is in its state, and what to do."""

from __future__ import annotations

import click

from slurmslice.actions.poll import poll
from slurmslice.cli.options.common import KeysCommand
from slurmslice.cli.options.named_slices import named_slices
from slurmslice.cli.output.console import print_line, print_note
from slurmslice.cli.output.explanation import print_explanation
from slurmslice.cli.output.summary import notes_on_silence
from slurmslice.errors import BadInputError
from slurmslice.reports.explanation import explain_slice


@click.command(cls=KeysCommand)
@click.argument("names", nargs=-1, metavar="[RUN] KEY...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list with one object a slice.")
def command(names: tuple[str, ...], as_json: bool) -> None:
    """Tell the life of a slice: its attempts, what each source says, the ends of its logs.

    It says why the slice is in its state, and what to type next. Nothing is changed. Write --
    before a key that begins with a dash.
    """
    if not names:
        raise BadInputError(
            "No slice was named.", "Type slurmslice explain [RUN] KEY", code="missing-slice"
        )
    run, rows = named_slices(names, "explain")
    polled = poll(run)
    found = [explain_slice(run, row) for row in rows]
    if as_json:
        import json

        print_line(json.dumps([one.record() for one in found], indent=1))
    else:
        for number, one in enumerate(found):
            print_explanation(run, one, first=number == 0)
    for note in (*polled.notes, *notes_on_silence(polled)):
        print_note(note)
