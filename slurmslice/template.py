"""The templates of a run's script: the shipped one, and a person's own in its place.

Values are data: a template prints nothing that did not come through one of the filters below,
each of which says what it makes of a value. A template of one's own is code, which its owner
answers for as for any script; ``docs/templates.md`` is its contract.
"""

from __future__ import annotations

import difflib
import os.path
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateNotFound,
    TemplateSyntaxError,
    UndefinedError,
    nodes,
)

from slurmslice.command import quote, variable
from slurmslice.errors import BadInput

SHIPPED = "array.sh.j2"
_MISTAKES = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class OwnTemplate:
    """A template that a person has written: where it is, and its text as it was read."""

    path: Path
    text: str


class _Bash(str):
    """Text that is fit to stand in the script."""

    __slots__ = ()


class _Environment(Environment):
    @staticmethod
    def concat(parts: Iterable[str]) -> _Bash:
        """Of what has been through the filters: a block by ``super()``, a macro."""
        return _Bash("".join(parts))


def find(given: str, project: Path) -> OwnTemplate:
    """The template that a person names: a file, or one of the project's ``templates/`` folder.

    Args:
        given: a path, or a name there with or without ``.sh.j2``.
        project: the folder that paths are relative to.

    Raises:
        BadInput: there is none, or it cannot be read.
    """
    folder = project / "templates"
    for path in (project / given, folder / given, folder / f"{given}.sh.j2"):
        if os.path.isfile(path):
            return _read(path.absolute())
    there = ", ".join(sorted(path.name.removesuffix(".sh.j2") for path in folder.glob("*.j2")))
    raise BadInput(
        f"There is no template {given!r}, neither as a file nor in {folder}.",
        f"There are: {there}." if there else "Give the path of a file.",
    )


def _read(path: Path) -> OwnTemplate:
    try:
        return OwnTemplate(path, path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as why:
        raise BadInput(f"The template {path} cannot be read: {why}.") from why


def templates_folder() -> Path:
    """Where the templates are: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"


def fill(context: Mapping[str, object], own: OwnTemplate | None) -> str:
    """A script from a template and the values of its names.

    Args:
        context: the values by name.
        own: the person's template; None is the shipped one.

    Raises:
        BadInput: a value has no place in a script; or the person's template has a mistake,
            told with its file and line, or makes a script without a needed part.
    """
    if own is None:
        return environment().get_template(SHIPPED).render(context)
    with_own = environment(own.path.parent)
    try:
        _check_blocks(with_own, own)
        code = with_own.compile(own.text, own.path.name, str(own.path))
        text = Template.from_code(with_own, code, with_own.make_globals(None)).render(context)
    except _MISTAKES as why:
        raise BadInput(f"{_where(why, own)}: {_what(why)}.", _remedy(why, context)) from why
    _check_parts(text, context, own)
    return text


def _check_blocks(jinja: Environment, own: OwnTemplate) -> None:
    """Refuse a block that the template it extends does not have: nothing would show it.

    Raises:
        BadInput: with the block's name and line, and the nearest there is.
        TemplateError: the template cannot be read.
    """
    tree = jinja.parse(own.text, own.path.name, str(own.path))
    extends = tree.find(nodes.Extends)
    if extends is None or not isinstance(extends.template, nodes.Const):
        return
    known = jinja.get_template(extends.template.value).blocks
    for block in tree.body:
        if isinstance(block, nodes.Block) and block.name not in known:
            near = difflib.get_close_matches(block.name, known, 1)
            hint = f"Did you mean {near[0]}?" if near else f"There are: {', '.join(known)}."
            raise BadInput(
                f"{own.path}, line {block.lineno}: {extends.template.value} has no block "
                f"{block.name!r}.",
                hint,
            )


def environment(*folders: Path) -> Environment:
    """Jinja2 as the templates need it; the shipped ones are found before those of ``folders``."""
    jinja = _Environment(
        loader=FileSystemLoader([templates_folder(), *folders]),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        comment_start_string="{# ",  # with its blank, since bash has ${#name}
        comment_end_string=" #}",
        finalize=_filtered,
    )
    jinja.filters.update(FILTERS)
    return jinja


def _check_parts(text: str, context: Mapping[str, object], own: OwnTemplate) -> None:
    """Refuse a script that has lost what is not the template's to change.

    Raises:
        BadInput: the first or the last lines are not as the shipped template has them, or a
            function is missing.
    """
    functions = ("prepare", "run_slice", *(("check_slice",) if context["check"] else ()))
    if not text.startswith(f"#!/bin/bash\n{context['directives']}\n"):
        missing = "the #SBATCH lines at its beginning"
    elif not text.endswith(f"\n{context['source']}\nexit 125\n"):
        missing = "the source line at its end"
    elif lost := [name for name in functions if f"\n{name}() {{\n" not in text]:
        missing = f"the function {lost[0]}"
    else:
        return
    raise BadInput(
        f"The template {own.path} makes a script without {missing}.",
        f'Begin it with {{% extends "{SHIPPED}" %}} and change only its blocks.',
        code="template-part-missing",
    )


def _where(why: BaseException, own: OwnTemplate) -> str:
    """File and line of a mistake: the last line of a template on the way to it."""
    if isinstance(why, TemplateSyntaxError):
        return f"{why.filename or own.path}, line {why.lineno}"
    frames = traceback.extract_tb(why.__traceback__)
    lines = [f for f in frames if f.filename == str(own.path) or f.filename.endswith(".j2")]
    return f"{lines[-1].filename}, line {lines[-1].lineno}" if lines else str(own.path)


def _what(why: BaseException) -> str:
    if isinstance(why, TemplateNotFound):
        return f"there is no template {why.name!r} to extend or include"
    return (str(why) or type(why).__name__).rstrip(".")


def _remedy(why: BaseException, context: Mapping[str, object]) -> str:
    if isinstance(why, UndefinedError):
        return f"A template has: {', '.join(sorted(context))}."
    if isinstance(why, _Unfiltered):
        return f"Its filters are: {', '.join(FILTERS)}; {{{{ … | quote }}}} makes a word."
    return ""


class _Unfiltered(TypeError):
    """A value would have been printed as it is."""


def _filtered(value: object) -> _Bash:
    """What the template prints has been through a filter."""
    if not isinstance(value, _Bash):
        if isinstance(value, StrictUndefined):
            str(value)  # which says what is not defined
        raise _Unfiltered(f"The template prints {value!r} without a filter.")
    return value


def _quote(value: object) -> _Bash:
    """One word of bash."""
    return _Bash(quote(str(value)))


def _comment(value: object) -> _Bash:
    """Text for the inside of a comment: whatever could end its line is escaped."""
    return _Bash("".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value)))


def _number(value: Any) -> _Bash:
    """A whole number."""
    return _Bash(int(value))


def _name(value: object) -> _Bash:
    """A name that stands where bash takes any text for code."""
    name = str(value)
    if not _NAME.fullmatch(name):
        raise BadInput(f"{name!r} is no name that a variable of the shell can have.")
    return _Bash(name)


def _variable(column: object) -> _Bash:
    """The variable of a column."""
    return _Bash(variable(_name(column)))


def _body(value: object) -> _Bash:
    """A function's body: one line is indented; several stand as they are (here-documents)."""
    text = str(value).removesuffix("\n")
    return _Bash(text if "\n" in text else f"  {text}")


FILTERS: Mapping[str, Callable[[Any], _Bash]] = {
    "quote": _quote,
    "comment": _comment,
    "number": _number,
    "name": _name,
    "variable": _variable,
    "body": _body,
    "verbatim": _Bash,
}
"""What a template may make of a value, each as text (one that is not defined is refused);
``docs/templates.md`` says what each is for."""
