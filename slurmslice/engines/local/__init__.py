"""The local engine: array tasks on this machine."""

from slurmslice.engines.local.engine import LocalEngine

__all__ = ["LocalEngine"]
