"""The verb ``efficiency``: compare requests with their use, and advise on the next ones."""

from __future__ import annotations

from collections.abc import Sequence

import click

from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import poll
from slurmslice.cli.options import locate_run
from slurmslice.cli.output.console import print_line, print_note
from slurmslice.cli.output.efficiency import (
    print_groups,
    print_uses,
    settings_lines,
    use_records,
)
from slurmslice.cli.output.summary import notes_on_silence
from slurmslice.reports.efficiency import GroupReport, report_efficiency
from slurmslice.run.run import Run


@click.command()
@click.argument("run_name", required=False, metavar="[RUN]")
@click.option("--slices", "per_slice", is_flag=True, help="Also show each slice that is done.")
@click.option("--toml", "as_toml", is_flag=True, help="Print lines for slurmslice.toml.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a group per request.")
def command(run_name: str | None, per_slice: bool, as_toml: bool, as_json: bool) -> None:
    """Compare memory, time and CPUs with the requests, and advise on the next ones.

    Only slices that are done count. Without enough evidence there is no advice.
    """
    run = open_run(locate_run.find_run(run_name, changing=False))
    polled = poll(run)
    groups = report_efficiency(run)
    if as_json:
        import json

        print_line(json.dumps(_record(run, groups, per_slice=per_slice), indent=1))
    elif as_toml:
        for line in settings_lines(groups):
            print_line(line)
    else:
        print_groups(groups)
        if per_slice:
            print_uses(run, groups)
    for note in (*polled.notes, *notes_on_silence(polled)):
        print_note(note)


def _record(run: Run, groups: Sequence[GroupReport], *, per_slice: bool) -> dict[str, object]:
    record: dict[str, object] = {
        "run": run.record.name,
        "groups": [one.record() for one in groups],
    }
    if per_slice:
        record["slices"] = list(use_records(run, groups))
    return record | {"next": [["slurmslice", "efficiency", run.record.name, "--toml"]]}
