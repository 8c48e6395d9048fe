"""Slurm, by its own commands.

``commands`` is what to say; ``answers`` and ``resources`` are what comes back, ``words`` the
states in it; ``environment`` is what the commands see of the caller's; ``outcomes`` what became
of an sbatch; ``asking`` runs the commands; ``room`` is what the cluster would take; ``engine``
joins them.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slurmslice.engines.slurm.engine import SlurmEngine

__all__ = ["SlurmEngine", "available"]


def __getattr__(name: str) -> Any:
    """The engine, when it is first wanted: reading a script's options takes only a part of it."""
    if name != "SlurmEngine":
        raise AttributeError(name)
    from slurmslice.engines.slurm.engine import SlurmEngine

    return SlurmEngine


def is_available() -> bool:
    """Whether Slurm can be submitted to from here."""
    return shutil.which("sbatch") is not None
