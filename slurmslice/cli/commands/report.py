"""The verb ``report``: write a run as one HTML file, or as CSV."""

from __future__ import annotations

from pathlib import Path

import click

from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import poll
from slurmslice.cli.options.common import run_argument
from slurmslice.cli.options.locate_run import find_run
from slurmslice.cli.output.console import emit_note, print_note, write_data
from slurmslice.cli.output.long_work import shown_if_long
from slurmslice.cli.output.preview import relative_path
from slurmslice.cli.output.summary import notes_on_silence
from slurmslice.errors import BadInputError
from slurmslice.plan.run_script import read_script
from slurmslice.run.run import Run
from slurmslice.system import files
from slurmslice.system.shell_quoting import quote


@click.command()
@run_argument
@click.option("--html", metavar="FILE", help="Write one HTML file that needs no network.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: a row per slice.")
def command(run_name: str | None, html: str | None, as_csv: bool) -> int:
    """Write all that is known of a run, to read, show or compute with.

    The HTML file has the failures in groups, the use of time and memory, advice on the next
    request, and a table of all slices to search and sort. It opens on a cluster without a network.
    """
    _check_form(html, as_csv=as_csv)
    if html is not None:
        _check_target(Path(html))
    run = open_run(find_run(run_name, changing=False))
    polled = poll(run)
    if html is None:
        from slurmslice.reports.slice_rows import slice_csv

        write_data(slice_csv(run))
    else:
        _write_html(run, Path(html))
    for note in (*polled.notes, *notes_on_silence(polled)):
        print_note(note)
    if not polled.any_answered:
        emit_note("no-source-answered", "No source answered: these are the states last seen.")
        return 3
    return 0


def _check_form(html: str | None, *, as_csv: bool) -> None:
    """Refuse both forms, and none.

    Raises:
        BadInputError: the number of forms is not one.
    """
    both = "slurmslice report RUN --html report.html, or slurmslice report RUN --csv"
    if html is None and not as_csv:
        raise BadInputError(
            "The form of the report is missing.", f"Type {both}", code="missing-argument"
        )
    if html is not None and as_csv:
        raise BadInputError(
            "--html and --csv are two reports.", f"Type {both}", code="options-conflict",
            option="html", other="csv",
        )  # fmt: skip


def _check_target(path: Path) -> None:
    """Refuse to replace a file that is no report.

    Raises:
        BadInputError: the file is another one, or a folder.
    """
    from slurmslice.reports.report_page import FIRST_BYTES

    if not path.exists() and not path.is_symlink():
        return
    first = b""
    if path.is_file():
        with path.open("rb") as file:
            first = file.read(len(FIRST_BYTES))
    if first != FIRST_BYTES:
        raise BadInputError(
            f"{path} exists, and is no report.",
            "Give another file: --html report.html",
            code="cannot-write-report",
            path=str(path),
        )


def _write_html(run: Run, path: Path) -> None:
    """Write the report, as a whole or not at all.

    Raises:
        BadInputError: it cannot be written there.
    """
    from slurmslice.reports.report_model import make_page
    from slurmslice.reports.report_page import render_page

    with shown_if_long("Making the report", "logs") as show:
        data = render_page(make_page(run, read_script(run).text, show))
    try:
        files.replace_file(path, data)
    except OSError as why:
        raise BadInputError(
            f"{path} cannot be written: {why.strerror}.",
            f"Give another file: slurmslice report {quote(run.record.name)} --html FILE",
            code="cannot-write-report",
            path=str(path),
        ) from why
    size = f"{len(data) / 1000:.0f} kB"
    message = f"Written: {relative_path(path.absolute())} ({size})"
    emit_note("report-written", message, path=str(path), bytes=len(data))
