"""What can be done with a run: a small file each, on top of ``slurmslice.run``."""
