"""Folders of the repository that tests read."""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = REPOSITORY / "tests"
SNAPSHOTS = TESTS / "snapshots"
SLURM_CLUSTER = TESTS / "support" / "slurm_cluster"
