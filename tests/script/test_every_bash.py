"""The library under every bash that this machine has: compute nodes have others than login nodes.

``SLURMSLICE_TEST_BASHES`` names more of them, with ``:`` between: programs, or the root folders of
other Linux systems. The roots that ``tests.support.slurm_cluster.roots`` has made are found
without being named.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slurmslice.system.shell_quoting import quote
from tests.script.test_script import BASH
from tests.support.paths import REPOSITORY
from tests.support.slurm_cluster.roots import CACHE

CORE = (
    "direct_form or table_form or slice_of_a_pack or setup_that or clean_up or signals_reach "
    "or hostile_keys or claim_is_made or last_line_was_cut or own_values or runs_once "
    "or restart_keeps or end_alone or own_time or after_a_signal or inherits_nothing "
    "or table_gives or own_peak"
)
"""Tests that between them run every function of the library."""

FILES = (
    "tests/script/test_script.py",
    "tests/script/test_packs.py",
    "tests/script/test_cancelled_slices.py",
    "tests/script/test_library.py",
    "tests/script/test_slice_variables.py",
    "tests/script/test_own_memory.py",
)


def others() -> list[str]:
    """The programs and the root folders."""
    named = os.environ.get("SLURMSLICE_TEST_BASHES", "").split(":")
    made = (str(bash.parent.parent) for bash in sorted(CACHE.glob("*/bin/bash")))
    return list(dict.fromkeys(path for path in (*named, *made) if path))


def program(path: str, folder: Path) -> str:
    """A program to call: of a root folder, its bash with the libraries that are there."""
    root = Path(path)
    if not root.is_dir():
        return path
    loader = next(root.glob("lib64/ld-linux*.so.*"))
    if loader.is_symlink() and loader.readlink().is_absolute():
        loader = root / loader.readlink().relative_to("/")
    libraries = ":".join(map(str, root.glob("lib/*-linux-gnu")))
    words = [str(loader), "--library-path", libraries, str(root / "bin/bash")]
    made = folder / "bash"
    made.write_text(f'#!/bin/sh\nexec {" ".join(map(quote, words))} "$@"\n')
    made.chmod(0o755)
    return str(made)


def is_new_enough(bash: str) -> bool:
    """Return whether its version is one for which the library is made."""
    shown = subprocess.run([bash, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"version (\d+)\.(\d+)", shown)
    return version is not None and tuple(map(int, version.groups())) >= (4, 2)


def test_the_bash_of_all_tests_is_new_enough() -> None:
    """The tests of the library run with this bash, so they are not repeated here."""
    assert is_new_enough(BASH)


@pytest.mark.parametrize("path", others())
def test_the_library_with_every_other_bash(path: str, tmp_path: Path) -> None:
    """From bash 4.2 on; nothing that only a newer one has."""
    bash = program(path, tmp_path)
    assert is_new_enough(bash)
    # These processes reach no line of slurmslice that the same tests do not reach elsewhere.
    unmeasured = {k: v for k, v in os.environ.items() if k != "COVERAGE_PROCESS_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *FILES, "-k", CORE],
        env=unmeasured | {"SLURMSLICE_BASH": bash},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
