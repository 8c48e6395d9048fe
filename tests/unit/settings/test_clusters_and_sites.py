"""Several clusters with one home, and the word of a site (ADR 41)."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmslice.actions.follow import poll_interval
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

LINE = ("run", "-a", "0-1", "--name", "x", "--", "true")


@pytest.fixture(autouse=True)
def ends(engine: FakeEngine) -> None:
    """Let each run end at its first wait."""
    engine.on_wait = engine.end_all


def write_user(typed: Typed, text: str) -> Path:
    """Write the user's own settings file."""
    path = typed.folder / "config" / "slurmslice" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def sent(engine: FakeEngine) -> dict[str, str]:
    """Return the request of the newest job."""
    return dict(list(engine.jobs.values())[-1].order.request.options)


def test_the_table_of_this_cluster_counts_above_its_file(typed: Typed, engine: FakeEngine) -> None:
    """Not that of another one; the folder's file counts more than the user's table."""
    name = engine.cluster()
    write_user(
        typed,
        f"[sbatch]\npartition = 'all'\nmem = '1G'\n[cluster.{name}.sbatch]\npartition = 'mine'\n"
        f"account = 'one'\n[cluster.other.sbatch]\npartition = 'theirs'\nqos = 'theirs'\n",
    )
    (typed.folder / "slurmslice.toml").write_text("[sbatch]\naccount = 'two'\n")
    typed(*LINE)
    request = sent(engine)
    wanted = {"partition": "mine", "mem": "1G", "account": "two"}
    assert {name: request.get(name) for name in (*wanted, "qos")} == {**wanted, "qos": None}


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[cluster.a.sbatch]\nmen = '1G'", "men"),
        ("[cluster.a]\nslice = '0-1'", "slice"),
        ("[clusters.a.sbatch]\nmem = '1G'", "clusters"),
        ("[defaults.sbatch]\nmem = '1G'", "defaults"),
    ],
)
def test_a_wrong_key_is_named(text: str, key: str, typed: Typed) -> None:
    """Also in the table of another cluster; only the site's file has [defaults]."""
    path = write_user(typed, text)
    typed(*LINE)
    assert (typed.code, typed.error) == (2, "unknown-key")
    assert (typed.fields["key"], typed.fields["path"]) == (key, str(path))


def test_without_an_answer_the_tables_do_not_count(
    typed: Typed, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A note says so."""
    from slurmslice.errors import NoAnswerError

    def silent(self: FakeEngine) -> str:
        raise NoAnswerError("away")

    write_user(typed, f"[cluster.{engine.cluster()}.sbatch]\nmem = '1G'\n")
    monkeypatch.setattr(FakeEngine, "cluster", silent)
    typed(*LINE, "--dry-run")
    assert typed.noted("cluster-unknown")


def test_the_defaults_of_a_site_are_the_lowest_layer(
    typed: Typed, engine: FakeEngine, site_file: Path
) -> None:
    """With profiles and clusters; a user's value counts more."""
    site_file.write_text(
        "[defaults.sbatch]\naccount = 'site'\npartition = 'site'\n"
        f"[defaults.cluster.{engine.cluster()}.sbatch]\nqos = 'low'\n"
        "[defaults.profile.big.sbatch]\nmem = '8G'\n[site]\ncontact = 'ada'\n"
    )
    write_user(typed, "[sbatch]\npartition = 'mine'\n")
    typed("run", "--profile", "big", *LINE[1:])
    request = sent(engine)
    wanted = {"account": "site", "partition": "mine", "qos": "low", "mem": "8G"}
    assert {name: request.get(name) for name in wanted} == wanted


@pytest.mark.parametrize("text", ["[defaults.sbatch]\nmen = '1G'\n", "[defaults]\nx = 1\n", "[x"])
def test_an_error_of_the_site_stops_no_user(
    text: str, typed: Typed, engine: FakeEngine, site_file: Path
) -> None:
    """The run goes on without the site's defaults, and a note names the file."""
    site_file.write_text(text)
    typed(*LINE)
    assert (typed.code, len(engine.jobs)) == (0, 1)
    assert typed.noted("site-defaults-unusable") == [{"path": str(site_file)}]


@pytest.mark.parametrize("table", ["", "[profile.p]", "[cluster.other]"])
def test_a_folders_file_has_no_hook(table: str, typed: Typed, engine: FakeEngine) -> None:
    """It may be another user's. In the user's own file it counts."""
    text = f"{table}\non-end = 'touch owned'\n"
    (typed.folder / "slurmslice.toml").write_text(text)
    typed(*LINE)
    assert (typed.code, typed.error, len(engine.jobs)) == (2, "hook-in-folder", 0)
    assert typed.fields["key"] == "on-end"
    assert not (typed.folder / "runs").exists()
    (typed.folder / "slurmslice.toml").unlink()
    write_user(typed, text)
    typed(*LINE)
    assert (typed.code, (typed.folder / "owned").exists()) == (0, not table)


def test_a_site_limits_how_often_slurm_is_asked(
    typed: Typed, engine: FakeEngine, site_file: Path
) -> None:
    """Whatever ``--interval`` says."""
    site_file.write_text('[site]\nmin-poll = "45s"\n')
    typed("run", "--interval", "1", *LINE[1:])
    assert set(engine.waited) == {45.0}
    assert typed.noted("interval-raised") == [{"interval": 1.0, "least": 45.0}]
    assert poll_interval(1e6, None, least=7.0) == poll_interval(1e6, None)


@pytest.mark.parametrize(("verb", "seconds"), [("run", "45"), ("run", ""), ("watch", "9")])
def test_a_note_only_on_an_interval_that_does_not_count(
    verb: str, seconds: str, typed: Typed, site_file: Path
) -> None:
    """Not on a longer one, and not without one."""
    site_file.write_text('[site]\nmin-poll = "45s"\n')
    typed("render", *LINE[1:])
    typed(verb, "x", *(("--interval", seconds) if seconds else ()))
    assert bool(typed.noted("interval-raised")) == (seconds == "9")


def test_doctor_shows_which_file_said_what(
    typed: Typed, engine: FakeEngine, site_file: Path
) -> None:
    """Each setting, the site's rules and contact, the keys of [mail] without their values."""
    site_file.write_text(
        '[site]\ncontact = "ada@lab"\nmax-attempts = 3\n[defaults.sbatch]\nqos = "low"\n'
        '[mail]\npassword-command = ["pass", "secret"]\n'
    )
    user = write_user(typed, "[sbatch]\nmem = '3G'\n[cluster.far.sbatch]\nqos = 'x'\n")
    text = typed("doctor", "--engine", "local")
    assert typed.code == 0
    for wanted in (
        f"{user}: [sbatch] mem = 3G", f"{site_file}: [defaults.sbatch] qos = low",
        f"{site_file}: [site] max-attempts = 3", f"{site_file}: [mail] password-command",
        "contact: ada@lab", "far",
    ):  # fmt: skip
        assert wanted in text
    assert "secret" not in text
    user.write_text("[sbatch]\nmen = '3G'\n")
    text = typed("doctor", "--engine", "local")
    assert (typed.code, "men" in text) == (0, True)
