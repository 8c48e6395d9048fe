"""A real Slurm cluster on one machine, for tests: `Cluster(folder, Settings(…)).up()`.

From the command line: `python tests/support/slurm_cluster up`.
"""

from .cluster import Cluster
from .errors import ClusterError
from .layout import DEFAULT_FOLDER
from .settings import Settings

__all__ = ["DEFAULT_FOLDER", "Cluster", "ClusterError", "Settings"]
