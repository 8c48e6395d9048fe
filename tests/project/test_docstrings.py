"""Docstrings: public names have one, it names only what exists, and it does not ask."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import slurmslice

Function = ast.FunctionDef | ast.AsyncFunctionDef

_PACKAGE = Path(slurmslice.__file__).parent
_TREES = {
    str(path.relative_to(_PACKAGE)): ast.parse(path.read_text()) for path in _PACKAGE.rglob("*.py")
}
_NAMES = re.compile(r" {4}(\*{0,2}\w+(?:, \*{0,2}\w+)*):")
_QUESTION = re.compile(r"\s*(whether|what|which|how|where|when)\b", re.IGNORECASE)


def _section(node: Function | ast.ClassDef, title: str) -> set[str]:
    """Return the names that a section of a docstring describes."""
    _, _, rest = (ast.get_docstring(node) or "").partition(f"\n{title}:\n")
    matches = (_NAMES.match(line) for line in rest.split("\n\n")[0].splitlines())
    return {name.lstrip("*") for match in matches if match for name in match[1].split(", ")}


def _parameters(node: Function) -> set[str]:
    given = node.args
    known = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return {one.arg for one in known if one is not None}


def _attributes(node: ast.ClassDef) -> set[str]:
    """Return the names in the body of a class, and those that its methods set."""
    stored = (inner for inner in ast.walk(node) if isinstance(inner, ast.Attribute | ast.Name))
    own = {
        inner.attr if isinstance(inner, ast.Attribute) else inner.id
        for inner in stored
        if isinstance(inner.ctx, ast.Store)
    }
    return own | {inner.name for inner in node.body if isinstance(inner, Function)}


def _unknown_names(node: ast.AST) -> set[str]:
    """Return the names that a docstring describes and its class or function does not have."""
    if isinstance(node, Function):
        return _section(node, "Args") - _parameters(node)
    if not isinstance(node, ast.ClassDef):
        return set()
    methods = [inner for inner in node.body if isinstance(inner, ast.FunctionDef)]
    given = [_parameters(method) for method in methods if method.name == "__init__"]
    attributes = _attributes(node)
    unknown = _section(node, "Args") - (given[0] if given else attributes)
    return unknown | (_section(node, "Attributes") - attributes)


def _without_docstring(node: ast.Module | ast.ClassDef, place: str) -> Iterator[str]:
    """Yield the places of the public names without a docstring, from the outside to the inside."""
    if not ast.get_docstring(node):
        yield place
    for inner in node.body:
        if isinstance(inner, ast.ClassDef | Function) and not inner.name.startswith("_"):
            if isinstance(inner, ast.ClassDef):
                yield from _without_docstring(inner, f"{place}:{inner.name}")
            elif not ast.get_docstring(inner):
                yield f"{place}:{inner.name}"


def test_public_names_have_docstrings() -> None:
    """Every public module, class, function and method has a docstring."""

    missing = [name for place, tree in _TREES.items() for name in _without_docstring(tree, place)]
    assert missing == []


def test_each_described_name_exists() -> None:
    """Each name under Args is a parameter, and each name under Attributes is an attribute."""
    unknown = {
        f"{place}:{getattr(node, 'lineno', 1)}": names
        for place, tree in _TREES.items()
        for node in ast.walk(tree)
        if (names := _unknown_names(node))
    }
    assert unknown == {}


def test_unknown_names_are_found() -> None:
    """Lines with several names and stars are read; a line of a longer text is not a name."""
    source = """
class Box:
    'Hold.\\n\\nAttributes:\\n    a, b: two.\\n        c: text.\\n    d: no field.\\n\\ne: text'
    a: int
    def put(self, *more, b=0):
        'Put.\\n\\nArgs:\\n    *more: things.\\n    x: no argument.\\n\\nRaises:\\n    E: no.'
        self.b = b
"""
    box = ast.parse(source).body[0]
    assert isinstance(box, ast.ClassDef)
    assert [_unknown_names(node) for node in (box, box.body[2])] == [{"d"}, {"x"}]


def test_docstrings_begin_with_a_verb_or_a_noun() -> None:
    """No docstring begins like a question, also not those of constants and fields."""
    questions = [
        (place, node.lineno)
        for place, tree in _TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and _QUESTION.match(str(node.value.value))
    ]
    assert questions == []
