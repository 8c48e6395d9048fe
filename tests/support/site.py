"""A site: a Slurm cluster and slurmslice, for an ordinary user.

The cluster is our own (``tests/support/slurm_cluster``), with slurmslice installed from its wheel
into a virtual environment that the user can read. Or it is the Slurm that this machine already has.
"""

from __future__ import annotations

import fcntl
import functools
import itertools
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import read_at_start, start_server
from tests.support.notes import SHOW_CODES, noted
from tests.support.paths import REPOSITORY
from tests.support.slurm_cluster import Cluster, ClusterError
from tests.support.slurm_cluster.prepare import make_folder

DEADLINE_S = 120.0
Finished = subprocess.CompletedProcess[str]
KILL = """\
import os, signal, sys
from slurmslice.cli import app
from slurmslice.run import directory
from slurmslice.engines import slurm
step, when = int(sys.argv.pop(1)), sys.argv.pop(1)
count = 0
def stepped(whole):
    def call(*args, **more):
        global count
        mine, count = count == step, count + 1
        if mine and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = whole(*args, **more)
        if mine:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
directory.RunDirectory.append = stepped(directory.RunDirectory.append)
slurm.SlurmEngine.submit = stepped(slurm.SlurmEngine.submit)
app.main()
"""

LATER = """\
import sys, time
ahead, now = float(sys.argv.pop(1)), time.time
time.time = lambda: now() + ahead
from slurmslice.cli import app
app.main()
"""


class NoSiteError(Exception):
    """There is no Slurm here, and none can be started. The text gives the reason."""


@dataclass
class Site:
    """A place in which tests run slurmslice and Slurm's own commands as an ordinary user.

    Attributes:
        python: an interpreter that has slurmslice and that the user may run.
        folder: a folder in which the user may write; each test uses its own folder in it.
        execute: runs argv as the user, with additional environment variables, in a folder.
        cluster: our own cluster, which tests may disturb; None for the machine's Slurm.
    """

    python: Path
    folder: Path
    execute: Callable[..., Finished]
    cluster: Cluster | None = None

    @property
    def path(self) -> str:
        """The user's PATH, which includes Slurm's commands."""
        return self.cluster.env["PATH"] if self.cluster else os.environ["PATH"]

    def run(
        self, *argv: str, cwd: Path, env: Mapping[str, str] | None = None, **more: Any
    ) -> Finished:
        """Run a program as the user."""
        more.setdefault("timeout", DEADLINE_S * 3)
        return self.execute(argv, cwd=cwd, env={**SHOW_CODES, **(env or {})}, **more)

    def slurmslice(self, *args: str, cwd: Path, **more: Any) -> Finished:
        """Run slurmslice as the user, without the start of Python if that is the usual one."""
        usual = not read_at_start(more.get("env") or {})
        words = self._server if usual else [str(self.python), "-m", "slurmslice"]
        return self.run(*words, *args, cwd=cwd, **more)

    @functools.cached_property
    def _server(self) -> list[str]:
        """The first words of commands that are forks of one process of the user."""
        user = self.cluster.as_user() if self.cluster else {"env": dict(os.environ)}
        return start_server(str(self.python), cwd=self.folder, **user)

    def killed(self, step: int, when: str, *args: str, cwd: Path) -> Finished:
        """Run slurmslice as the user, and kill it at one of its steps if it reaches that step.

        Args:
            step: the number of the step, from 0. A step is a journal line or an sbatch call.
            when: ``before`` or ``after``.
            args: slurmslice's arguments.
            cwd: its working directory.
        """
        return self.run(str(self.python), "-c", KILL, str(step), when, *args, cwd=cwd)

    def later(self, seconds: float, *args: str, cwd: Path) -> Finished:
        """Run slurmslice as the user, on a clock that is so many seconds ahead."""
        return self.run(str(self.python), "-c", LATER, str(seconds), *args, cwd=cwd)

    def popen(self, argv: list[str], *, cwd: Path, **more: Any) -> subprocess.Popen[str]:
        """Start a program as the user, and do not wait for it."""
        more.setdefault("stderr", subprocess.DEVNULL)
        user = self.cluster.as_user() if self.cluster else {"env": dict(os.environ)}
        user["env"] |= SHOW_CODES
        return subprocess.Popen(
            argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, text=True,
            **{**user, **more},
        )  # fmt: skip

    def status(self, cwd: Path, *args: str) -> dict[str, Any]:
        """Return the output of ``status --json``."""
        done = self.slurmslice("status", *args, "--json", cwd=cwd)
        assert done.returncode == 0, done.stderr
        record: dict[str, Any] = json.loads(done.stdout)
        return record


def array_task_of(sent: Finished) -> str:
    """Return the job id in the output of a verb that made exactly one submission."""
    (submitted,) = noted(sent.stderr, "submitted")
    return str(submitted["job"])


def until(
    condition: Callable[[], bool], what: str | Callable[[], str], deadline_s: float = DEADLINE_S
) -> None:
    """Wait for a condition. At the deadline, fail and name the condition."""
    deadline = time.monotonic() + deadline_s
    while True:
        began = time.monotonic()
        if condition():
            return
        if time.monotonic() > deadline:
            pytest.fail(f"waited in vain for {what if isinstance(what, str) else what()}")
        # A look may be a command that takes a second. Other tests need the CPUs too.
        time.sleep(min(1, max(0.2, 2 * (time.monotonic() - began))))


def until_empty(site: Site) -> None:
    """Wait until the user has nothing in the queue."""
    root = Path("/")
    until(lambda: not jobs_in(site, root), lambda: f"an empty queue: {jobs_in(site, root)}")


def write(site: Site, path: Path, text: str) -> None:
    """Write a file as the user."""
    done = site.run("tee", str(path), cwd=path.parent, input=text)
    assert done.returncode == 0, done.stderr


def settled(site: Site, directory: Path, run: str) -> Counter[str]:
    """The counts once nothing is in flight and a ``tick`` submits nothing more."""
    while True:
        site.slurmslice("watch", run, "--interval", "1", cwd=directory)
        seen = site.status(directory, run)
        if seen["finished"]:
            return Counter(seen["counts"])
        before = len(events(directory, run, "intent"))
        site.slurmslice("tick", run, cwd=directory)
        if len(events(directory, run, "intent")) == before:
            return Counter(site.status(directory, run)["counts"])


def marks(directory: Path) -> Counter[str]:
    """Return the number of starts of each slice: each start writes its key."""
    path = directory / "marks"
    return Counter(path.read_text().split() if path.exists() else ())


WITNESSED = """\
note() { echo "$SLICE $SLURM_JOB_ID.${SLURM_RESTART_COUNT:-0} $1 $EPOCHREALTIME" >>times; }
note start
{work}
note end
"""


def witnessed(work: str) -> str:
    """Return a command that records its start and its end in the file ``times``.

    If the work may be ended from outside, ``note alive`` in it records that it still runs.
    """
    return WITNESSED.replace("{work}", work)


WAITS = witnessed("until [ -e go ]; do note alive; sleep 0.2; done")
"""Each slice waits, alive, until the file ``go`` is there."""


def witness(directory: Path) -> dict[str, list[tuple[float, float, bool]]]:
    """Return each slice's attempts: times of its first and last record, and True if it ended."""
    path = directory / "times"
    tries: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        key, job, what, at = line.rsplit(" ", 3)
        tries.setdefault((key, job), []).append((float(at), what))
    found: dict[str, list[tuple[float, float, bool]]] = {}
    for (key, _), signs in tries.items():
        done = any(what == "end" for _, what in signs)
        found.setdefault(key, []).append((min(signs)[0], max(signs)[0], done))
    return {key: sorted(spans) for key, spans in found.items()}


def done_apart(
    directory: Path, keys: Sequence[str], *, tries: int | None = None, deaf: bool = False
) -> None:
    """Assert that each slice ended once, and that no two attempts of it ran at the same time.

    Args:
        directory: the folder in which the command ran.
        keys: the keys of all slices.
        tries: the number of starts of each slice; None for any number.
        deaf: slices may have ended while Slurm could not learn of it; then Slurm starts them again
            (seen on 20.11 and 24.11).
    """
    seen = witness(directory)
    assert sorted(seen) == sorted(keys)
    for key, spans in seen.items():
        ends = [done for *_, done in spans].count(True)
        assert ends == 1 or (deaf and ends > 1), f"{key}: {spans}"
        assert tries is None or len(spans) == tries, f"{key}: {spans}"
        for (_, last, _), (first, _, _) in itertools.pairwise(spans):
            assert last < first, f"{key} ran twice at the same time: {spans}"


def events(directory: Path, run: str, kind: str) -> list[dict[str, Any]]:
    """The lines of one kind in a run's journal."""
    lines = (directory / "slurmslice-runs" / run / "journal.jsonl").read_text().splitlines()
    return [event for line in lines if (event := json.loads(line))["event"] == kind]


def accounted(
    site: Site, directory: Path, jobs: Sequence[str], field: str
) -> dict[tuple[str, str], str]:
    """Return sacct's values of a field, by job and array index."""
    told = site.run(
        "sacct", "-X", "-n", "-P", f"--format=JobID,{field}", "-j", ",".join(jobs), cwd=directory
    )
    rows = (line.split("|") for line in told.stdout.splitlines())
    return {(task.partition("_")[0], task.partition("_")[2]): said for task, said in rows}


@contextmanager
def beside(site: Site, name: str, **settings: Any) -> Iterator[Site]:
    """A second cluster of our own, with the first one's slurmslice; gone in the end."""
    assert site.cluster is not None
    changed = replace(site.cluster.settings, **settings)
    folder = site.cluster.folder.with_name(f"slurmslice-{name}-{os.getpid()}")
    cluster = Cluster(folder, changed)
    try:
        cluster.up()
        yield Site(site.python, cluster.layout.home, cluster.run, cluster)
    finally:
        cluster.down(remove=True)


@contextmanager
def empty_folder(site: Site) -> Iterator[Path]:
    """An empty folder of the ordinary user. The nodes see it too; it is removed at the end."""
    folder = site.folder / f"test-{os.getpid()}-{secrets.token_hex(4)}"
    made = site.run("mkdir", "-p", str(folder), cwd=site.folder)
    assert made.returncode == 0, made.stderr
    yield folder
    _cancel_jobs_of(site, folder)
    shutil.rmtree(folder, ignore_errors=True)


def side_by_side(
    site: Site,
    directory: Path,
    work: Callable[..., None],
    cases: Mapping[str, tuple[object, ...]],
) -> None:
    """Do the work for all cases at the same time, because most of it is waiting for Slurm.

    Args:
        site: the cluster.
        directory: gets a folder for each case.
        work: is called with the site, the folder of the case and the values of the case.
        cases: the values, by a name.

    Raises:
        BaseException: the error of the first case that failed, with the case's name as a note.
    """

    def do(name: str, values: tuple[object, ...]) -> None:
        made = site.run("mkdir", name, cwd=directory)
        assert made.returncode == 0, made.stderr
        work(site, directory / name, *values)

    with ThreadPoolExecutor(len(cases)) as pool:
        running = {name: pool.submit(do, name, values) for name, values in cases.items()}
    for name, one in running.items():
        if error := one.exception():
            error.add_note(f"case: {name}")
            raise error


def jobs_in(site: Site, folder: Path) -> list[str]:
    """The jobs in the queue that were submitted in a folder or below it: id, state, why, name."""
    told = site.run("squeue", "-h", "-o", "%A %T %r %j|%Z", cwd=site.folder)
    lines = (line.rpartition("|") for line in told.stdout.splitlines())
    return [job for job, _, work in lines if Path(work).is_relative_to(folder)]


def _cancel_jobs_of(site: Site, folder: Path) -> None:
    # What a test leaves in the queue would stand in the way of those that look at the whole of it.
    if ids := sorted({job.split()[0] for job in jobs_in(site, folder)}):
        site.run("scancel", *ids, cwd=site.folder)


def find_site(wish: str, folder: str, shared: str = "") -> Site:
    """Return a site: the machine's Slurm if there is one, else our own cluster.

    Args:
        wish: ``auto``, ``require`` or ``off``.
        folder: the folder of our own cluster.
        shared: the folder of another cluster, whose installed slurmslice this one uses too.

    Raises:
        NoSiteError: there is no site.
    """
    if wish == "off":
        raise NoSiteError("switched off (SLURM=off)")
    if _slurm_answers():
        return _site_of_this_machine()
    if os.geteuid() != 0:
        raise NoSiteError("no Slurm answers here, and only root can bring one up")
    if not (shutil.which("slurmctld") or shutil.which("apt-get")):
        raise NoSiteError(
            "no Slurm answers here, and this is no Debian where it could be installed"
        )
    try:
        return _site_of_our_own(folder, shared)
    except ClusterError as why:
        raise NoSiteError(f"the cluster did not come up: {why}") from why


def _slurm_answers() -> bool:
    if shutil.which("sinfo") is None:
        return False
    return subprocess.run(["sinfo", "-h"], capture_output=True, timeout=60).returncode == 0


def _site_of_this_machine() -> Site:
    # Beside the code, which nodes of a real cluster are likelier to see than /tmp.
    folder = REPOSITORY / "build" / "tests"
    folder.mkdir(parents=True, exist_ok=True)

    def execute(argv: tuple[str, ...], **more: Any) -> Finished:
        more["env"] = {**os.environ, **more.get("env", {})}
        return subprocess.run(argv, capture_output=True, text=True, **more)

    return Site(Path(sys.executable), folder, execute)


def _site_of_our_own(folder: str, shared: str) -> Site:
    cluster = Cluster(folder, say=_say)
    cluster.up()
    python = install(cluster, shared or folder)
    return Site(python, cluster.layout.home, cluster.run, cluster)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def install(cluster: Cluster, folder: str) -> Path:
    """Install slurmslice from its wheel for the ordinary user, into a folder; return its Python.

    The workers of one test session share the folder: the first one installs.
    """
    venv = Path(folder) / "venv"
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    make_folder(Path(folder))
    with (Path(folder) / "venv.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.seek(0)
        if lock.read() == session:
            return _python_of(venv)
        with tempfile.TemporaryDirectory() as wheels:
            _pip("wheel", "--no-deps", "--wheel-dir", wheels, str(REPOSITORY))
            (wheel,) = Path(wheels).glob("*.whl")
            _install_wheel(cluster, wheel, venv)
        lock.truncate(0)
        lock.write(session)
    return _python_of(venv)


def _python_of(venv: Path) -> Path:
    return venv / "bin" / "python"


def _install_wheel(cluster: Cluster, wheel: Path, venv: Path) -> None:
    python = _python_of(venv)
    if cluster.run([str(python), "-c", ""]).returncode != 0 if python.exists() else True:
        shutil.rmtree(venv, ignore_errors=True)
        _check(subprocess.run([_base_python(cluster), "-m", "venv", "--without-pip", str(venv)]))
    _pip("--python", str(python), "install", f"{wheel}[example]")
    _pip("--python", str(python), "install", "--no-deps", "--force-reinstall", str(wheel))


def _base_python(cluster: Cluster) -> str:
    """An interpreter that the ordinary user may run, new enough for slurmslice."""
    enough = "import sys; sys.exit(sys.version_info < (3, 11))"
    for python in map(os.path.realpath, (sys.executable, "/usr/bin/python3")):
        try:
            if cluster.run([python, "-c", enough]).returncode == 0:
                return python
        except OSError:
            continue
    raise NoSiteError(
        "no Python 3.11 or newer that an ordinary user may run (tried /usr/bin/python3)"
    )


def _pip(*args: str) -> None:
    _check(
        subprocess.run(
            [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *args],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    )


def _check(done: subprocess.CompletedProcess[Any]) -> None:
    if done.returncode != 0:
        raise NoSiteError(f"{' '.join(done.args)} failed: {done.stdout}")


def shell(folder: str) -> int:
    """A shell of the ordinary user on our own cluster, with slurmslice on its PATH."""
    cluster = Cluster(folder, say=_say)
    cluster.up()
    binaries = install(cluster, folder).parent
    _say(f"A shell as {cluster.user}, on a cluster of {len(cluster.nodes)} nodes. Try: sinfo; "
         "slurmslice doctor; slurmslice run -a 0-9 -- echo {}")  # fmt: skip
    return cluster.interact(["env", f"PATH={binaries}:{cluster.env['PATH']}", "/bin/bash", "-i"])


if __name__ == "__main__":
    sys.exit(shell(sys.argv[1]))
