"""The rules of repair by cause, and the only parser of them: ``CAUSE=STEPS``. Pure.

The same text is typed after ``--on``, stands in ``[policy.on]``, in ``run.json`` and in the
journal. ``docs/adr/0021`` describes the language.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from slurmslice import sbatch
from slurmslice.errors import BadInputError
from slurmslice.policy.causes import CAUSES, EXIT, EXIT_CAUSES, SIGNAL, SIGNAL_NAMES
from slurmslice.policy.log_causes import causes_in_force
from slurmslice.sbatch.options import MEMORY_OPTIONS, known_spellings
from slurmslice.sbatch.script_reader import parse_option_words
from slurmslice.sbatch.units import is_factor

RULE_FORM = "CAUSE=STEPS, as in --on oom=--mem=2x, --on exit:75=again, --on 'oom=--mem=8G; leave'"


class StepKind(StrEnum):
    """The kinds of steps. A person types the first three as words, and ``change`` as options."""

    LEAVE = "leave"
    AGAIN = "again"
    ELSEWHERE = "elsewhere"
    CHANGE = "change"
    MORE_MEMORY = "more memory"  # the default for oom; it has no word of its own


@dataclass(frozen=True, slots=True)
class Step:
    """One rung of a ladder.

    Attributes:
        kind: its kind.
        changes: the changes of the request, names and values as ``resubmit`` takes them.
    """

    kind: StepKind
    changes: tuple[tuple[str, str], ...] = ()

    @property
    def may_repeat(self) -> bool:
        """True if the step may help again: it is no fixed request that was tried before."""
        return self.kind is not StepKind.CHANGE or any(is_factor(v) for _, v in self.changes)


@dataclass(frozen=True, slots=True)
class RepairRule:
    """A rule: the steps that follow one cause.

    Attributes:
        cause: the cause as typed: ``oom``, ``exit:75``, ``exit:10-20``.
        steps: the ladder, one step or more.
        text: the rule as typed; empty for a default.
    """

    cause: str
    steps: tuple[Step, ...]
    text: str = field(default="", compare=False)

    def covers(self, cause: str) -> bool:
        """Tell if the rule names a cause, also within a range of exit codes."""
        if cause.startswith(EXIT) and self.cause.startswith(EXIT):
            first, last = _exit_codes(self.cause)
            return first <= int(cause.removeprefix(EXIT)) <= last
        return cause == self.cause

    @property
    def width(self) -> int:
        """The number of exit codes that the rule names; 1 for another cause."""
        if not self.cause.startswith(EXIT):
            return 1
        first, last = _exit_codes(self.cause)
        return last - first + 1


def parse_rules(texts: Iterable[str], causes: tuple[str, ...] = ()) -> tuple[RepairRule, ...]:
    """Parse rules. A later rule replaces an earlier one with the same cause.

    Args:
        texts: the rules.
        causes: the person's named causes.

    Raises:
        BadInputError: as ``parse_rule``.
    """
    rules = (parse_rule(text, causes) for text in texts)
    return tuple({rule.cause: rule for rule in rules}.values())


def parse_rule(text: str, causes: tuple[str, ...] = ()) -> RepairRule:
    """Parse ``CAUSE=STEPS``; ``causes`` are the person's named causes.

    Raises:
        BadInputError: there is no such cause (``unknown-cause``) or step (``unknown-step``), or
            the text has another form (``bad-rule``).
    """
    cause, equals, steps = (part.strip() for part in text.partition("="))
    if not equals or not cause:
        raise BadInputError(
            f"{text!r} is not a rule.", f"Write {RULE_FORM}.", code="bad-rule", value=text
        )
    checked = parse_cause(cause, causes)
    ladder = tuple(_parse_step(words, text) for words in _split_steps(steps, text))
    early = [step for step in ladder[:-1] if step.kind is StepKind.LEAVE]
    if early:
        raise BadInputError(
            f"{text!r} has a step after `leave`, which ends a ladder.",
            "Write `leave` as the last step.",
            code="bad-rule",
            value=text,
        )
    return RepairRule(checked, ladder, f"{checked}={steps}")


_EXIT_CODES = re.compile(r"exit:(\d{1,3})(?:-(\d{1,3}))?")


def _exit_codes(cause: str) -> tuple[int, int]:
    match = _EXIT_CODES.fullmatch(cause)
    if match is None:
        raise ValueError(f"{cause} is not a range of exit codes")
    return int(match[1]), int(match[2] or match[1])


def _named_causes(causes: tuple[str, ...]) -> list[str]:
    """List the named causes: those of logs, and those of exits."""
    of_logs = [cause.name for cause in causes_in_force(causes)]
    return list(dict.fromkeys([*of_logs, *EXIT_CAUSES.values()]))


def parse_cause(cause: str, causes: tuple[str, ...] = ()) -> str:
    """Return a cause in its usual form; ``causes`` are the person's named causes.

    Raises:
        BadInputError: there is no such cause (``unknown-cause``).
    """
    named = _named_causes(causes)
    if cause in {*CAUSES, *named} or (
        cause.startswith(SIGNAL) and cause[len(SIGNAL) :] in SIGNAL_NAMES
    ):
        return cause
    if _EXIT_CODES.fullmatch(cause):
        first, last = _exit_codes(cause)
        if 1 <= first <= last <= 255:
            return cause if "-" not in cause or first != last else f"{EXIT}{first}"
    near = _nearest_cause(cause, named)
    meant = f"Did you mean {near}? " if near else ""
    raise BadInputError(
        f"There is no cause {cause!r}.",
        f"{meant}Causes: {', '.join(CAUSES)}, exit:N, exit:N-M (1 to 255), signal:NAME, "
        f"{', '.join(named)}.",
        code="unknown-cause",
        cause=cause,
        nearest=near or None,
    )


_OTHER_WORDS = {
    "oom": ("memory", "out_of_memory", "out-of-memory", "mem"),
    "timeout": ("time", "time-limit", "walltime"),
    "node": ("node_fail", "node-fail", "nodefail"),
    "boot": ("boot_fail", "boot-fail"),
    "preempted": ("preempt",),
    "check": ("check_failed", "check-failed"),
    "failed": ("fail", "failure", "error"),
}


def _nearest_cause(cause: str, named: Sequence[str]) -> str:
    """Return the cause that is probably meant; empty if none is near."""
    plain = cause.lower()
    if number := re.fullmatch(r"(?:exit\W*)?(\d{1,3})", plain):
        return f"{EXIT}{number[1]}" if 1 <= int(number[1]) <= 255 else ""
    if backward := re.fullmatch(r"exit:(\d{1,3})-(\d{1,3})", plain):
        last, first = int(backward[1]), int(backward[2])
        return f"{EXIT}{first}-{last}" if 1 <= first <= last <= 255 else ""
    name = re.sub(r"^(?:signal\W*)?(?:sig)?", "", plain).upper()
    if plain.startswith("sig"):
        near = difflib.get_close_matches(name, sorted(SIGNAL_NAMES), 1)
        return f"{SIGNAL}{near[0]}" if near else ""
    words = {other: word for word, others in _OTHER_WORDS.items() for other in others}
    words |= {word: word for word in (*CAUSES, *named)}
    near = difflib.get_close_matches(plain, list(words), 1)
    return words[near[0]] if near else ""


def _split_steps(steps: str, rule: str) -> list[list[str]]:
    """Split a ladder into rungs at ``;`` outside quotes, and these into words, as a shell does."""
    lexer = shlex.shlex(steps, posix=True, punctuation_chars=";")
    lexer.whitespace_split, lexer.commenters = True, ""
    rungs: list[list[str]] = [[]]
    try:
        for word in lexer:
            if set(word) == {";"}:
                rungs += [[] for _ in word]
            else:
                rungs[-1].append(word)
    except ValueError as why:
        raise BadInputError(
            f"{rule!r}: a quote is not closed.", code="unclosed-quote", value=rule
        ) from why
    return rungs


def _parse_step(words: list[str], rule: str) -> Step:
    """Parse one rung.

    Raises:
        BadInputError: it is neither a word nor options of sbatch.
    """
    step = " ".join(words)
    if step in _STEP_WORDS:
        return Step(StepKind(step))
    if not step.startswith("-"):
        near = _nearest_step(step)
        meant = f"Did you mean {near}? " if near else ""
        raise BadInputError(
            f"There is no step {step!r}." if step else f"A step of {rule!r} is empty.",
            f"{meant}Steps: leave, again, elsewhere, or options as `resubmit` takes them "
            "(--mem=2x); `;` separates the steps of a ladder.",
            code="unknown-step",
            step=step,
            nearest=near or None,
        )
    try:
        return Step(StepKind.CHANGE, tuple(_parse_changes(words).items()))
    except BadInputError as why:
        raise why.inside(repr(rule), value=rule) from why


_STEP_WORDS = ("leave", "again", "elsewhere")
_OTHER_STEPS = {"leave": ("stop", "never", "none"), "again": ("retry", "repeat")}


def _nearest_step(step: str) -> str:
    """Return the step that is probably meant; empty if none is near."""
    name = step.partition("=")[0].partition(" ")[0]
    if name in known_spellings() and len(name) > 1:
        return f"--{step}"
    others = {other: word for word, known in _OTHER_STEPS.items() for other in known}
    near = difflib.get_close_matches(step.lower(), [*_STEP_WORDS, *others], 1)
    return others.get(near[0], near[0]) if near else ""


def _parse_changes(words: list[str]) -> Mapping[str, str]:
    """Return checked changes of a request, as ``resubmit`` takes them."""
    changes = dict(map(_checked_change, parse_option_words(words, known_spellings())))
    sbatch.check_conflicts(tuple(changes.items()))
    return changes


def _checked_change(given: tuple[str, str]) -> tuple[str, str]:
    name, value = given
    if name == "sbatch":
        name, _, value = value.partition("=")
    elif name not in known_spellings():
        name = sbatch.find_option(name).name
    return (name, value) if _multiplies(name, value) else sbatch.check_change(name, value)


def _multiplies(name: str, value: str) -> bool:
    return is_factor(value) and name in {*MEMORY_OPTIONS, "time"}
