"""The real Slurm cluster for the benchmarks, which is also the tests' cluster."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.measure import MissingError, NotMeasuredError
from tests.support.site import NoSiteError, Site, find_site


@contextmanager
def workplace() -> Iterator[tuple[Site, Path]]:
    """Return the cluster, started if needed, and an empty folder of an ordinary user on it.

    Raises:
        MissingError: there is no cluster, and none can be started.
        NotMeasuredError: the same, if ``SLURM=require`` is set.
    """
    wish = os.environ.get("SLURMSLICE_TEST_SLURM", "auto")
    folder = os.environ.get("SLURMSLICE_TEST_CLUSTER", "/var/tmp/slurmslice-cluster")
    try:
        site = find_site(wish, folder)
    except NoSiteError as why:
        raise (NotMeasuredError if wish == "require" else MissingError)(str(why)) from why
    place = site.folder / f"bench-{secrets.token_hex(4)}"
    ask(site, "mkdir", str(place), cwd=site.folder)
    try:
        yield site, place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def ask(site: Site, *argv: str, cwd: Path, **more: object) -> str:
    """Run a program as the user, and return its output.

    Raises:
        NotMeasuredError: it failed.
    """
    done = site.run(*argv, cwd=cwd, **more)  # type: ignore[arg-type]
    if done.returncode != 0:
        raise NotMeasuredError(
            f"`{' '.join(argv)}` ended with {done.returncode}: {done.stderr[-500:]}"
        )
    return done.stdout.strip()
