"""Debian's packages: the only change that a cluster makes to the machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .daemons import find_program
from .errors import ClusterError
from .layout import Layout

# The needed packages, by a program in each package.
_PACKAGES = {
    "munged": "munge",
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "slurmdbd": "slurmdbd",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "sacctmgr": "slurm-client",
}


def missing(layout: Layout) -> list[str]:
    """List the packages whose programs are missing."""
    wanted = _PACKAGES.items()
    return sorted({package for program, package in wanted if not find_program(layout, program)})


def install(layout: Layout, say: Callable[[str], None]) -> None:
    """Report the missing packages, and install them.

    The packages' scripts may try to start the machine's own daemons. SYSTEMD_OFFLINE tells
    systemctl(1) not to start them. If one fails or starts anyway, no harm is done, because the
    cluster has its own daemons. So the presence of the programs counts, not apt-get's exit status.
    """
    if not missing(layout):
        return
    with one_at_a_time():
        if wanted := missing(layout):
            _install(layout, wanted, say)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait for other processes that install: another cluster may be starting as well."""
    with Path(tempfile.gettempdir(), "slurmslice-packages.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def provide(layout: Layout, program: str, package: str, say: Callable[[str], None]) -> str:
    """Find a program that only some tests need, or install its package."""
    found = find_program(layout, program)
    if found is None:
        say(f"installing packages: {package}")
        output = apt_get("update")
        output += apt_get("install", "-y", "--no-install-recommends", package)
        found = find_program(layout, program)
        if found is None:
            raise ClusterError(f"could not install {package}:\n{output[-2000:]}")
    return found


def _install(layout: Layout, wanted: list[str], say: Callable[[str], None]) -> None:
    if not find_program(layout, "apt-get"):
        raise ClusterError(f"not a Debian: install {', '.join(wanted)} by other means")
    say(f"installing packages: {' '.join(wanted)}")
    output = apt_get("update")
    output += apt_get("install", "-y", "--no-install-recommends", *wanted)
    if still := missing(layout):
        raise ClusterError(f"could not install {', '.join(still)}:\n{output[-2000:]}")


def apt_get(*arguments: str) -> str:
    """Call apt-get without questions; return its output."""
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_OFFLINE": "1"}
    done = subprocess.run(
        # Another apt-get may be at work: wait for it, apt.conf(5).
        ["apt-get", "-o", "DPkg::Lock::Timeout=300", *arguments],
        env={**os.environ, **quiet},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout


def slurm_version(layout: Layout) -> tuple[int, int]:
    """Return slurmctld's release, such as (22, 5)."""
    said = subprocess.run(
        [find_program(layout, "slurmctld") or "slurmctld", "-V"], capture_output=True, text=True
    ).stdout
    found = re.search(r"(\d+)\.(\d+)", said)
    if not found:
        raise ClusterError(f"slurmctld -V said {said!r}")
    return int(found[1]), int(found[2])
