"""The rival programs, installed if they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.measure import REPOSITORY, MissingError

SLURMGRID = "slurmgrid==0.2.0"


def gnu_parallel() -> str:
    """Return GNU parallel, from Debian's package.

    Raises:
        MissingError: it is missing and cannot be installed.
    """
    if not shutil.which("parallel"):
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            raise MissingError("GNU parallel is not here: install the package parallel")
        print("installing packages: parallel", flush=True)
        _run("apt-get", "install", "-y", "--no-install-recommends", "parallel")
    return "parallel"


def slurmgrid() -> Path:
    """Return slurmgrid, installed by pip in its own virtual environment.

    Raises:
        MissingError: it could not be installed.
    """
    venv = REPOSITORY / "build" / "bench-venv"
    program = venv / "bin" / "slurmgrid"
    if not program.exists():
        print(f"installing {SLURMGRID} in {venv}", flush=True)
        _run(sys.executable, "-m", "venv", str(venv))
        _run(str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", SLURMGRID)
    return program


def _run(*argv: str) -> None:
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise MissingError(f"`{' '.join(argv)}` failed: {done.stderr.strip()[-500:]}")
