"""The signature of a log: equal for one error, different for two (ADR 43)."""

from __future__ import annotations

from itertools import combinations

import pytest

from slurmslice.policy.error_lines import find_error_line, first_line
from slurmslice.policy.failure_signature import log_signature
from slurmslice.policy.log_causes import find_cause
from slurmslice.policy.signatures import (
    SliceValues,
    common_words,
    group_id,
    line_signature,
    own_values,
)
from tests.unit.policy.log_tails import TAILS, Tail


def signature(text: str, cause: str = "exit:1", **values: str) -> str:
    """Return the signature of a log of a slice with these values."""
    key = values.pop("key", "0")
    own = SliceValues(own_values(key, tuple(values.items())))
    found = log_signature(text.encode(), cause, own)
    assert found
    return found.signature


def id_of(tail: Tail) -> str:
    """Return the id of the group of a log."""
    found = log_signature(
        tail.text.encode(), tail.cause, SliceValues(own_values(tail.key, tail.columns))
    )
    assert found
    return group_id(tail.cause, found.signature)


def test_pairs_are_grouped_as_a_person_labels_them() -> None:
    """At least 95 % of all pairs, and of those pairs that a person calls one error."""
    assert len(TAILS) >= 40
    ids = [id_of(tail) for tail in TAILS]
    wrong = [
        (a.label, b.label)
        for (a, first), (b, second) in combinations(zip(TAILS, ids, strict=True), 2)
        if (a.label == b.label) != (first == second)
    ]
    alike = [pair for pair in combinations(TAILS, 2) if pair[0].label == pair[1].label]
    assert len(wrong) <= 0.05 * len(alike), wrong


def test_the_named_causes_of_the_logs_are_those_of_the_table() -> None:
    """The labels and the shipped causes agree."""
    named = {"no-space", "cuda-oom", "module-missing", "quota"}
    assert [t.label for t in TAILS if (find_cause(t.text.encode()) or "exit:1") in named] == [
        t.label for t in TAILS if t.cause in named
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("OSError: [Errno 2] failed", "OSError: [Errno 28] failed"),
        ("HTTP Error 404: gone", "HTTP Error 500: gone"),
        ("requests.HTTPError: 404 Client Error", "requests.HTTPError: 403 Client Error"),
        ("error: got HTTP/1.1 503", "error: got HTTP/1.1 500"),
        ("worker failed, exit code 3", "worker failed, exit code 4"),
        ("child exited with 3: error", "child exited with 4: error"),
        ("returned non-zero exit status 1: error", "returned non-zero exit status 2: error"),
        ("error: killed by signal 9", "error: killed by signal 11"),
        ("ValueError: negative mass", "ValueError: too many steps"),
        ("No module named 'numpy': error", "No module named 'pandas': error"),
        ("cannot open config.yaml", "cannot open data.h5"),
    ],
)
def test_different_errors_stay_apart(one: str, other: str) -> None:
    """Codes and names are kept."""
    assert signature(one) != signature(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("error in line 3", "error in line 3000"),
        ("failed after 3.5 s at 2026-01-02T10:11:12Z", "failed after 12 s at 2025-11-30 23:59:59"),
        ("cannot open /a/b/x.dat", "cannot open ../c/x.dat"),
        ("error at 0x7ffe12", "error at 0x5581aa02"),
        ("error of n003", "error of n117"),
        ("could not allocate 3.2 GiB", "could not allocate 980.50 MiB"),
        ("error: id 3f2504e0-4f89-11d3-9a0c-0305e82c3301",
         "error: id 9b2e04e0-4f89-11d3-9a0c-0305e82c33ff"),
        ("KeyError: 'TP53'", "KeyError: 'BRCA'"),
        ("error: shape (1, 2) of 3", "error: shape (10, 20, 30) of 4"),
        ("[rank3]: error: bad", "[rank0]: error: bad"),
        ("error: bad request to http://a.org/x?y=1", "error: bad request to https://b.org/zz"),
        ("error: tmp file /tmp/tmpab12cd34/x is bad", "error: tmp file /tmp/tmpzz99yy00/x is bad"),
    ],
)  # fmt: skip
def test_what_differs_from_slice_to_slice_goes(one: str, other: str) -> None:
    """Numbers, times, folders, hosts and addresses do not count."""
    assert signature(one) == signature(other)


def test_own_values_become_names() -> None:
    """Whole tokens only, longest first; a value of one letter does not change other words."""
    found = signature("error: no rows for alice in set b1.x", key="alice", set="b1.x")
    assert found == "error: no rows for {key} in set {set}"
    assert signature("error: alices", key="alice") == "error: alices"
    assert signature("cannot read /d/alice_sorted.bam", key="alice") == (
        "cannot read {key}_sorted.bam"
    )
    assert signature("error: /d/lr=0.1,s=2/x.h5", key="lr=0.1,s=2") == "error: x.h#"


def test_a_key_that_is_a_number_takes_nothing() -> None:
    """Key 3 does not eat the 3 in line 37, nor the one in errno 3."""
    assert "{" not in signature("error in line 37 of part 3, errno 3", key="3", lr="0.1")
    assert signature("Errno 3: error", key="3") == "Errno 3: error"


def test_values_of_other_slices_count_if_there_are_few() -> None:
    """A word of the message that is a value of one slice gives one group for all."""
    words = common_words([("key", map(str, range(5))), ("dtype", ["float", "int", "float"])])
    assert words == {"float": "dtype", "int": "dtype"}
    line = "error: cannot convert float NaN"
    found = {
        line_signature(line, SliceValues(own_values(key, [("dtype", dtype)]), words))
        for key, dtype in (("0", "float"), ("1", "int"))
    }
    assert found == {"error: cannot convert {dtype} NaN"}
    many = common_words([("name", (f"n{number}" for number in range(2000)))])
    assert many == {}


def test_a_value_cannot_look_like_a_name() -> None:
    """Names of columns have digits, and values have braces: neither is changed again."""
    found = signature("error: bad x1y with {lr}", lr="x1y", x1="7")
    assert found == "error: bad {lr} with {lr}"


def test_the_line_of_a_log_as_it_stands() -> None:
    """What a program says comes before what a launcher says; the frame is the program's own."""
    log = (
        b"step 1\rstep 2\nTraceback (most recent call last):\n"
        b'  File "/a/x.py", line 3, in fit\n    solve(a)\n'
        b'  File "/v/site-packages/np/linalg.py", line 9, in solve\n    raise E\n'
        b"np.LinAlgError: Singular matrix 17\nsrun: error: n1: task 0: Exited with exit code 1\n"
    )
    found = find_error_line(log)
    assert found
    assert found.text == "np.LinAlgError: Singular matrix 17"
    assert found.frame == "x.py:fit"


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (b"", None),
        (b"\n  \n---\n", None),
        (b"all is well\n", "all is well"),
        (b"could not read x\nbye\n====\n", "could not read x"),
        (b"100%|####| 3/3\rerror: \xff\n", "error: \udcff"),
        (b"Traceback (most recent call last):\n  File", "File"),
        (b"x" * 70000 + b"\nKilled\n", "Killed"),
        (b"x" * 70000, "x" * 1000),
        (b"a.c:1:2: error: first\na.c:9:2: error: second\n", "a.c:1:2: error: first"),
        (b"make[1]: *** [a] Error 1\nmake: *** [b] Error 2\n", "make[1]: *** [a] Error 1"),
        (b"Error in f(x) :\n  too few points\nCalls: f\n", "Error in f(x) : too few points"),
    ],
)
def test_odd_logs_have_a_line_too(log: bytes, line: str | None) -> None:
    """No log raises an error."""
    found = find_error_line(log)
    assert (found.text if found else None) == line


def test_the_text_of_a_persons_cause_is_the_line() -> None:
    """A cause of the settings names the group, and its text is shown."""
    log = b"no licence is free (17)\nTraceback (most recent call last):\nValueError: x\n"
    own = ("licence=no licence is free",)
    found = find_error_line(log, "licence", own)
    assert found
    assert found.text == "no licence is free (17)"
    known = log_signature(log, "licence", SliceValues(), own)
    assert known
    assert known.signature == "licence"


def test_a_reason_that_the_program_wrote_itself() -> None:
    """Its first line with text counts."""
    found = first_line(b"\n  mass is negative \nmore\n")
    assert found
    assert found.text == "mass is negative"
    assert first_line(b" \n") is None
