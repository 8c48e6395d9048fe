"""The daemons: start them, test if they answer, and end them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import processes
from .errors import ClusterError
from .layout import Layout, node_names
from .record import Record

_START_DEADLINE = 60
_STOP_PATIENCE = 30
_LOG_LINES = 12
_USABLE = ("idle", "mixed", "allocated", "completing")


@dataclass(frozen=True)
class Daemon:
    """The start command of one daemon, and a test of its work."""

    name: str
    argv: tuple[str, ...]
    complaint: Callable[[], str]
    """Return the reason why it does not answer now; empty if it answers."""
    user: str = "root"


def find_program(layout: Layout, program: str) -> str | None:
    """Find a program in Debian's folders. The caller's PATH is not used."""
    return shutil.which(program, path=layout.path)


def environment(layout: Layout) -> dict[str, str]:
    """Return the complete environment of daemons and clients, without the caller's variables."""
    return {"PATH": layout.path, "LC_ALL": "C.UTF-8", "SLURM_CONF": str(layout.slurm_conf)}


def ask(layout: Layout, *argv: str) -> subprocess.CompletedProcess[str]:
    """Run a client command as root. The caller must check the exit status."""
    try:
        return subprocess.run(
            argv, env=environment(layout), cwd="/", timeout=60, capture_output=True, text=True
        )
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(argv, 1, "", str(error))


def demand(layout: Layout, *argv: str) -> str:
    """Run a client command as root, and return its output.

    Raises:
        ClusterError: the command failed.
    """
    done = ask(layout, *argv)
    if done.returncode != 0:
        raise ClusterError(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def all_daemons(layout: Layout, record: Record) -> list[Daemon]:
    """List the cluster's daemons. Each one follows the daemons that it needs."""
    nodes = node_names(layout.folder, record.settings)
    accounting = [_mariadbd(layout), _slurmdbd(layout, record.slurmdbd_port)]
    return [
        _munged(layout),
        *(accounting if record.settings.accounting else []),
        _slurmctld(layout),
        *(_slurmd(layout, name, record.node_port(index)) for index, name in enumerate(nodes)),
    ]


def _munged(layout: Layout) -> Daemon:
    folder, munge_socket = layout.munge, layout.munge_socket
    argv = (
        "munged",
        f"--socket={munge_socket}",
        f"--key-file={folder / 'munge.key'}",
        f"--pid-file={layout.pid_file('munged')}",
        f"--log-file={layout.log_file('munged')}",
        f"--seed-file={folder / 'munged.seed'}",
    )
    test = ("munge", f"--socket={munge_socket}", "--no-input")
    return Daemon("munged", argv, lambda: _complaint(layout, *test), user="munge")


def _mariadbd(layout: Layout) -> Daemon:
    # mariadbd(8) does not turn itself into a daemon.
    argv = ("setsid", "--fork", "mariadbd", f"--defaults-file={layout.mariadb_conf}")
    test = ("mariadb-admin", "--no-defaults", f"--socket={layout.mariadb_socket}", "ping")
    return Daemon("mariadbd", argv, lambda: _complaint(layout, *test))


def _slurmdbd(layout: Layout, port: int) -> Daemon:
    # It has no option for its configuration: it reads the file beside the one in SLURM_CONF. It
    # listens after it has connected to its database. A test by a client command would report an
    # error in slurm.conf as an error of slurmdbd.
    return Daemon("slurmdbd", ("slurmdbd",), lambda: _port_complaint(port))


def _slurmctld(layout: Layout) -> Daemon:
    # Not `scontrol ping`, because it succeeds even if nothing answers.
    test = ("scontrol", "show", "config")
    # -i: it starts even if it was killed before it first saved its state. 26.05 would not.
    argv = ("slurmctld", "-i", "-f", str(layout.slurm_conf))
    return Daemon("slurmctld", argv, lambda: _complaint(layout, *test))


def _slurmd(layout: Layout, node: str, port: int) -> Daemon:
    def complaint() -> str:
        # If slurmctld is down, we can only test if slurmd listens.
        known = pid_of(layout, "slurmctld") is not None
        return _port_complaint(port) or (node_complaint(layout, node) if known else "")

    return Daemon(node, ("slurmd", "-f", str(layout.slurm_conf), "-N", node), complaint)


def _complaint(layout: Layout, *argv: str) -> str:
    """Run a client command as root; return its message if it failed, else an empty text."""
    done = ask(layout, *argv)
    return "" if done.returncode == 0 else (done.stderr or done.stdout or "no answer").strip()


def node_complaint(layout: Layout, node: str) -> str:
    """Return the reason why the controller gives no jobs to a node (down, `idle*`), or empty."""
    done = ask(layout, "sinfo", "--noheader", f"--nodes={node}", "--format=%T %E")
    said = (done.stdout or done.stderr or "it is unknown").strip()
    return "" if said.split()[0] in _USABLE else f"{node}: {said}"


def _port_complaint(port: int) -> str:
    """Return the reason why a port is not open, or an empty text; proc_pid_net(5).

    It does not connect, because that would write an error into the daemon's log.
    """
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    open_ports = {line.split()[1].rpartition(":")[2] for line in lines if line.split()[3] == "0A"}
    return "" if f"{port:04X}" in open_ports else f"nobody listens on port {port}"


def reads(name: str) -> set[str]:
    """Return the names of the configuration files that a daemon reads at its start."""
    own = {
        "munged": set[str](),
        "mariadbd": {"mariadbd.cnf"},
        "slurmdbd": {"slurmdbd.conf"},
        "slurmctld": {"slurm.conf"},
    }
    return own.get(name, {"slurm.conf", "cgroup.conf"})


def pid_of(layout: Layout, name: str) -> int | None:
    """Return the process id of a running daemon, or None. A pid file alone proves nothing."""
    own_program = name in ("munged", "mariadbd", "slurmdbd", "slurmctld")
    program = name if own_program else "slurmd"
    marks = [f"{layout.folder}/"] + ([] if own_program else [f"\0{name}\0"])
    pid = processes.read_pid(layout.pid_file(name))
    return pid if pid and processes.is_daemon(pid, program, marks) else None


def running(layout: Layout) -> dict[str, int]:
    """Find every running daemon of the folder, also daemons that the settings do not name."""
    found = {path.stem: pid_of(layout, path.stem) for path in layout.pid_files()}
    return {name: pid for name, pid in found.items() if pid}


def start(layout: Layout, daemon: Daemon) -> bool:
    """Start a daemon unless it runs, and wait until it answers; return True if it was started."""
    begun = pid_of(layout, daemon.name) is None
    if begun:
        _launch(layout, daemon)
    complaint = "no answer"

    def settled() -> bool:
        nonlocal complaint
        complaint = daemon.complaint()
        return not complaint or not pid_of(layout, daemon.name)

    try:
        processes.wait_until(settled, _START_DEADLINE, f"an answer of {daemon.name}")
    except ClusterError as error:
        raise failure(layout, daemon.name, f"{error}; the last was:\n  {complaint}") from None
    if pid_of(layout, daemon.name) is None:
        raise failure(layout, daemon.name, f"{daemon.name} ended right after its start")
    return begun


def _launch(layout: Layout, daemon: Daemon) -> None:
    """Start a daemon and wait for its pid file."""
    layout.pid_file(daemon.name).unlink(missing_ok=True)
    try:
        if status := _run_to_background(layout, daemon):
            raise ClusterError(f"{daemon.name} did not start (exit {status})")
        what = f"the pid file of {daemon.name}"
        processes.wait_until(lambda: pid_of(layout, daemon.name), _START_DEADLINE, what)
    except (ClusterError, subprocess.TimeoutExpired) as error:
        raise failure(layout, daemon.name, str(error)) from None


def _run_to_background(layout: Layout, daemon: Daemon) -> int:
    """Run a daemon's command, which ends when the daemon runs in the background."""
    program = find_program(layout, daemon.argv[0]) or daemon.argv[0]
    with layout.start_log(daemon.name).open("w") as output:
        return subprocess.run(
            [program, *daemon.argv[1:]],
            env=environment(layout),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=daemon.user,
            group=daemon.user,
            extra_groups=[],
            timeout=_START_DEADLINE,
        ).returncode


def failure(layout: Layout, name: str, what: str) -> ClusterError:
    """Make an error with the last lines of the daemon's logs and the paths of the logs."""
    logs = [layout.start_log(name), layout.log_file(name)]
    return ClusterError("\n".join([what, *(_last_lines(log) for log in logs)]))


def _last_lines(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
    except OSError:
        lines = ["(there is none)"]
    return "\n  ".join([f"{log}:", *lines])


def stop(layout: Layout, name: str) -> bool:
    """End a daemon by its pid file, and wait for its end; return True if there was one."""
    pid = pid_of(layout, name)
    if pid:
        processes.end([pid], _STOP_PATIENCE, name)
    layout.pid_file(name).unlink(missing_ok=True)
    return pid is not None


def kill(layout: Layout, name: str) -> None:
    """Kill a daemon, as in a crash. It cleans up nothing, and its pid file remains."""
    pid = pid_of(layout, name)
    if pid:
        processes.kill([pid], name)
