"""Run the named benchmarks, or all: ``python -m benchmarks [--small] [NAME…]``.

Each figure is one line of output.

``--small`` runs each benchmark at a size that takes seconds. It compares no figure with its bar; it
only shows that every benchmark still works.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

from benchmarks.measure import Line, MissingError, NotMeasuredError
from benchmarks.size import Size

NAMES = ("startup", "answers", "render", "status", "failures", "report", "local", "packed", "polls")


def main(arguments: list[str]) -> int:
    """Run the benchmarks.

    Returns:
        0 if each gave a figure, or this machine lacks a program or a cluster for it; 1 if one gave
        no figure; 2 if there is no benchmark of that name.
    """
    size = Size.SMALL if "--small" in arguments else Size.FULL
    chosen = [argument for argument in arguments if argument != "--small"]
    if unknown := [name for name in chosen if name not in NAMES]:
        print(f"There is no benchmark {unknown[0]!r}; there are {', '.join(NAMES)}.")
        return 2
    if size is Size.SMALL:  # what an earlier version made would hide that it cannot be made now
        shutil.rmtree(size.folder, ignore_errors=True)
    size.folder.mkdir(parents=True, exist_ok=True)
    cpus = len(os.sched_getaffinity(0))
    print(f"{time.strftime('%Y-%m-%d')}, {cpus} CPUs, Python {platform.python_version()}, {size}")
    worked = [_run(name, size) for name in chosen or NAMES]
    return 0 if all(worked) else 1


def _run(name: str, size: Size) -> bool:
    """Print the lines of one benchmark; False if it should have measured something and did not."""
    measured = False
    try:
        for line in _lines(name, size):
            print(_text(name, line), flush=True)
            measured = True
    except MissingError as why:
        print(_text(name, Line(f"left out: {why}", "")), flush=True)
        return True
    except NotMeasuredError as why:
        print(_text(name, Line(f"not measured: {why}", "")), flush=True)
        return False
    return measured


def _lines(name: str, size: Size) -> Iterator[Line]:
    for line in importlib.import_module(f"benchmarks.{name}").measure(size):
        yield line if size is Size.FULL else replace(line, bar="", met=None)


def _text(name: str, line: Line) -> str:
    ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
    verdict = {True: "met", False: "NOT MET", None: ""}[line.met]
    cells = f"{name:8} {line.what:58} {line.ours:>9}  {line.rival:18} {ratio:>6}  {line.bar:24}"
    return f"{cells} {verdict}".rstrip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
