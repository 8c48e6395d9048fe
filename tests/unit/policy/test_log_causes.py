"""Named causes: what the end of a log says about a failure, and the causes of a person."""

from __future__ import annotations

import pytest

from slurmslice.errors import BadInputError
from slurmslice.policy.ladder import Left, RepairPolicy, next_step
from slurmslice.policy.log_causes import KNOWN_CAUSES, find_cause
from slurmslice.policy.repair_rules import StepKind, parse_rule

OWN = ("licence=no licen*e is free", "quota=over your limit")


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b"torch.cuda.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.0 GiB", "cuda-oom"),
        (b"tensorflow: RESOURCE_EXHAUSTED: Out of memory while trying to allocate", "cuda-oom"),
        (b"numpy._core._exceptions._ArrayMemoryError: Unable to allocate 8 TiB", "memory-error"),
        (b"terminate called after throwing an instance of 'std::bad_alloc'", "memory-error"),
        (b"Error: cannot allocate vector of size 3.7 Gb", "memory-error"),
        (b'Exception in thread "main" java.lang.OutOfMemoryError: Java heap', "memory-error"),
        (b"OSError: [Errno 122] Disk quota exceeded: 'out.h5'", "quota"),
        (b"cp: error writing 'out': No space left on device", "no-space"),
        (b"cat: in.txt: Stale file handle", "stale-handle"),
        (b"ModuleNotFoundError: No module named 'h5py'", "module-missing"),
        (b"Error in library(rhdf5) : there is no package called 'rhdf5'", "module-missing"),
        (b'Lmod: The following module(s) are unknown: "gcc/99"', "module-missing"),
    ],
)
def test_the_known_causes(line: bytes, cause: str) -> None:
    """Each is found in one line of a log, also beside bytes that are no text."""
    assert find_cause(b"\xff\0begin\n" + line + b"\nend\n") == cause


@pytest.mark.parametrize("log", [b"", b"memory: 3 GB of 4 GB\nquota: 50 %\n", b"\0" * 100])
def test_a_log_without_a_cause(log: bytes) -> None:
    """Words about memory or quota alone name no cause."""
    assert find_cause(log) == ""


def test_the_last_cause_in_the_log_counts() -> None:
    """A program may survive an error, and end by another one."""
    early, late = b"No space left on device\n", b"MemoryError\n"
    assert find_cause(early + late) == "memory-error"
    assert find_cause(late + early) == "no-space"


def test_a_persons_cause_comes_first_and_replaces_a_known_one() -> None:
    """It counts wherever it stands; a known name gets the person's pattern alone."""
    assert find_cause(b"no license is free\nMemoryError\n", OWN) == "licence"
    assert find_cause(b"Disk quota exceeded\n", OWN) == ""
    assert find_cause(b"over your limit\n", OWN) == "quota"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad-cause"),
        ("licence", "bad-cause"),
        ("licence=", "bad-cause"),
        ("=text", "bad-cause"),
        ("My Cause=text", "bad-cause"),
        ("exit:3=text", "bad-cause"),
        ("licence=*", "bad-cause"),
        ("licence=**", "bad-cause"),
        ("node=text", "bad-cause"),
        ("preempted=text", "bad-cause"),
        ("oom=text", "bad-cause"),
        ("failed=text", "bad-cause"),
        ("exit=text", "bad-cause"),
        ("bad-node=text", "bad-cause"),
        ("not-found=text", "bad-cause"),
    ],
)
def test_a_wrong_cause_is_refused(text: str, code: str) -> None:
    """A text that is always found would name every failure; a built-in word would get its rules."""
    with pytest.raises(BadInputError) as refused:
        find_cause(b"", (text,))
    assert refused.value.code == code


@pytest.mark.parametrize("cause", [*(known.name for known in KNOWN_CAUSES), "not-found", "licence"])
def test_only_a_rule_that_names_a_cause_repairs_it(cause: str) -> None:
    """``failed`` and the defaults do not: most of these do not pass by trying again."""
    for policy in (
        RepairPolicy(4, retry=True),
        RepairPolicy(4),
        RepairPolicy(4, on=("failed=again", "exit:1=again")),
    ):
        assert isinstance(next_step(policy, cause, ()), Left)
    named = RepairPolicy(4, on=(f"{cause}=again",), causes=OWN)
    step = next_step(named, cause, ())
    assert not isinstance(step, Left)
    assert step.kind is StepKind.AGAIN


def test_a_rule_may_name_a_persons_cause_if_there_is_one() -> None:
    """Else the rule is refused, with the nearest cause."""
    assert parse_rule("licence=again", OWN).cause == "licence"
    for text, nearest in (("licence=again", None), ("quotas=again", "quota")):
        with pytest.raises(BadInputError) as refused:
            parse_rule(text)
        assert refused.value.code == "unknown-cause"
        assert refused.value.fields["nearest"] == nearest


def test_an_exit_with_a_name_is_named_by_its_code_too() -> None:
    """``exit:127`` and ``exit:120-130`` are not-found as well."""
    for rule in ("exit:127=again", "exit:120-130=again", "not-found=again"):
        assert not isinstance(next_step(RepairPolicy(4, on=(rule,)), "not-found", ()), Left)


@pytest.mark.parametrize(
    ("text", "log", "found"),
    [
        ("a*b", b"x a 1 b\n", True),
        ("a*b", b"a\nb\n", False),
        ("a*b", b"a\rb\n", False),
        ("a*b", b"b a\n", False),
        ("a*a", b"a\n", False),
        ("*a*", b"xax", True),
        ("(a+)+$", b"a" * (64 << 10) + b"b", False),
        ("(a+)+$", b"(a+)+$", True),
        ("epoch*loss*diverged", b"epoch 1 loss 2\r" * 4000, False),
    ],
)
def test_a_star_stands_for_any_characters_in_a_line(text: str, log: bytes, found: bool) -> None:
    """All else is a text as it is, so no search is endless."""
    assert find_cause(log, (f"mine={text}",)) == ("mine" if found else "")
