"""``python -m slurmslice``: the same as the ``slurmslice`` command."""

from slurmslice.cli.app import main

if __name__ == "__main__":
    main()
