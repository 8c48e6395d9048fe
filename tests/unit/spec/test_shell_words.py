"""Unquoted variables in a text for bash, compared with bash itself."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import CommandWords, ShellText
from slurmslice.spec.output_check import OutputCheck
from slurmslice.spec.packing import Packing
from slurmslice.spec.run_spec import RunSpec
from slurmslice.spec.shell_words import unquoted_variables
from slurmslice.spec.split_values import split_value_notes

BASH = os.environ.get("SLURMSLICE_BASH", "bash")

UNQUOTED = [
    ("cat $SLICE", '"$SLICE"'),
    ("cat out/$SLICE.h5", 'out/"$SLICE".h5'),
    ("cat ~/${SLICE%.*}*.h5", '~/"${SLICE%.*}"*.h5'),
    ("cat 'a'$SLICE\"b\"", '\'a\'"$SLICE""b"'),
    ('cat "$(basename $SLICE)"', '"$SLICE"'),
    ('cat "`basename $SLICE`"', '"$SLICE"'),
    ("cat ${X:-$SLICE}", '"${X:-$SLICE}"'),
    ("x=($SLICE)", '"$SLICE"'),
    ("env X=$SLICE true", 'X="$SLICE"'),
    ("true; cat $SLICE # it's", '"$SLICE"'),
    ("if true; then cat $SLICE; fi", '"$SLICE"'),
    ("for x in $SLICE; do :; done", '"$SLICE"'),
    ("cat <<E\n'\nE\ncat $SLICE", '"$SLICE"'),
    ("cat >$SLICE", '"$SLICE"'),
    ("(cat $SLICE)", '"$SLICE"'),
    ("[ -e $SLICE ]", '"$SLICE"'),
    ("echo it\\'s $SLICE", '"$SLICE"'),
    ("echo $'it\\'s' $SLICE", '"$SLICE"'),
]

WHOLE = [
    'cat "$SLICE"',
    "cat '$SLICE'",
    "cat \\$SLICE",
    'x=$SLICE; cat "$x"',
    "x=a$SLICE y=$SLICE cat",
    "export X=$SLICE",
    "[[ $SLICE == a && -e $SLICE ]]",
    "case $SLICE in a) ;; esac",
    "cat <<<$SLICE",
    "cat <<E\n$SLICE\nE\n",
    "cat <<-'E'\n\t$SLICE\n\tE\n",
    "((SLICE > 3))",
    "echo $((SLICE + 1)) ${#SLICE}",
    "# $SLICE",
    'cat "${X:-$SLICE}" "a\\"$SLICE"',
    "echo a#b; cat \"$SLICE\" 'it' \"'$SLICE'\"",
]


@pytest.mark.parametrize(("text", "quoted"), UNQUOTED)
def test_an_unquoted_variable_is_found(text: str, quoted: str) -> None:
    """The word gets quotes around its variable only, so its wildcards and its ~ still work."""
    (found,) = (one for one in unquoted_variables(text) if one.name == "SLICE")
    assert (found.name, found.quoted) == ("SLICE", quoted)
    (same,) = [found.word]
    again = text.replace(same, found.quoted, 1)
    assert not unquoted_variables(again)


@pytest.mark.parametrize("text", WHOLE)
def test_a_variable_that_bash_does_not_split(text: str) -> None:
    """It is in quotes, or bash does not split at this place."""
    assert not [one for one in unquoted_variables(text) if one.name == "SLICE"]


PIECES = ("$SLICE", '"', "'", "\\", "${SLICE}", "${SLICE%x}", "a", "~", "$(", ")", "=", "x=", "`")


@settings(max_examples=150)
@given(st.lists(st.sampled_from(PIECES[:7]), min_size=1, max_size=6).map("".join))
def test_bash_agrees(word: str) -> None:
    """A word that bash can read is split if, and only if, the scanner finds its variable."""
    script = f'SLICE="p q"; set -- z{word}\necho $#'
    done = subprocess.run([BASH, "-c", script], capture_output=True, text=True, timeout=20)
    if done.stdout and not done.stderr:
        names = {one.name for one in unquoted_variables(f"set -- z{word}")}
        assert ("SLICE" in names) == (done.stdout != "1\n")


@given(
    st.lists(st.sampled_from((*PIECES, "((", "<<E", "\n", "#", "[[", " ", "{", "}"))).map("".join)
)
def test_any_text_is_read(text: str) -> None:
    """Text that bash refuses is no error here: bash itself says what is wrong."""
    unquoted_variables(text)


def spec(**fields: object) -> RunSpec:
    given: dict[str, object] = {"command": ShellText(":")} | fields
    return RunSpec(name="x", source="a test", work_dir="/", **given)  # type: ignore[arg-type]


TABLE = SliceTable(["a", "b c"], {"mass": ["1", "2"], "name": ["x*", "y"], "note": ["u", ""]})


@pytest.mark.parametrize(
    ("fields", "where", "word"),
    [
        ({"command": ShellText("cat $SLICE")}, "--shell", "$SLICE"),
        ({"check": OutputCheck("test -s $SLICE_NAME.h5")}, "--check", "$SLICE_NAME.h5"),
        ({"setup": "cd ${SLICE_NOTE}"}, "--setup", "${SLICE_NOTE}"),
        ({"command": CommandWords(("srun", "bash", "-c", "cat $SLICE"))}, "bash", "$SLICE"),
    ],
)
def test_a_value_that_is_not_one_word_is_noted(
    fields: dict[str, object], where: str, word: str
) -> None:
    """Blanks, wildcards and empty values, in each text that sees the slice's variables."""
    (note,) = split_value_notes(spec(**fields), TABLE)
    assert (note.code, note.fields["where"]) == ("unquoted-variable", where)
    assert note.fields["word"] == word


def test_values_that_are_one_word_are_not_noted() -> None:
    """Only the variables that are used count. In a pack the setup sees no slice."""
    assert not list(split_value_notes(spec(command=ShellText("cat $SLICE_MASS $X $SLICEX")), TABLE))
    assert not list(split_value_notes(spec(setup="cd $SLICE", packing=Packing(2)), TABLE))
    assert not list(
        split_value_notes(spec(command=ShellText("cat $SLICE")), SliceTable(["1", "2"]))
    )
    zsh = CommandWords(("zsh", "-c", "cat $SLICE"))
    assert not list(split_value_notes(spec(command=zsh), TABLE))
