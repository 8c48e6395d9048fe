"""slurmslice: from a list of slices to every slice done, on Slurm or on one machine."""

__version__ = "0.1.0"
