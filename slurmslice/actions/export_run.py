"""Export a run: what a reviewer needs a year later, in one folder (docs/adr/0042)."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import slurmslice
from slurmslice.errors import BadInputError
from slurmslice.run.directory import read_required_file, sha256_hex
from slurmslice.run.exported import RUN_FILE, format_run, format_states
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission, SubmissionStatus
from slurmslice.system.json_fields import encode

_FACTS = (
    *("node", "started_at", "ended_at", "elapsed_s", "cpu_s", "max_rss_bytes"),
    *("requested_mem_bytes", "evidence", "reason"),
)


def export_files(run: Run) -> dict[str, bytes]:
    """Return the files of an export by name.

    Raises:
        BadInputError: the description has a text that is not UTF-8.
        DamagedRunError: a file cannot be read.
    """
    description = format_run(run.record, _made(run), map(_submission, _accepted(run)))
    files = {
        RUN_FILE: description,
        "slices.tsv": run.table.data,
        "states.tsv": format_states(_states(run)),
        "script.sh": read_required_file(run.directory.script),
        run.directory.library.name: read_required_file(run.directory.library),
    }
    sums = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    return {**files, "SHA256SUMS": "".join(sums).encode()}


def write_export(files: Mapping[str, bytes], path: Path) -> None:
    """Write an export, whole or not at all. The last step is a rename.

    Raises:
        BadInputError: there is something at that path, or it cannot be written.
    """
    import shutil

    draft = path.parent / f".{path.name}.{secrets.token_hex(4)}"
    try:
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        draft.mkdir(parents=True)
        for name, data in files.items():
            (draft / name).write_bytes(data)
        os.rename(draft, path)
    except OSError as why:
        shutil.rmtree(draft, ignore_errors=True)
        raise BadInputError(
            f"Cannot write the export {path}: {why.strerror}.",
            "Choose another folder, which must not exist yet: --to DIR",
            code="cannot-write-export",
            path=str(path),
        ) from why


def _made(run: Run) -> dict[str, Any]:
    """Return the facts of the creation of a run, with the digests of its files."""
    record = run.record
    return {
        "version": slurmslice.__version__,
        "run_version": record.version,
        "engine": record.engine,
        "cluster": record.cluster,
        "created_at": record.created_at,
        "exported_at": run.clock(),
        "slices": len(run.table),
        "slices_sha256": sha256_hex(run.table.data),
        "library_sha256": record.library_sha256,
        "template": record.template,
        "run_directory": str(run.directory.path).encode("utf-8", "replace").decode(),
    }


def _accepted(run: Run) -> Iterator[Submission]:
    for one in run.journal_state.submissions.values():
        if one.status is SubmissionStatus.SUBMITTED:
            yield one


def _submission(one: Submission) -> dict[str, Any]:
    """Return the facts of a submission: its job, its options, and the code at that time."""
    return {
        "number": one.number,
        "job": one.job,
        "cluster": one.cluster,
        "submitted_at": one.submitted_at,
        "array": one.intent.array,
        "rows": one.intent.rows,
        "options": one.intent.options.to_json(),
        "script_sha256": one.intent.script_sha256,
        "code": encode(one.intent.code),
    }


def _states(run: Run) -> Iterator[list[object]]:
    """Yield the fields of ``STATE_COLUMNS`` of each slice."""
    for row, key in enumerate(run.table.keys):
        status = run.statuses[row]
        number = status.submission
        one = run.journal_state.submissions.get(number) if number else None
        job = f"{one.job}_{status.index}" if one and one.job else None
        yield [
            key, status.state, run.journal_state.attempts[row], status.exit_code, job,
            *(getattr(status, name) for name in _FACTS),
        ]  # fmt: skip
