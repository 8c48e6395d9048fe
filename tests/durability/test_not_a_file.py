"""Pipes, sockets, folders and devices at a file's path: each is named, and nothing waits for it."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.errors import NotAFileError
from slurmslice.run.run import Run
from slurmslice.status.states import State
from slurmslice.system import files
from tests.local.test_local_runs import Here
from tests.support.errors import check_error, error_code
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed


def bind(path: Path) -> None:
    """Create a socket."""
    with socket.socket(socket.AF_UNIX) as one, pytest.MonkeyPatch.context() as patch:
        patch.chdir(path.parent)  # a socket's path must be short (unix(7))
        one.bind(path.name)


def link(path: Path) -> None:
    """Create a link to an endless device."""
    path.symlink_to("/dev/zero")


Make = Callable[[Path], None]
KINDS: dict[str, Make] = {
    "named pipe": os.mkfifo, "socket": bind, "folder": os.mkdir, "device": link,
}  # fmt: skip

WAYS: list[Make] = [
    files.read_file,  # type: ignore[list-item]
    lambda path: files.read_new_lines(path, 0),  # type: ignore[list-item]
    lambda path: files.append_lines(path, b"line\n"),
]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_not_a_file_is_named_without_waiting(tmp_path: Path, kind: str, way: Make) -> None:
    """Every file operation names the kind, as damage and as an OSError."""
    path = tmp_path / "file"
    KINDS[kind](path)
    with pytest.raises(OSError, match=path.name) as why:
        way(path)
    assert str(path) == str(why.value.filename)
    if not (path.is_symlink() and way in WAYS[2:]):  # append refuses a link itself: ELOOP
        assert isinstance(why.value, NotAFileError)
        check_error(why.value, "not-a-file", path=str(path), found=f"a {kind}")


def test_file_under_lease_is_opened(tmp_path: Path) -> None:
    """A file under a lease, as NFS servers use for their clients, is opened after the lease."""
    path = tmp_path / "file"
    path.write_bytes(b"line\n")
    with path.open("rb") as lent:
        returned_rows = []

        def give_back(number: int, frame: object) -> None:
            fcntl.fcntl(lent, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            returned_rows.append(number)

        before = signal.signal(signal.SIGIO, give_back)
        try:
            fcntl.fcntl(lent, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            files.append_lines(path, b"more\n")
        finally:
            signal.signal(signal.SIGIO, before)
    assert returned_rows
    assert path.read_bytes() == b"line\nmore\n"


PLACES = [
    ("run.json", "status"),
    ("slices.tsv", "status"),
    ("journal.jsonl", "status"),
    ("states.tsv", "runs"),
    ("script.sh", "resubmit"),
    (".lock", "resubmit"),
    (".lock.holder", "resubmit"),
    ("local/runner", "resubmit"),
    ("submissions/001/tasks/worker-0.log", "resubmit"),
    ("submissions/001/tasks/1.log", "logs --task x 1"),
    ("submissions/001/logs/1.log", "logs x 1"),
]


def test_not_a_file_in_a_run_is_named(tmp_path: Path) -> None:
    """Exit code 2 as for a damaged run; the error names the file and its kind."""
    here = Here(tmp_path)
    here("run", "--engine", "local", "-a", "0-1", "--name", "x", "--", "test", "0", "=", "{}")
    run, kept = tmp_path / "slurmslice-runs" / "x", tmp_path / "kept"
    shutil.copytree(run, kept)
    for (directory, verb), (kind, make) in zip(PLACES, [*KINDS.items()] * len(PLACES)):  # noqa: B905
        shutil.rmtree(run)
        shutil.copytree(kept, run)
        (run / directory).unlink(missing_ok=True)
        make(run / directory)
        done = here(*verb.split())
        assert f"{directory} is a {kind}" in done.stdout + done.stderr, (directory, done)
        ended = (done.returncode, error_code(done.stderr))
        assert ended == ((0, "") if verb == "runs" else (2, "not-a-file")), (directory, done)


def test_unreadable_task_log_is_noted(
    new_run: Callable[..., Run], engine: FakeEngine, typed: Typed
) -> None:
    """Slurm's report counts, and one note per command names the unreadable log."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    engine.end_all(State.FAILED)
    for index in (1, 2):
        os.mkfifo(run.directory.task_log_path(1, index))
    said = typed("watch", "demo")
    assert typed.code == 1
    unreadable_logs = {"path": str(run.directory.task_log_path(1, 1)), "files": 2}
    assert typed.noted("task-log-unreadable") == [unreadable_logs]
    assert "pipe" in said
    assert "FAILED 4" in typed("status", "demo")


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_refused_and_index_is_ignored(tmp_path: Path, kind: str) -> None:
    """Such settings are refused; such an index of runs is ignored."""
    here, line = Here(tmp_path), ("render", "--engine", "local", "-a", "0", "--", "true")
    (tmp_path / "state" / "slurmslice").mkdir(parents=True)
    KINDS[kind](tmp_path / "state" / "slurmslice" / "runs")
    assert here(*line).returncode == 0
    KINDS[kind](tmp_path / "slurmslice.toml")
    done = here(*line)
    assert (done.returncode, error_code(done.stderr)) == (2, "not-a-file")
    assert f"a {kind}" in done.stderr


def test_slices_are_read_from_a_pipe(tmp_path: Path) -> None:
    """A person may name a pipe, as with ``<(cmd)``."""
    here = Here(tmp_path)
    pipe = tmp_path / "keys"
    os.mkfifo(pipe)
    writer = here.start("sh", "-c", "printf 'a\\nb\\n' > keys")
    done = here("render", "--engine", "local", "--slices-from", "keys", "--", "true", "{}")
    assert writer.communicate()[1] == ""
    assert (done.returncode, here.counts("true")) == (0, {"WAITING": 2}), done.stderr
