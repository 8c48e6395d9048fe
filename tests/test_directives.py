"""sbatch's options: what a person may ask for, what the script says, what is in force."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice import directives
from slurmslice.directives import Takes
from slurmslice.errors import BadInput
from tests.errors import raises_error

# -- names -----------------------------------------------------------------------------------


def test_names_are_simple_slurms_and_kinds_are_sbatchs() -> None:
    """Long names come with dashes, letters and what they take (sbatch --help of 22.05)."""
    known = directives.names()
    assert known["cpus-per-task"].letter == "c"
    assert known["mem-per-cpu"].letter is None
    kinds = {kind: {n for n, option in known.items() if option.takes is kind} for kind in Takes}
    assert kinds[Takes.PERHAPS] == {"exclusive", "get-user-env", "nice", "no-kill", "propagate"}
    assert kinds[Takes.NOTHING] == {
        "contiguous", "hold", "ignore-pbs", "no-requeue", "overcommit", "oversubscribe",
        "parsable", "quiet", "reboot", "requeue", "spread-job", "test-only", "use-min-nodes",
        "verbose", "wait",
    }  # fmt: skip
    assert {"shell", "array-inx"}.isdisjoint(known)


def test_simple_slurm_changes_nothing_of_the_process() -> None:
    """It reads SQUEUE_FORMAT, raises where that is odd, and sets up logging: not with us."""
    program = (
        "import logging, os\n"
        "from slurmslice import directives\n"
        "directives.names(); directives.block([('mem', '1G')])\n"
        "assert os.environ['SQUEUE_FORMAT'] == '%i \"', os.environ\n"
        "root = logging.getLogger()\n"
        "assert (root.handlers, root.level) == ([], logging.WARNING), root\n"
    )
    env = {**os.environ, "SQUEUE_FORMAT": '%i "'}
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_logging_is_put_back_after_a_failure() -> None:
    """An error in between leaves handlers and level as they were."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with pytest.raises(BadInput):
        directives.block([("mem", "1\n2")])
    assert (root.handlers, root.level) == before


@pytest.mark.parametrize(
    ("given", "long"),
    [("mem", "mem"), ("--mem", "mem"), ("c", "cpus-per-task"), ("-c", "cpus-per-task"),
     ("cpus_per_task", "cpus-per-task"), ("tasks-per-node", "ntasks-per-node")],
)  # fmt: skip
def test_find_takes_every_spelling(given: str, long: str) -> None:
    """Letters, dashes and underscores lead to the long name."""
    assert directives.find(given).name == long


@pytest.mark.parametrize("name", ["arr", "shell", "", "ä", "mme"])
def test_find_takes_no_prefix_and_nothing_unknown(name: str) -> None:
    """Beginnings of names, and simple_slurm's own methods, are no options."""
    with raises_error(BadInput, "unknown-option", option=name):
        directives.find(name)


def test_the_nearest_name_is_told() -> None:
    """A typing error ends in the name that was meant."""
    with raises_error(BadInput, "unknown-option", nearest="cpus-per-task"):
        directives.check("cpu-per-task", "2")


# -- check -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mem", "4G"), ("mem", "0"), ("mem-per-cpu", "1500"), ("time", "1-12"),
        ("time", "UNLIMITED"),
        ("partition", "main,short"), ("hold", ""), ("exclusive", ""), ("exclusive", "user"),
        ("nice", ""), ("nice", "-5"), ("comment", ""), ("comment", "a # b"), ("gres", "gpu:2"),
        ("job-name", "x" * 200), ("cpus-per-task", "16"), ("constraint", "[a|b]&c"),
    ],
)  # fmt: skip
def test_check_lets_good_ones_pass(name: str, value: str) -> None:
    """What sbatch takes is taken, unchanged."""
    assert directives.check(name, value) == (name, value)


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
        ("job-name", "é" * 101, "name-too-long"),
    ],
)
def test_check_refuses_bad_values(name: str, value: str, code: str) -> None:
    """A value that sbatch or the script cannot take is refused, with the option's name."""
    option = directives.find(name).name
    with raises_error(BadInput, code, option=option) as caught:
        directives.check(name, value)
    assert f"--{option}" in caught.value.message


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("o", "slurmslice logs"), ("error", "slurmslice logs"), ("open-mode", "slurmslice logs"),
        ("D", "cd"), ("W", "slurmslice run"), ("wrap", "--shell"), ("array", "--array"),
        ("parsable", "--json"), ("test-only", "--dry-run"), ("input", "SLICE"),
        ("clusters", "SLURM_CLUSTERS"), ("export-file", "--setup"), ("verbose", "sbatch"),
        ("quiet", "sbatch"), ("ignore-pbs", "#PBS"),
    ],
)  # fmt: skip
def test_options_of_our_own_are_refused_with_our_way(name: str, says: str) -> None:
    """What slurmslice sets itself is refused, and our way is named."""
    with raises_error(BadInput, "option-not-allowed") as caught:
        directives.check(name, "x")
    assert says in caught.value.hint


# -- writing ---------------------------------------------------------------------------------


def test_block_is_what_a_person_reads() -> None:
    """Plain values stand bare, others in double quotes; flags without ``=``; order is kept."""
    options = [
        ("job-name", "demo-k7m2"), ("array", "0-98:7%3"), ("hold", ""), ("exclusive", ""),
        ("nice", "-5"), ("comment", 'a "b" # c\\d'), ("wckey", ""), ("output", "/r u n/%a.log"),
    ]  # fmt: skip
    assert directives.block(options) == (
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
    assert directives.block([]) == ""


@pytest.mark.parametrize("value", ["a\nb", "\0"])
def test_block_refuses_what_no_line_can_hold(value: str) -> None:
    """A line end in a value would end the directive."""
    with pytest.raises(BadInput):
        directives.block([("comment", value)])


def test_words_that_part_a_job_do_not_stand_in_a_line() -> None:
    """``packjob`` anywhere in a line makes some releases split the job: it is written apart."""
    text = directives.block([("comment", "hetjob PackJob")])
    assert "hetjob" not in text.lower()
    assert "packjob" not in text.lower()
    assert directives.read(text) == (("comment", "hetjob PackJob"),)


VALUED = sorted(n for n, option in directives.names().items() if option.takes is Takes.VALUE)
VALUES = st.text(st.characters(blacklist_characters="\0\n", blacklist_categories=()))


@given(st.dictionaries(st.sampled_from(VALUED), VALUES))
def test_what_block_writes_is_read_back(options: dict[str, str]) -> None:
    """Any values survive writing and reading, surrogates of odd bytes too (promise 3)."""
    assert directives.read(f"#!/bin/bash\n{directives.block([*options.items()])}") == tuple(
        options.items()
    )


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
    """Each documented form, and each that sbatch was seen to take."""
    assert dict(directives.read(f"#!/bin/bash\n#SBATCH {line}\ntrue\n")) == options


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
    """Directives count until the first command; a value may stand a line below."""
    found = " ".join(f"{name}={value}" for name, value in directives.read(script))
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
def test_says_which_line_sbatch_could_not_read(
    script: str, code: str, fields: dict[str, object]
) -> None:
    """An edit that sbatch would refuse is refused by its line, before anything is submitted."""
    with raises_error(BadInput, code, **fields):
        directives.read(script)


@given(st.text(st.sampled_from("-= \"'\\#:abmetmp\n\t1%$`SBATCH")))
def test_any_script_is_read_or_refused(text: str) -> None:
    """No script makes the reader fail in another way."""
    for script in (text, f"#SBATCH {text}"):
        try:
            directives.read(script)
        except BadInput:
            continue


# -- in force --------------------------------------------------------------------------------


def test_the_command_line_outranks_the_script() -> None:
    """The later one counts, at the first one's place; opposites push each other out."""
    script = (("mem", "1G"), ("requeue", ""), ("array", "0-9"), ("exclusive", ""))
    overrides = (("array", "3"), ("no-requeue", ""), ("oversubscribe", ""))
    assert directives.in_force(script, overrides) == (
        ("mem", "1G"), ("array", "3"), ("no-requeue", ""), ("oversubscribe", ""),
    )  # fmt: skip
