"""A line in the user's crontab or scrontab follows a run; played programs keep the tables."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmslice.cli.output.probes import show_automation
from slurmslice.errors import NoAnswerError
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Event
from slurmslice.run.run import Run
from slurmslice.run.steward_folder import StewardFolder
from slurmslice.run.steward_record import StewardEnded, StewardIntent, StewardSubmitted
from slurmslice.status.states import State
from slurmslice.system.user_tables import (
    change_table,
    has_block,
    read_table,
    with_block,
    without_block,
)
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

LINE = ("run", "-a", "0-2", "--name", "x", "--retry", "--mem", "4G", "-t", "60")
BY_CRON = ("--unattended", "--unattended-by", "cron")
COMMAND = ("--", "true", "{}")
OTHERS = b'MAILTO=""\n# mine\n0 3 * * 1 /usr/bin/backup "a b" 100\\%\t\xff\xfe \r\n\n@daily x\n'
PLAYED = """\
#!/bin/bash
table={folder}/{name}.table
case $1 in
-l) [[ -e $table ]] && exec cat "$table"; echo "no {name} for ada" >&2; exit 1 ;;
-r) rm -f "$table" ;;
*) {write} ;;
esac
"""


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with played programs on PATH; ``NAME.table`` is the user's table."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("crontab", "scrontab"):
        play(folder, name, 'cp "$1" "$table"')
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return folder


def play(folder: Path, name: str, write: str) -> None:
    """Write a played program that installs a table so."""
    (folder / name).write_text(PLAYED.format(folder=folder, name=name, write=write))
    (folder / name).chmod(0o755)


def recorded(typed: Typed, kind: type[Event]) -> list[Event]:
    """Return the events of one kind in the run's journal."""
    return [event for event in run_dir(typed).events() if isinstance(event, kind)]


def run_dir(typed: Typed) -> RunDirectory:
    """Return the directory of the run."""
    return RunDirectory(typed.folder / "runs" / "x")


def token(typed: Typed) -> str:
    """Return the token of the newest line."""
    intent = recorded(typed, StewardIntent)[-1]
    assert isinstance(intent, StewardIntent)
    return intent.token


def call(typed: Typed, by: str = "", *, later_s: float = 7200) -> None:
    """Call ``tick`` as the line does, some time later. It leaves the signals as they were."""
    now, handler = time.time, signal.getsignal(signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: now() + later_s)
        typed("tick", str(run_dir(typed).path), "--by", by or token(typed))
    assert signal.getsignal(signal.SIGTERM) is handler


# -- the table ---------------------------------------------------------------------------------


MARKED = b"# slurmslice abcd begin\n* * * * * a\n# slurmslice abcd end\n"
FORGED = b"# slurmslice tok end\n0 1 * * * a\n# slurmslice tok begin\n0 2 * * * b\n"


@pytest.mark.parametrize(
    "before", [OTHERS, b"", MARKED, FORGED, b"* * * * * no end", b"#SCRON -t 1\n"]
)
def test_other_entries_stay_byte_for_byte(before: bytes, tables: Path) -> None:
    """With our block and after it."""
    table = tables / "crontab.table"
    if before:
        table.write_bytes(before)
    for _ in range(2):
        change_table("crontab", lambda old: with_block(old, "tok", b"* * * * * b\n"))
        found = table.read_bytes()
        assert found.endswith(b"# slurmslice tok end\n" + before)
        assert found.splitlines().count(b"* * * * * b") == 1
    assert has_block(found, "tok")
    change_table("crontab", lambda old: without_block(old, "tok"))
    assert (table.read_bytes() if table.exists() else b"") == before


@pytest.mark.parametrize("write", ['head -c 9 "$1" >"$table"', "exit 1", 'echo >"$table"; exit 1'])
def test_a_table_that_is_not_as_written_is_put_back(write: str, tables: Path) -> None:
    """A program that cuts or refuses: the former table is there again, as far as it lets us."""
    table = tables / "crontab.table"
    table.write_bytes(OTHERS)
    later = f'[[ -e {tables}/done ]] && exec cp "$1" "$table"'
    play(tables, "crontab", f"{later}; touch {tables}/done; {write}")
    with pytest.raises(NoAnswerError) as caught:
        change_table("crontab", lambda old: with_block(old, "tok", b"* * * * * b\n"))
    assert caught.value.code == "no-user-table"
    assert table.read_bytes() == OTHERS


def test_an_interrupted_change_is_taken_back(tables: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after crontab, before its result was read: no block stays that nobody knows."""
    table = tables / "crontab.table"
    table.write_bytes(OTHERS)
    looks = iter([False, True])

    def read(program: str) -> bytes:
        if next(looks, False):
            raise KeyboardInterrupt
        return read_table(program)

    monkeypatch.setattr("slurmslice.system.user_tables.read_table", read)
    with pytest.raises(KeyboardInterrupt):
        change_table("crontab", lambda old: with_block(old, "tok", b"* * * * * b\n"))
    assert table.read_bytes() == OTHERS


def test_a_block_that_an_editor_gave_other_line_ends_is_found() -> None:
    """A table that was saved with CRLF: the block can be seen and removed."""
    table = with_block(b"0 1 * * * a\n", "tok", b"* * * * * b\n").replace(b"\n", b"\r\n")
    assert has_block(table, "tok")
    assert without_block(table, "tok") == b"0 1 * * * a\r\n"


def test_a_table_that_cannot_be_read_is_not_written(tables: Path) -> None:
    """An answer that is not "there is none" is no answer."""
    (tables / "crontab").write_text("#!/bin/bash\necho 'you are not allowed' >&2\nexit 1\n")
    with pytest.raises(NoAnswerError):
        change_table("crontab", lambda old: b"x\n")
    assert not (tables / "crontab.table").exists()


# -- an unattended run -------------------------------------------------------------------------


def test_a_line_follows_a_run_to_its_end(typed: Typed, engine: FakeEngine, tables: Path) -> None:
    """It repairs, it is added once, and it removes itself when all is done."""
    table = tables / "crontab.table"
    table.write_bytes(OTHERS)
    typed(*LINE, *BY_CRON, *COMMAND)
    assert typed.code == 0
    assert len(typed.noted("line-added")) == 1
    typed("run", "x", "--unattended")
    assert not typed.noted("line-added")
    assert table.read_bytes().count(b"line.sh") == 2  # one line names it twice
    assert engine.stewards
    assert not engine.stewards.orders
    engine.end("100", 0, State.OUT_OF_MEMORY)
    call(typed)
    assert [job.order.overrides.get("mem") for job in engine.jobs.values()] == [None, "8G"]
    engine.end_all()
    call(typed)
    assert table.read_bytes() == OTHERS
    assert not StewardFolder(run_dir(typed).path).line_script.exists()
    assert len(recorded(typed, StewardEnded)) == 1


def test_the_pause_is_kept_and_asks_slurm_nothing(
    typed: Typed, engine: FakeEngine, tables: Path
) -> None:
    """Cron calls every few minutes; the pauses are those of a steward."""
    typed(*LINE, *BY_CRON, *COMMAND)
    call(typed, later_s=0)
    (done,) = StewardFolder(run_dir(typed).path).rounds()
    assert done.not_before > done.at
    asked = engine.polls
    call(typed, later_s=1)
    assert (typed.code, engine.polls, typed.stdout + typed.stderr) == (0, asked, "")
    steward = typed.json("status", "x")["steward"]
    assert (steward["way"], steward["state"]) == ("cron", "waits")
    assert steward["not_before"] == done.not_before


def test_the_line_is_announced_before_it_is_added(
    typed: Typed, engine: FakeEngine, tables: Path
) -> None:
    """After a kill in between, the next command finds out if it was added."""
    journal = typed.folder / "runs" / "x" / "journal.jsonl"
    play(tables, "crontab", f'cp {journal} {tables}/seen; cp "$1" "$table"')
    typed(*LINE, *BY_CRON, *COMMAND)
    assert '"steward_intent"' in (tables / "seen").read_text()
    assert '"steward_submitted"' not in (tables / "seen").read_text()
    journal.write_bytes((tables / "seen").read_bytes())
    typed("run", "x", "--unattended")
    (found,) = recorded(typed, StewardSubmitted)
    assert isinstance(found, StewardSubmitted)
    assert found.how == "found"
    assert (tables / "crontab.table").read_bytes().count(b"begin") == 1


def test_cancel_removes_the_line(typed: Typed, engine: FakeEngine, tables: Path) -> None:
    """And ends what is in flight; no job of a steward is cancelled."""
    table = tables / "crontab.table"
    table.write_bytes(OTHERS)
    typed(*LINE, *BY_CRON, *COMMAND)
    typed("cancel", "x")
    assert table.read_bytes() == OTHERS
    assert [job for job, _ in engine.cancelled] == ["100"]


def test_a_line_that_a_person_removed_is_missed(
    typed: Typed, engine: FakeEngine, tables: Path
) -> None:
    """``status`` says so, and the line again adds another one."""
    typed(*LINE, *BY_CRON, *COMMAND)
    old = token(typed)
    (tables / "crontab.table").unlink()
    assert typed.json("status", "x")["steward"]["state"] == "gone"
    typed("run", "x", "--unattended")
    assert token(typed) != old
    assert typed.json("status", "x")["steward"]["state"] == "waits"


def comment_out(typed: Typed, tables: Path) -> None:
    """Switch the line off, as a person does."""
    table = tables / "crontab.table"
    table.write_bytes(table.read_bytes().replace(b"*/5", b"# */5"))


def disable(typed: Typed, tables: Path) -> None:
    """Switch the line off, as scancel(1) does."""
    table = tables / "crontab.table"
    table.write_bytes(table.read_bytes().replace(b"*/5", b"#DISABLED: */5"))


def cut_script(typed: Typed, tables: Path) -> None:
    """Cut the script that the line calls, as a full disk does."""
    script = StewardFolder(run_dir(typed).path).line_script
    script.write_bytes(script.read_bytes()[:-20])


def lose_script(typed: Typed, tables: Path) -> None:
    """Remove that script."""
    StewardFolder(run_dir(typed).path).line_script.unlink()


def script_is_folder(typed: Typed, tables: Path) -> None:
    """Put a folder in the place of that script."""
    lose_script(typed, tables)
    StewardFolder(run_dir(typed).path).line_script.mkdir()


def call_other(typed: Typed, tables: Path) -> None:
    """Let the line call the path of a run directory that was moved since."""
    table = tables / "crontab.table"
    table.write_bytes(table.read_bytes().replace(b"/runs/x/", b"/runs/former/"))


@pytest.mark.parametrize(
    "spoil", [comment_out, disable, cut_script, lose_script, script_is_folder, call_other]
)
def test_a_line_that_does_nothing_is_missed(
    spoil: Callable[[Typed, Path], None], typed: Typed, engine: FakeEngine, tables: Path
) -> None:
    """Its block is in the table, and no tick follows. The line again replaces the block."""
    typed(*LINE, *BY_CRON, *COMMAND)
    old = token(typed)
    spoil(typed, tables)
    assert typed.json("status", "x")["steward"]["state"] == "gone"
    typed("run", "x", "--unattended")
    if spoil is script_is_folder:
        assert typed.error
        StewardFolder(run_dir(typed).path).line_script.rmdir()
        typed("run", "x", "--unattended", "--unattended-by", "cron")
    assert token(typed) != old
    assert typed.json("status", "x")["steward"]["state"] == "waits"
    assert (tables / "crontab.table").read_bytes().count(b"begin") == 1


def test_a_line_by_another_path_of_the_same_folder_works(
    typed: Typed, engine: FakeEngine, tables: Path
) -> None:
    """A symbolic link leads to the run: that is the same run."""
    typed(*LINE, *BY_CRON, *COMMAND)
    (typed.folder / "link").symlink_to(typed.folder / "runs")
    assert typed.json("status", "link/x")["steward"]["state"] == "waits"


@pytest.mark.parametrize(("later_s", "overdue"), [(800, False), (1000, True)])
def test_a_line_that_is_not_called_is_told(
    later_s: float,
    overdue: bool,
    typed: Typed,
    engine: FakeEngine,
    tables: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a quarter of an hour, with the line that does its round."""
    typed(*LINE, *BY_CRON, *COMMAND)
    monkeypatch.setattr(Run.__init__, "__defaults__", (lambda: time.time() + later_s,))
    assert ("slurmslice tick x" in typed("status", "x")) == overdue
    assert typed.noted("steward-state")[0]["overdue"] == overdue


def test_an_old_line_does_nothing_but_remove_itself(
    typed: Typed, engine: FakeEngine, tables: Path
) -> None:
    """Its token is not the newest one."""
    typed(*LINE, *BY_CRON, *COMMAND)
    table = tables / "crontab.table"
    now = table.read_bytes()
    table.write_bytes(with_block(now, "older", b"* * * * * old\n"))
    engine.end("100", 0, State.OUT_OF_MEMORY)
    call(typed, "older")
    assert table.read_bytes() == now
    assert len(engine.jobs) == 1
    assert StewardFolder(run_dir(typed).path).line_script.exists()


def test_another_machine_cannot_see_a_crontab(
    typed: Typed, engine: FakeEngine, tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is not known there; ``cancel`` still ends it, by its next call."""
    typed(*LINE, *BY_CRON, *COMMAND)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("socket.gethostname", lambda: "login9")
        elsewhere.setenv("PATH", "/usr/bin:/bin")
        assert typed.json("status", "x")["steward"]["state"] == "unknown"
        typed("run", "x", "--unattended")
        assert (typed.code, typed.error) == (2, "no-user-table")
        typed("cancel", "x")
        assert typed.code == 0
    assert (tables / "crontab.table").exists()
    call(typed)
    assert not (tables / "crontab.table").exists()


def test_the_line_has_the_persons_environment(
    typed: Typed, engine: FakeEngine, tables: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the values; without the variables of a job or a login; for the owner's eyes."""
    monkeypatch.setenv("ODD", "it's $(touch hit) %\n`x`")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    monkeypatch.setenv("SSH_TTY", "/dev/pts/1")
    typed(*LINE, *BY_CRON, *COMMAND)
    script = StewardFolder(run_dir(typed).path).line_script
    assert script.stat().st_mode & 0o777 == 0o600
    shown = script.read_text().replace("exec timeout", "exec env -0; exec timeout")
    shown = shown.replace(f"exec >>{script.parent}/log 2>&1", "")
    done = subprocess.run(
        ["/bin/bash", "-c", shown], env={"LEFT": "1"}, capture_output=True, check=True, timeout=30
    )
    env = dict(one.split(b"=", 1) for one in done.stdout.split(b"\0") if one)
    assert env[b"ODD"] == b"it's $(touch hit) %\n`x`"
    assert env[b"SBATCH_ACCOUNT"] == b"mine"
    assert not {b"SLURM_JOB_ID", b"SSH_TTY", b"LEFT"} & set(env)
    assert not (typed.folder / "hit").exists()


# -- which way ---------------------------------------------------------------------------------


def test_the_site_chooses_the_way(
    site_file: Path, typed: Typed, engine: FakeEngine, tables: Path
) -> None:
    """No typed way lifts that; its options count for the job of a scrontab."""
    site_file.write_text("[site]\nunattended = 'scrontab'\nsteward-sbatch = '-p serial'\n")
    typed(*LINE, *BY_CRON, *COMMAND)
    assert (typed.code, typed.error) == (2, "way-not-allowed")
    assert not (typed.folder / "runs").exists()
    typed(*LINE, "--unattended", *COMMAND)
    assert b"#SCRON --partition=serial\n" in (tables / "scrontab.table").read_bytes()
    site_file.write_text("[site]\nunattended = 'steward'\n")
    engine.end("100", 0, State.OUT_OF_MEMORY)
    call(typed)
    assert len(engine.jobs) == 1
    assert not (tables / "scrontab.table").exists()


def test_a_way_that_is_not_there_is_refused_before_anything_is_made(
    typed: Typed, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the option alone is no unattended run."""
    which = shutil.which
    monkeypatch.setattr("shutil.which", lambda name, **_: None if "cron" in name else which("sh"))
    typed(*LINE, *BY_CRON, *COMMAND)
    assert (typed.code, typed.error) == (2, "no-user-table")
    typed(*LINE, "--unattended-by", "cron", *COMMAND)
    assert (typed.code, typed.error) == (2, "option-needs-another")
    assert not (typed.folder / "runs").exists()


def test_a_line_takes_over_from_a_job_and_back(
    typed: Typed, engine: FakeEngine, tables: Path
) -> None:
    """A run has one follower."""
    typed(*LINE, "--unattended", *COMMAND)
    typed("run", "x", *BY_CRON)
    assert engine.cancelled == [("900", None)]
    typed("run", "x", "--unattended", "--unattended-by", "steward")
    assert not (tables / "crontab.table").exists()
    assert engine.stewards
    assert list(engine.stewards.orders) == ["900", "901"]
    assert Run(run_dir(typed), engine).has_steward


def test_a_dry_run_adds_no_line(typed: Typed, engine: FakeEngine, tables: Path) -> None:
    """It names the table."""
    typed(*LINE, *BY_CRON, "--dry-run", *COMMAND)
    assert typed.noted("would-add-line") == [{"way": "cron"}]
    assert not (tables / "crontab.table").exists()


def test_the_settings_choose_the_way(typed: Typed, engine: FakeEngine, tables: Path) -> None:
    """A user's own file has it once for all runs."""
    (typed.folder / "slurmslice.toml").write_text(
        '[policy]\nunattended = true\nunattended-by = "scrontab"\n'
    )
    typed(*LINE, *COMMAND)
    assert typed.noted("line-added")[0]["way"] == "scrontab"
    assert (tables / "scrontab.table").exists()


def test_doctor_tells_the_way_and_why(
    site_file: Path, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The site's rule counts more than Slurm's settings; a file that cannot be read says no."""
    monkeypatch.setattr("slurmslice.cli.output.probes.shutil.which", lambda name: None)
    for text, word in (
        ("", "AllocNodes"),
        ("unattended = 'cron'", "cron"),
        ("unatended = 1", "no"),
    ):
        site_file.write_text(f"[site]\n{text}\n")
        show_automation("possible (AllocNodes)", "is switched off")
        said = typed.capture.readouterr().out.splitlines()[0].partition(": ")[2]
        assert word in said.replace(",", " ").replace(":", " ").split() or f"({word})" in said
