"""docs/guarantees.md names existing tests."""

from __future__ import annotations

import ast
import re

from tests.support.paths import REPOSITORY, TESTS

PAGE = (REPOSITORY / "docs" / "guarantees.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)))


def defined_in(name: str) -> set[str]:
    """Return the names of the tests in a file."""
    tree = ast.parse(next(TESTS.rglob(name)).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_named_test_exists() -> None:
    """A renamed or removed test would leave its promise without a test."""
    assert len(NAMED) > 40
    assert [(name, test) for name, test in NAMED if test not in defined_in(name)] == []


def test_each_promise_names_a_test() -> None:
    """Each promise on the page names at least one test that tries to break it."""
    promises = re.split(r"^## \d+\. ", PAGE, flags=re.MULTILINE)[1:]
    assert len(promises) == 15
    assert all(re.search(r"`test_\w+\.py::", text) for text in promises)
