"""Where everything of a cluster is kept: one folder, so that removing it removes the cluster."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from .errors import ClusterError
from .settings import Settings

DEFAULT_FOLDER = Path("/var/tmp/slurmslice-cluster")

# sun_path holds 108 bytes, unix(7); slurmd's sockets have a job and a step in their names.
_LONGEST_FOLDER = 60


@dataclass(frozen=True)
class Layout:
    """The paths inside a cluster's folder."""

    folder: Path
    root: Path | None = None
    """Where another release of Slurm lies (`roots`); None for the machine's own."""

    def __post_init__(self) -> None:
        """Refuse a folder in which the sockets' names would be cut."""
        if len(str(self.folder)) > _LONGEST_FOLDER:
            raise ClusterError(
                f"{self.folder}: the path is too long for sockets inside it;"
                f" choose one of at most {_LONGEST_FOLDER} characters"
            )

    @property
    def slurm_conf(self) -> Path:
        """The file that SLURM_CONF names; cgroup.conf and slurmdbd.conf lie beside it."""
        return self.folder / "etc" / "slurm.conf"

    @property
    def programs(self) -> Path:
        """Commands that enter the root, where there is one."""
        return self.folder / "bin"

    @property
    def path(self) -> str:
        """PATH of daemons and clients, with what Debian keeps out of an ordinary user's."""
        usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return f"{self.programs}:{usual}" if self.root else usual

    @property
    def munge(self) -> Path:
        """munged's own folder: munged(8) insists on owning the folders of its files."""
        return self.folder / "munge"

    @property
    def mariadb(self) -> Path:
        """MariaDB's own folder, its data and socket in it."""
        return self.folder / "mariadb"

    @property
    def home(self) -> Path:
        """HOME and working directory of the ordinary user."""
        return self.folder / "home"

    @property
    def state(self) -> Path:
        """slurmctld's StateSaveLocation."""
        return self.folder / "state"

    @property
    def spool(self) -> Path:
        """Where each slurmd has a folder, named like its node."""
        return self.folder / "spool"

    @property
    def munge_socket(self) -> Path:
        """The socket that AuthInfo names."""
        return self.munge / "munge.socket"

    @property
    def mariadb_socket(self) -> Path:
        """The socket through which root reaches MariaDB without a password."""
        return self.mariadb / "socket"

    @property
    def mariadb_conf(self) -> Path:
        """MariaDB's option file, which bears the name of no file it would look for by itself."""
        return self.folder / "etc" / "mariadbd.cnf"

    def pid_file(self, daemon: str) -> Path:
        """Where a daemon writes its process id."""
        owned = {"munged": self.munge, "mariadbd": self.mariadb}
        return owned.get(daemon, self.folder / "run") / f"{daemon}.pid"

    def pid_files(self) -> list[Path]:
        """Give every pid file, also of daemons that the settings no longer ask for."""
        return sorted(self.folder.glob("*/*.pid"))

    def log_file(self, daemon: str) -> Path:
        """Where a daemon writes its log."""
        owned = {"munged": self.munge, "mariadbd": self.mariadb}
        return owned.get(daemon, self.folder / "log") / f"{daemon}.log"

    def start_log(self, daemon: str) -> Path:
        """Where a daemon's output goes until it has opened its log."""
        return self.folder / "log" / f"{daemon}.start"


def node_names(folder: Path, settings: Settings) -> list[str]:
    """Name the nodes: n1, n2 … in the default folder, elsewhere with a tag of the folder.

    slurmd names its cgroups after the node alone (/slurm_n1/uid_…/job_1), so nodes of the same
    name in two clusters on a machine would confine and kill each other's jobs.
    """
    tag = hashlib.sha1(str(folder).encode()).hexdigest()[:4]
    prefix = "n" if folder == DEFAULT_FOLDER else f"n{tag}x"
    return [f"{settings.node_prefix or prefix}{number + 1}" for number in range(settings.nodes)]
