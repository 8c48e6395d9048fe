"""The tests of the real cluster on several releases of Slurm: ``python -m tests.support.versions``.

It prints one line per release: the version, the numbers of passed and failed tests, and the time.
pytest's output is in a file beside the clusters. The words after ``--`` are passed to pytest.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

from tests.support.paths import REPOSITORY
from tests.support.slurm_cluster import Cluster, ClusterError, Settings, roots
from tests.support.slurm_cluster.layout import Layout
from tests.support.slurm_cluster.packages import slurm_version

# Only tests of Slurm. The example needs no release of its own.
_WHICH = ("-m", "slurm and not example")
# From 26.05, Slurm refuses jobs of the user nobody (seen). Each Debian has this user, and no person
# uses it.
USER = "games"


def _settings(release: str, cache: Path) -> Settings:
    """Return the settings of a release's cluster, without a root if the machine has the release."""
    try:
        own = slurm_version(Layout(cache))
    except (ClusterError, OSError):
        own = (0, 0)
    if "{}.{:02}".format(*own) == release:
        return Settings()
    return Settings(root=str(roots.make(release, cache, _say)), user=USER)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _tested(release: str, cache: Path, options: list[str]) -> bool:
    """Test one release and print its result; return True if all tests passed."""
    began = time.monotonic()
    cluster = Cluster(cache / f"cluster-{release}", _settings(release, cache), say=_say)
    cluster.up()
    report, log = cache / f"{release}.xml", cache / f"{release}.log"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}"]
    where = {"SLURMSLICE_TEST_CLUSTER": str(cluster.folder), "SLURMSLICE_TEST_SLURM": "require"}
    try:
        with log.open("w") as file:
            done = subprocess.run(
                [*command, *_WHICH, *options],
                env={**os.environ, **where},
                cwd=REPOSITORY,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        version = cluster.run(["sbatch", "--version"]).stdout.split()[-1]
    finally:
        cluster.down(remove=True)
    print(f"{version:10} {_counts(report)}, {time.monotonic() - began:.0f} s: {log}", flush=True)
    return done.returncode == 0


def _counts(report: Path) -> str:
    """Return the numbers of passed and failed tests, from pytest's XML report."""
    try:
        suite = next(ElementTree.parse(report).iter("testsuite"))
    except (OSError, ElementTree.ParseError, StopIteration):
        return "pytest did not come to its end"
    number = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    bad = number["failures"] + number["errors"]
    passed = number["tests"] - bad - number["skipped"]
    skipped = f", {number['skipped']} skipped" if number["skipped"] else ""
    return f"{passed} passed, {bad} failed{skipped}"


def main() -> int:
    """Test the releases on the command line; return 1 if one of them has a failure."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.versions", description=__doc__)
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    parser.add_argument("releases", nargs="*", metavar="RELEASE", help="default: all")
    parser.add_argument(
        "--where-possible", action="store_true",
        help="a release that cannot be brought up on this machine is told, and is no failure",
    )  # fmt: skip
    parser.add_argument("--cache", type=Path, default=roots.CACHE, help="default: %(default)s")
    arguments, options = parser.parse_args(words[:at]), words[at + 1 :]
    well = True
    for release in arguments.releases or roots.SUITES:
        if release not in roots.SUITES:
            parser.error(f"no release {release!r}; there are {', '.join(roots.SUITES)}")
        try:
            well = _tested(release, arguments.cache, options) and well
        except ClusterError as why:
            print(f"{release:10} could not be tested: {why}", flush=True)
            well = arguments.where_possible and well
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
