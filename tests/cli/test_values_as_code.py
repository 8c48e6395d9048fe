"""Values of slices where a program would run or split them, on the command line."""

from __future__ import annotations

import pytest

from tests.support.typed import Typed


@pytest.mark.parametrize("verb", [("render",), ("run", "--dry-run")])
@pytest.mark.parametrize(
    "command",
    [
        ("bash", "-c", "echo {}"),
        ("env", "A=b", "timeout", "60", "python3", "-c", "print('{}')"),
        ("srun", "-n", "1", "awk", "/{}/", "file"),
        ("ssh", "-p", "22", "host", "cat", "{}"),
    ],
)
def test_a_key_inside_code_is_refused(
    typed: Typed, verb: tuple[str, ...], command: tuple[str, ...]
) -> None:
    """The key would run as code. No run is created; the message has a safe form."""
    (typed.folder / "keys").write_text("a\n$(touch X)\n")
    typed(*verb, "--slices-from", "keys", "--name", "x", "--", *command)
    assert (typed.code, typed.error) == (2, "value-as-code")
    assert typed.fields["key"] == "$(touch X)"
    assert not (typed.folder / "runs" / "x").exists()


def test_plain_keys_inside_code_are_noted(typed: Typed) -> None:
    """They are safe; the preview says so once, and the run is created."""
    typed("render", "-a", "0-3", "--name", "x", "--", "bash", "-c", "echo {}")
    assert typed.code == 0
    assert [one["program"] for one in typed.noted("value-in-code")] == ["bash"]
    typed("render", "-a", "0-3", "--name", "y", "--", "bash", "-c", 'echo "$1"', "x", "{}")
    assert (typed.code, typed.noted("value-in-code")) == (0, [])


def test_the_lines_of_a_job_file_may_be_any_code(typed: Typed) -> None:
    """Running them is what a job file is for."""
    (typed.folder / "jobs").write_text("echo $(date); true\n")
    typed("render", "--job-file", "jobs", "--name", "x")
    assert (typed.code, typed.noted("value-in-code")) == (0, [])


@pytest.mark.parametrize(
    "options",
    [
        ("--shell", "cat in/$SLICE.h5"),
        ("--shell", ":", "--check", "test -s in/$SLICE.h5"),
        ("--shell", ":", "--setup", "mkdir in/$SLICE.h5 || exit"),
    ],
)
@pytest.mark.parametrize("key", ["a b", "a*", "[x]"])
def test_an_unquoted_variable_is_noted(typed: Typed, options: tuple[str, ...], key: str) -> None:
    """The preview names the word and its quoted form, if a value would be split or expanded."""
    (typed.folder / "keys").write_text(f"plain\n{key}\n")
    typed("render", "--slices-from", "keys", "--name", "x", *options)
    assert typed.code == 0
    (found,) = typed.noted("unquoted-variable")
    assert (found["word"], found["quoted"]) == ("in/$SLICE.h5", 'in/"$SLICE".h5')
    assert found["key"] == key
    quoted = (word.replace("in/$SLICE.h5", 'in/"$SLICE".h5') for word in options)
    typed("render", "--slices-from", "keys", "--name", "y", *quoted)
    assert (typed.code, typed.noted("unquoted-variable")) == (0, [])
