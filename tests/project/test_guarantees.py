"""docs/guarantees.md names tests that there are."""

from __future__ import annotations

import ast
import re

from tests.support.paths import REPOSITORY, TESTS

PAGE = (REPOSITORY / "docs" / "guarantees.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)))


def defined_in(name: str) -> set[str]:
    """The tests that a file defines."""
    tree = ast.parse(next(TESTS.rglob(name)).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_named_test_is_there() -> None:
    """A promise whose test was renamed or removed is a promise without a test."""
    assert len(NAMED) > 40
    assert [(name, test) for name, test in NAMED if test not in defined_in(name)] == []


def test_each_promise_names_one() -> None:
    """No promise on the page stands without a test that tries to break it."""
    promises = re.split(r"^## \d+\. ", PAGE, flags=re.MULTILINE)[1:]
    assert len(promises) == 10
    assert all(re.search(r"`test_\w+\.py::", text) for text in promises)
