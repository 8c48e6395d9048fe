"""Preparation of the folder before the first daemon starts."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import stat
from dataclasses import replace
from pathlib import Path

from . import cgroups, config, packages
from .errors import ClusterError
from .layout import Layout
from .record import Record, load_record, new_record, ports_are_free, save_record
from .settings import Settings


def ordinary_user(settings: Settings) -> str:
    """Choose the user who submits: the settings' user, the caller of sudo, else nobody.

    No user is created, because that would change the machine's own configuration.
    """
    for name in (settings.user, os.environ.get("SUDO_USER", ""), "nobody"):
        try:
            if name and pwd.getpwnam(name).pw_uid != 0:
                return name
        except KeyError:
            if name == settings.user:
                raise ClusterError(f"there is no user {name!r} on this machine") from None
    raise ClusterError("no ordinary user found: name one (--user)")


def settle_record(layout: Layout, settings: Settings, anything_runs: bool) -> Record:
    """Update the folder's record with these settings. If its ports are in use, choose new ones.

    The user is recorded by name, because a later caller may not use sudo.
    """
    record = load_record(layout.folder)
    if record is None or not (anything_runs or ports_are_free(record.base_port)):
        record = new_record(settings)
    named = replace(settings, user=ordinary_user(settings))
    record = replace(record, settings=named)
    save_record(layout.folder, record)
    return record


def make_folder(folder: Path) -> None:
    """Make the cluster's folder, with access for the daemons' users and the ordinary user."""
    for path in folder.parents:
        if path.exists() and not path.stat().st_mode & stat.S_IXOTH:
            raise ClusterError(f"{folder} is out of other users' reach: {path} is closed to them")
    for path in reversed((folder, *folder.parents)):
        if not path.exists():
            path.mkdir(exist_ok=True)  # another worker of the tests may make it just now
            path.chmod(0o755)  # independent of the umask


def make_folders(layout: Layout, user: str) -> None:
    """Make the folders, each for the user whose daemon writes there."""
    for owner, folder, mode in (
        ("root", layout.slurm_conf.parent, 0o755),
        ("root", layout.log_file("slurmctld").parent, 0o755),
        ("root", layout.pid_file("slurmctld").parent, 0o755),
        ("root", layout.spool, 0o755),
        ("root", layout.state, 0o700),
        ("munge", layout.munge, 0o755),
        ("mysql", layout.mariadb, 0o755),
        (user, layout.home, 0o755),
    ):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)
        shutil.chown(folder, owner, pwd.getpwnam(owner).pw_gid)


def make_munge_key(layout: Layout) -> None:
    """Make munged's key if it is missing. Only munged can read it; 32 to 1024 bytes, munged(8)."""
    key = layout.munge / "munge.key"
    if key.exists():
        return
    new = key.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_bytes(secrets.token_bytes(128))
    shutil.chown(new, "munge", "munge")
    new.chmod(0o400)
    new.replace(key)


def write_configuration(layout: Layout, record: Record) -> set[str]:
    """Write the configuration files; return the names of the changed ones."""
    machine = _this_machine(layout)
    etc = layout.slurm_conf.parent
    texts = {
        layout.slurm_conf: (config.slurm_conf(layout, record, machine), 0o644),
        etc / "cgroup.conf": (config.cgroup_conf(machine), 0o644),
        # slurmdbd.conf(5): only SlurmUser may read it, because it holds a password.
        etc / "slurmdbd.conf": (config.slurmdbd_conf(layout, record, machine), 0o600),
        layout.mail_program: (config.mail_program(layout), 0o755),
        layout.mariadb_conf: (config.mariadb_conf(layout, record), 0o644),
    }
    return {path.name for path, (text, mode) in texts.items() if _write(path, text, mode)}


def _this_machine(layout: Layout) -> config.Machine:
    host = socket.gethostname().split(".")[0]
    try:
        leads_home = socket.gethostbyname(host) == "127.0.0.1"
    except OSError:
        leads_home = False
    return config.Machine(host, leads_home, cgroups.version(), packages.slurm_version(layout))


def _write(path: Path, text: str, mode: int) -> bool:
    """Write a complete file, or nothing; return True if its contents changed."""
    try:
        if path.read_text() == text:
            return False
    except OSError:
        pass
    new = path.with_name(f"{path.name}.new")
    new.touch(mode=mode)
    new.write_text(text)
    new.replace(path)
    return True
