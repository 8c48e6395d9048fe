"""The number of sacct calls on a real cluster, for a run with many submissions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.measure import Line, NotMeasuredError, at_most, figure
from benchmarks.place import ask, workplace
from benchmarks.size import Size
from tests.support.site import Site

_COUNTED = """\
#!/bin/bash
echo called >>'{calls}'
exec {sacct} "$@"
"""


def measure(size: Size) -> Iterator[Line]:
    """Count the calls of one ``status``, and of ten minutes of ``watch``."""
    submissions, watch_s = size.pick(50, 3), size.pick(600, 5)
    with workplace() as (site, place):
        env = _counting(site, place)
        array = ("-a", f"0-{submissions - 1}", "--name", "polls")
        _slurmslice(site, place, "render", *array, "--", "sleep", "3600")
        for key in range(submissions):
            _slurmslice(site, place, "submit", "polls", "--only", f"{key}-{key}")
        try:
            before = _calls(place)
            _slurmslice(site, place, "status", "polls", env=env)
            calls = _calls(place) - before
            yield at_most(f"a status with {submissions} submissions", calls, "sacct", 1)
            watched = _watched(site, place, env, watch_s)
            yield figure(f"{watch_s} seconds of watch, the same", f"{watched} sacct")
        finally:
            _slurmslice(site, place, "cancel", "polls")


def _counting(site: Site, place: Path) -> Mapping[str, str]:
    """Make a sacct that counts its calls; return variables with a PATH that finds it first."""
    real = ask(site, "sh", "-c", "command -v sacct", cwd=place)
    path = ask(site, "printenv", "PATH", cwd=place)
    ask(site, "mkdir", "bin", cwd=place)
    text = _COUNTED.format(calls=place / "calls", sacct=real)
    ask(site, "tee", "bin/sacct", cwd=place, input=text)
    ask(site, "chmod", "+x", "bin/sacct", cwd=place)
    ask(site, "touch", "calls", cwd=place)
    return {"PATH": f"{place / 'bin'}:{path}"}


def _calls(place: Path) -> int:
    return len((place / "calls").read_text().splitlines())


def _watched(site: Site, place: Path, env: Mapping[str, str], seconds: float) -> int:
    before = _calls(place)
    settings = [f"{name}={value}" for name, value in env.items()]
    argv = ["env", *settings, str(site.python), "-m", "slurmslice", "watch", "polls"]
    watch = site.popen(argv, cwd=place)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(1)
        if watch.poll() is not None:
            raise NotMeasuredError(f"`slurmslice watch` ended with {watch.returncode}")
    watch.terminate()  # not Ctrl-C's signal: behind nohup or & that one is ignored
    watch.wait(timeout=60)
    return _calls(place) - before


def _slurmslice(site: Site, place: Path, *args: str, **more: object) -> None:
    ask(site, str(site.python), "-m", "slurmslice", *args, cwd=place, **more)
