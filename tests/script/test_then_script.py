"""then.sh, run by real bash: one job runs the step, also after a requeue."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

SCRIPT = REPOSITORY / "templates" / "then.sh"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run directory with a script as it is rendered, and the library."""
    run = tmp_path / "a run"
    (run / "then" / "tok").mkdir(parents=True)
    (run / "then" / "tok" / "missing").write_text("7\n")
    command = 'echo x >>"$SLURMSLICE_RUN/ran"; cat "$SLURMSLICE_MISSING"; exit 4\n'
    (run / "then" / "tok" / "command").write_text(command)
    library = (REPOSITORY / "templates" / "slurmslice.sh").read_text()
    (run / "slurmslice.sh").write_text(library)
    script = (REPOSITORY / "tests" / "snapshots" / "direct.sh").read_text()
    for line in script.splitlines():
        if line.startswith(("  cd ", "source ")):
            new = "  :" if line.startswith("  cd ") else f"source '{run}/slurmslice.sh' direct"
            script = script.replace(line, f'{new} slices=9 ids=0-8 -- "$@"' * (new != "  :") or new)
    (run / "script.sh").write_text(script)
    return run


def job(run_dir: Path, number: str = "12") -> subprocess.CompletedProcess[str]:
    """Run the step as a job with this id."""
    env = {"PATH": "/usr/bin:/bin", "SLURM_JOB_ID": number, "SLICE_COUNT": "9"}
    return subprocess.run(
        ["bash", SCRIPT, run_dir, "tok"], env=env, capture_output=True, text=True, timeout=60
    )


def test_it_records_the_exit_code_of_the_command(run_dir: Path) -> None:
    """The command sees the run and the keys that are not done."""
    done = job(run_dir)
    assert (done.returncode, done.stdout) == (4, "7\n"), done.stderr
    assert (run_dir / "then" / "tok" / "exit").read_text() == "4\n"


def test_a_second_job_stops_before_the_command(run_dir: Path) -> None:
    """Slurm accepted the same submission twice; or the first answer was given up."""
    job(run_dir)
    assert job(run_dir, "13").returncode == 2
    assert (run_dir / "ran").read_text() == "x\n"
    job(run_dir)  # the same job after a requeue
    assert (run_dir / "ran").read_text() == "x\nx\n"


def test_a_fenced_start_never_begins(run_dir: Path) -> None:
    """It was given up, and its job came late."""
    (run_dir / "then" / "tok" / "job").write_text("fenced\n")
    assert job(run_dir).returncode == 2
    assert not (run_dir / "ran").exists()
    assert not (run_dir / "then" / "tok" / "exit").exists()


def test_a_damaged_library_is_a_failure(run_dir: Path) -> None:
    """It is cut, so it defines functions and calls none."""
    text = (run_dir / "slurmslice.sh").read_text()
    (run_dir / "slurmslice.sh").write_text(text[: text.index("_stop() {")])
    assert job(run_dir).returncode == 125
    assert not (run_dir / "ran").exists()
