"""The only exception of the package."""


class ClusterError(Exception):
    """An operation on the cluster failed. The message gives the reason."""
