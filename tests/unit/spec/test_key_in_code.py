"""A value of a slice never becomes code: placeholders in the code of an interpreter."""

from __future__ import annotations

import shlex

import pytest

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import JOB_COMMAND, CommandWords, ShellText
from slurmslice.spec.interpreters import INTERPRETERS, find_code
from slurmslice.spec.key_in_code import code_notes, find_code_words, refuse_code_in_values
from tests.support.errors import raises_error

CODE = [
    "bash -c 'X'",
    "sh -c X",
    "/bin/zsh -lc X",
    "dash -e -c X",
    "ksh -ec -- X",
    "bash -o pipefail -c X a {}",
    "bash --norc -c X",
    "bash -co pipefail X",
    "bash -c -x X",
    "fish -c X",
    "python -c X",
    "python3.11 -Wignore -Bc X {}",
    "python -cX",
    "perl -e X",
    "perl -lane X file",
    "perl -MData::Dumper -i.bak -pe X file",
    "perl -eX",
    "Rscript --vanilla -e X",
    "ruby -rjson -e X",
    "julia --eval=X",
    "node -p X",
    "lua -e X",
    "php -r X",
    "matlab -batch X",
    "octave --eval X",
    "awk X file",
    "gawk -F : -v a=b X file",
    "awk -F: X",
    "sed -n Xp file",
    "sed -n -e Xp file",
    "ssh host ./x X",
    "ssh -p 22 -o BatchMode=yes host X",
    "env bash -c X",
    "env A=b -u C bash -c X",
    "env -S X",
    "srun -n 1 --mem 1G bash -c X",
    "srun --exclusive awk X file",
    "nice -n 5 awk X file",
    "timeout -k 5 60 sed Xp file",
    "nohup time -f %e nice perl -e X",
    "xargs -n 1 sh -c X",
    "stdbuf -oL ssh host X",
    "mpirun -n 4 python -c X",
    "apptainer exec image.sif awk X file",
    "conda run -n env python -c X",
    "./wrapper.sh --verbose bash -c X",
    "find . -exec sh -c X ;",
    "sbatch --wrap X",
    "su - user -c X",
    "watch -n 5 X",
]
"""Command lines; the word with X runs as code."""

DATA = [
    "bash x.sh X",
    "bash -x x.sh -c X",
    "bash -c true x X",
    "python x.py -c X",
    "python -m module -c X",
    "python -c pass X",
    "perl x.pl -e X",
    "Rscript x.R -e X",
    "awk -f x.awk X",
    "awk -v k=X 1 file",
    "sed -f x.sed X",
    "sed -e p X",
    "ssh X hostname",
    "./x --tool awk X",
    "echo bash X",
    "./x -c X",
    "env KEY=X ./x",
    "srun ./x X",
    "timeout X ./x",
    "java -jar x.jar -e X",
    "X -c X",
]
"""Command lines; no program runs the word with X as code."""


def as_words(line: str, placeholder: str = "{}") -> tuple[str, ...]:
    return tuple(word.replace("X", placeholder) for word in shlex.split(line))


@pytest.mark.parametrize("line", CODE)
def test_code_is_found(line: str) -> None:
    """Behind options and launchers too; each interpreter has a safe form."""
    words = as_words(line.replace("{}", "arg"))
    (found,) = find_code_words(CommandWords(words))
    assert "{}" in found.word
    assert found.safe


@pytest.mark.parametrize("line", DATA)
def test_data_is_no_code(line: str) -> None:
    """An argument, a file or a host is data."""
    assert list(find_code_words(CommandWords(as_words(line)))) == []


@pytest.mark.parametrize(
    "value",
    [
        "$(touch X)",
        "a b",
        "a;b",
        "`x`",
        "'",
        '"',
        "*",
        "~",
        "a\\b",
        "é",
        "{}",
        "#",
        "a\nb",
        "(",
        "&",
    ],
)
@pytest.mark.parametrize("line", ["bash -c 'echo X'", "srun awk /X/ file", "ssh host cat X"])
def test_a_value_that_is_not_plain_is_refused(value: str, line: str) -> None:
    """The error names the slice; the position of that slice does not matter."""
    command = CommandWords(as_words(line))
    with raises_error(BadInputError, "value-as-code", key=value, value=value, column=""):
        refuse_code_in_values(command, SliceTable(["plain", value]))
    refuse_code_in_values(command, SliceTable(["plain", "aZ09@%+,./:_-"]))


def test_only_values_that_are_used_in_code_must_be_plain() -> None:
    """The key may hold anything if the code names only a column."""
    table = SliceTable(["a b", "c"], {"mass": ["1", "2"], "name": ["x", "y z"]})
    refuse_code_in_values(CommandWords(("bash", "-c", "echo {mass}", "x", "{}", "{name}")), table)
    with raises_error(BadInputError, "value-as-code", key="c", value="y z", column="name"):
        refuse_code_in_values(CommandWords(("perl", "-e", "print {mass}, {name}")), table)


def test_plain_values_are_noted() -> None:
    """The note names the program. Commands without a placeholder in code get no note."""
    (note,) = code_notes(CommandWords(("bash", "-c", "echo {}")))
    assert (note.code, note.fields) == ("value-in-code", {"word": "echo {}", "program": "bash"})
    assert not list(code_notes(CommandWords(("bash", "-c", 'echo "$1"', "x", "{}"))))
    assert not list(code_notes(ShellText("bash -c '{}' $SLICE")))


def test_the_lines_of_a_job_file_are_code_on_purpose() -> None:
    """They are no mistake, so they are neither refused nor noted."""
    refuse_code_in_values(JOB_COMMAND, SliceTable(["1"], {"job": ["echo $(date)"]}))
    assert not list(code_notes(JOB_COMMAND))


def test_launchers_in_a_row_are_read_quickly() -> None:
    """Each word is read once as the start of a command."""
    assert list(find_code([*("env", "-x") * 200, "awk", "{}"])) == [401]


@pytest.mark.parametrize("name", [n for n, entry in INTERPRETERS.items() if entry.safe])
def test_the_safe_form_is_safe(name: str) -> None:
    """What the hint suggests has no placeholder in code."""
    safe = INTERPRETERS[name].safe.format(program=name)
    if not safe.startswith("--shell"):
        assert not list(find_code_words(CommandWords(tuple(shlex.split(safe)))))
