"""Create a run directory: whole, or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from slurmslice.errors import BadInputError
from slurmslice.run.checkpoints import identify_all
from slurmslice.run.directory import RunDirectory
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.run_spec import RunRecord
from slurmslice.system import files


def create_run_directory(
    path: Path,
    record: RunRecord,
    table: SliceTable,
    contents: Mapping[str, bytes],
    *,
    instead: bool = False,
) -> RunDirectory:
    """Create a complete run directory, or nothing. The last step is a rename.

    Args:
        path: its absolute path.
        record: the contents of ``run.json``.
        table: the slices.
        contents: the script, the library that it sources, and further files, by name.
        instead: replace the directory at that path, and remove it. The caller holds its lock.

    Raises:
        BadInputError: the path already exists, or it cannot be written.
    """
    check_run_path(path)
    draft, old = _beside(path), _beside(path)
    try:
        _write_files(draft, record, table, contents)
        if instead:
            os.rename(path, old)
        os.rename(draft, path)
    except OSError as why:
        _remove(draft)
        if os.path.exists(old):
            os.rename(old, path)
        elif why.errno in {errno.EEXIST, errno.ENOTEMPTY}:  # from the last step (rename(2))
            raise BadInputError(
                f"Another slurmslice created {path} just now.",
                "Run the same command again to continue with that run.",
                code="changed-meanwhile",
                run=path.name,
            ) from why
        raise _cannot_create(path, why) from why
    _remove(old)
    return RunDirectory(path)


def _write_files(
    draft: Path, record: RunRecord, table: SliceTable, contents: Mapping[str, bytes]
) -> None:
    """Write the files of a run into a new folder, ``run.json`` last."""
    draft.mkdir(parents=True)
    _ignore_in_git(draft.parent)
    run = RunDirectory(draft)
    run.slices.write_bytes(table.data)
    run.create_submission_folder(1, table, parse_array(record.first).indices, record.direct)
    if record.checkpoint:
        run.write_checkpoints(1, identify_all(record, table, parse_array(record.first).indices))
    for name, data in contents.items():
        (draft / name).write_bytes(data)
        mode = 0o444 if draft / name == run.library else 0o777
        (draft / name).chmod(mode & ~files.current_umask())
    (draft / "run.json").write_bytes(record.to_bytes())


def _cannot_create(path: Path, why: OSError) -> BadInputError:
    return BadInputError(
        f"Cannot create the run directory {path}: {why.strerror}.",
        "Choose another directory with --run-dir, or another --name.",
        code="cannot-create-run",
        path=str(path),
    )


def _beside(path: Path) -> Path:
    """Return a new hidden path in the same folder."""
    return path.parent / f".{path.name}.{secrets.token_hex(4)}"


def check_run_path(path: Path) -> None:
    """Refuse a path that sbatch's ``--output`` cannot express.

    Raises:
        BadInputError: the path holds a backslash or a control character (sbatch(1), filename
            pattern: a backslash disables all patterns).
    """
    if any(c == "\\" or ord(c) < 32 or ord(c) == 127 for c in str(path)):
        raise BadInputError(
            f"The run directory {str(path)!r} holds a backslash or a control character, which "
            "sbatch's --output cannot express.",
            "Choose another directory with --run-dir.",
            code="bad-run-path",
            path=str(path),
        )


def _ignore_in_git(folder: Path) -> None:
    """Make git ignore the folder of runs, because runs are not source code."""
    ignore = folder / ".gitignore"
    if folder.name == "slurmslice-runs" and not ignore.exists():
        ignore.write_text("*\n")


def _remove(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
