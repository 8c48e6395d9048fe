"""``doctor --probe`` and ``--mail``: what is found out, what is told, and that nothing stays."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmslice.engines.slurm.slurm_health import scrontab_health
from slurmslice.engines.stewards import StewardOrder
from slurmslice.errors import MailError, SubmissionRejectedError
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.support.fake_stewards import FakeStewards
from tests.support.fakes import FakeEngine
from tests.support.paths import REPOSITORY
from tests.support.typed import Typed

GOOD = "node n7\npython \nsubmit \nrequeue \nend \n"


@pytest.fixture
def fakes(engine: FakeEngine) -> FakeStewards:
    """The stewards of the fake cluster."""
    assert engine.stewards is not None
    return engine.stewards


def finds(text: str) -> Callable[[StewardOrder], None]:
    """Return a job that writes these facts at once."""

    def write(order: StewardOrder) -> None:
        (Path(order.arguments[0]) / "facts").write_text(text)

    return write


def left_over(typed: Typed) -> list[str]:
    """Return the files of probes in the folder."""
    return [path.name for path in typed.folder.iterdir() if "probe" in path.name]


@pytest.mark.parametrize(
    ("facts", "code", "said"),
    [
        (GOOD, 0, "n7"),
        (GOOD.replace("requeue ", "requeue Requested operation is disabled"), 1, "disabled"),
        (GOOD.replace("submit ", "submit Access denied"), 1, "Access denied"),
        (GOOD.replace("python ", "python No module named slurmslice"), 1, "No module"),
        ("node n7\npython \nend \n", 1, "not known"),
    ],
)
def test_a_probe_tells_what_its_job_found_out(
    facts: str, code: int, said: str, typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """A steward needs all of it. The job is cancelled, and its folder removed."""
    fakes.on_submit = finds(facts)
    assert said in typed("doctor", "--probe", "-p", "main")
    assert typed.code == code
    assert engine.cancelled == [("900", None)]
    assert fakes.orders["900"].options["partition"] == "main"
    assert not left_over(typed)


def test_a_probe_that_does_not_start_is_removed(
    typed: Typed, engine: FakeEngine, fakes: FakeStewards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time; it says what the job waited for."""
    monkeypatch.setattr("slurmslice.actions.probe_steward.LIMIT_S", -1.0)
    assert "Dependency" in typed("doctor", "--probe")
    assert typed.code == 1
    assert engine.cancelled == [("900", None)]
    assert not left_over(typed)


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED, None])
def test_a_probe_that_ends_early_is_no_success(
    state: State | None, typed: Typed, engine: FakeEngine, fakes: FakeStewards
) -> None:
    """Without its facts, nothing is known; the command does not wait for them."""

    def end() -> None:
        if state is None:
            fakes.reports.clear()
        else:
            fakes.reports["900"] = TaskReport(state)

    engine.on_wait = end
    typed("doctor", "--probe")
    assert typed.code == 1
    assert not left_over(typed)


def test_an_interrupted_probe_is_removed(
    typed: Typed, engine: FakeEngine, interrupted: None
) -> None:
    """Ctrl-C ends the wait, and the job."""
    typed("doctor", "--probe")
    assert typed.code == 130
    assert engine.cancelled == [("900", None)]
    assert not left_over(typed)


def test_a_refused_probe_leaves_nothing(typed: Typed, fakes: FakeStewards) -> None:
    """The refusal of Slurm is told."""

    def refuse(order: StewardOrder) -> None:
        raise SubmissionRejectedError("invalid partition", said="invalid partition")

    fakes.on_submit = refuse
    assert "invalid partition" in typed("doctor", "--probe")
    assert typed.code == 3
    assert not left_over(typed)


def test_without_a_probe_no_job_is_submitted(typed: Typed, fakes: FakeStewards) -> None:
    """And where no steward may run, none is."""
    typed("doctor")
    assert typed.code == 0
    fakes.engine.stewards = None
    typed("doctor", "--probe")
    assert (typed.code, typed.error) == (2, "slurm-only")
    assert not fakes.orders


def test_the_site_forbids_a_probe(site_file: Path, typed: Typed, fakes: FakeStewards) -> None:
    """Where it allows no stewards; else its options count."""
    site_file.write_text("[site]\nunattended = 'off'\n")
    typed("doctor", "--probe")
    assert typed.error == "unattended-off"
    site_file.write_text("[site]\nsteward-sbatch = '-p serial'\n")
    fakes.on_submit = finds(GOOD)
    typed("doctor", "--probe", "-p", "fat")
    assert fakes.orders["900"].options["partition"] == "serial"


# -- the job -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "fact"), [("", ""), ("scontrol", "requeue"), ("sbatch", "submit")]
)
def test_the_job_of_a_probe_writes_its_facts(tmp_path: Path, broken: str, fact: str) -> None:
    """One line for each, also if an answer has several lines."""
    for name in ("scontrol", "sbatch", "python"):
        bad = "echo 'not now'; echo here >&2; exit 1" if name == broken else "exit 0"
        (tmp_path / name).write_text(f"#!/bin/bash\necho {name} $* >>{tmp_path}/calls\n{bad}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7", "HOSTNAME": "n7"}
    script = REPOSITORY / "templates" / "probe.sh"
    argv = ["bash", str(script), str(tmp_path), str(tmp_path / "python")]
    subprocess.run(argv, env=env, check=True, timeout=30)
    lines = (tmp_path / "facts").read_text().splitlines()
    facts = {name: said.strip() for name, _, said in (line.partition(" ") for line in lines)}
    assert list(facts) == ["node", "python", "submit", "requeue", "end"]
    wrong = {name for name in ("python", "submit", "requeue") if facts[name]}
    assert wrong == ({fact} if fact else set())
    assert "scontrol requeue 7" in (tmp_path / "calls").read_text()
    subprocess.run(argv, env=env | {"SLURM_RESTART_COUNT": "1"}, check=True, timeout=30)
    assert (tmp_path / "facts").read_text().splitlines() == lines


# -- settings and mail -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "on"), [("enable", True), ("enable,explicit_scancel", True), ("(null)", False)]
)
def test_the_settings_tell_if_scrontab_is_there(value: str, on: bool) -> None:
    """A value may have several words; without the setting it is off."""
    assert ("on" in scrontab_health({"ScronParameters": value}).split()) is on
    assert "on" not in scrontab_health({}).split()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The test mails, as address and way; a server of the settings refuses them."""
    mails: list[tuple[str, str]] = []

    def send(message: object, to: str, settings: object, allowed: tuple[str, ...]) -> None:
        if allowed == ("smtp",):
            raise MailError("the server is away")
        mails.append((to, *allowed))  # type: ignore[arg-type]

    monkeypatch.setattr("slurmslice.notify.send_mail.send_mail", send)
    monkeypatch.setattr("slurmslice.notify.send_mail._sendmail", lambda: "/usr/sbin/sendmail")
    return mails


def test_each_way_of_mail_is_tried(typed: Typed, sent: list[tuple[str, str]]) -> None:
    """One that fails is told, and the next is tried; the exit code is 1."""
    typed("doctor", "--mail", "--mail-user", "ada@lab")
    assert (typed.code, sent) == (0, [("ada@lab", "sendmail")])
    settings = typed.folder / "config" / "slurmslice"
    settings.mkdir(parents=True)
    (settings / "config.toml").write_text('[mail]\nsmtp-host = "mail.lab"\n')
    assert "the server is away" in typed("doctor", "--mail", "--mail-user", "ada@lab")
    assert (typed.code, sent[1:]) == (1, [("ada@lab", "sendmail")])
    typed("doctor", "--mail", "--mail-user", "no address")
    assert typed.error == "no-mail-address"


@pytest.mark.parametrize(
    ("ways", "code", "word"),
    [("", 0, "smtp-host"), ("[site]\nmail = ['slurm', 'smtp']\n", 0, "allows"),
     ("[site]\nmail = ['smtp']\n", 1, "allows"), ("[site]\nmail = []\n", 1, "allows")],
)  # fmt: skip
def test_a_machine_without_a_way_of_mail_is_told(
    ways: str, code: int, word: str, site_file: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A steward may still mail by Slurm. If that is not allowed either, the exit code is 1."""
    monkeypatch.setattr("slurmslice.notify.send_mail._sendmail", lambda: None)
    if ways:
        site_file.write_text(ways)
    assert word in typed("doctor", "--mail", "--mail-user", "ada@lab").partition("mail of a run")[2]
    assert typed.code == code


def test_no_way_is_tried_if_the_sites_rules_cannot_be_read(
    site_file: Path, typed: Typed, sent: list[tuple[str, str]]
) -> None:
    """Nobody knows which ways it allows, and a run would send no mail either."""
    site_file.write_text("[site\n")
    typed("doctor", "--mail", "--mail-user", "ada@lab")
    assert (typed.code, sent) == (1, [])


def test_slurm_mails_the_end_of_the_probe(
    site_file: Path, typed: Typed, fakes: FakeStewards, sent: list[tuple[str, str]]
) -> None:
    """Unless the site does not allow it; a way that it does not allow is not tried either."""
    fakes.on_submit = finds(GOOD)
    typed("doctor", "--mail", "--probe", "--mail-user", "ada@lab")
    assert fakes.orders["900"].options["mail-user"] == "ada@lab"
    site_file.write_text("[site]\nmail = ['smtp']\n")
    sent.clear()
    typed("doctor", "--mail", "--probe", "--mail-user", "ada@lab")
    assert "mail-user" not in fakes.orders["901"].options
    assert not sent
