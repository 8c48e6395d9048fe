"""The causes after which a slice continues from its checkpoint (``--continue-on``). Pure.

``docs/adr/0028`` gives the reasons.
"""

from __future__ import annotations

from slurmslice.errors import BadInputError
from slurmslice.policy.causes import matching_words
from slurmslice.policy.repair_rules import RepairRule, parse_cause

MOST_CONTINUES = 20
"""``--max-continues`` if it is not given."""


def parse_continue_on(text: str, causes: tuple[str, ...] = ()) -> str:
    """Return a list of causes in its usual form: ``timeout,exit:85``; empty for an empty one.

    Args:
        text: the causes, with commas between them.
        causes: the person's named causes.

    Raises:
        BadInputError: there is no such cause (``unknown-cause``).
    """
    words = [word.strip() for word in text.split(",")] if text.strip() else []
    if not all(words):
        raise BadInputError(
            f"{text!r} has an empty cause.",
            "Write causes with commas between them: timeout,exit:85",
            code="unknown-cause",
            cause="",
            nearest=None,
        )
    return ",".join(dict.fromkeys(parse_cause(word, causes) for word in words))


def continues_after(continue_on: str, cause: str) -> bool:
    """Tell if a checked list names a cause. ``timeout`` covers ``hang``: a checkpoint is progress.

    Args:
        continue_on: the list.
        cause: the cause of a failure.
    """
    rules = [RepairRule(word, ()) for word in continue_on.split(",")] if continue_on else []
    words = (*matching_words(cause), *(["timeout"] if cause == "hang" else []))
    return any(rule.covers(word) for rule in rules for word in words)
