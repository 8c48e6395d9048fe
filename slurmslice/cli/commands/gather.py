"""The verb ``gather``: join the logs or the files of slices that are done."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from slurmslice.actions.gather import Source, check_file_of, file_sources, log_sources
from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import poll
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import KeysCommand, keys_from_words, run_and_keys_argument
from slurmslice.cli.output.console import emit_note, print_note, write_data
from slurmslice.cli.output.preview import relative_path
from slurmslice.cli.output.summary import notes_on_silence
from slurmslice.errors import BadInputError
from slurmslice.reports.counts import count_text, key_ranges
from slurmslice.reports.joined import Join, join_csv, join_json_lines, join_texts
from slurmslice.run.run import Run
from slurmslice.system import files

SOME_MISSING = 1


@click.command(cls=KeysCommand)
@run_and_keys_argument
@click.option("-o", "--output", metavar="FILE", help="Write FILE, as a whole or not at all.")
@click.option("--check-file", is_flag=True, help="Join the run's --check-file, and not the logs.")
@click.option("--file", "pattern", metavar="PATH", help="Join these files: 'out/{}.csv'.")
@click.option("--csv", "as_csv", is_flag=True, help="Write one CSV header; all must be equal.")
@click.option("--json-lines", is_flag=True, help="Require one JSON value in each line.")
@click.option(
    "--key", "with_key", is_flag=True,
    help="Put the key first: as the column or member `slice`, or before each line with a tab.",
)  # fmt: skip
@click.option("--missing-ok", is_flag=True, help="Join the others if some are missing.")
def command(
    words: tuple[str, ...],
    output: str | None,
    check_file: bool,
    pattern: str | None,
    as_csv: bool,
    json_lines: bool,
    with_key: bool,
    missing_ok: bool,
) -> int:
    """Join the logs, or the files, of slices that are done, in the order of the run's table.

    If a slice is not done, or its text is not there, nothing is joined: the missing ones are named.
    Slices with accepted failures are left out.
    """
    _refuse_both(check_file=check_file, file=pattern)
    _refuse_both(csv=as_csv, json_lines=json_lines)
    directory, keys = locate_run.find_run_and_keys(words, changing=False)
    run = open_run(directory)
    named = keys_from_words(run, keys)
    rows: Sequence[int] = range(len(run.table)) if named is None else sorted(named)
    target = _target(output) if output is not None else None
    for found in notes_on_silence(poll(run)):
        print_note(found)
    path = check_file_of(run) if check_file else pattern
    sources = list(log_sources(run, rows) if path is None else file_sources(run, rows, path))
    if target is not None:
        _refuse_loss(target, run, sources)
    if any(not source.fault for source in sources):
        sources = _without_accepted(run, sources)
    missing = [source for source in sources if source.fault]
    if missing:
        _note_missing(run, missing, joined=missing_ok)
    if missing and not missing_ok:
        return SOME_MISSING
    _write(_join(as_csv, json_lines, with_key), run, sources, target)
    return 0


def _refuse_both(**given: object) -> None:
    names = [name.replace("_", "-") for name, value in given.items() if value]
    if len(names) > 1:
        raise BadInputError(
            f"--{names[0]} and --{names[1]} exclude each other.",
            "Give one of them.",
            code="options-conflict",
            option=names[0],
            other=names[1],
        )


def _join(as_csv: bool, json_lines: bool, with_key: bool) -> Join:
    chosen = join_csv if as_csv else join_json_lines if json_lines else join_texts
    return functools.partial(chosen, with_key=with_key)


def _target(output: str) -> Path:
    """Return the file to write; the end of a symbolic link, so that the link stays.

    Raises:
        BadInputError: it is a folder or a device, or its folder does not exist.
    """
    path = Path(os.path.realpath(output))
    if path.exists() and not path.is_file():
        raise _bad_target(output, "is no regular file")
    if not path.parent.is_dir():
        raise _bad_target(output, "is in a folder that does not exist")
    return path


def _refuse_loss(target: Path, run: Run, sources: Sequence[Source]) -> None:
    """Refuse to replace a file of the run, or one of the files to join: it would be lost."""
    if target.is_relative_to(os.path.realpath(run.directory.path)):
        raise _bad_target(str(target), "is in the run directory")
    if any(source.path and os.path.realpath(source.path) == str(target) for source in sources):
        raise _bad_target(str(target), "is the file of a slice")


def _bad_target(output: str, fault: str) -> BadInputError:
    return BadInputError(
        f"-o {output} {fault}.",
        "Name another file in a folder that exists; or leave out -o, and use the standard output.",
        code="bad-output-file",
        path=output,
    )


def _note_missing(run: Run, missing: Sequence[Source], *, joined: bool) -> None:
    """Name the slices without a text, by the reason."""
    groups: dict[str, list[int]] = {}
    for source in missing:
        reason = "there is no file" if source.fault.startswith("there is no ") else source.fault
        groups.setdefault(reason, []).append(source.row)
    lines = [
        f"  {key_ranges(run.table.keys.of(rows))}: {reason}" for reason, rows in groups.items()
    ]
    first = next((s.fault for s in missing if s.fault.startswith("there is no ")), "")
    lines += [f"  ({first})"] if first else []
    what = "Missing" if joined else "Nothing was joined, because some are missing"
    how = "" if joined else "\nTo join the others: add --missing-ok"
    emit_note(
        "gather-missing",
        f"{what}: {count_text(len(missing))}\n" + "\n".join(lines) + how,
        slices=len(missing),
        keys={reason: key_ranges(run.table.keys.of(rows)) for reason, rows in groups.items()},
    )


def _without_accepted(run: Run, sources: Sequence[Source]) -> list[Source]:
    """Leave out the slices with accepted failures, and name them."""
    if rows := [source.row for source in sources if source.accepted]:
        keys = key_ranges(run.table.keys.of(rows))
        message = f"Left out, because their failure is accepted: {keys}"
        emit_note("accepted-left-out", message, slices=len(rows), keys=keys)
    return [source for source in sources if not source.accepted]


def _write(join: Join, run: Run, sources: Sequence[Source], target: Path | None) -> None:
    there = [source for source in sources if not source.fault]
    pieces = join(_texts(run, there))
    if target is None:
        write_data(pieces)
        return
    files.replace_file_by_pieces(target, pieces)
    message = f"Joined {count_text(len(there))} into {relative_path(target)}."
    emit_note("gathered", message, slices=len(there), path=target)


def _texts(run: Run, sources: Sequence[Source]) -> Iterator[tuple[str, Iterator[bytes]]]:
    for source in sources:
        yield run.table.keys[source.row], source.read()
