"""``gather`` after real tasks: their logs are in files of their own, and in shared ones."""

from __future__ import annotations

import pytest

from slurmslice.run.directory import RunDirectory
from slurmslice.run.slice_logs import SliceLog
from slurmslice.script import log_sections
from tests.local.test_local_runs import RUN, Here, here
from tests.support.notes import noted

__all__ = ["here"]


@pytest.mark.parametrize("packing", [(), ("--pack", "4"), ("--pack", "5", "--at-once", "2")])
def test_every_log_is_found_in_order(here: Here, packing: tuple[str, ...]) -> None:
    """Also a large one, which keeps its file, and one without output."""
    shell = (
        'case $SLICE in 7) ;; 12) head -c 100000 /dev/zero | tr "\\0" x; echo ;; '
        "*) echo $SLICE ;; esac"
    )
    done = here(*RUN, "-a", "0-19", "--name", "x", *packing, "--shell", shell)
    assert done.returncode == 0, done.stderr
    wanted = [str(key) if key != 12 else "x" * 100_000 for key in range(20) if key != 7]
    assert here("gather", "x").stdout.splitlines() == wanted


def test_a_log_that_was_not_kept_is_missing(here: Here) -> None:
    """It is not taken for a slice without output."""
    line = (*RUN, "-a", "0-3", "--name", "x", "--pack", "2", "--keep-logs", "failed")
    assert here(*line, "--shell", "echo $SLICE").returncode == 0
    done = here("gather", "x")
    assert (done.returncode, done.stdout) == (1, "")
    assert noted(done.stderr, "gather-missing")[0]["slices"] == 4


def test_a_shared_file_is_searched_once_as_long_as_it_is_unchanged(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A section that is added later is found."""
    assert (
        here(*RUN, "-a", "0-7", "--name", "x", "--pack", "8", "--shell", "echo $SLICE").returncode
        == 0
    )
    directory = RunDirectory.open(here.folder / "slurmslice-runs" / "x")
    logs = [SliceLog(directory, 1, 0, f"{key}.log", packed=True) for key in range(8)]
    searched = []
    search = log_sections.index_sections

    def count(data: bytes) -> dict[str, list[log_sections.SectionPlace]]:
        searched.append(1)
        return search(data)

    monkeypatch.setattr("slurmslice.run.slice_logs.index_sections", count)
    assert [b"".join(log.read()) for log in logs] == [f"{key}\n".encode() for key in range(8)]
    assert len(searched) == 1
    with logs[0].shared.open("ab") as file:
        file.write(
            b"slurmslice log job=1 restart=1 at=1 host=n slot=0 bytes=6 name=0.log\nagain\n"
            b"slurmslice log-end bytes=6\n"
        )
    assert b"".join(logs[0].read()) == b"0\nagain\n"
