"""Wrong input: a clear error, exit code 2, nothing created, nothing submitted."""

from __future__ import annotations

import codecs
import re
import subprocess
from pathlib import Path

import pytest

from tests.local.test_local_runs import Here
from tests.support.errors import error_code
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

LOCAL = ("--engine", "local")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    """An empty folder."""
    return Here(tmp_path)


@pytest.mark.parametrize("verb", ["run", "render"])
@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (("-a", "", "--", "true"), "no-slices", "0-98"),
        (("-a", "5-3", "--", "true"), "backward-range", "3-5"),
        (("-a", "a-b", "--", "true"), "bad-array", "a-b"),
        (("-a", "0-10:0", "--", "true"), "bad-number", "0-10:0"),
        (("-a", "1,1", "--", "true"), "duplicate-index", "1,1"),
        (("--", "true"), "one-source", "--slices-from"),
        (("-a", "0-1", "--slices-from", "x", "--", "true"), "one-source", "--slices-from"),
        (("--slices-from", "nowhere.txt", "--", "true"), "no-such-file", "nowhere.txt"),
        (("-a", "0-1", "--grid", "a=1", "--", "true"), "one-source", "-a and --grid"),
        (("--job-file", "x", "--zip", "a=1"), "one-source", "--zip and --job-file"),
        (("--glob", "*", "--table", "x", "--grid", "a=1"), "one-source", "--table"),
        (("--zip", "a=1,2", "--zip", "b=1", "--", "true"), "uneven-zip", "--grid"),
        (("--zip", "a=1", "--grid", "A=2", "--", "true"), "duplicate-column", "'A'"),
        (("--zip", "a=1,", "--", "true"), "empty-value", "--zip a="),
        (("--grid", "item=1", "--key", "itme", "--", "true"), "unknown-column", "item?"),
        (("-a", "0-1", "--column", "x=1", "--key", "x", "--", "true"), "duplicate-key", "--key"),
        (("-a", "0-0", "--column", "x=", "--key", "x", "--", "true"), "empty-key", "--key"),
        (("-a", "0-1", "-0", "--", "true"), "option-needs-another", "--slices-from"),
        (("-a", "0-1", "--key", "x", "--", "true"), "unknown-column", "--column"),
        (("-a", "0-99999999", "--", "true"), "too-many-slices", "100,000,000"),
        (("--table", "nowhere.csv", "--", "true"), "no-such-file", "nowhere.csv"),
        (("--table", ".", "--", "true"), "is-a-folder", "'.'"),
        (("--glob", "*.h5", "--", "true"), "no-match", "*.h5"),
        (("--glob", "a.h5", "b.h5", "c.h5", "--", "true"), "usage", "--glob"),
        (("--grid", "lr", "--", "true"), "missing-equals", "--grid name="),
        (("--grid", "seed=1", "--", "echo", "{sede}"), "unknown-column", "{seed}"),
        (("-a", "0-1", "--column", "x", "--", "true"), "missing-equals", "--column"),
        (("-a", "0-1", "--column", "x={{ y }}", "--", "true"), "column-failed", "'y'"),
        (("--job-file", "/dev/null"), "no-slices", "/dev/null"),
        (("-a", "0-1"), "no-command", "--"),
        (("-a", "0-1", "--", "python x.py {}"), "command-in-one-word", "--shell"),
        (("-a", "0-1", "--", "echo", "$SLICE"), "wrong-placeholder", "$SLICE"),
        (("-a", "0-1", "--", "echo", "{nmae}"), "unknown-column", "{nmae}"),
        (("-a", "0-1", "--shell", "true", "--", "true"), "two-commands", "--shell"),
        (("-a", "0-1", "--shell", "if", "--"), "bash-syntax", "--shell"),
        (("-a", "0-1", "--on-end", "if", "--", "true"), "bash-syntax", "--on-end"),
        (("-a", "0-1", "--on-end", "echo $(", "--", "true"), "bash-syntax", "--on-end"),
        (("-a", "0-1", "--mem", "4Q", "--", "true"), "bad-memory", "'4Q'"),
        (("-a", "0-1", "-t", "1:2:3:4:5", "--", "true"), "bad-time", "1:2:3:4:5"),
        (("-a", "0-1", "--partion", "x", "--", "true"), "unknown-option", "--partition"),
        (("-a", "0-1", "-o", "log", "--", "true"), "file-shared", "--open-mode=append"),
        (("-a", "0-1", "-D", "/tmp", "--", "true"), "option-not-allowed", "--chdir"),
        (("-a", "0-1", "-W", "--", "true"), "option-not-allowed", "--wait"),
        (("-a", "0-1", "--wrap", "x", "--", "true"), "option-not-allowed", "--wrap"),
        (("-a", "0-1", "-e", "x", "--", "true"), "file-shared", "--error"),
        (("-a", "0-1", "--name", "../x", "--", "true"), "bad-run-name", "../x"),
        (("-a", "0-1", "--throttle", "0", "--", "true"), "bad-value", "--throttle"),
        (("-a", "0-1", "--run-dir", "a\\b", "--", "true"), "bad-run-path", "--run-dir"),
    ],
)
def test_a_clear_error_and_nothing_made(
    here: Here, verb: str, arguments: tuple[str, ...], code: str, named: str
) -> None:
    """Each mistake has a hint and exit code 2; the folder is unchanged."""
    before = sorted(here.folder.iterdir())
    done = here(verb, *LOCAL, *arguments)
    assert (done.returncode, error_code(done.stderr)) == (2, code), done.stderr
    assert named in done.stderr
    assert done.stdout == ""
    assert sorted(here.folder.iterdir()) == before


def test_keys_from_a_list_are_checked(here: Here) -> None:
    """Errors about an empty list or a duplicate key name the file."""
    keys = here.folder / "keys.txt"
    for text, code in (("", "no-slices"), ("a\nb\na\n", "duplicate-key")):
        keys.write_text(text)
        done = here("run", *LOCAL, "--slices-from", "keys.txt", "--", "true", "{}")
        assert (done.returncode, error_code(done.stderr)) == (2, code)
        assert "keys.txt" in done.stderr


def test_a_job_file_has_the_commands(here: Here) -> None:
    """A command beside the lines of a job file is refused, however it is given."""
    (here.folder / "jobs.txt").write_text("true\n")
    for command in (("--", "true"), ("--shell", "true")):
        done = here("run", *LOCAL, "--job-file", "jobs.txt", *command)
        assert (done.returncode, error_code(done.stderr)) == (2, "two-commands")


def test_an_expanded_glob_is_caught(here: Here) -> None:
    """A command with files that the shell expanded from ``*.h5`` is refused."""
    names = [f"part-{n}.h5" for n in range(4)]
    for name in names:
        (here.folder / name).touch()
    done = here("run", *LOCAL, "-a", "0-1", "--", "cat", *names)
    assert (done.returncode, error_code(done.stderr)) == (2, "expanded-pattern")


def test_another_run_of_the_same_name_is_refused(here: Here) -> None:
    """The error shows the difference; the existing run is unchanged."""
    assert here("render", *LOCAL, "-a", "0-1", "--name", "x", "--", "true").returncode == 0
    before = {p: p.read_bytes() for p in here.folder.rglob("*") if p.is_file()}
    done = here("run", *LOCAL, "-a", "0-2", "--name", "x", "--mem", "1G", "--", "false")
    assert (done.returncode, error_code(done.stderr)) == (2, "run-differs")
    for part in ("command: ", "slices: ", "options: "):
        assert f"\n  {part}" in done.stderr
    assert {p: p.read_bytes() for p in here.folder.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize("verb", ["status", "submit", "resubmit", "cancel", "watch"])
def test_a_folder_without_a_run_is_refused(here: Here, verb: str) -> None:
    """A folder or a name without a run: exit code 2, and a hint where to find runs."""
    for name in ("nowhere", "."):
        done = here(verb, name)
        assert (done.returncode, error_code(done.stderr)) == (2, "no-such-run"), done.stderr


def test_a_verb_that_changes_a_run_needs_a_name_if_there_are_two(here: Here) -> None:
    """With two runs here, ``cancel`` needs a name; ``status`` uses the newest."""
    for name in ("one", "two"):
        here("render", *LOCAL, "-a", "0-1", "--name", name, "--", "true")
    done = here("cancel")
    assert (done.returncode, error_code(done.stderr)) == (2, "ambiguous-run")
    assert all(name in done.stderr for name in ("one", "two"))
    assert here("status").returncode == 0


def test_a_damaged_journal_line_is_reported_and_a_torn_one_ignored(here: Here) -> None:
    """A damaged line gives exit code 2 and its number; a torn last line is ignored."""
    here("run", *LOCAL, "-a", "0-1", "--name", "x", "--", "true")
    journal = here.folder / "slurmslice-runs" / "x" / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-20])
    assert here("run", "x").returncode == 0
    journal.write_bytes(b'{"event":\n' + whole)
    done = here("status", "x")
    assert (done.returncode, error_code(done.stderr)) == (2, "damaged-run")
    assert "Line 1 " in done.stderr


def test_a_forgotten_separator_is_named(here: Here) -> None:
    """The most common mistake is a command without ``--`` before it."""
    for words, code in (
        (("echo", "{}"), "usage"),
        (("python3", "x.py", "--in", "{}"), "unknown-option"),
    ):
        done = here("run", *LOCAL, "-a", "0-1", *words)
        assert (done.returncode, error_code(done.stderr)) == (2, code)
        assert " -- " in done.stderr


def test_rendering_another_run_is_refused_with_the_ways_out(here: Here) -> None:
    """The error has the differences, and how to change, rename or delete the run."""
    line = ("render", *LOCAL, "-a", "0-1", "--name", "x")
    assert here(*line, "--", "true").returncode == 0
    changed = here(*line, "-c", "2", "--", "true")
    assert (changed.returncode, error_code(changed.stderr)) == (2, "run-differs")
    assert "slurmslice run x --cpus-per-task=2" in changed.stderr
    assert "rm -r slurmslice-runs/x" in changed.stderr
    same = here(*line, "--", "true")
    assert (same.returncode, error_code(same.stderr)) == (2, "run-exists")
    assert "slurmslice submit x" in same.stderr


def test_an_existing_run_accepts_no_new_description(here: Here) -> None:
    """``run RUN`` refuses options of a new run."""
    here("render", *LOCAL, "-a", "0-1", "--name", "x", "--", "true")
    for option in (("-a", "0-3"), ("--setup", "true"), ("--throttle", "2"), ("--name", "y")):
        done = here("run", "x", *option)
        assert (done.returncode, error_code(done.stderr)) == (2, "run-and-new-run"), done.stderr
        assert option[0] in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (("throttle", "0"), "bad-number", "none"),
        (("throttle", "x", "many"), "bad-number", "'many'"),
        (("cancel", "9"), "no-such-run", "x"),
        (("logs", "7"), "unknown-slice", "'7'"),
        (("resubmit", "x", "7"), "unknown-slice", "'7'"),
        (("status", "--state", "BAD"), "unknown-state", "'BAD'"),
    ],
)
def test_a_mistyped_command_gets_a_hint(
    here: Here, words: tuple[str, ...], code: str, named: str
) -> None:
    """Words in the wrong place and wrong names get a hint."""
    here("render", *LOCAL, "-a", "0-1", "--name", "x", "--", "true")
    done = here(*words)
    assert (done.returncode, error_code(done.stderr)) == (2, code), done.stderr
    assert named in done.stderr


def test_a_probable_mistake_is_noted(here: Here) -> None:
    """Notes: a command without {}, a shell text without $SLICE, a missing program."""
    for words, said in (
        (("--", "echo", "x.h5"), "{}"),
        (("--shell", "echo "), "$SLICE"),
        (("--", "no-such-program", "{}"), "PATH"),
    ):
        assert said in here("run", *LOCAL, "-a", "0-1", "--dry-run", *words).stderr


def test_dry_runs_make_nothing(here: Here) -> None:
    """--dry-run of ``run`` and ``render`` leaves the folder unchanged."""
    for verb in ("run", "render"):
        done = here(verb, *LOCAL, "-a", "0-1", "--dry-run", "--", "true", "{}")
        assert done.returncode == 0
        assert "true 0" in done.stderr
        assert not (here.folder / "slurmslice-runs").exists()


def test_print_gives_the_script_and_makes_nothing(here: Here) -> None:
    """``render --print`` changes nothing."""
    done = here("render", *LOCAL, "-a", "0-98%10", "--mem", "4G", "--print", "--", "true", "{}")
    assert done.stdout.startswith("#!/bin/bash\n#SBATCH --job-name=true-")
    assert "#SBATCH --array=0-98%10\n" in done.stdout
    assert not (here.folder / "slurmslice-runs").exists()


# -- texts from Windows -------------------------------------------------------------------------

ENV = "export GREETING=hello\n# a comment\nexport OTHER=2\n"
WINDOWS = "\ufeff" + ENV.replace("\n", "\r\n")


@pytest.mark.parametrize("how", ["file", "setup", "shell", "check"])
def test_a_shell_text_from_windows_runs_as_on_unix(here: Here, how: str) -> None:
    """Its carriage returns and its byte-order mark reach no command."""
    (here.folder / "env.sh").write_text(WINDOWS, newline="")
    tail = '[[ $GREETING == hello ]] || exit 9; echo "$GREETING$OTHER"\r\n'
    lines = {
        "file": ("--setup", "env.sh", "--shell", tail),
        "setup": ("--setup", WINDOWS, "--shell", tail),
        "shell": ("--shell", WINDOWS + tail),
        "check": ("--shell", "echo hello2", "--check", WINDOWS + tail),
    }
    done = here("run", *LOCAL, "--name", "w", "-a", "0", *lines[how])
    assert done.returncode == 0, done.stderr
    assert here("logs", "w", "0").stdout.splitlines()[-1] == "hello2"
    assert "\r" not in (here.folder / "slurmslice-runs/w/script.sh").read_bytes().decode()


@pytest.mark.parametrize("option", ["--setup", "--shell", "--check"])
def test_a_carriage_return_in_a_shell_text_is_refused(here: Here, option: str) -> None:
    """Only some lines end with one, so it is not known what was meant."""
    command = () if option == "--shell" else ("--shell", "true")
    done = here("render", *LOCAL, "-a", "0-1", option, "true\r\ntrue\nfalse", *command)
    assert (done.returncode, error_code(done.stderr)) == (2, "carriage-return"), done.stderr
    assert option in done.stderr


def test_a_script_that_was_edited_on_windows_is_refused(here: Here) -> None:
    """The error names the line, and the command that mends the script."""
    here("render", *LOCAL, "--name", "w", "-a", "0-1", "--", "true")
    script = here.folder / "slurmslice-runs/w/script.sh"
    rendered = script.read_bytes()
    for lines, first in (
        (rendered.replace(b"\n", b"\r\n"), 1),
        (rendered.replace(b"() {\n", b"() {\r\n"), 0),
    ):
        script.write_bytes(lines)
        done = here("run", "w")
        assert (done.returncode, error_code(done.stderr)) == (2, "carriage-return"), done.stderr
        assert not first or f"line {first}:" in done.stderr
        assert "sed -i" in done.stderr
    script.write_bytes(codecs.BOM_UTF8 + rendered)
    done = here("run", "w")
    assert (done.returncode, error_code(done.stderr)) == (2, "byte-order-mark"), done.stderr
    (mend,) = re.findall(r"sed -i .*", done.stderr)
    subprocess.run(mend.partition(" [")[0], shell=True, cwd=here.folder, check=True)
    assert script.read_bytes() == rendered
    assert here("run", "w").returncode == 0


@pytest.mark.parametrize("start", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_template_from_windows_makes_the_same_script(
    here: Here, start: bytes, end: bytes
) -> None:
    """As a setup or a shell text."""
    lines = (b'{% extends "array.sh.j2" %}', b"{% block setup %}", b"export A=1", b"{% endblock %}")
    (here.folder / "own.j2").write_bytes(start + end.join((*lines, b"")))
    line = ("render", *LOCAL, "--name", "t", "-a", "0-1", "--template", "own.j2", "--", "true")
    assert here(*line).returncode == 0
    script = (here.folder / "slurmslice-runs/t/script.sh").read_bytes()
    assert b"\nexport A=1\n" in script
    assert b"\r" not in script


@pytest.mark.usefixtures("interrupted")
@pytest.mark.parametrize("option", ["after", "canary", "name"])
@pytest.mark.parametrize("value", ["", " "])
def test_an_option_with_an_empty_value_is_refused(
    value: str, option: str, typed: Typed, engine: FakeEngine
) -> None:
    """The shell's variable was empty: without the option, the run would begin at once."""
    typed("run", "-a", "0-3", f"--{option}", value, "--", "true", "{}")
    assert (typed.code, typed.error) == (2, "missing-value")
    assert not engine.jobs


_LONG = "9" * 5000
"""More digits than Python reads."""


@pytest.mark.parametrize(
    "options",
    [
        ("--mem", _LONG), ("--mem", f"{_LONG}G"), ("--mem-per-cpu", _LONG), ("--time", _LONG),
        ("--time", f"1-{_LONG}"), ("--pack", _LONG), ("--pack", "auto", "--slice-time", _LONG),
        ("--canary", _LONG), ("--canary", f"{_LONG}%"), ("--throttle", _LONG),
        ("--max-attempts", _LONG), ("--max-failures", _LONG), ("--on", f"oom=--mem={_LONG}"),
        ("--on", f"oom=--mem={_LONG}x"), ("-c", _LONG), ("--interval", _LONG),
    ],
)  # fmt: skip
def test_a_number_of_thousands_of_digits_is_refused(options: tuple[str, ...], typed: Typed) -> None:
    """Nothing is made, and the value is named."""
    typed("run", "-a", "0-3", "--name", "x", *options, "--", "true")
    assert typed.code == 2
    assert typed.error
    assert not (typed.folder / "slurmslice-runs").exists()


def test_an_existing_run_takes_no_such_number(typed: Typed) -> None:
    """As the new throttle, or as keys."""
    typed("render", "-a", "0-3", "--name", "x", "--", "true")
    for words in (("throttle", "x", _LONG), ("submit", "x", "--only", _LONG)):
        typed(*words)
        assert (typed.code, bool(typed.error)) == (2, True)
