"""The actions on a run, one file each, on top of ``slurmslice.run.run``."""
