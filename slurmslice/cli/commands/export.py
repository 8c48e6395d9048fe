"""The verb ``export``: write what a reviewer needs, and what ``run --from`` reads."""

from __future__ import annotations

from pathlib import Path

import click

from slurmslice.actions.export_run import export_files, write_export
from slurmslice.actions.open_run import open_run
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import dry_run_option, run_argument
from slurmslice.cli.output.console import emit_note, print_line
from slurmslice.cli.output.preview import relative_path
from slurmslice.cli.output.refresh import refresh
from slurmslice.errors import BadInputError
from slurmslice.system.shell_quoting import quote


@click.command()
@run_argument
@click.option("--to", "folder", metavar="DIR", help="Write this new folder. Default: RUN-export.")
@dry_run_option
def command(run_name: str | None, folder: str | None, dry_run: bool) -> None:
    """Write a run as a folder of files that can be read without slurmslice.

    It holds the description as TOML, the slices, their states, the script, the versions and
    digests. `run --from DIR` makes a run of it, also on another cluster. Logs and results are not
    in it.
    """
    if folder is not None and not folder.strip():
        raise BadInputError(
            "--to needs the name of a folder.",
            "Perhaps a variable of your shell is empty.",
            code="missing-value",
            option="to",
        )
    run = open_run(locate_run.find_run(run_name, changing=False), read_only=True)
    refresh(run)
    path = Path.cwd() / (folder or f"{run.record.name}-export")
    files = export_files(run)
    shown = relative_path(path)
    if dry_run:
        message = f"Would write {shown}: {', '.join(files)}"
        emit_note("would-export", message, path=str(path), files=list(files))
        return
    write_export(files, path)
    print_line(shown)
    again = f"slurmslice run --from {quote(shown)} --name NAME"
    emit_note("exported", f"To do the rest, here or elsewhere: {again}", path=str(path))
