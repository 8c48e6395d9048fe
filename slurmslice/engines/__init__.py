"""Engines run array tasks: Slurm, or this machine."""
