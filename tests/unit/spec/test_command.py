"""The command: each word is exactly one argument, and values are only data."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from slurmslice.errors import BadInputError
from slurmslice.spec.command import (
    CommandWords,
    ShellText,
    check_command,
    command_to_bash,
    refuse_expanded_pattern,
    slice_argv,
    slice_command_line,
    variable_name,
)
from slurmslice.system.shell_quoting import quote
from tests.support.errors import raises_error

BASH = os.environ.get("SLURMSLICE_BASH", "bash")
PRINT = ("printf", "%s\\0")


def to_bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


def as_str(data: bytes) -> str:
    return data.replace(b"\0", b"").decode("utf-8", "surrogateescape")


SHELLY = st.text(st.sampled_from("{}12 \\'\"$`!#~*?[]()<>|&;=^-\n\t\x1bé\udcff"), max_size=12)
VALUES = st.one_of(st.binary(max_size=20).map(as_str), SHELLY)
PIECES = st.one_of(SHELLY, st.sampled_from(["{}", "{mass}", "{{}}", "{{mass}}", "}}", "{{{}}}"]))
WORDS = st.lists(PIECES, max_size=4).map("".join)


def words(*given: str) -> CommandWords:
    return CommandWords(given)


def in_bash(text: str, locale: str = "C.UTF-8", **environ: str) -> list[bytes]:
    """The arguments of a program started by the text (it prints them, each with NUL)."""
    env = {b"PATH": os.environb[b"PATH"], b"LC_ALL": locale.encode()}
    env |= {name.encode(): to_bytes(value) for name, value in environ.items()}
    done = subprocess.run(
        [BASH, "-c", to_bytes(text)], env=env, capture_output=True, check=True, timeout=20
    )
    assert done.stderr == b""
    return done.stdout.split(b"\0")[:-1]


# -- words to bash --------------------------------------------------------------------------


@settings(max_examples=120)
@given(st.lists(WORDS, min_size=1, max_size=5), VALUES, VALUES)
@example(["a{}b", "{mass}", "${mass}", "\\{}", "`{}`"], "$(touch /tmp/x)`id`'\"\\", "-rf\n\n")
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_program_gets_every_word_exactly(locale: str, args: list[str], key: str, mass: str) -> None:
    """For any words and values, the program gets exactly the result of ``fill``."""
    command = CommandWords((*PRINT, *args))
    got = in_bash(command_to_bash(command), locale, SLICE=key, SLICE_MASS=mass)
    assert got == [to_bytes(word) for word in slice_argv(command, key, {"mass": mass})[2:]]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("x.py", "x.py"),
        ("--in=a/b,c:d@e%f+1", "--in=a/b,c:d@e%f+1"),
        ("", "''"),
        ("a b", "'a b'"),
        ("it's", "'it'\\''s'"),
        ("{1..3}", "'{1..3}'"),
        ("~/x", "'~/x'"),
        ("a\nb", "$'a\\nb'"),
        ("\x1b[2J\\'", "$'\\033[2J\\\\\\''"),
        ("\udcff", "$'\\377'"),
        ("{}", '"${SLICE}"'),
        ("mill2sort-{}.h5", '"mill2sort-${SLICE}.h5"'),
        ('{mass}/$x`\\"', '"${SLICE_MASS}/\\$x\\`\\\\\\""'),
        ("{}\n", '"${SLICE}"$\'\\n\'""'),
        ("{{}}", "'{}'"),
    ],
)
def test_word_is_one_readable_bash_word(word: str, text: str) -> None:
    """A word is bare if possible, and quoted if necessary, so that a person can read it."""
    assert command_to_bash(words("prog", word)) == f"exec -- prog {text}"


@pytest.mark.parametrize("name", ["time", "exit", "X=1", "if", "!", "{", "[[", "-x", "source"])
def test_bash_never_interprets_the_program_name(tmp_path: Path, name: str) -> None:
    """A program named like a keyword, a builtin or an assignment is started as a program."""
    program = tmp_path / name
    program.write_text("#!/bin/sh\nprintf 'program\\0'\n")
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert in_bash(f"PATH='{path}'; {command_to_bash(words(name))}") == [b"program"]


def test_shell_text_is_unchanged() -> None:
    """Nothing in a shell text is changed, not even braces."""
    assert command_to_bash(ShellText("a {} {{}} $SLICE\nb")) == "a {} {{}} $SLICE\nb"


@settings(max_examples=60)
@given(st.lists(VALUES, max_size=20))
def test_quote_makes_one_printable_word(values: list[str]) -> None:
    """A quoted text is one word of bash, and printable."""
    line = " ".join(map(quote, values))
    assert line.isprintable()
    assert in_bash(f"set -- {line}; (($# == 0)) || printf '%s\\0' \"$@\"") == list(
        map(to_bytes, values)
    )


@pytest.mark.parametrize("word", ["a\0b", "\ud800"])
def test_word_with_nul_is_refused(word: str) -> None:
    """NUL would end the argument early, so it is refused and not cut."""
    with raises_error(BadInputError, "control-character"):
        check_command(words("prog", word), ())


# -- placeholders ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "filled"),
    [
        ("{}", "K"),
        ("a{}b{}c", "aKbKc"),
        ("{mass}-{x1}", "M-X"),
        ("{{}}", "{}"),
        ("{{mass}}", "{mass}"),
        ("{{{}}}", "{K}"),
        ("{{{mass}}}", "{M}"),
        ("{1..3}", "{1..3}"),
        ("{", "{"),
        ("}", "}"),
        ("{ }", "{ }"),
        ('{"a": {"b": 1}}', '{"a": {"b": 1}}'),
        ('{"a": "{}"}', '{"a": "K"}'),
        ("{print $1}", "{print $1}"),
        ("{{.Names}}", "{{.Names}}"),
        ("{{1,2},{3,4}}", "{{1,2},{3,4}}"),
        ("[0-9]{3}", "[0-9]{3}"),
        ("{{{", "{{{"),
        ("{mass}}", "M}"),
    ],
)
def test_braces_are_placeholders_or_literal(word: str, filled: str) -> None:
    """{} is the key, {name} a column, doubled braces and all others are literal."""
    command = words("prog", word)
    check_command(command, ("mass", "x1"))
    assert slice_argv(command, "K", {"mass": "M", "x1": "X"}) == ["prog", filled]


def test_placeholders_in_values_are_literal() -> None:
    """A value that looks like a placeholder is not replaced."""
    assert slice_argv(words("{}", "{mass}"), "{mass}", {"mass": "{}"}) == ["{mass}", "{}"]


def test_unknown_column_is_refused_with_the_nearest() -> None:
    """A mistyped column is not passed on as text; the hint names the nearest one."""
    wrong = {"column": "Mas", "word": "a-{Mas}.h5", "nearest": "mass"}
    with raises_error(BadInputError, "unknown-column", **wrong) as caught:
        check_command(words("prog", "a-{Mas}.h5"), ("seed", "mass"))
    assert "{{Mas}}" in caught.value.hint
    with raises_error(BadInputError, "unknown-column", column="slice", nearest=None) as caught:
        check_command(words("prog", "{slice}"), ())
    assert "{}" in caught.value.hint


# -- refused commands -----------------------------------------------------------------------


@pytest.mark.parametrize("command", [words(), words(""), ShellText(""), ShellText(" \n")])
def test_no_command_is_refused(command: CommandWords | ShellText) -> None:
    """A run needs a command."""
    with raises_error(BadInputError, "no-command"):
        check_command(command, ())


@pytest.mark.parametrize(
    "word", ["$SLICE", "x-${SLICE}.h5", "$SLICE_MASS", "${SLICE:-1}", "a$SLICE.b"]
)
def test_unexpanded_variable_is_refused(word: str) -> None:
    """A word's $SLICE would not be expanded; the hint names --shell."""
    with raises_error(BadInputError, "wrong-placeholder", word=word) as caught:
        check_command(words("python", "x.py", word), ())
    assert "--shell" in caught.value.hint


@pytest.mark.parametrize(
    "command",
    [
        words("echo", "$SLICER", "$HOME", "SLICE"),
        words("bash", "-c", 'echo "$SLICE"'),
        words("bash", "-lc", "echo ${{SLICE}}"),
        words("./prog"),
        ShellText('python x.py "$SLICE"'),
        ShellText("find . -exec rm {} \\; # $SLICE"),
    ],
)
def test_plausible_commands_pass(command: CommandWords | ShellText) -> None:
    """Other variables, a shell that expands $SLICE, and a shell text cause no false alarm."""
    check_command(command, ())


def test_command_in_one_word_is_refused() -> None:
    """'python x.py {}' in quotes is not a program's name; the hint names --shell."""
    with raises_error(BadInputError, "command-in-one-word", word="python x.py {}") as caught:
        check_command(words("python x.py {}"), ())
    assert "--shell" in caught.value.hint


def test_shell_text_with_placeholder_is_refused() -> None:
    """{} is not replaced in a shell text, so every slice would do the same."""
    with raises_error(BadInputError, "wrong-placeholder"):
        check_command(ShellText("python x.py {}"), ())


def test_expanded_pattern_is_refused() -> None:
    """The login shell replaces ``-- prog *.h5`` by file names; the error names three of them."""
    files = {"in/a.h5", "in/b.h5", "in/c.h5", "in/d.h5"}
    with raises_error(BadInputError, "expanded-pattern", words=tuple(sorted(files)[:3])) as caught:
        refuse_expanded_pattern(words("wc", "-l", *sorted(files)), files.__contains__)
    assert "--glob" in caught.value.hint


@pytest.mark.parametrize(
    "given_words",
    [
        ("wc", "a.h5", "b.h5"),  # only two files
        ("wc", "a.h5", "b.h5", "c.txt"),  # different suffixes
        ("wc", "a.h5", "b.h5", "x/c.h5"),  # different folders
        ("wc", "a.h5", "b.h5", "-o", "c.h5"),  # not neighbours
        ("wc", "a.h5", "b.h5", "new.h5"),  # one does not exist
        ("wc", "{}", "a.h5", "b.h5", "c.h5"),  # with a placeholder
        ("a.h5", "b.h5", "c.h5"),  # the first is the program
        (),
    ],
)
def test_other_file_arguments_pass(given_words: tuple[str, ...]) -> None:
    """Only words that are almost certainly an expanded pattern are refused."""
    files = {"a.h5", "b.h5", "c.h5", "c.txt", "x/c.h5"}
    refuse_expanded_pattern(CommandWords(given_words), files.__contains__)


def test_files_are_looked_up_on_disk(tmp_path: Path) -> None:
    """The check looks on the disk: folders do not count as files."""
    names = [str(tmp_path / f"{n}.h5") for n in range(3)]
    for name in names[:2]:
        Path(name).touch()
    Path(names[2]).mkdir()
    refuse_expanded_pattern(words("wc", *names))
    Path(names[2]).rmdir()
    Path(names[2]).touch()
    with raises_error(BadInputError, "expanded-pattern"):
        refuse_expanded_pattern(words("wc", *names))


# -- previews -------------------------------------------------------------------------------


@settings(max_examples=60)
@given(st.lists(WORDS, max_size=3), VALUES)
def test_preview_is_one_line_with_the_same_effect(args: list[str], key: str) -> None:
    """A preview can be typed into bash, and shows control characters as escapes."""
    command = CommandWords((*PRINT, "x", *args))
    line = slice_command_line(command, key, {"mass": "1"})
    assert line.isprintable()
    assert in_bash(line) == [to_bytes(word) for word in slice_argv(command, key, {"mass": "1"})[2:]]


def test_preview_of_a_shell_text() -> None:
    """A preview begins with the variables that the text uses, so it can be typed too."""
    command = ShellText('printf \'%s\\0\' "$SLICE" "$SLICE_MASS"')
    line = slice_command_line(command, "a b", {"mass": "\x1b", "seed": "2"})
    assert line.startswith("SLICE='a b' SLICE_MASS=$'\\033' bash -c ")
    assert in_bash(line) == [b"a b", b"\x1b"]
    assert slice_argv(command, "a b", {}) == ["bash", "-c", command.text]


def test_variable_names() -> None:
    """The key is in SLICE, a column in SLICE_ plus its name in capitals."""
    assert (variable_name(""), variable_name("mass_2")) == ("SLICE", "SLICE_MASS_2")
