"""``python -m benchmarks [NAME…]``: run these, or all, and print a line for each figure."""

from __future__ import annotations

import importlib
import os
import platform
import sys
import time
from collections.abc import Iterator

from benchmarks.measure import WORK, Line, NotMeasured

NAMES = ("startup", "answers", "render", "status", "local", "packed", "polls")


def main(chosen: list[str]) -> int:
    """Run the benchmarks of these names, or all; 2 where there is no such name."""
    if unknown := [name for name in chosen if name not in NAMES]:
        print(f"There is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}.")
        return 2
    WORK.mkdir(parents=True, exist_ok=True)
    cpus = len(os.sched_getaffinity(0))
    print(f"{time.strftime('%Y-%m-%d')}, {cpus} CPUs, Python {platform.python_version()}")
    for name in chosen or NAMES:
        for line in _lines(name):
            print(_text(name, line), flush=True)
    return 0


def _lines(name: str) -> Iterator[Line]:
    try:
        yield from importlib.import_module(f"benchmarks.{name}").measure()
    except NotMeasured as why:
        yield Line(f"not measured: {why}", "")


def _text(name: str, line: Line) -> str:
    ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
    verdict = {True: "met", False: "NOT MET", None: ""}[line.met]
    cells = f"{name:8} {line.what:58} {line.ours:>9}  {line.rival:18} {ratio:>6}  {line.bar:24}"
    return f"{cells} {verdict}".rstrip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
