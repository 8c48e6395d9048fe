"""Run one command on many slices of data, on Slurm or on one machine, until all are done."""

__version__ = "0.1.0"
