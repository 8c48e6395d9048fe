"""Other releases of Slurm. Each is in a Debian root: a folder that is entered by chroot.

Slurm's daemons and commands come from the root; munged and MariaDB are the machine's. Jobs run in
the root too, with its bash. Shared folders are mounted at the same path inside and outside, in a
mount namespace of this process and its children. So other processes do not see the mounts, and the
kernel removes the mounts after the processes have ended.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

from .errors import ClusterError
from .layout import Layout

SUITES = {"20.11": "bullseye", "22.05": "bookworm", "24.11": "trixie", "26.05": "forky"}
"""Debian's releases by their release of Slurm. The last Debian may get a newer Slurm."""

CACHE = Path("/var/tmp/slurmslice-releases")

_PACKAGES = ("slurmctld", "slurmd", "slurmdbd", "slurm-client", "munge", "python3-minimal")
_PROGRAMS = (
    *("slurmctld", "slurmd", "slurmdbd", "sacct", "sacctmgr", "salloc", "sbatch", "scancel"),
    *("scontrol", "sinfo", "sprio", "squeue", "srun", "sstat"),
)
_SHARED = ("/proc", "/sys", "/dev", "/tmp", "/etc/group", "/etc/hosts")
_MARK = "etc/slurmslice-root"
_SCRIPTS = Path("/usr/share/debootstrap/scripts")
_CLONE_NEWNS = 0x00020000  # unshare(2)


def make(slurm: str, cache_folder: Path, say: Callable[[str], None]) -> Path:
    """Make the Debian root with this Slurm if it is missing; debootstrap(8) checks signatures."""
    suite = SUITES[slurm]
    root, new = cache_folder / suite, cache_folder / f"{suite}.new"
    if (root / _MARK).exists():
        return root
    program = shutil.which("debootstrap") or _install_debootstrap(say)
    say(f"making a Debian {suite} with Slurm {slurm} in {root}")
    shutil.rmtree(new, ignore_errors=True)
    cache_folder.mkdir(parents=True, exist_ok=True)
    command = (program, "--variant=minbase", f"--include={','.join(_PACKAGES)}", suite, str(new))
    # If debootstrap does not know a newer release of Debian yet, use its script for sid.
    script = () if (_SCRIPTS / suite).exists() else (str(_SCRIPTS / "sid"),)
    # It mounts file systems below the folder, in its own mount namespace.
    done = _run("unshare", "--mount", "--propagation=private", *command, _mirror(), *script)
    if done.returncode != 0:
        raise ClusterError(f"debootstrap of {suite} failed:\n{done.stdout[-3000:]}")
    (new / _MARK).write_text(f"{slurm}\n")
    shutil.rmtree(root, ignore_errors=True)
    new.rename(root)
    return root


def _install_debootstrap(say: Callable[[str], None]) -> str:
    say("installing packages: debootstrap")
    _run("apt-get", "update")
    done = _run("apt-get", "install", "-y", "--no-install-recommends", "debootstrap")
    program = shutil.which("debootstrap")
    if program is None:
        raise ClusterError(f"could not install debootstrap:\n{done.stdout[-2000:]}")
    return program


def _mirror() -> str:
    """Ask apt for the machine's own mirror, apt-get(8), ``indextargets``."""
    done = _run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")
    if not done.stdout.strip():
        raise ClusterError("apt knows no mirror of Debian's packages on this machine")
    return done.stdout.split()[0]


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def enter(layout: Layout) -> None:
    """Mount the shared paths and the cluster's folder in its root, if it has a root."""
    if layout.root is None:
        return
    if not (layout.root / _MARK).exists():
        raise ClusterError(f"{layout.root} is no root for a cluster: make it first")
    _own_namespace()
    _write_users(layout.root)
    for shared in (*map(Path, _SHARED), layout.folder, *_python()):
        inside = layout.root / shared.relative_to("/")
        if not shared.exists() or (inside.exists() and shared.samefile(inside)):
            continue
        inside.parent.mkdir(parents=True, exist_ok=True)
        if shared.is_dir():
            inside.mkdir(exist_ok=True)
        else:
            inside.touch()
        done = _run("mount", "--rbind", str(shared), str(inside))
        if done.returncode != 0:
            raise ClusterError(f"cannot mount {shared} in {layout.root}: {done.stdout.strip()}")


def _python() -> tuple[Path, ...]:
    """Return the files of the machine's Python, for the jobs that run slurmslice itself."""
    program = Path("/usr/bin/python3").resolve()
    return (program, Path("/usr/lib", program.name))


def _write_users(root: Path) -> None:
    """Give the root the machine's users, each with a shell.

    slurmd logs in as a job's user to get the environment, sbatch(1), ``--get-user-env``.
    """
    new = root / "etc" / f"passwd.{os.getpid()}"
    new.write_text(Path("/etc/passwd").read_text().replace("/usr/sbin/nologin", "/bin/sh"))
    new.replace(root / "etc" / "passwd")


@cache
def _own_namespace() -> None:
    """Enter a new mount namespace, once per process; unshare(2)."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        raise ClusterError(f"no mounts of one's own here: {os.strerror(ctypes.get_errno())}")
    done = _run("mount", "--make-rprivate", "/")
    if done.returncode != 0:
        raise ClusterError(f"cannot make mounts private: {done.stdout.strip()}")


# Only root may call chroot(2). An ordinary user enters in a user namespace with the same user id,
# user_namespaces(7). A job is already inside.
_WRAPPER = """\
#!/bin/sh
[ -e {mark} ] && exec {program} "$@"
as_himself=
[ "$(id -u)" = 0 ] || as_himself='--user --map-current-user'
[ -d {root}"$PWD" ] || cd /
exec unshare $as_himself --root={root} --wd="$PWD" {program} "$@"
"""


def write_programs(layout: Layout) -> None:
    """Write commands that run the root's programs from inside and outside the root."""
    if layout.root is None:
        return
    layout.programs.mkdir(exist_ok=True)
    layout.programs.chmod(0o755)
    for name in _PROGRAMS:
        places = (f"/usr/sbin/{name}", f"/usr/bin/{name}")
        program = next((p for p in places if (layout.root / p[1:]).exists()), None)
        if program is None:
            continue
        new = layout.programs / f"{name}.new"
        text = _WRAPPER.format(
            mark=f"/{_MARK}", program=program, root=shlex.quote(str(layout.root))
        )
        new.write_text(text)
        new.chmod(0o755)
        new.replace(layout.programs / name)
