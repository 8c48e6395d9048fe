"""The settings of a test cluster that tests can choose. They do not describe the machine."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

from .errors import ClusterError

PreemptMode = Literal["REQUEUE", "CANCEL"]

_SHORTEST_REQUEUE_WAIT = 5


def _help(text: str) -> dict[str, str]:
    """Return the metadata of a field with its help text for the command line."""
    return {"help": text}


@dataclass(frozen=True)
class Settings:
    """The settings of a cluster; slurm.conf(5) explains each parameter that is named here."""

    nodes: int = field(default=4, metadata=_help("number of nodes"))
    cpus: int = field(default=4, metadata=_help("CPUs of each node"))
    memory_mb: int = field(default=4000, metadata=_help("memory of each node, in MB"))
    def_mem_per_cpu: int = field(default=100, metadata=_help("DefMemPerCPU, in MB"))
    max_array_size: int = field(
        default=1001, metadata=_help("one more than the highest array index")
    )
    max_job_count: int = field(default=10000, metadata=_help("MaxJobCount"))
    min_job_age: int = field(
        default=300, metadata=_help("seconds until slurmctld forgets an ended job")
    )
    preempt_mode: PreemptMode = field(
        default="REQUEUE", metadata=_help("of preempted jobs: REQUEUE, CANCEL")
    )
    requeue_wait: int = field(default=20, metadata=_help("seconds before a requeued job may run"))
    slurmd_timeout: int = field(default=10, metadata=_help("seconds until a silent node is down"))
    kill_wait: int = field(default=2, metadata=_help("seconds from SIGTERM to SIGKILL"))
    accounting: bool = field(default=True, metadata=_help("MariaDB and slurmdbd"))
    user: str = field(default="", metadata=_help("who submits (default: $SUDO_USER or nobody)"))
    account: str = field(default="slurmslice", metadata=_help("the ordinary user's account"))
    node_prefix: str = field(
        default="", metadata=_help("nodes' names without number (default: by folder)")
    )
    root: str = field(default="", metadata=_help("another release: a folder that `make-root` made"))
    extra: tuple[str, ...] = field(default=(), metadata=_help("a further line of slurm.conf"))

    def __post_init__(self) -> None:
        """Refuse a value that slurmctld would silently replace by its default of two minutes."""
        if self.requeue_wait < _SHORTEST_REQUEUE_WAIT:
            raise ClusterError(f"requeue_wait is at least {_SHORTEST_REQUEUE_WAIT} seconds")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Settings:
        """Restore settings from JSON. Fields of another version of this class are ignored."""
        known = {knob.name for knob in fields(cls)}
        kept = {name: value for name, value in values.items() if name in known}
        return cls(**{**kept, "extra": tuple(kept.get("extra", ()))})
