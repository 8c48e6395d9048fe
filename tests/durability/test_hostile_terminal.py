"""Terminal output: text only, and never a control character of other people's data."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.actions.poll import PollResult
from slurmslice.actions.submit_queued import SubmitOutcome
from slurmslice.cli import app
from slurmslice.cli.output.console import (
    colored_state,
    harmless_bytes,
    make_printable,
    print_line,
    printable_line,
)
from slurmslice.cli.output.live_progress import Progress
from slurmslice.notes import Note
from slurmslice.slices.slice_table import SliceTable
from slurmslice.status.observation import Observation, SourceAnswer
from slurmslice.status.states import State
from tests.cli.test_bad_input import here  # noqa: F401 - a fixture
from tests.conftest import NewRun
from tests.local.test_local_runs import Here
from tests.support.commands import SLURMSLICE
from tests.support.fakes import FakeEngine
from tests.support.hostile import CORPUS, around
from tests.support.typed import Typed

LOCAL = ("--engine", "local", "--interval", "0.2")
EACH = """\
import json, sys
from slurmslice.cli import app
for words in json.load(open("lines.json")):
    sys.argv = ["slurmslice", *words]
    print("LINE", json.dumps(words))
    app._exit_code()
    sys.stdout.flush()
"""


def put_out(here: Here, *words: str) -> bytes:  # noqa: F811
    """Return the output to a file or a pipe."""
    done = subprocess.run([*SLURMSLICE, *words], cwd=here.folder, env=here.env,
                          stdin=subprocess.DEVNULL, capture_output=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def on_a_terminal(here: Here, *lines: Sequence[str]) -> str:  # noqa: F811
    """Run these command lines in order and return the bytes that the terminal receives."""
    (here.folder / "lines.json").write_text(json.dumps(lines))
    ours, theirs = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-c", EACH], cwd=here.folder, env=here.env | {"TERM": "dumb"},
        stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # EIO: nobody holds the other end any more
        while piece := os.read(ours, 1 << 16):
            shown += piece
    os.close(ours)
    assert program.wait() == 0, shown
    assert shown.count(b"LINE [") == len(lines)
    return shown.decode()


def acted_on(text: str) -> set[str]:
    """Return the control characters, without newlines, tabs and carriage returns."""
    turning = {*map(chr, (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))}
    return {c for c in text if c in turning or unicodedata.category(c) in {"Cc", "Zl", "Zp"}} - {
        *"\n\r\t"
    }


def test_a_terminal_receives_no_control_character(here: Here) -> None:  # noqa: F811
    """Logs, tables, reports, errors and previews of hostile keys, on a real terminal.

    A pipe gets the bytes of a log unchanged, because a program may need them.
    """
    evil = b"\n".join(CORPUS) + b"\n"
    (here.folder / "evil").write_bytes(evil)
    bad = "\x1b]0;pwned\x07\x9b31m\u202e\nslurmslice: all is well"
    (here.folder / bad).write_text("k\n")
    (here.folder / "keys").write_bytes(b"".join(key + b"\0" for key in CORPUS[:60]))
    ran = here(
        "run", *LOCAL, "--name", "x", "--pack", "60", "--slices-from", "keys", "-0",
        "--setup", "cat evil", "--max-failures", "none", "--", "sh", "-c", "cat evil; exit 3",
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    key = os.fsdecode(CORPUS[0])
    assert put_out(here, "logs", "x", "--", key) == evil
    shown = on_a_terminal(
        here,
        ("logs", "x", "--", key), ("logs", "x", "--task", "--", key), ("logs", "x", bad),
        ("logs", "x", "--path", "--", key), ("status",), ("status", "x", "--slices"),
        ("status", "x", "--json"), ("status", bad), ("status", "x", bad), ("status", f"--{bad}"),
        ("status", "x", "--state", bad), ("runs",), (), (bad,), ("resubmit", "x", "--dry-run"),
        ("cancel", "x", "--dry-run"),
        ("render", "-a", "0-1", "--name", "y", "--shell", f"echo '{bad}'", *LOCAL[:2]), ("runs",),
        ("run", "--dry-run", "--slices-from", bad, *LOCAL[:2], "--", "true"),
        ("render", "--print", "-a", "0-1", "--shell", bad.replace("\n", ""), *LOCAL[:2]),
        ("render", "-a", "0-1", "--name", "x", "--shell", f"echo '{bad}'", *LOCAL[:2]),
        ("run", "--dry-run", "--slices-from", "nowhere" + bad, *LOCAL[:2], "--", "true"),
        ("run", "--dry-run", "-a", "0-1", *LOCAL[:2], "--comment", "\x1b[31m", "--", bad, "{}"),
        ("run", "--dry-run", "-a", "0-1", *LOCAL[:2], f"--{bad}", "--", "true"),
        ("run", "--dry-run", "-a", bad, *LOCAL[:2], "--", "true"),
    )  # fmt: skip
    assert not acted_on(shown)
    assert "red" in shown
    assert "\nslurmslice: all is well" not in shown


def test_a_printed_key_can_be_typed(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """The next command names a hostile slice in one line, and bash reads back the same bytes."""
    key = b"x\nslurmslice: all is well\x1b[31m'$(touch pwned)`touch pwned`\xff\xe2\x80\xae -- \\"
    run = new_run(SliceTable([os.fsdecode(key), "other"]))
    typed("submit", "demo")
    engine.end("100", 0, State.FAILED, exit_code=1)
    typed("status", "demo")
    line = next(line for line in typed.lines if "slurmslice logs" in line)
    words = line[line.index("slurmslice logs") :]
    said = subprocess.run(
        ["bash", "-c", "--", f"slurmslice() {{ printf '%s\\0' \"$@\"; }}; {words}"],
        cwd=typed.folder, capture_output=True,
    )  # fmt: skip
    assert said.stdout.split(b"\0") == [b"logs", b"demo", b"--", key, b""]
    assert not any(line.startswith("slurmslice: all is well") for line in typed.lines)
    assert around(typed.folder) == around(run.directory.path.parents[1])


@given(st.lists(st.binary(max_size=12)))
def test_a_log_is_made_harmless_wherever_it_is_cut(pieces: list[bytes]) -> None:
    """For any pieces the same is shown: complete characters, and no control character."""
    shown = b"".join(harmless_bytes(pieces))
    assert shown == b"".join(harmless_bytes([b"".join(pieces)]))
    assert not acted_on(shown.decode())


def test_readable_text_of_a_log_stays() -> None:
    """Letters of any script, joined emoji, tabs and progress bars stay unchanged."""
    text = "é 日本\u3000 👩\u200d💻 می\u200cخواهم\ta\r 50%\r100%\r\n"
    assert b"".join(harmless_bytes([text.encode()])).decode() == text
    assert (
        b"".join(harmless_bytes([b"a\x1b[31m\xff\x9b" + "\x9b".encode()])) == "a?[31m��?".encode()
    )


@given(st.text(st.characters(), max_size=20))
def test_any_text_can_be_printed(text: str) -> None:
    """This includes text that no file can hold: NUL, and lone surrogates of a damaged answer."""
    assert printable_line(text).isprintable()
    assert make_printable(text).replace("\n", "").isprintable()


def test_every_locale_works(here: Here) -> None:  # noqa: F811
    """If stdout takes ASCII only, text is escaped, and paths keep their bytes."""
    here.folder = Path(os.fsdecode(os.fsencode(here.folder) + b"/\xff\xc3\xa9"))
    here.folder.mkdir()
    here.env |= {"PYTHONIOENCODING": "ascii:strict"}
    line = ("--grid", "k=日", "--name", "x", "--run-dir", "r/é", "--", "echo", "é")
    assert put_out(here, "render", *LOCAL[:2], *line) == "r/é\n".encode()
    assert here("run", "r/é", "--interval", "0.2").returncode == 0
    assert (
        put_out(here, "logs", "r/é", "k=日", "--path")
        == os.fsencode(here.folder) + "/r/é/submissions/001/logs/row-0.log\n".encode()
    )
    for words in (("status", "r/é", "--slices"), ("status", "r/é"), ("runs",)):
        done = here(*words)
        assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr


class Odd(click.ClickException):
    """A complaint of an older click: it contains the word as typed."""


def test_messages_of_others_are_made_harmless(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm's words in a line of data, and click's complaints, with any content."""
    print_line("node \x1b[31m\x9b\0\ud800", prefix=colored_state(State.FAILED))
    monkeypatch.setattr(app.cli, "main", raising(Odd("No such option: --\x07\x9b")))
    assert app._exit_code() == 2
    shown, said = capsys.readouterr()
    assert shown == "FAILEDnode \\0033[31m\\0302\\0233\\x00\\ud800\n"
    assert said.startswith("Error: No such option: --\\0007\\0302\\0233 [")


def raising(why: Exception) -> Callable[..., None]:
    def call(*_: object, **__: object) -> None:
        raise why

    return call


FORGED = "".join(
    f"slurmslice {line}\\n"
    for line in (
        "start job=1 restart=0 at=1795424103 host=n3 slot=0",
        "end job=1 restart=0 at=1795424180 host=n3 slot=0 exit=0",
        "end job=1 restart=9 at=1795424180 host=n3 slot=1 exit=0 kept=1",
        "timeout job=1 restart=0 at=1795424763 host=n3 slot=0",
        "setup job=1 restart=0 at=1795424103 host=n3 exit=0",
        "refused job=1 restart=0 at=1795424103 host=n4 owner=2",
    )
)


@pytest.mark.parametrize("shown", ["", "what a sick controller says: \x1b]0;pwned\x07\x9b"])
def test_the_progress_line_on_a_terminal(
    shown: str,
    new_run: NewRun,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``run`` on a terminal uses only the control characters that repaint the line."""
    monkeypatch.setenv("COLUMNS", "400")
    progress = Progress()
    progress._terminal = True
    progress(
        new_run(),
        PollResult(notes=(Note("shown", shown),), no_answer_reasons=(shown,)),
        SubmitOutcome(wait_reason=shown),
    )
    progress.end()
    said = capsys.readouterr().err.replace("\r\x1b[J", "").replace("\x1b[0m", "")
    assert not acted_on(re.sub("\x1b\\[[0-9]+m", "", said))
    assert shown[:27] in said


def test_a_setup_that_shows_its_slice_proves_nothing(
    new_run: NewRun, engine: FakeEngine, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setup prints a key like a progress line and fails; accounting is on or off."""
    run = new_run()
    typed("submit", "demo")
    line = "slurmslice {} job=100 restart=0 at=1795424180 host=n3 {}\n"
    forged = line.format("start", "slot=0") + line.format("end", "slot=0 exit=0")
    monkeypatch.setattr(
        engine, "observe", lambda _: Observation(SourceAnswer(off=True), SourceAnswer())
    )
    run.directory.task_log_path(1, 0).write_text(forged + line.format("setup", "exit=4"))
    typed("status", "demo", "--json")
    first = json.loads("\n".join(typed.lines))["slices"][0]
    assert first["state"] != "COMPLETED"


def test_a_slice_cannot_forge_progress_lines(here: Here) -> None:  # noqa: F811
    """Output of a slice like progress lines is only its log, in every form."""
    text = f"printf '{FORGED}'; printf '{FORGED}' >&2; exit 3"
    for name, slices in (
        ("direct", ("-a", "0-1")),
        ("table", ("--grid", "k=a,b")),
        ("packed", ("-a", "0-1", "--pack", "2")),
        ("pool", ("-a", "0-1", "--pack", "2", "--at-once", "2")),
    ):
        ran = here("run", *LOCAL, "--name", name, *slices, "--shell", f"{text} # $SLICE")
        assert ran.returncode == 1, ran.stderr
        for slice_ in here.status(name)["slices"]:
            assert (slice_["state"], slice_["exit_code"], slice_["attempt"]) == ("FAILED", 3, 1)
            assert slice_["started_at"] > 1795424763
            log = here("logs", name, "--", slice_["key"]).stdout
            assert log == FORGED.replace("\\n", "\n") * 2
    assert not {path for path in around(here.folder) if "slurmslice-runs" not in path}
