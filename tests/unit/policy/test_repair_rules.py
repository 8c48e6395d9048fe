"""The language of rules: what is read, and what is refused with the nearest right form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.errors import BadInputError
from slurmslice.policy.causes import CAUSES, SIGNAL_NAMES
from slurmslice.policy.repair_rules import RepairRule, Step, StepKind, parse_rule, parse_rules

AGAIN = Step(StepKind.AGAIN)


def change(**options: str) -> Step:
    """Return a step that changes options."""
    return Step(StepKind.CHANGE, tuple((name.replace("_", "-"), v) for name, v in options.items()))


@pytest.mark.parametrize(
    ("text", "cause", "steps"),
    [
        ("oom=leave", "oom", (Step(StepKind.LEAVE),)),
        (" node = elsewhere ", "node", (Step(StepKind.ELSEWHERE),)),
        ("exit:75=again", "exit:75", (AGAIN,)),
        ("exit:7-7=again", "exit:7", (AGAIN,)),
        ("signal:SEGV=again", "signal:SEGV", (AGAIN,)),
        ("timeout=--time=1.5x", "timeout", (change(time="1.5x"),)),
        ("oom=--mem 2x", "oom", (change(mem="2x"),)),
        ("oom=--mem=16G;--mem=64G -p fat", "oom",
         (change(mem="16G"), change(mem="64G", partition="fat"))),
        ("oom=again; -c4 --mem-per-cpu=2x; leave", "oom",
         (AGAIN, change(cpus_per_task="4", mem_per_cpu="2x"), Step(StepKind.LEAVE))),
        ("check=--comment 'a; b'", "check", (change(comment="a; b"),)),
        ("check=--sbatch site-option=3", "check", (change(site_option="3"),)),
    ],
)  # fmt: skip
def test_a_rule_is_read(text: str, cause: str, steps: tuple[Step, ...]) -> None:
    """Words, options as ``resubmit`` takes them, and ladders of both."""
    assert parse_rule(text) == RepairRule(cause, steps)


@pytest.mark.parametrize(
    ("text", "code", "nearest"),
    [
        ("oom", "bad-rule", None),
        ("=again", "bad-rule", None),
        ("oom=leave; again", "bad-rule", None),
        ("oon=again", "unknown-cause", "oom"),
        ("OUT_OF_MEMORY=again", "unknown-cause", "oom"),
        ("75=again", "unknown-cause", "exit:75"),
        ("exit75=again", "unknown-cause", "exit:75"),
        ("exit:9-3=again", "unknown-cause", "exit:3-9"),
        ("exit:0=again", "unknown-cause", None),
        ("exit:256=again", "unknown-cause", None),
        ("SIGKILL=again", "unknown-cause", "signal:KILL"),
        ("signal:SIGSEGV=again", "unknown-cause", "signal:SEGV"),
        ("signal:segv=again", "unknown-cause", "signal:SEGV"),
        ("entirely-else=again", "unknown-cause", None),
        ("oom=", "unknown-step", None),
        ("oom=again;", "unknown-step", None),
        ("oom=retry", "unknown-step", "again"),
        ("oom=elswhere", "unknown-step", "elsewhere"),
        ("oom=mem=2x", "unknown-step", "--mem=2x"),
        ("oom=again --mem=2x", "unknown-step", None),
        ("oom=--meem=2x", "unknown-option", "mem"),
        ("oom=--mem", "missing-value", None),
        ("oom=--mem=much", "bad-memory", None),
        ("oom=--cpus-per-task=2x", "bad-number", None),
        ("oom=--mem=1G --mem-per-cpu=1G", "options-conflict", None),
        ("oom=--array=3", "option-not-allowed", None),
        ("oom=--comment='a", "unclosed-quote", None),
    ],
)
def test_a_wrong_rule_is_refused_with_the_nearest_right_form(
    text: str, code: str, nearest: str | None
) -> None:
    """Nothing unknown is ignored: a rule that does nothing would be found after a night."""
    with pytest.raises(BadInputError) as refused:
        parse_rule(text)
    assert refused.value.code == code
    if nearest is not None:
        assert refused.value.fields["nearest"] == nearest


def test_a_later_rule_replaces_the_whole_ladder() -> None:
    """Rules are merged by cause; a range of exit codes is a cause of its own."""
    rules = parse_rules(["oom=--mem=2x; again", "exit:1-9=again", "exit:5=leave", "oom=leave"])
    assert [rule.text for rule in rules] == ["oom=leave", "exit:1-9=again", "exit:5=leave"]


exits = st.integers(1, 255)
causes = st.one_of(
    st.sampled_from(sorted(CAUSES)),
    exits.map(lambda code: f"exit:{code}"),
    st.tuples(exits, exits).map(lambda two: f"exit:{min(two)}-{max(two)}"),
    st.sampled_from(sorted(SIGNAL_NAMES)).map(lambda name: f"signal:{name}"),
)
steps = st.sampled_from(["again", "elsewhere", "--mem=2x", "--time 1.5x", "-p fat --mem=64G"])


@given(causes, st.lists(steps, min_size=1, max_size=5))
def test_the_recorded_text_means_the_same(cause: str, ladder: list[str]) -> None:
    """``run.json`` and the journal have the text of a rule; it is read back as the same rule."""
    rule = parse_rule(f"{cause}={'; '.join(ladder)}")
    assert len(rule.steps) == len(ladder)
    assert parse_rule(rule.text) == rule


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    """No text ends in a traceback."""
    try:
        rule = parse_rule(text)
    except BadInputError:
        return
    assert rule.steps


@given(exits, exits, exits)
def test_a_range_covers_its_codes(first: int, last: int, code: int) -> None:
    """Both ends belong to a range."""
    first, last = sorted((first, last))
    rule = parse_rule(f"exit:{first}-{last}=again")
    assert rule.covers(f"exit:{code}") is (first <= code <= last)
    assert rule.width == last - first + 1
