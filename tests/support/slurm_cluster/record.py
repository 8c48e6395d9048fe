"""The record of a cluster's folder: settings, ports and a password, chosen once."""

from __future__ import annotations

import json
import random
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import ClusterError
from .settings import Settings

# Below the kernel's ephemeral ports (32768 up, ip(7)): no outgoing connection takes the port of
# a daemon that is down for a moment.
_PORTS = range(12000, 32000)
_PORTS_EACH = 40
_FIRST_NODE_PORT = 10


@dataclass(frozen=True)
class Record:
    """The settings of the last `up`, the first of the ports, and MariaDB's password."""

    settings: Settings
    base_port: int
    password: str

    @property
    def mariadb_port(self) -> int:
        """The port of MariaDB."""
        return self.base_port

    @property
    def slurmdbd_port(self) -> int:
        """The port of slurmdbd."""
        return self.base_port + 1

    @property
    def slurmctld_port(self) -> int:
        """The port of slurmctld."""
        return self.base_port + 2

    def node_port(self, index: int) -> int:
        """Return the port of the slurmd of node `index`, counted from 0."""
        return self.base_port + _FIRST_NODE_PORT + index


def load_record(folder: Path) -> Record | None:
    """Read the folder's record; None if there is none or it cannot be understood."""
    try:
        values = json.loads((folder / "cluster.json").read_text())
        settings = Settings.from_dict(values["settings"])
        return Record(settings, int(values["base_port"]), str(values["password"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def save_record(folder: Path, record: Record) -> None:
    """Write the complete record, or nothing. Only root can read it: it holds a password."""
    new = folder / "cluster.json.new"
    new.touch(mode=0o600)
    new.write_text(json.dumps(asdict(record), indent=1) + "\n")
    new.replace(folder / "cluster.json")


def new_record(settings: Settings) -> Record:
    """Choose ports that are free now, and a password."""
    starts = list(range(_PORTS.start, _PORTS.stop, _PORTS_EACH))
    random.shuffle(starts)
    for start in starts:
        if ports_are_free(start):
            return Record(settings, start, secrets.token_hex(16))
    raise ClusterError(f"no {_PORTS_EACH} free ports in {_PORTS.start}-{_PORTS.stop}")


def ports_are_free(start: int) -> bool:
    """Return whether all ports of the block are free."""
    return all(_is_free(port) for port in range(start, start + _PORTS_EACH))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the daemons do: an old connection in TIME_WAIT does not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
