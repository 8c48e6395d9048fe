"""Options and habits of other programs: our word is named, and nothing is lost without a note."""

from __future__ import annotations

import pytest

from slurmslice.cli.options.foreign_options import option_meant
from tests.conftest import NewRun
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

DRY = ("run", "--dry-run", "-a", "0-3")


@pytest.mark.parametrize(
    ("option", "ours"),
    [
        ("--max-jobs", "--throttle"), ("-j", "--throttle"), ("--jobs", "--throttle"),
        ("--depend", "-d DEPENDENCY"), ("--halt", "--max-failures"),
        ("--retries", "--max-attempts"),
        ("--joblog", "--slices"), ("--resume", "slurmslice run RUN"),
        ("--tasks-per-node", "--ntasks-per-node"), ("--chunk_size", "--pack"),
        ("--dryrun", "--dry-run"),
        ("--WallTime", "-t TIME"), ("-P", "--throttle"),
        ("--local", "--engine local"), ("--no-slurm", "--engine local"),
        ("--failed", "--state FAIL"), ("--only-failed", "--state FAIL"),
        ("--stream", "logs RUN KEY -f"), ("--kill", "slurmslice cancel"),
    ],
)  # fmt: skip
def test_an_option_of_another_program_has_a_meaning(option: str, ours: str) -> None:
    """Case, hyphens and underscores do not matter in long names."""
    assert ours in option_meant(option)


@pytest.mark.parametrize("option", ["-p", "-J", "--mem", "--whatever", "-1", "--"])
def test_other_options_have_none(option: str) -> None:
    """No guess."""
    assert not option_meant(option)


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("run -j 8 -a 0-3 -- true", "--throttle N"),
        ("run --max-jobs=8 -a 0-3 -- true", "--throttle N"),
        ("run --tasks-per-node 4 -a 0-3 -- true", "--pack K"),
        ("render --retries 3 -a 0-3 -- true", "--max-attempts N"),
        ("submit demo -j 8", "--throttle N"),
        ("resubmit demo --halt now", "--max-failures N"),
        ("resubmit demo -j 8", "--throttle N"),
        ("status demo --joblog", "--slices"),
        ("watch demo --dryrun", "--dry-run"),
        ("throttle demo 3 --resume", "slurmslice run RUN"),
        ("run --local -a 0-3 -- true", "--engine local"),
        ("logs demo --failed", "--state FAIL"),
        ("status demo --failures", "--state FAIL"),
        ("status demo --stream", "slurmslice logs RUN KEY -f"),
        ("run demo --kill", "slurmslice cancel RUN"),
    ],
)
def test_each_verb_names_our_option(line: str, ours: str, new_run: NewRun, typed: Typed) -> None:
    """The error names our option, and no other one that only looks alike."""
    new_run("0-3")
    said = typed(*line.split())
    assert typed.code == 2
    assert ours in said
    assert said.count("Did you mean") == 1


@pytest.mark.parametrize(
    ("verb", "ours"),
    [("tail", "logs -f"), ("kill", "cancel"), ("scancel", "cancel"), ("squeue", "status"),
     ("failed", "failures"), ("sbatch", "submit"), ("rerun", "resubmit"),
     ("cat", "logs"), ("resume", "run")],
)  # fmt: skip
def test_a_verb_of_another_program_has_a_meaning(verb: str, ours: str, typed: Typed) -> None:
    """The nearest spelling alone would suggest another verb, or none."""
    said = typed(verb, "demo", "3")
    assert (typed.code, typed.error) == (2, "unknown-verb")
    assert f"Did you mean {ours}?" in said


@pytest.mark.parametrize("verb", ["", "run", "status", "resubmit", "watch", "runs", "doctor"])
def test_h_is_help(verb: str, typed: Typed) -> None:
    """``-h`` prints the help, although sbatch has an option of that letter."""
    said = typed(*verb.split(), "-h")
    assert typed.code == 0
    assert said == typed(*verb.split(), "--help")
    assert said.startswith("Usage")


# -- words that nobody replaces ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "operators"),
    [
        ("x.py {} > out.txt", [">"]),
        ("sort {} | uniq", ["|"]),
        ("x.py {} 2>&1 && y.py", ["2>&1", "&&"]),
        ("x.py < {} >> all", ["<", ">>"]),
        ("x.py {} &", ["&"]),
        ("test {} > 3", []),
        ("find {} -exec ls ;", []),
        ("x.py {} a>b -> x|y", []),
    ],
)
def test_an_operator_in_the_words_is_noted(
    words: str, operators: list[str], engine: FakeEngine, typed: Typed
) -> None:
    """It is a word for the program; the note names ``--shell``."""
    said = typed(*DRY, "--", *words.split())
    assert typed.code == 0
    assert typed.noted("operator-in-words") == ([{"words": operators}] if operators else [])
    assert ("--shell" in said) == bool(operators)


@pytest.mark.parametrize(
    ("word", "is_index"),
    [("out.%a", True), ("%A_%a.txt", True), ("--log=%4a.log", True), ("+%A", False),
     ("100%all", False), ("%%a", False), ("%s", False), ("%d", False)],
)  # fmt: skip
def test_an_array_index_in_the_words_is_noted(
    word: str, is_index: bool, engine: FakeEngine, typed: Typed
) -> None:
    """sbatch replaces ``%a`` only in names of files."""
    typed(*DRY, "--", "x.py", "{}", word)
    assert typed.code == 0
    assert [note["word"] for note in typed.noted("array-index-in-words")] == [word] * is_index


@pytest.mark.parametrize(
    ("text", "variable"),
    [("x {slice} $SLICE", '"$SLICE"'), ("x {} $SLICE", '"$SLICE"'), ("x {key} $SLICE", '"$SLICE"'),
     ("x {mass} $SLICE", '"$SLICE_MASS"'), ("x ${SLICE} {a,b} { echo; }", ""),
     ("x ${mass} $SLICE", ""), ("x {other} {{mass}} $SLICE", "")],
)  # fmt: skip
def test_a_placeholder_in_a_shell_text_is_noted(
    text: str, variable: str, engine: FakeEngine, typed: Typed
) -> None:
    """The note has the variable to write. Without any ``$SLICE`` it is an error."""
    (typed.folder / "t.csv").write_text("name,mass\na,1\nb,2\n")
    table = ("run", "--dry-run", "--table", "t.csv", "--key", "name", "--shell")
    typed(*table, text)
    assert typed.code == 0
    assert [note["variable"] for note in typed.noted("braces-in-shell")] == [variable] * bool(
        variable
    )
    typed(*table, text.replace("$SLICE", "").replace("${SLICE}", ""))
    assert typed.error == ("wrong-placeholder" if variable else "")


# -- options that would be lost ----------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [("-a", "0-3", "-a", "5"), ("-a", "0-3", "--array=5"),
     ("-a", "0", "--setup", "a", "--setup", "b"), ("--glob", "*.h5", "--glob", "*.hdf"),
     ("-a", "0", "--check", "a", "--check", "b")],
)  # fmt: skip
def test_an_option_that_would_be_lost_is_refused(
    options: tuple[str, ...], engine: FakeEngine, typed: Typed
) -> None:
    """The first of two values would be dropped without a word."""
    typed("run", *options, "--", "true", "{}")
    assert (typed.code, typed.error, engine.jobs) == (2, "option-given-twice", {})


def test_other_options_may_be_repeated(engine: FakeEngine, typed: Typed) -> None:
    """The last value counts: an alias of a shell may have defaults."""
    typed(*DRY, "--throttle", "2", "--throttle", "3", "--grid", "--", "true", "-a", "-a")
    typed(*DRY, "--throttle", "2", "--throttle", "3", "--mem", "1G", "--mem", "2G", "--", "true",
          "-a", "{}", "-a")  # fmt: skip
    assert (typed.code, typed.error) == (0, "")
    assert "--mem=2G" in typed.stderr


def test_a_duration_without_a_unit_is_refused(engine: FakeEngine, typed: Typed) -> None:
    """0.2 may be seconds or minutes; ``--interval`` is always in seconds."""
    said = typed(*DRY, "--pack", "auto", "--slice-time", "0.2", "--", "true", "{}")
    assert (typed.code, typed.error, typed.fields["option"]) == (2, "bad-time", "slice-time")
    assert "0.2s" in said
    assert "0.2m" in said
    for interval in ("0.2", "5", "2s", "1m"):
        typed(*DRY, "--interval", interval, "--", "true", "{}")
        assert typed.code == 0


@pytest.mark.parametrize(
    "values",
    [("BOGUS",), ("END,FIAL",), ("END,BOGUS",), ("end fail",), ("ALL,X",), ("END", "NONE,BOGUS"),
     ("BOGUS,NONE", "END")],
)  # fmt: skip
def test_an_unknown_type_of_mail_is_refused(
    values: tuple[str, ...], engine: FakeEngine, typed: Typed
) -> None:
    """sbatch takes END,BOGUS without a word, and sends no mail. The hint lists its types.

    Case does not matter, and known ones are accepted.
    """
    options = [f"--mail-type={value}" for value in values]
    said = typed(*DRY, *options, "--", "true", "{}")
    assert (typed.code, typed.error) == (2, "bad-mail-type")
    assert "TIME_LIMIT_80" in said
    typed(*DRY, "--mail-type", "end,Fail,time_limit_80,ARRAY_TASKS", "--", "true", "{}")
    assert (typed.code, typed.error) == (0, "")


@pytest.mark.parametrize("value", ["BOGUS", "END,BOGUS", "FAIL,end,"])
@pytest.mark.parametrize("verb", ["submit", "run"])
def test_an_unknown_type_of_mail_in_an_edited_script_is_refused(
    new_run: NewRun, engine: FakeEngine, typed: Typed, value: str, verb: str
) -> None:
    """The reviewed script is submitted as it is, so the line must be one that works."""
    script = new_run("0-3").directory.script
    line = "#SBATCH --array=0-3\n"
    script.write_text(script.read_text().replace(line, f"{line}#SBATCH --mail-type={value}\n"))
    engine.on_wait = engine.end_all
    typed(verb, "demo")
    wrong = "BOGUS" in value
    assert (typed.error, len(engine.jobs)) == (("bad-mail-type", 0) if wrong else ("", 1))
