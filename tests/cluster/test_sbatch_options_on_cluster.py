"""sbatch's options on a real cluster: a SPANK plugin's, those of a release, and any other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmslice.engines.slurm.versions import parse_release
from tests.support import spank
from tests.support.errors import error_code
from tests.support.notes import noted
from tests.support.site import Site, array_task_of, settled, write

pytestmark = pytest.mark.slurm
SAY = ("--shell", 'echo "$SLICE:${TEST_IMAGE-}:${TEST_WRITABLE-}" >>said')
FIRST = ("run", "-a", "0-2", "--name", "r", "--interval", "1")


@pytest.fixture(scope="module")
def plugged(site: Site) -> Iterator[Site]:
    """The cluster with a SPANK plugin that was compiled for it."""
    if site.cluster is None:
        pytest.skip("a plugin is compiled for a cluster of our own only")
    with spank.plugin(site.cluster):
        yield site


def said(directory: Path) -> list[str]:
    """Return the output of the slices."""
    return sorted((directory / "said").read_text().splitlines())


def test_a_plugins_options_reach_the_job(plugged: Site, workplace: Path) -> None:
    """``sbatch --help`` lists a plugin's option, and the plugin changes the job's environment."""
    typed = ("--test-image", "some image#1", "--test-writable")
    ran = plugged.slurmslice(*FIRST, *typed, *SAY, cwd=workplace)
    assert ran.returncode == 0, ran.stderr
    assert said(workplace) == [f"{key}:some image#1:yes" for key in range(3)]


def test_a_plugins_options_pass_unchecked_and_change(plugged: Site, workplace: Path) -> None:
    """``--sbatch`` at first, a change by name afterwards; each attempt has its own value."""
    fails = (SAY[0], f"{SAY[1]}; [ -e mended ]")
    ran = plugged.slurmslice(*FIRST, "--sbatch", "test-image=one", *fails, cwd=workplace)
    assert ran.returncode == 1, ran.stderr
    assert said(workplace) == [f"{key}:one:" for key in range(3)]
    plugged.run("rm", "said", cwd=workplace)
    plugged.run("touch", "mended", cwd=workplace)
    again = plugged.slurmslice(
        "resubmit", "r", "--test-image=two", "--sbatch", "test-writable", cwd=workplace
    )
    assert again.returncode == 0, again.stderr
    assert settled(plugged, workplace, "r") == {"COMPLETED": 3}
    assert said(workplace) == [f"{key}:two:yes" for key in range(3)]


def test_a_plugins_options_in_an_imported_script(plugged: Site, workplace: Path) -> None:
    """They are options of this sbatch too; a misspelt one makes no run."""
    text = "#!/bin/bash\n#SBATCH -a 0-1 --test-image='an image'\n" + SAY[1]
    for name, script in (("good.sh", text), ("bad.sh", text.replace("image=", "imge="))):
        write(plugged, workplace / name, script)
    bad = plugged.slurmslice("import", "bad.sh", cwd=workplace)
    assert (bad.returncode, error_code(bad.stderr)) == (2, "unknown-option")
    assert "--test-image" in bad.stderr
    assert not (workplace / "slurmslice-runs").exists()
    assert plugged.slurmslice("import", "good.sh", cwd=workplace).returncode == 0
    assert plugged.slurmslice("run", "good", "--interval", "1", cwd=workplace).returncode == 0
    assert said(workplace) == [f"{key}:an image:" for key in range(2)]


def test_a_resubmission_is_not_held(site: Site, workplace: Path) -> None:
    """``--hold`` and ``--begin`` delay the first submission; a satisfied dependency delays none."""
    before = ("sbatch", "--parsable", "--wait", "--output=/dev/null", "--wrap=true")
    ended = site.run(*before, cwd=workplace).stdout.strip()
    words = ("--hold", "-d", f"afterok:{ended}", "--shell", "[ -e mended ]")
    made = site.slurmslice("render", "-a", "0-1", "--name", "r", *words, cwd=workplace)
    assert made.returncode == 0, made.stderr
    sent = site.slurmslice("submit", "r", cwd=workplace)
    assert sent.returncode == 0, sent.stderr
    (held,) = noted(site.slurmslice("status", "r", cwd=workplace).stderr, "will-not-start")
    assert held["reason"] == "JobHeldUser"
    site.run("scontrol", "release", array_task_of(sent), cwd=workplace)
    assert settled(site, workplace, "r") == {"FAILED": 2}
    site.run("touch", "mended", cwd=workplace)
    again = site.slurmslice("resubmit", "r", cwd=workplace)
    assert again.returncode == 0, again.stderr
    assert settled(site, workplace, "r") == {"COMPLETED": 2}


def test_a_misspelt_plugin_option_gets_the_nearest(plugged: Site, workplace: Path) -> None:
    """By the cluster's own help."""
    done = plugged.slurmslice(*FIRST, "--test-imge", "x", *SAY, cwd=workplace)
    assert done.returncode == 2
    assert "'--test-image'" in done.stderr
    assert not (workplace / "slurmslice-runs").exists()


@pytest.fixture(scope="module")
def lacked(site: Site) -> tuple[str, str]:
    """An option that this release lacks: one that came with 26.05, or one that is gone there."""
    shown = site.run("sbatch", "--version", cwd=site.folder).stdout
    release = parse_release(shown.split()[-1])
    assert release is not None, shown
    return ("mem-update", "20@5") if release < (26, 5) else ("power", "level")


def test_an_option_that_the_release_lacks_is_refused_before_a_run_is_made(
    site: Site, workplace: Path, lacked: tuple[str, str]
) -> None:
    """By its name."""
    name, value = lacked
    done = site.slurmslice(*FIRST, f"--{name}", value, *SAY, cwd=workplace)
    assert done.returncode == 2
    assert "[option-not-in-release]" in done.stderr
    assert f"--{name}" in done.stderr
    assert not (workplace / "slurmslice-runs").exists()


@pytest.mark.parametrize("way", ["typed", "in the script"])
def test_slices_stay_queued_if_the_release_lacks_an_option(
    site: Site, workplace: Path, lacked: tuple[str, str], way: str
) -> None:
    """A change with ``--sbatch``, or a line that a person wrote: nothing is submitted."""
    made = site.slurmslice("render", "-a", "0-2", "--name", "r", *SAY, cwd=workplace)
    assert made.returncode == 0, made.stderr
    option = "=".join(lacked)
    script = workplace / "slurmslice-runs" / "r" / "script.sh"
    if way == "in the script":
        script.write_text(
            script.read_text().replace("\n#SBATCH", f"\n#SBATCH --{option}\n#SBATCH", 1)
        )
    words = ("--sbatch", option) if way == "typed" else ()
    done = site.slurmslice("submit", "r", *words, cwd=workplace)
    assert done.returncode == 2
    assert "[option-not-in-release]" in done.stderr
    assert site.status(workplace, "r")["counts"] == {"WAITING": 3}
