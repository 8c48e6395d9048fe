"""The rules of a site: no option of a user lifts one, and each round reads them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slurmslice.actions.site_rules import read_site_rules
from slurmslice.actions.steward import ensure_steward
from slurmslice.actions.steward_round import do_round
from slurmslice.errors import BadInputError, MailError
from slurmslice.notify.end_message import EndMessage
from slurmslice.notify.send_mail import mail_way, send_mail
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.run.steward_folder import StewardFolder
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.settings.mail_settings import MailSettings
from slurmslice.status.states import State
from tests.support.fake_stewards import FakeStewards
from tests.support.fakes import Clock, FakeEngine
from tests.support.typed import Typed

LINE = ("run", "-a", "0-2", "--name", "x", "--mem", "4G", "-t", "60")
COMMAND = ("--", "true", "{}")


def site(file: Path, *lines: str) -> None:
    """Write the site's file."""
    file.write_text("\n".join(["[site]", *lines]))


# -- the file ----------------------------------------------------------------------------------


def test_each_key_is_read(site_file: Path) -> None:
    """In the forms of the command line."""
    site(
        site_file,
        'unattended = "steward"',
        "steward-sbatch = '-p serial -A ops'",
        'min-pause = "5m"',
        "rounds-per-day = 12",
        "terms = 20",
        "max-attempts = 2",
        'budget = "0.5x"',
        'max-mem = "64G"',
        "exclude-nodes = false",
        "update-pending = false",
        'mail = ["smtp"]',
        "names-with-results = false",
        'bad-node-command = "/usr/sbin/report --node"',
        'contact = "hpc@example.org"',
    )
    rules = read_site_rules()
    assert rules.steward_sbatch == ResourceRequest.of({"partition": "serial", "account": "ops"})
    assert (rules.min_pause_s, rules.rounds_per_day, rules.terms) == (300, 12, 20)
    assert (rules.max_attempts, rules.budget, rules.max_mem_mib) == (2, "0.5x", 64 << 10)
    assert (rules.exclude_nodes, rules.update_pending) == (0, False)
    assert (rules.mail, rules.names_with_results) == (("smtp",), False)
    assert rules.bad_node_command == ("/usr/sbin/report", "--node")


@pytest.mark.parametrize(
    ("line", "code", "nearest"),
    [
        ("max-atempts = 2", "unknown-key", "max-attempts"),
        ('max_mem = "1G"', "unknown-key", "max-mem"),
        ('unattended = "of"', "bad-value", "off"),
        ("unattended = false", "bad-value", None),
        ('mail = ["smpt"]', "bad-value", "smtp"),
        ('mail = "smtp"', "bad-value", None),
        ("max-attempts = 0", "bad-value", None),
        ("max-attempts = true", "bad-value", None),
        ('max-attempts = "2"', "bad-value", None),
        ("terms = 1", "bad-value", None),
        ('budget = "10"', "bad-value", None),
        ('max-mem = "much"', "bad-value", None),
        ('max-mem = "0"', "bad-value", None),
        ('bad-node-command = ["/bin/x", "a\\u0000b"]', "bad-value", None),
        ("min-pause = 5", "bad-value", None),
        ('min-pause = "soon"', "bad-value", None),
        ("steward-sbatch = '--no-such-option=1'", "bad-value", None),
        ('steward-sbatch = "-p \'a"', "bad-value", None),
        ('bad-node-command = "report"', "bad-value", None),
        ("bad-node-command = []", "bad-value", None),
        ("names-with-results = 1", "bad-value", None),
        ("exclude-nodes = -1", "bad-value", None),
        ('contact = ""', "bad-value", None),
    ],
)
def test_a_wrong_key_or_value_is_named(
    line: str, code: str, nearest: str | None, site_file: Path
) -> None:
    """With the file, the key and the nearest right word."""
    site(site_file, line)
    with pytest.raises(BadInputError) as caught:
        read_site_rules()
    key = line.split(" = ", maxsplit=1)[0]
    assert (caught.value.code, caught.value.fields["nearest"]) == (code, nearest)
    assert caught.value.fields["where"] == f"{site_file}: [site] {key}"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[site", "bad-settings-file"),
        ("site = 3", "bad-value"),
        ("[sight]", "unknown-key"),
        ("x = " + "[" * 9999, "bad-settings-file"),
        ("[site]\nterms = " + "1" * 9999, "bad-settings-file"),
        ("\ufeff[site]\nunattended = 'of'", "bad-value"),
        ("[site]\nmax-atempts = 1", "unknown-key"),
    ],
)
def test_a_damaged_file_stops_automation_and_nothing_else(
    text: str, code: str, site_file: Path, engine: FakeEngine, typed: Typed
) -> None:
    """No unattended run; a person submits, follows and resubmits as ever; no repair."""
    engine.on_wait = lambda: engine.end_all(State.OUT_OF_MEMORY)
    site_file.write_text(text)
    typed(*LINE, "--retry", "--unattended", *COMMAND)
    assert (typed.code, typed.error) == (2, code)
    assert typed.fields["path"] == str(site_file)
    assert not (typed.folder / "runs").exists()
    typed(*LINE, "--retry", *COMMAND)
    assert (typed.code, len(engine.jobs)) == (1, 1)
    typed("status", "x")
    (told,) = typed.noted("attempts-left")
    assert not told["repairs"]
    assert str(site_file) in told["not_repaired"][0]["reason"]
    typed("resubmit", "x")
    assert len(engine.jobs) == 2


def test_a_steward_waits_while_the_file_is_damaged(
    site_file: Path, new_run: Callable[..., Run], engine: FakeEngine, clock: Clock
) -> None:
    """It submits and repairs nothing, says why, and goes on when the file can be read."""
    run = new_run("0-2")
    steward = ensure_steward(run).steward
    site_file.write_text("[site]\nmax-atempts = 1")
    result = do_round(run, steward.token, steward.job)
    assert not result.ended
    assert str(site_file) in result.trouble
    assert not engine.jobs
    assert StewardFolder(run.directory.path).rounds()[-1].trouble == result.trouble
    site_file.write_text("[site]\n")
    do_round(run, steward.token, steward.job)
    assert len(engine.jobs) == 1


# -- the ceilings of repairs -------------------------------------------------------------------


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize(
    ("rule", "options", "state", "repaired"),
    [
        ("max-attempts = 2", ("--retry", "--max-attempts", "9"), State.OUT_OF_MEMORY, ["8G"]),
        ("max-attempts = 1", ("--retry",), State.OUT_OF_MEMORY, []),
        ("max-attempts = 9", ("--retry",), State.OUT_OF_MEMORY, ["8G", "16G", "32G"]),
        ('max-mem = "10G"', ("--retry",), State.OUT_OF_MEMORY, ["8G", "10G"]),
        ('max-mem = "10G"', ("--on", "oom=--mem=64G"), State.OUT_OF_MEMORY, []),
        ('max-mem = "2G"', ("--on", "failed=again"), State.FAILED, []),
        ('budget = "0.1x"', ("--retry", "--budget", "100x"), State.OUT_OF_MEMORY, []),
        ('budget = "100x"', ("--retry", "--budget", "0.01x"), State.OUT_OF_MEMORY, []),
    ],
)
def test_no_option_lifts_a_ceiling(
    rule: str,
    options: tuple[str, ...],
    state: State,
    repaired: list[str],
    site_file: Path,
    typed: Typed,
    engine: FakeEngine,
) -> None:
    """The stricter of both counts, and ``status`` says why a slice is left."""
    site(site_file, rule)
    typed(*LINE, *options, *COMMAND)
    for _ in range(4):
        engine.end(list(engine.jobs)[-1], 0, state, exit_code=1)
        typed("tick", "x")
    assert [job.order.overrides.get("mem") for job in engine.jobs.values()][1:] == repaired
    typed("status", "x")
    (told,) = typed.noted("attempts-left")
    assert [one["keys"] for one in told["not_repaired"]] == ["0"]


@pytest.mark.usefixtures("interrupted")
def test_a_ceiling_counts_from_the_next_round(
    site_file: Path, typed: Typed, engine: FakeEngine
) -> None:
    """And a person's ``resubmit`` is no automatic attempt."""
    typed(*LINE, "--retry", *COMMAND)
    engine.end("100", 0, State.OUT_OF_MEMORY)
    site(site_file, "max-attempts = 1")
    typed("tick", "x")
    assert len(engine.jobs) == 1
    typed("resubmit", "x", "--mem", "64G")
    assert len(engine.jobs) == 2
    engine.end("101", 0, State.OUT_OF_MEMORY)
    site_file.unlink()
    typed("tick", "x")
    assert len(engine.jobs) == 3


def test_the_preview_shows_the_rules_of_the_site(site_file: Path, typed: Typed) -> None:
    """The ladder ends where the site ends it."""
    site(site_file, 'max-mem = "8G"')
    typed(*LINE, "--retry", "--dry-run", *COMMAND)
    ladders = {one["cause"]: one["ladders"][0] for one in typed.noted("repair-ladder")}
    assert "8G" in ladders["oom"]
    assert "16G" not in ladders["oom"]
    assert len(typed.noted("site-rules")) == 1


# -- the ceilings of stewards ------------------------------------------------------------------


def test_the_sites_options_replace_those_of_a_person(
    site_file: Path, new_run: Callable[..., Run], engine: FakeEngine
) -> None:
    """Options that the site does not name stay."""
    site(site_file, "steward-sbatch = '-p serial'")
    mine = ResourceRequest.of({"partition": "fat", "account": "mine"})
    ensure_steward(new_run(), mine)
    assert isinstance(engine.stewards, FakeStewards)
    (order,) = engine.stewards.orders.values()
    assert (order.options["partition"], order.options["account"]) == ("serial", "mine")


def test_pauses_and_lists_keep_to_the_site(
    site_file: Path, new_run: Callable[..., Run], engine: FakeEngine, clock: Clock
) -> None:
    """A round that changed something pauses too, and few tasks are named."""
    site(site_file, 'min-pause = "10m"', "rounds-per-day = 4", "terms = 5")
    run = new_run("0-9")
    steward = ensure_steward(run).steward
    wake = do_round(run, steward.token, steward.job).wake
    assert wake.pause_s == 600
    assert len(wake.dependency.split("?")) <= 5
    clock.now += wake.pause_s
    assert do_round(run, steward.token, steward.job).wake.pause_s == 12 * 3600


def lose_node(engine: FakeEngine) -> None:
    """Let the node of a slice fail."""
    now = time.time()
    engine.end("100", 0, State.NODE_FAIL, node="n3", started_at=now - 9, ended_at=now)


def test_a_job_ends_if_the_site_allows_another_way_only(
    site_file: Path, new_run: Callable[..., Run], engine: FakeEngine, clock: Clock
) -> None:
    """At its next round."""
    run = new_run("0-2")
    steward = ensure_steward(run).steward
    site(site_file, 'unattended = "cron"')
    assert "cron" in do_round(run, steward.token, steward.job).ended
    assert not engine.jobs


# -- nodes and mail ----------------------------------------------------------------------------


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize(("value", "excluded"), [("false", []), ("0", []), ("true", ["n3"])])
def test_a_site_forbids_to_exclude_nodes(
    value: str, excluded: list[str], site_file: Path, typed: Typed, engine: FakeEngine
) -> None:
    """The failure is repaired elsewhere all the same, for that slice alone."""
    site(site_file, f"exclude-nodes = {value}")
    typed(*LINE, "--retry", *COMMAND)
    lose_node(engine)
    typed("tick", "x")
    run = Run(RunDirectory(typed.folder / "runs" / "x"), engine)
    assert list(run.journal_state.nodes.excluded(run.clock())) == excluded


def reported(file: Path) -> list[Any]:
    """Return what the site's program read."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.usefixtures("interrupted")
def test_the_site_learns_of_an_accused_node_once(
    site_file: Path, typed: Typed, engine: FakeEngine, tmp_path: Path
) -> None:
    """As JSON on standard input; a dry run tells nobody. A program that fails harms nothing."""
    told, program = tmp_path / "told", tmp_path / "report"
    program.write_text(f'#!/bin/bash\ncat >>"{told}"; echo >>"{told}"; echo no >&2; exit 3\n')
    program.chmod(0o755)
    site(site_file, f'bad-node-command = ["{program}", "now"]')
    typed(*LINE, "--retry", *COMMAND)
    lose_node(engine)
    typed("tick", "x", "--dry-run")
    assert not reported(told)
    for _ in range(2):
        typed("tick", "x")
        assert typed.code == 0
    (one,) = reported(told)
    assert (one["node"], one["cause"], one["run"]) == ("n3", "node", "x")
    assert len(engine.jobs) == 2


@pytest.mark.parametrize(
    ("rule", "by_slurm"),
    [("", True), ("names-with-results = false", False), ('mail = ["sendmail"]', False)],
)
def test_a_site_forbids_slurms_mail(
    rule: str,
    by_slurm: bool,
    site_file: Path,
    typed: Typed,
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The steward keeps its name, and the mail goes by the next way that is allowed."""
    sent: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "slurmslice.notify.notify_end.send_mail", lambda *given: sent.append(tuple(given[3]))
    )
    site(site_file, rule)
    typed(*LINE, "--mail", "--mail-user", "ada@lab", "--unattended", *COMMAND)
    engine.end_all()
    assert isinstance(engine.stewards, FakeStewards)
    order = engine.stewards.orders["900"]
    typed("steward", *order.arguments[:2], "900")
    assert [bool(engine.stewards.mails), bool(sent)] == [by_slurm, not by_slurm]


def test_a_way_that_the_site_does_not_allow_is_not_used() -> None:
    """Neither a server of the person's settings nor sendmail."""
    server = MailSettings(smtp_host="mail.lab")
    assert mail_way(server, ("slurm",)) == ""
    with pytest.raises(MailError) as caught:
        send_mail(EndMessage("s", "t"), "ada@lab", server, ("slurm",))
    assert "slurm" in caught.value.message


@pytest.mark.usefixtures("interrupted")
def test_without_readable_rules_nothing_is_mailed_and_no_node_excluded(
    site_file: Path, typed: Typed, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail is sent by the next command that can read them."""
    sent: list[object] = []
    monkeypatch.setattr("slurmslice.notify.notify_end.send_mail", lambda *given: sent.append(given))
    typed(*LINE, "--mail", "--mail-user", "ada@lab", *COMMAND)
    lose_node(engine)
    for index in (1, 2):
        engine.end("100", index, State.COMPLETED)
    site(site_file, "max-atempts = 1")
    typed("tick", "x")
    assert not sent
    assert not typed.noted("node-excluded")
    assert [one["way"] for one in typed.noted("end-not-told")] == ["mail"]
    site_file.unlink()
    typed("tick", "x")
    assert len(sent) == 1
