"""The settings of a site, a user and a folder on a real cluster: which of them count there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.errors import error_code
from tests.support.notes import noted
from tests.support.site import Finished, Site, jobs_in, side_by_side, write

pytestmark = pytest.mark.slurm

WITH_SITE_FILE = """\
import sys
from pathlib import Path
from slurmslice.system import config_files
config_files.SITE_FILE = Path(sys.argv.pop(1))
from slurmslice.cli import app
app.main()
"""
"""slurmslice with another file in place of /etc/slurmslice.toml."""

LINE = ("-a", "0-1", "--name", "r", "--", "true")


def typed(site: Site, folder: Path, *words: str) -> Finished:
    """Run slurmslice with the site's file and the user's settings in a folder."""
    env = {"XDG_CONFIG_HOME": str(folder / "config")}
    argv = (str(site.python), "-c", WITH_SITE_FILE, str(folder / "site.toml"), *words)
    return site.run(*argv, cwd=folder, env=env)


def fill(site: Site, folder: Path, files: Mapping[str, str]) -> None:
    """Write settings files: ``site``, ``user`` and ``folder``. ``HERE`` is this cluster."""
    shown = site.run("scontrol", "show", "config", cwd=folder).stdout
    (here,) = (line.split()[2] for line in shown.splitlines() if line.startswith("ClusterName "))
    site.run("mkdir", "-p", "config/slurmslice", cwd=folder)
    places = {"site": "site.toml", "user": "config/slurmslice/config.toml"}
    for which, text in files.items():
        path = folder / places.get(which, "slurmslice.toml")
        write(site, path, text.replace("HERE", here))


def asked(site: Site, folder: Path, job: str) -> dict[str, str]:
    """Return what Slurm tells of a job."""
    shown = site.run("scontrol", "show", "job", "--oneliner", job, cwd=folder).stdout
    return dict(word.partition("=")[::2] for word in shown.splitlines()[0].split())


LAYERS: dict[str, tuple[object, ...]] = {
    # The files, and what Slurm tells of the job.
    "clusters": (
        {"user": "[sbatch]\ncomment = 'all'\nmem = '60M'\n[cluster.HERE.sbatch]\n"
                 "comment = 'here'\n[cluster.elsewhere.sbatch]\nmem = '70M'\nnice = '7'\n"},
        {"Comment": "here", "MinMemoryNode": "60M", "Nice": "0"},
    ),
    "site": (
        {"site": "[defaults.sbatch]\ncomment = 'site'\nmem = '60M'\ntime = '3'\n"
                 "[defaults.cluster.HERE.sbatch]\nnice = '5'\nmem = '61M'\n",
         "user": "[sbatch]\ncomment = 'user'\ntime = '4'\n", "folder": "[sbatch]\ntime = '5'\n"},
        {"Comment": "user", "MinMemoryNode": "61M", "TimeLimit": "00:05:00", "Nice": "5"},
    ),
    "fault": (
        {"site": "[defaults.sbatch]\nmen = '60M'\n", "user": "[sbatch]\nmem = '62M'\n"},
        {"MinMemoryNode": "62M"},
    ),
}  # fmt: skip
"""Settings in several files."""


def counts_in_its_layer(
    site: Site, folder: Path, files: Mapping[str, str], told: Mapping[str, str]
) -> None:
    """Submit a run with settings, and ask Slurm."""
    fill(site, folder, files)
    sent = typed(site, folder, "submit", "--hold", "--parsable", *LINE)
    assert sent.returncode == 0, sent.stderr
    found = asked(site, folder, sent.stdout.strip())
    assert {name: found.get(name) for name in told} == told
    assert bool(noted(sent.stderr, "site-defaults-unusable")) == ("men = " in files.get("site", ""))


def test_layers_of_settings(site: Site, workplace: Path) -> None:
    """The table of this cluster counts above its file; the site's defaults are the lowest layer."""
    side_by_side(site, workplace, counts_in_its_layer, LAYERS)


REFUSED: dict[str, tuple[object, ...]] = {
    "hook": ("hook-in-folder", {"folder": "on-end = 'touch owned'\n"}),
    "hook-of-cluster": ("hook-in-folder", {"folder": "[cluster.HERE]\non-end = 'touch owned'\n"}),
    "hook-of-profile": ("hook-in-folder", {"folder": "[profile.p]\non-end = 'touch owned'\n"}),
    "mail": ("mail-in-folder", {"folder": "[mail]\nsmtp-host = 'mail.invalid'\n"}),
    "password": ("mail-in-folder", {"folder": "[mail]\npassword-command = ['touch', 'owned']\n"}),
    "key": ("unknown-key", {"user": "[cluster.elsewhere.sbatch]\nmen = '1G'\n"}),
    "site-of-user": ("unknown-key", {"user": "[site]\nmin-poll = '1s'\n"}),
    "defaults-of-folder": ("unknown-key", {"folder": "[defaults.sbatch]\nmem = '1G'\n"}),
}
"""Settings that do not belong into their file."""


def is_refused(site: Site, folder: Path, code: str, files: Mapping[str, str]) -> None:
    """Nothing is made, and no command of the file is called."""
    fill(site, folder, files)
    done = typed(site, folder, "run", *LINE)
    assert (done.returncode, error_code(done.stderr)) == (2, code), done.stderr
    assert not (folder / "slurmslice-runs").exists()
    assert not (folder / "owned").exists()
    assert typed(site, folder, "doctor").returncode in {0, 1}
    assert not (folder / "owned").exists()


def test_commands_in_a_folders_file_are_refused(site: Site, workplace: Path) -> None:
    """A folder may be another user's: hooks, mail and commands for passwords do not count there."""
    side_by_side(site, workplace, is_refused, REFUSED)
    assert jobs_in(site, workplace) == []


def test_the_hook_of_a_run_is_not_called(site: Site, workplace: Path) -> None:
    """``run --from`` does not take it over. The user's own hook counts."""
    fill(site, workplace, {"user": "[sbatch]\nmem = '50M'\n"})
    made = typed(site, workplace, "render", "--on-end", "touch owned", *LINE)
    assert made.returncode == 0, made.stderr
    fill(site, workplace, {"user": "on-end = 'touch mine'\n"})
    taken = typed(
        site, workplace, "run", "--from", "slurmslice-runs/r", "--name", "new", "--interval", "1"
    )
    assert taken.returncode == 0, taken.stderr
    assert not (workplace / "owned").exists()
    assert (workplace / "mine").exists()


def test_the_word_of_a_site(site: Site, workplace: Path) -> None:
    """``min-poll`` counts above ``--interval``, and ``doctor`` shows which file said what."""
    fill(site, workplace, {
        "site": "[site]\nmin-poll = '3s'\ncontact = 'ada@lab'\n[defaults.sbatch]\nmem = '61M'\n"
                "[mail]\npassword-command = ['pass', 'secret']\n",
        "user": "[cluster.HERE.sbatch]\nnice = '3'\n[cluster.elsewhere.sbatch]\nnice = '4'\n",
        "folder": "[sbatch]\ntime = '5'\n",
    })  # fmt: skip
    shown = typed(site, workplace, "doctor").stdout
    files = {name: str(workplace / name) for name in ("site.toml", "config/slurmslice/config.toml")}
    for wanted in (
        f"{files['site.toml']}: [defaults.sbatch] mem = 61M",
        f"{files['site.toml']}: [site] min-poll",
        f"{files['site.toml']}: [mail] password-command",
        "nice = 3", "slurmslice.toml: [sbatch] time = 5", "contact: ada@lab",
    ):  # fmt: skip
        assert wanted in shown
    assert "secret" not in shown
    assert "nice = 4" not in shown
    run = typed(site, workplace, "run", "--interval", "0.5", *LINE)
    assert run.returncode == 0, run.stderr
    (note,) = noted(run.stderr, "interval-raised")
    assert note == {"interval": 0.5, "least": 3.0}
    assert "ada@lab" in run.stderr
