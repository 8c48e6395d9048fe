"""Options without their value, and flags with a value that they do not take."""

from __future__ import annotations

import pytest

from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

LINE = ("-a", "0-3", "--name", "x")
COMMAND = ("--", "true", "{}")


@pytest.mark.parametrize("option", ["--then", "--check", "--setup", "--on-end", "--comment", "-p"])
@pytest.mark.parametrize("following", ["--dry-run", "--retry"])
def test_the_next_option_is_no_value(
    engine: FakeEngine, typed: Typed, option: str, following: str
) -> None:
    """``--then --dry-run`` is refused: it would lose --dry-run, and submit."""
    said = typed("run", *LINE, option, following, *COMMAND)
    assert (typed.code, typed.error) == (2, "bad-option-usage")
    assert option in said
    assert following in said
    assert engine.jobs == {}
    assert not (typed.folder / "runs").exists()


@pytest.mark.parametrize("words", [("gather", "x", "-o", "--csv"), ("logs", "x", "--state", "-f")])
def test_the_next_option_is_no_value_of_other_verbs(typed: Typed, words: tuple[str, ...]) -> None:
    """Verbs that take keys refuse it too: no file is called ``--csv``."""
    typed(*words)
    assert (typed.code, typed.error) == (2, "bad-option-usage")


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "words",
    [
        ("--then=--dry-run",),
        ("--then", "true", "--then-sbatch", "--mem=8G"),
        ("--then", "--version"),
    ],
)
def test_a_value_may_look_like_an_option(typed: Typed, words: tuple[str, ...]) -> None:
    """A value after ``=``, and options of sbatch as a value, are taken as they are."""
    typed("run", *LINE, *words, "--dry-run", *COMMAND)
    assert (typed.code, typed.error) == (0, "")


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("flag", "value", "meant"),
    [
        ("--retry", "3", "--max-attempts"),
        ("--mail", "ada@lab.org", "--mail-user"),
        ("--unattended", "cron", "--unattended-by"),
    ],
)
def test_the_option_for_the_value_of_a_flag_is_named(
    typed: Typed, flag: str, value: str, meant: str
) -> None:
    """``--retry 3`` and ``--retry=3`` are refused, and the hint names the right option."""
    assert meant in typed("run", *LINE, flag, value, *COMMAND)
    assert (typed.code, typed.error) == (2, "no-such-run")
    assert meant in typed("run", *LINE, f"{flag}={value}", *COMMAND)
    assert (typed.code, typed.error) == (2, "bad-option-usage")


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    "options", [("--then", "true", "--then-sbatch"), ("--unattended", "--steward-sbatch")]
)
def test_a_word_without_its_dashes_is_recognised(typed: Typed, options: tuple[str, ...]) -> None:
    """The error names the option that has the word, and the word that is meant."""
    said = typed("run", *LINE, *options, "mem=8G", "--dry-run", *COMMAND)
    assert (typed.code, typed.error) == (2, "unknown-option")
    assert options[-1] in said
    assert "--mem=8G" in said
