"""The paths of a cluster, all in one folder. Removing this folder removes the cluster."""

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
    """The root of another release of Slurm (`roots`); None for the machine's own."""

    def __post_init__(self) -> None:
        """Refuse a folder whose path is too long for the names of sockets."""
        if len(str(self.folder)) > _LONGEST_FOLDER:
            raise ClusterError(
                f"{self.folder}: the path is too long for sockets inside it;"
                f" choose one of at most {_LONGEST_FOLDER} characters"
            )

    @property
    def slurm_conf(self) -> Path:
        """The file in SLURM_CONF. cgroup.conf and slurmdbd.conf are in the same folder."""
        return self.folder / "etc" / "slurm.conf"

    @property
    def mail_program(self) -> Path:
        """The program that slurmctld calls instead of sending mail."""
        return self.folder / "etc" / "mail"

    @property
    def mails(self) -> Path:
        """The file with a line for each mail: the words that slurmctld gave."""
        return self.log_file("mails")

    @property
    def programs(self) -> Path:
        """The folder of the commands that enter the root, if there is one."""
        return self.folder / "bin"

    @property
    def path(self) -> str:
        """PATH of daemons and clients. It includes folders that an ordinary user's PATH lacks."""
        usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return f"{self.programs}:{usual}" if self.root else usual

    @property
    def munge(self) -> Path:
        """munged's own folder: munged(8) must own the folders of its files."""
        return self.folder / "munge"

    @property
    def mariadb(self) -> Path:
        """MariaDB's own folder, with its data and socket."""
        return self.folder / "mariadb"

    @property
    def home(self) -> Path:
        """The HOME and the working directory of the ordinary user."""
        return self.folder / "home"

    @property
    def state(self) -> Path:
        """slurmctld's StateSaveLocation."""
        return self.folder / "state"

    @property
    def spool(self) -> Path:
        """The folder in which each slurmd has a folder with the name of its node."""
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
        """MariaDB's option file. MariaDB does not look for a file of this name by itself."""
        return self.folder / "etc" / "mariadbd.cnf"

    def pid_file(self, daemon: str) -> Path:
        """Return the file for a daemon's process id."""
        owned = {"munged": self.munge, "mariadbd": self.mariadb}
        return owned.get(daemon, self.folder / "run") / f"{daemon}.pid"

    def pid_files(self) -> list[Path]:
        """List every pid file, also of daemons that the settings no longer name."""
        return sorted(self.folder.glob("*/*.pid"))

    def log_file(self, daemon: str) -> Path:
        """Return the log file of a daemon."""
        owned = {"munged": self.munge, "mariadbd": self.mariadb}
        return owned.get(daemon, self.folder / "log") / f"{daemon}.log"

    def start_log(self, daemon: str) -> Path:
        """Return the file for a daemon's output before it has opened its log."""
        return self.folder / "log" / f"{daemon}.start"


def node_names(folder: Path, settings: Settings) -> list[str]:
    """Return the nodes' names: n1, n2 … in the default folder, else with a tag of the folder.

    slurmd names its cgroups after the node alone (/slurm_n1/uid_…/job_1), so nodes of the same
    name in two clusters on a machine would confine and kill each other's jobs.
    """
    tag = hashlib.sha1(str(folder).encode()).hexdigest()[:4]
    prefix = "n" if folder == DEFAULT_FOLDER else f"n{tag}x"
    return [f"{settings.node_prefix or prefix}{number + 1}" for number in range(settings.nodes)]
