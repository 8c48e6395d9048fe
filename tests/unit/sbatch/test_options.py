"""sbatch's options: allowed requests, the lines of the script, the options in force."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice import sbatch
from slurmslice.errors import BadInputError
from slurmslice.sbatch import Takes, merge_options, read_directives, values_in_force
from slurmslice.sbatch.option_table import ALIASES, OPTIONS
from slurmslice.sbatch.sbatch_help import parse_sbatch_help as listed_in_help
from slurmslice.sbatch.simple_slurm_options import simple_slurm_options
from tests.recorded import load
from tests.recorded.getopt import takes_in
from tests.support.errors import raises_error

# -- names -----------------------------------------------------------------------------------


RELEASES = {"20.11": (20, 11), "22.05": (22, 5), "24.11": (24, 11), "26.05": (26, 5)}


def test_the_table_has_letters_and_value_kinds() -> None:
    """Our own table has all options of simple_slurm, with more details."""
    known = sbatch.known_options()
    assert known["cpus-per-task"].letter == "c"
    assert known["mem-per-cpu"].letter is None
    assert known["stepmgr"].takes is Takes.NOTHING
    assert {name for name, _ in simple_slurm_options()} <= OPTIONS.keys() == known.keys()
    for name, letter in simple_slurm_options():
        assert known[name].letter == letter, name
    assert {"shell", "array-inx"}.isdisjoint(known)


@pytest.mark.parametrize("release", RELEASES)
def test_help_lists_options_that_the_table_has_for_the_release(release: str) -> None:
    """The table agrees with each name, letter and value in the recorded ``sbatch --help``."""
    listed = listed_in_help(load("sbatch-help", release).text)
    assert len(listed) > 80
    misprints = {"container", "container-id", "export", "wrap"}  # printed without =, or with [=]
    for name, option in listed.items():
        ours = sbatch.known_options()[name]
        assert ours.letter == option.letter or name == "qos", name
        if option.takes is Takes.VALUE:
            assert takes_in(ours, RELEASES[release]) is Takes.VALUE, name
        elif name not in misprints:
            assert ours.takes is not Takes.VALUE, name
    lacks = {lack.name for lack in sbatch.options_not_in_release(flags(listed), RELEASES[release])}
    assert lacks <= {"power"}  # which the help of later releases still lists


@pytest.mark.parametrize("release", RELEASES)
def test_the_table_agrees_with_getopt_of_each_release(release: str) -> None:
    """The table agrees with the recorded answers of sbatch to each name."""
    said = dict(line.split() for line in load("sbatch-getopt", release).text.splitlines())
    assert said.keys() == sbatch.known_options().keys() | ALIASES.keys()
    lacks = {lack.name for lack in sbatch.options_not_in_release(flags(said), RELEASES[release])}
    for name, takes in said.items():
        option = sbatch.find_option(name)
        if takes == "unknown":
            assert name in lacks, name
        elif name != "extra":  # --extra abbreviates --extra-node-info in releases that lack it
            assert name not in lacks
            assert takes == takes_in(option, RELEASES[release]).value, name


def flags(options: Iterable[str]) -> list[tuple[str, str]]:
    """These options without values."""
    return [(name, "") for name in options]


def test_simple_slurm_changes_nothing_of_the_process() -> None:
    """Importing simple_slurm changes neither SQUEUE_FORMAT nor logging, and does not raise."""
    program = (
        "import logging, os\n"
        "from slurmslice import sbatch\n"
        "sbatch.known_options(); sbatch.format_directives([('mem', '1G')])\n"
        "assert os.environ['SQUEUE_FORMAT'] == '%i \"', os.environ\n"
        "root = logging.getLogger()\n"
        "assert (root.handlers, root.level) == ([], logging.WARNING), root\n"
    )
    env = {**os.environ, "SQUEUE_FORMAT": '%i "'}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_logging_is_restored_after_a_failure() -> None:
    """After an error, the log handlers and the level are as before."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with pytest.raises(BadInputError):
        sbatch.format_directives([("mem", "1\n2")])
    assert (root.handlers, root.level) == before


@pytest.mark.parametrize(
    ("given", "long"),
    [("mem", "mem"), ("--mem", "mem"), ("c", "cpus-per-task"), ("-c", "cpus-per-task"),
     ("cpus_per_task", "cpus-per-task"), ("tasks-per-node", "ntasks-per-node")],
)  # fmt: skip
def test_find_option_accepts_every_spelling(given: str, long: str) -> None:
    """Letters, dashes and underscores lead to the long name."""
    assert sbatch.find_option(given).name == long


@pytest.mark.parametrize("name", ["arr", "shell", "", "ä", "mme"])
def test_find_option_refuses_prefixes_and_unknown_names(name: str) -> None:
    """Shortened names and methods of simple_slurm are not options."""
    with raises_error(BadInputError, "unknown-option", option=name):
        sbatch.find_option(name)


def test_the_nearest_name_is_suggested() -> None:
    """A typing error gets a suggestion."""
    with raises_error(BadInputError, "unknown-option", nearest="cpus-per-task"):
        sbatch.check_option("cpu-per-task", "2")


CLUSTER = {
    "container-image": sbatch.Option("container-image", None, Takes.VALUE),
    "my_flag": sbatch.Option("my_flag", None, Takes.OPTIONAL),
}


@pytest.mark.parametrize("given", ["container-image", "--container-image", "container_image"])
def test_the_clusters_own_options_are_found(given: str) -> None:
    """They are found only if they are passed as further options."""
    assert sbatch.check_option(given, "x", CLUSTER) == ("container-image", "x")
    assert sbatch.find_option("my_flag", CLUSTER).name == "my_flag"
    with pytest.raises(BadInputError):
        sbatch.check_option(given, "x")


def test_the_nearest_name_may_be_the_clusters_own() -> None:
    """A typing error in a plugin's option gets that option as a suggestion."""
    with pytest.raises(BadInputError) as caught:
        sbatch.find_option("container-imge", CLUSTER)
    assert "--container-image" in caught.value.hint


def test_an_option_of_the_clusters_needs_its_value() -> None:
    """Help has ``--container-image=IMAGE``: sbatch would refuse it without a value."""
    with raises_error(BadInputError, "missing-value", option="container-image"):
        sbatch.check_option("container-image", "", CLUSTER)


@pytest.mark.parametrize(
    ("given", "value", "pair"),
    [("zork", "", ("zork", "")), ("--my_opt", "a b", ("my_opt", "a b")), ("c", "2",
     ("cpus-per-task", "2")), ("profile", "task", ("profile", "task"))],
)  # fmt: skip
def test_any_name_passes_unchecked(given: str, value: str, pair: tuple[str, str]) -> None:
    """``--sbatch`` accepts unknown names; known names become long names."""
    assert sbatch.check_any_option(given, value) == pair
    assert sbatch.read_directives(sbatch.format_directives([pair])) == (pair,)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [("a b", "1", "bad-option-name"), ("", "", "bad-option-name"), ("x;y", "", "bad-option-name"),
     ("mem", "4Q", "bad-memory"), ("zork", "a\nb", "control-character"),
     ("output", "x", "option-not-allowed"), ("J", "x", "option-not-allowed")],
)  # fmt: skip
def test_not_everything_passes(name: str, value: str, code: str) -> None:
    """Impossible names and values, and options that slurmslice sets, are refused."""
    with pytest.raises(BadInputError) as caught:
        sbatch.check_any_option(name, value)
    assert caught.value.code == code


def test_help_with_a_plugins_options() -> None:
    """The recorded help of 22.05 with a SPANK plugin: its options stand among sbatch's own."""
    listed = listed_in_help(load("sbatch-help-plugin", "22.05").text)
    new = {name: o.takes for name, o in listed.items() if name not in sbatch.known_options()}
    assert new == {"test-image": Takes.VALUE, "test-writable": Takes.OPTIONAL}


@pytest.mark.parametrize(
    ("text", "options"),
    [("", {}), ("sbatch: error: no\n", {}),
     ("   -x, --extra2=ARG  text with --other=1\n", {"extra2": ("x", Takes.VALUE)}),
     ("      --a_b.c[=X]  text\n      --d  text\n",
      {"a_b.c": (None, Takes.OPTIONAL), "d": (None, Takes.OPTIONAL)}),
     ("                              --mem >= --mem-per-cpu\n", {})],
)  # fmt: skip
def test_help_is_read_line_by_line(text: str, options: dict[str, tuple[str, Takes]]) -> None:
    """An option is at the start of a line, its description further right."""
    listed = listed_in_help(text)
    assert {name: (o.letter, o.takes) for name, o in listed.items()} == options


@given(st.text(st.sampled_from("-= [x]\n\t.,")))
def test_any_help_is_read(text: str) -> None:
    """The parser never fails, and each name that it finds can be passed."""
    for name in listed_in_help(text):
        sbatch.check_any_option(name)


# -- releases --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "release", "is_newer"),
    [("segment", "4", (22, 5), True), ("mem-update", "20@5", (25, 11), True),
     ("power", "x", (26, 5), False), ("requeue", "expedite", (25, 5), False),
     ("get-user-env", "10", (26, 5), False)],
)  # fmt: skip
def test_options_that_a_release_lacks(
    option: str, value: str, release: tuple[int, int], is_newer: bool
) -> None:
    """Options and values that are newer or gone are returned with their release."""
    (lack,) = sbatch.options_not_in_release([("mem", "1G"), (option, value)], release)
    assert (lack.name, lack.is_newer) == (option, is_newer)
    assert f"--{option}" in lack.reason
    assert "{}.{:02}".format(*release) in lack.reason


@pytest.mark.parametrize(
    ("option", "value", "release"),
    [("segment", "4", (24, 5)), ("power", "x", (23, 2)), ("requeue", "", (20, 11)),
     ("requeue", "expedite", (25, 11)), ("get-user-env", "", (26, 5)), ("resources", "a", (25, 5)),
     ("container-image", "x", (20, 11))],
)  # fmt: skip
def test_options_that_a_release_has(option: str, value: str, release: tuple[int, int]) -> None:
    """Options that the release has, may have, or that only the cluster knows are not returned."""
    assert list(sbatch.options_not_in_release([(option, value)], release)) == []


# -- check -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mem", "4G"), ("mem", "0"), ("mem-per-cpu", "1500"), ("time", "1-12"),
        ("time", "UNLIMITED"),
        ("partition", "main,short"), ("hold", ""), ("exclusive", ""), ("exclusive", "user"),
        ("nice", ""), ("nice", "-5"), ("comment", ""), ("comment", "a # b"), ("gres", "gpu:2"),
        ("cpus-per-task", "16"), ("constraint", "[a|b]&c"),
    ],
)  # fmt: skip
def test_check_lets_good_ones_pass(name: str, value: str) -> None:
    """Values that sbatch accepts stay unchanged."""
    assert sbatch.check_option(name, value) == (name, value)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("mem", "4Q", "bad-memory"),
        ("time", "1:2:3:4:5", "bad-time"),
        ("c", "0", "bad-number"),
        ("ntasks", "²", "bad-number"),
        ("hold", "yes", "unexpected-value"),
        ("partition", "", "missing-value"),
        ("comment", "a\nb", "control-character"),
        ("comment", "a\0b", "control-character"),
    ],
)
def test_check_refuses_bad_values(name: str, value: str, code: str) -> None:
    """The error has the name of the option."""
    option = sbatch.find_option(name).name
    with raises_error(BadInputError, code, option=option) as caught:
        sbatch.check_option(name, value)
    assert f"--{option}" in caught.value.message


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("o", "-o, -e"), ("error", "-o, -e"), ("open-mode", "-o, -e"),
        ("D", "cd"), ("W", "slurmslice run"), ("wrap", "--shell"), ("array", "--array"),
        ("parsable", "--json"), ("test-only", "--dry-run"), ("input", "SLICE"),
        ("clusters", "SLURM_CLUSTERS"), ("export-file", "--setup"), ("verbose", "sbatch"),
        ("quiet", "sbatch"), ("ignore-pbs", "#PBS"), ("job-name", "--name"), ("help", "--help"),
        ("V", "man sbatch"), ("external", "script"), ("autocomplete", "--help"),
    ],
)  # fmt: skip
def test_options_that_we_set_are_refused_with_our_option(name: str, says: str) -> None:
    """The hint names slurmslice's own option."""
    with raises_error(BadInputError, "option-not-allowed") as caught:
        sbatch.check_option(name, "x")
    assert says in caught.value.hint


# -- writing ---------------------------------------------------------------------------------


def test_the_block_is_readable() -> None:
    """Plain values have no quotes, others have double quotes.

    Flags have no ``=``; the order stays.
    """
    options = [
        ("job-name", "demo-k7m2"), ("array", "0-98:7%3"), ("hold", ""), ("exclusive", ""),
        ("nice", "-5"), ("comment", 'a "b" # c\\d'), ("wckey", ""), ("output", "/r u n/%a.log"),
    ]  # fmt: skip
    assert sbatch.format_directives(options) == (
        "#SBATCH --job-name=demo-k7m2\n"
        "#SBATCH --array=0-98:7%3\n"
        "#SBATCH --hold\n"
        "#SBATCH --exclusive\n"
        '#SBATCH --nice="-5"\n'
        '#SBATCH --comment="a \\"b\\" # c\\\\d"\n'
        '#SBATCH --wckey=""\n'
        '#SBATCH --output="/r u n/%a.log"\n'
    )


def test_block_of_nothing_is_nothing() -> None:
    """No options, no lines."""
    assert sbatch.format_directives([]) == ""


@pytest.mark.parametrize("value", ["a\nb", "\0"])
def test_the_block_refuses_a_line_end(value: str) -> None:
    """A line end in a value would end the directive."""
    with pytest.raises(BadInputError):
        sbatch.format_directives([("comment", value)])


def test_words_that_split_a_job_are_escaped() -> None:
    """``packjob`` in a line makes some releases split the job, so it is escaped."""
    text = sbatch.format_directives([("comment", "hetjob PackJob")])
    assert "hetjob" not in text.lower()
    assert "packjob" not in text.lower()
    assert sbatch.read_directives(text) == (("comment", "hetjob PackJob"),)


def test_the_block_holds_options_unknown_to_simple_slurm() -> None:
    """Newer options and a plugin's stand between the others, in the same form."""
    options = [("stepmgr", ""), ("mem", "4G"), ("container-image", "a b#c"), ("shell", "x"),
               ("oom-kill-step", "1"), ("zork", "")]  # fmt: skip
    assert sbatch.format_directives(options) == (
        "#SBATCH --stepmgr\n#SBATCH --mem=4G\n"
        '#SBATCH --container-image="a b#c"\n#SBATCH --shell=x\n'
        "#SBATCH --oom-kill-step=1\n#SBATCH --zork\n"
    )


VALUED = sorted(n for n, option in sbatch.known_options().items() if option.takes is Takes.VALUE)
VALUES = st.text(st.characters(blacklist_characters="\0\n", blacklist_categories=()))


@given(st.dictionaries(st.sampled_from(VALUED), VALUES))
def test_the_block_can_be_read_again(options: dict[str, str]) -> None:
    """All values survive writing and reading, also surrogates of odd bytes (promise 3)."""
    assert sbatch.read_directives(
        f"#!/bin/bash\n{sbatch.format_directives([*options.items()])}"
    ) == tuple(options.items())


# -- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("--mem=4G", {"mem": "4G"}),
        ("--mem 4G", {"mem": "4G"}),
        ("-t 1:00", {"time": "1:00"}),
        ("-t1:00", {"time": "1:00"}),
        ("-Hk -t 1:00", {"hold": "", "no-kill": "", "time": "1:00"}),
        ("-HOc2", {"hold": "", "overcommit": "", "cpus-per-task": "2"}),
        ("-koff", {"no-kill": "off"}),
        ("--mem=4G --time=5 -p main", {"mem": "4G", "time": "5", "partition": "main"}),
        ("--mem=4G # --time=5", {"mem": "4G"}),
        ("--comment=a#b --mem=4G", {"comment": "a"}),
        ('--comment="a # b" --mem=4G', {"comment": "a # b", "mem": "4G"}),
        ("--comment='a \"b' --mem=4G", {"comment": 'a "b', "mem": "4G"}),
        ('--comment="a \\"b\\\\" -H', {"comment": 'a "b\\', "hold": ""}),
        ('--comment=x"y z"w', {"comment": "xy zw"}),
        ("--comment=a\\#b", {"comment": "a#b"}),
        ('--comment="" --mem=4G', {"comment": "", "mem": "4G"}),
        ("--part=main", {"partition": "main"}),
        ("--comm=x", {"comment": "x"}),
        ("--tasks-per=2", {"ntasks-per-node": "2"}),
        ("--nice", {"nice": ""}),
        ("--nice=-5 --exclusive=user", {"nice": "-5", "exclusive": "user"}),
        ("--comment -x --job-name=-y", {"comment": "-x", "job-name": "-y"}),
        ("--mem=1 --mem=2", {"mem": "2"}),
        ("--requeue --no-requeue", {"no-requeue": ""}),
        ("--tmpfs=20G --mem=1", {"tmpfs": "20G", "mem": "1"}),
        ("--tmpfs 20G --mem=1", {"tmpfs": "20G", "mem": "1"}),
        ("--stepmgr --mem=1", {"stepmgr": "", "mem": "1"}),
    ],
)  # fmt: skip
def test_reads_a_line_as_sbatch_does(line: str, options: dict[str, str]) -> None:
    """Each documented form and each form that sbatch accepted."""
    assert dict(sbatch.read_directives(f"#!/bin/bash\n#SBATCH {line}\ntrue\n")) == options


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("#SBATCH --mem=1\n\n  \n# x\n#SBATCH --time=2\ntrue\n#SBATCH --hold\n", "mem=1 time=2"),
        ("  #SBATCH --mem=1\n", ""),
        ("#SBATCH--mem=1\n#SBATCH\t--time=2\n", "mem=1 time=2"),
        ("#SBATCH --mem\n#SBATCH\n#SBATCH 4G\n", "mem=4G"),
        ("##SBATCH --mem=1\n# SBATCH --time=2\n", ""),
        ("#SLURM --mem=1\n", "mem=1"),
        ("#SBATCH --mem=1\n#PBS -N x\n#SBATCH --ignore-pbs\n", "mem=1 ignore-pbs="),
        ("#SBATCH --mem=1\ntrue\n#PBS -N x\n", "mem=1"),
        ("#SBATCH --mem=1 #\f\n \v\n#SBATCH --time=2", "mem=1 time=2"),
        ("", ""),
    ],
)
def test_reads_the_lines_that_sbatch_reads(script: str, options: str) -> None:
    """Directives count until the first command; a value may be on the next line."""
    found = " ".join(f"{name}={value}" for name, value in sbatch.read_directives(script))
    assert found == options


@pytest.mark.parametrize(
    ("script", "code", "fields"),
    [
        ('#!/bin/sh\n#SBATCH --comment="a', "unclosed-quote", {"line": 2}),
        ("#SBATCH --mem=1\n#SBATCH 5", "unknown-option", {"line": 2, "option": "5"}),
        ("#SBATCH --nice 5", "unknown-option", {"option": "5"}),
        ("#SBATCH --mem-p=3", "ambiguous-option", {"line": 1, "option": "mem-p"}),
        ("#SBATCH --hold=1", "unexpected-value", {"option": "hold"}),
        ("#SBATCH --mem", "missing-value", {"option": "mem"}),
        ("#SBATCH -t", "missing-value", {"option": "time"}),
        ("#SBATCH -j 3", "unknown-option", {"option": "j"}),
        ("#SBATCH --mem=1 : --mem=2", "heterogeneous-job", {"line": 1}),
        ("#SBATCH hetjob", "heterogeneous-job", {"line": 1}),
        ("#SBATCH --mem=1 -- --time=2", "unknown-option", {"option": "--"}),
        ("#SBATCH -", "unknown-option", {"option": "-"}),
        ("\n#PBS -N x", "foreign-directive", {"line": 2}),
        ("#BSUB -J x", "foreign-directive", {"line": 1}),
        ('#SBATCH --comment "" --mem=1', "missing-value", {"option": "comment"}),
    ],
)
def test_the_error_names_the_line_that_sbatch_cannot_read(
    script: str, code: str, fields: dict[str, object]
) -> None:
    """An unreadable edit is refused with its line before the submission."""
    with raises_error(BadInputError, code, **fields):
        sbatch.read_directives(script)


@given(st.text(st.sampled_from("-= \"'\\#:abmetmp\n\t1%$`SBATCH")))
def test_any_script_is_read_or_refused(text: str) -> None:
    """The parser raises only its own error."""
    for script in (text, f"#SBATCH {text}"):
        try:
            sbatch.read_directives(script)
        except BadInputError:
            continue


# -- in force --------------------------------------------------------------------------------


def test_the_command_line_outranks_the_script() -> None:
    """The later option counts; opposite options remove each other."""
    script = (("mem", "1G"), ("requeue", ""), ("array", "0-9"), ("exclusive", ""))
    overrides = (("array", "3"), ("no-requeue", ""), ("oversubscribe", ""))
    assert sbatch.merge_options(script, overrides) == (
        ("mem", "1G"), ("array", "3"), ("no-requeue", ""), ("oversubscribe", ""),
    )  # fmt: skip


# -- an option that is given twice -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values", "in_force"),
    [
        ("mail-type", ("BEGIN", "END", "BEGIN,FAIL"), "BEGIN,END,FAIL"),
        ("mail-type", ("END", "NONE"), "END"),
        ("mail-type", ("NONE", "END"), "END"),
        ("kill-on-invalid-dep", ("yes", "no"), "yes"),
        ("kill-on-invalid-dep", ("no", "yes"), "yes"),
        ("mem-bind", ("local", "verbose"), "local,verbose"),
        ("mem-bind", ("rank,local", "rank"), "rank,local,rank"),
        ("signal", ("B:USR1@30", "USR2@40"), "B:USR2@40"),
        ("signal", ("B:USR1", "R:USR2"), "RB:USR2"),
        ("switches", ("2@10", "3"), "3@10"),
        ("switches", ("2@10", "3@20"), "3@20"),
        ("export", ("A", "B"), "B"),
        ("dependency", ("afterok:1", "afterok:2"), "afterok:2"),
        ("constraint", ("a", "b"), "b"),
        ("exclude", ("n1", "n2"), "n2"),
        ("gres", ("gpu:1", "foo:2"), "foo:2"),
        ("licenses", ("a", "b"), "b"),
    ],
)
def test_an_option_given_twice_is_what_sbatch_makes_of_it(
    name: str, values: tuple[str, ...], in_force: str
) -> None:
    """As ``sbatch -v`` of 22.05 and 24.11 prints it; on the command line, in a script, and both."""
    assert values_in_force((name, value) for value in values) == {name: in_force}
    lines = "".join(f"#SBATCH --{name}={value}\n" for value in values)
    assert dict(read_directives(f"#!/bin/bash\n{lines}true\n")) == {name: in_force}
    script, *rest = values
    over = merge_options([(name, script)], [(name, value) for value in rest])
    assert dict(over) == {name: in_force}
