"""The one exception of the package."""


class ClusterError(Exception):
    """The cluster could not be brought where it was asked to be; the message says why."""
