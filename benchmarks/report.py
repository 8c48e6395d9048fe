"""``report --html`` of a run of 100,000 slices: its time, its size, and its time in a browser."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import paper
from benchmarks.measure import (
    SLURMSLICE,
    Line,
    MissingError,
    Spent,
    at_most,
    figure,
    memory,
    side_by_side,
    spend,
)
from benchmarks.size import Size
from tests.support.browser import browser

_MB = 1e6


def measure(size: Size) -> Iterator[Line]:
    """Measure the file of a large run and that of an empty one, and open the large one."""
    place, slices = size.folder / "report", size.pick(100_000, 500)
    env = {"PATH": f"{paper.programs(place / 'bin')}:{os.environ['PATH']}"}
    name = paper.recorded_run(place, slices, env)
    page = place / "large.html"

    def report() -> Spent:
        page.unlink(missing_ok=True)
        argv = (*SLURMSLICE, "report", name, "--html", page.name)
        return spend(argv, cwd=place, env=env, exits=paper.ENDED)

    (spent,) = side_by_side(report, rounds=size.pick(3, 1))
    yield figure(f"report of {slices:,} slices", f"{spent.seconds:.3g} s")
    yield memory("  its peak of memory", spent)
    yield at_most("  its file", page.stat().st_size / _MB, "MB", 1.5)
    yield at_most("the file of a run without ends", _empty(place, env) / _MB, "MB", 0.15)
    yield at_most("the large file opens in a browser", _opening(page), "s", 1)


def _empty(place: Path, env: dict[str, str]) -> int:
    """Return the bytes of the report of a run that was not submitted."""
    shutil.rmtree(place / "slurmslice-runs" / "empty", ignore_errors=True)
    options = ("-a", "0-9", "--name", "empty", "--engine", "slurm")
    spend((*SLURMSLICE, "render", *options, "--", "true"), cwd=place, env=env)
    spend((*SLURMSLICE, "report", "empty", "--html", "empty.html"), cwd=place, env=env)
    return (place / "empty.html").stat().st_size


def _opening(page: Path) -> float:
    """Return the seconds until a browser has loaded a file and shows rows of its table.

    Raises:
        MissingError: there is no browser.
    """
    if not all(map(shutil.which, ("chromium", "chromedriver"))):
        raise MissingError("there is no Chromium")
    with browser() as driver:
        driver.get("about:blank")
        began = time.perf_counter()
        driver.get(page.as_uri())
        while not driver.execute_script("return document.querySelector('#rows td') !== null"):
            time.sleep(0.01)
        return time.perf_counter() - began
