"""Real permissions and a real full disk: the error says what to type, and no data is lost."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurmslice.status.states import State
from slurmslice.system.users import other_owner
from tests.durability.test_kills import MADE, TEN, Line
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

ROOT = os.geteuid() == 0
NOBODY = 65534

CHANGING: list[Line] = [
    ("submit",), ("resubmit",), ("run", "demo"), ("cancel",), ("throttle", "2"), ("tick",),
    ("attach", "100"),
]  # fmt: skip
LOOKING: list[Line] = [("status",), ("logs", "0"), ("status", "--slices")]
ANEW: Line = ("render", "--name", "other", "-a", "0-9", "--engine", "slurm", "--", "true", "{}")


@pytest.fixture
def directory(typed: Typed, engine: FakeEngine) -> Iterator[Path]:
    """A folder that every user can open, for a run with finished, failed and waiting slices."""
    folder = Path(tempfile.mkdtemp(prefix="slurmslice-"))
    folder.chmod(0o755)
    typed.folder = folder
    for name in ("STATE", "CONFIG"):
        typed.patch.setenv(f"XDG_{name}_HOME", str(folder / name))
    typed.patch.delenv("SLURMSLICE_RUNS")
    typed.patch.chdir(folder)
    engine.on_wait = engine.end_all
    yield folder
    os.chdir("/")
    shutil.rmtree(folder)


def begun(typed: Typed, engine: FakeEngine) -> Path:
    """A run with one slice done, one failed, one in flight, three queued, and others waiting."""
    engine.most = 3
    typed(*MADE)
    typed("submit", "--only", "6")
    engine.end("100", 0, State.COMPLETED, exit_code=0)
    engine.end("100", 1, State.FAILED, exit_code=3)
    run = typed.folder / "slurmslice-runs" / "demo"
    log = run / "submissions" / "001" / "logs" / "0.log"
    log.parent.mkdir(exist_ok=True)
    log.write_text("what it wrote\n")
    for line in LOOKING:
        typed(*line)  # once, because another user may be unable to read imported modules
    return run


def contents(run: Path) -> dict[str, bytes]:
    """The content of every file of a run except the empty lock file."""
    files = (path for path in run.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(run)): path.read_bytes() for path in files}


@contextlib.contextmanager
def user(uid: int) -> Iterator[None]:
    """Become another user for the block; root can return."""
    os.setresgid(uid, uid, 0)
    os.setresuid(uid, uid, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


@contextlib.contextmanager
def ordinary(folder: Path) -> Iterator[None]:
    """Become a user whose permissions are enforced, and who owns the folder."""
    if not ROOT:
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    with user(NOBODY):
        yield


def nothing_was_done(engine: FakeEngine) -> bool:
    """Return whether the cluster received no new request."""
    requests = (engine.cancelled, engine.throttled, engine.held, engine.released)
    return len(engine.jobs) == 1 and not any(requests)


def looks(typed: Typed, line: Line) -> None:
    """Check that a command that only reads succeeds."""
    said = typed(*line)
    assert typed.code in (0, 1, 4), said
    assert "Traceback" not in said
    assert any(word in said for word in ("COMPLETED", "done", "what it wrote")), said


def test_read_only_run_can_only_be_read(typed: Typed, engine: FakeEngine, directory: Path) -> None:
    """Reading works; a changing command exits with 2 and says how to make the run writable."""
    run = begun(typed, engine)
    before = contents(run)
    with ordinary(directory):
        run.chmod(0o555)
        for line in CHANGING:
            said = typed(*line)
            assert (typed.code, typed.error) == (2, "read-only-run"), said
            assert typed.fields["path"] == str(run)
            assert f"chmod u+w {run}" in said
        assert nothing_was_done(engine)
        for line in LOOKING:
            looks(typed, line)
        assert contents(run) == before
        run.chmod(0o755)
        typed("run", "demo")
        assert typed.code == 1  # one slice failed


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
def test_run_of_another_user_can_only_be_read(
    typed: Typed, engine: FakeEngine, directory: Path
) -> None:
    """Reading works; a changing command exits with 2 and names the owner."""
    run = begun(typed, engine)
    before = contents(run)
    with user(NOBODY):
        for line in CHANGING:
            said = typed(*line)
            assert (typed.code, typed.error) == (2, "not-yours"), said
            assert typed.fields == {"path": str(run), "owner": "root"}
            assert f"slurmslice status {run}" in said
        assert nothing_was_done(engine)
        said = typed(*ANEW)
        assert (typed.code, typed.error) in ((2, "cannot-create-run"), (3, "os-error")), said
        assert os.strerror(errno.EACCES) in said
        for line in LOOKING:
            looks(typed, line)
    assert contents(run) == before


@contextlib.contextmanager
def looking_at_another_users(folder: Path, *, as_root: bool) -> Iterator[None]:
    """Look at a run of another user, with all rights to change it."""
    for path in (folder, *folder.rglob("*")):
        if as_root:
            os.chown(path, NOBODY, NOBODY)
        path.chmod(0o777)
    with contextlib.nullcontext() if as_root else user(NOBODY):
        yield


def versions(run: Path) -> dict[str, int]:
    """Return the time of the last change of each file and folder of a run."""
    return {str(path): path.stat().st_mtime_ns for path in (run, *run.rglob("*"))}


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
@pytest.mark.parametrize("as_root", [False, True])
def test_a_writable_run_of_another_user_is_not_written(
    typed: Typed, engine: FakeEngine, directory: Path, as_root: bool
) -> None:
    """Its script would run as me. Looking works, and leaves no trace."""
    run = begun(typed, engine)
    with looking_at_another_users(directory, as_root=as_root):
        before = versions(run)
        for line in CHANGING:
            typed(*line)
            assert (typed.code, typed.error) == (2, "not-yours"), line
            assert typed.fields["owner"] == ("nobody" if as_root else "root")
        for line in LOOKING:
            looks(typed, line)
        typed("status")
        assert [note.code for note in typed.notes].count("foreign-run") == 1
        assert typed.noted("next-step") == []
        assert versions(run) == before
    assert nothing_was_done(engine)


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
def test_a_doubt_of_another_user_stays_one(
    typed: Typed, engine: FakeEngine, directory: Path
) -> None:
    """My queue says nothing about it: no job is searched, no submission is fenced."""
    run = begun(typed, engine)
    journal = run / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"submitted"' not in line]
    journal.write_text("".join(kept))
    (run / "states.tsv").unlink()
    engine.jobs.clear()
    with looking_at_another_users(directory, as_root=False):
        assert typed.json("status")["counts"] == {"SUBMITTED": 3, "WAITING": 7}
        assert len(typed.noted("no-answer")) == 1


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["script.sh", "journal.jsonl", "run.json"])
def test_a_file_of_another_user_makes_a_run_foreign(
    typed: Typed, engine: FakeEngine, directory: Path, name: str
) -> None:
    """In my own folder, too: somebody else may have put it there."""
    run = begun(typed, engine)
    os.chown(run / name, NOBODY, NOBODY)
    typed("resubmit")
    assert (typed.code, typed.error) == (2, "not-yours")
    assert nothing_was_done(engine)


@pytest.mark.parametrize(
    ("owners", "other"), [([], None), ([7, 7], None), ([7, 0], 0), ([8], 8), ([7, 9, 8], 9)]
)
def test_the_rule(owners: list[int], other: int | None) -> None:
    """Every file must be mine; root is another user than any other."""
    assert other_owner(owners, 7) == other


@pytest.fixture
def full(directory: Path, typed: Typed) -> Iterator[Callable[[], Path]]:
    """Return a function that fills a small disk and returns the file to remove afterwards."""
    disk = directory / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "slurmslice-test", str(disk)]
    if not ROOT or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs root and a container in which it may mount a small disk")
    typed.folder = disk
    typed.patch.chdir(disk)

    def fill() -> Path:
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        return filler

    yield fill
    os.chdir("/")
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("line", [*CHANGING, ANEW, ("run", *TEN)], ids=" ".join)
def test_full_disk_leaves_the_run_unchanged(
    typed: Typed, engine: FakeEngine, full: Callable[[], Path], line: Line
) -> None:
    """The command fails, the run is unchanged byte for byte, and continues after space is free."""
    run = begun(typed, engine)
    before, filler = contents(run), full()
    said = typed(*line)
    expected = (2, "cannot-create-run") if line == ANEW else (3, "os-error")
    assert (typed.code, typed.error) == expected, said
    assert os.strerror(errno.ENOSPC) in said
    for looking in LOOKING:
        looks(typed, looking)
    assert {name: contents(run)[name] for name in before} == before
    assert nothing_was_done(engine)
    filler.unlink()
    said = typed(*line)
    assert typed.code in (0, 1, 2 if line[0] == "attach" else 0), said
