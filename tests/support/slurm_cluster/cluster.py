"""A real Slurm cluster on one machine, with all its files in one folder."""

from __future__ import annotations

import fcntl
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from . import accounting, cgroups, daemons, packages, prepare, processes, roots
from .errors import ClusterError
from .layout import DEFAULT_FOLDER, Layout, node_names
from .record import Record, load_record
from .settings import Settings

Answer = TypeVar("Answer")


def _silent(_message: str) -> None:
    """Say nothing."""


class Cluster:
    """munge, MariaDB, slurmdbd, slurmctld and the slurmds of one folder.

    Without settings, it uses the settings of the last `up` in that folder, or else the defaults.
    """

    def __init__(
        self,
        folder: Path | str = DEFAULT_FOLDER,
        settings: Settings | None = None,
        say: Callable[[str], None] = _silent,
    ) -> None:
        """Describe a cluster; nothing is started or written before `up`."""
        if os.geteuid() != 0:
            raise ClusterError(
                "the cluster needs root: slurmd runs other users' jobs and limits them"
            )
        self.folder = Path(os.path.abspath(folder))
        record = load_record(self.folder)
        self.settings = settings or (record.settings if record else Settings())
        self.layout = Layout(self.folder, Path(self.settings.root) if self.settings.root else None)
        roots.enter(self.layout)
        self._say = say

    @property
    def user(self) -> str:
        """The ordinary user that submits jobs."""
        return prepare.ordinary_user(self.settings)

    @property
    def nodes(self) -> list[str]:
        """The names of the nodes as Slurm knows them."""
        return node_names(self.folder, self.settings)

    @property
    def env(self) -> dict[str, str]:
        """The additional environment variables of the ordinary user's commands."""
        return {
            "PATH": self.layout.path,
            "SLURM_CONF": str(self.layout.slurm_conf),
            "HOME": str(self.layout.home),
            "USER": self.user,
            "LOGNAME": self.user,
        }

    @property
    def daemon_names(self) -> list[str]:
        """The names of the daemons that should run, in the order of their start."""
        return [daemon.name for daemon in daemons.all_daemons(self.layout, self._record())]

    def running(self) -> dict[str, int]:
        """Find the daemons that run, with their process ids."""
        return daemons.running(self.layout)

    # Up and down.

    def up(self) -> None:
        """Start all daemons that do not run yet, with the configuration for the settings."""
        prepare.make_folder(self.folder)
        with self._lock():
            roots.enter(self.layout)
            roots.write_programs(self.layout)
            packages.install(self.layout, self._say)
            record = self._prepare()
            for daemon in daemons.all_daemons(self.layout, record):
                self._start(daemon, record)

    def down(self, *, remove: bool = False) -> None:
        """End every daemon and every job, wait for their end, and delete the folder if asked."""
        if not self.folder.exists():
            return
        with self._lock():
            self._stop(self.running())
            for spool in self.layout.spool.glob("*"):
                cgroups.clear(spool.name)
            if remove:
                shutil.rmtree(self.folder)
                self._say(f"removed {self.folder}")

    # Single daemons, for tests of outages: munged, mariadbd, slurmdbd, slurmctld, n1 …

    def start(self, name: str) -> None:
        """Start a daemon and wait until it answers."""
        name, record = self._real_name(name), self._record()
        for daemon in daemons.all_daemons(self.layout, record):
            if daemon.name == name:
                self._start(daemon, record)

    def stop(self, name: str) -> None:
        """End a daemon normally and wait for its end. Its jobs continue to run."""
        self._stop([self._real_name(name)])

    def restart(self, name: str) -> None:
        """Stop and start a daemon."""
        self.stop(name)
        self.start(name)

    def kill(self, name: str) -> None:
        """Kill a daemon as a crash would: it cleans up nothing, its pid file stays behind."""
        daemons.kill(self.layout, self._real_name(name))

    # Use.

    def run(
        self,
        argv: Sequence[str],
        *,
        user: str | None = None,
        input: str | None = None,
        timeout: float = 60,
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the ordinary user, or as `user`, without the caller's environment.

        The caller must check the exit status. The variables in `env` are added to the cluster's.
        """
        whom = self.as_user(user)
        return subprocess.run(
            argv,
            **{**whom, "env": {**whom["env"], **(env or {})}},
            cwd=cwd or self.layout.home,
            input=input if input is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def interact(self, argv: Sequence[str]) -> int:
        """Run a command as the ordinary user on the caller's terminal; return its exit status."""
        self._record()
        whom = self.as_user()
        whom["env"]["TERM"] = os.environ.get("TERM", "dumb")
        return subprocess.run(argv, **whom, cwd=self.layout.home).returncode

    def as_user(self, user: str | None = None) -> dict[str, Any]:
        """Return the arguments with which `subprocess` runs as the ordinary user, or as `user`."""
        account = pwd.getpwnam(user or self.user)
        env = {**daemons.environment(self.layout), **self.env}
        if account.pw_name != self.user:
            env |= {"HOME": account.pw_dir, "USER": account.pw_name, "LOGNAME": account.pw_name}
        return {
            "user": account.pw_uid,
            "group": account.pw_gid,
            "extra_groups": [],
            "env": env,
        }

    @staticmethod
    def wait_until(
        predicate: Callable[[], Answer], deadline: float = 30, what: str = "a condition"
    ) -> Answer:
        """Poll until `predicate` returns a true value, and return it; else raise ClusterError."""
        return processes.wait_until(predicate, deadline, what)

    def set_limit(self, **limits: int | None) -> None:
        """Set limits of the user's association, such as MaxSubmitJobs=5. None removes a limit."""
        accounting.set_limits(self.layout, self.settings.account, self.user, limits)

    def forget_jobs(self) -> None:
        """Cancel every job and remove slurmctld's state. Job ids start at 1 again."""
        for user in (self.user, "root"):
            daemons.demand(self.layout, "scancel", f"--user={user}")
        self.wait_until(self._is_idle, 60, "the end of all jobs")
        self.lose_state()

    def lose_state(self) -> None:
        """Remove slurmctld's state with its jobs. It forgets the jobs, and ids start at 1 again."""
        self.stop("slurmctld")
        shutil.rmtree(self.layout.state)
        prepare.make_folders(self.layout, self.user)
        self.start("slurmctld")
        self.wait_for_nodes()

    def wait_for_nodes(self, deadline: float = 60) -> None:
        """Wait until every node accepts jobs."""

        def usable() -> bool:
            return not any(daemons.node_complaint(self.layout, node) for node in self.nodes)

        self.wait_until(usable, deadline, "all nodes to take jobs")

    def last_log_lines(self, lines: int) -> list[tuple[Path, str]]:
        """Return each daemon's log, and its last lines."""
        logs = sorted(self.layout.log_file("slurmctld").parent.glob("*.log"))
        return [
            (log, "\n".join(log.read_text(errors="replace").splitlines()[-lines:])) for log in logs
        ]

    # Inside.

    def _record(self) -> Record:
        record = load_record(self.folder)
        if record is None:
            raise ClusterError(f"there is no cluster in {self.folder}: bring it up first")
        return record

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the lock with which only one caller at a time starts or ends the cluster."""
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _prepare(self) -> Record:
        """Update the folder, and end the daemons whose configuration has changed."""
        running = self.running()
        before = load_record(self.folder)
        if before is not None and before.settings.root != self.settings.root:
            raise ClusterError(f"{self.folder} is a cluster of another release: remove it first")
        record = prepare.settle_record(self.layout, self.settings, bool(running))
        prepare.make_folders(self.layout, self.user)
        prepare.make_munge_key(self.layout)
        changed = prepare.write_configuration(self.layout, record)
        wanted = {daemon.name for daemon in daemons.all_daemons(self.layout, record)}
        kept = {name for name in wanted if not daemons.reads(name) & changed}
        self._stop(name for name in running if name not in kept)
        if record.settings.accounting and accounting.create_data(self.layout):
            self._say("made the tables of MariaDB")
        return record

    def _start(self, daemon: daemons.Daemon, record: Record) -> None:
        if daemon.name in self.nodes and not daemons.pid_of(self.layout, daemon.name):
            cgroups.clear_orphans(daemon.name)
        if daemons.start(self.layout, daemon):
            self._say(f"started {daemon.name}")
        if daemon.name == "mariadbd":
            accounting.create_database(self.layout, record)
        if daemon.name == "slurmdbd":
            accounting.create_cluster(self.layout)
            accounting.create_associations(self.layout, record, self.user)

    def _stop(self, names: Iterable[str]) -> None:
        """End daemons. A daemon ends before the daemons that it uses."""
        order = ["munged", "mariadbd", "slurmdbd", "slurmctld"]
        known = {name: rank for rank, name in enumerate(reversed(order), 1)}
        for name in sorted(names, key=lambda name: known.get(name, 0)):
            if daemons.stop(self.layout, name):
                self._say(f"stopped {name}")

    def _real_name(self, name: str) -> str:
        """Return the daemon's name in Slurm. n1, n2 … are the nodes of any cluster."""
        if name in self.daemon_names:
            return name
        number = re.fullmatch(r"n(\d+)", name)
        if number and 1 <= int(number[1]) <= len(self.nodes):
            return self.nodes[int(number[1]) - 1]
        raise ClusterError(f"no daemon {name!r}; there are {', '.join(self.daemon_names)}")

    def _is_idle(self) -> bool:
        """Return whether no job is pending, running or ending."""
        return not daemons.demand(self.layout, "squeue", "--noheader").strip()
