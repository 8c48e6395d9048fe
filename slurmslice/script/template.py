"""Templates of a run's script, rendered with Jinja2: the shipped one, or a person's own.

Values are data: a template can only print a value through one of the filters below, and the
filter decides the form. A person's template is code, like any script of that person;
``docs/reference/templates.md`` is its contract.
"""

from __future__ import annotations

import difflib
import functools
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
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

from slurmslice.errors import BadInputError
from slurmslice.script.template_files import OwnTemplate, templates_folder
from slurmslice.spec.command import variable_name
from slurmslice.system.shell_quoting import quote

SHIPPED_TEMPLATE = "array.sh.j2"
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


class _Bash(str):
    """Text that is safe to print into the script."""

    __slots__ = ()


class _Environment(Environment):
    @staticmethod
    def concat(parts: Iterable[str]) -> _Bash:
        """Join filtered parts: the result of ``super()`` or of a macro."""
        return _Bash("".join(parts))


def render_template(context: Mapping[str, object], own: OwnTemplate | None) -> str:
    """Render a template with the values of its names.

    Args:
        context: the values by name.
        own: the person's template; None for the shipped one.

    Raises:
        BadInputError: a value cannot be written into a script; or the person's template has a
            mistake (the message gives file and line), or its script lacks a required part.
    """
    if own is None:
        return shipped_template().render(context)
    with_own = environment(own.path.parent)
    try:
        _check_blocks(with_own, own)
        code = with_own.compile(own.text, own.path.name, str(own.path))
        text = Template.from_code(with_own, code, with_own.make_globals(None)).render(context)
    except _MISTAKES as why:
        raise BadInputError(
            f"{_location(why, own)}: {_message(why)}.", _hint(why, context), code="template-failed"
        ) from why
    _check_parts(text, context, own)
    return text


def _check_blocks(jinja: Environment, own: OwnTemplate) -> None:
    """Refuse a block that the extended template does not have, because Jinja2 would ignore it.

    Raises:
        BadInputError: there is such a block; the message gives its line, the hint a similar name.
        TemplateError: Jinja2 cannot parse the template.
    """
    tree = jinja.parse(own.text, own.path.name, str(own.path))
    extends = tree.find(nodes.Extends)
    if extends is None or not isinstance(extends.template, nodes.Const):
        return
    known = jinja.get_template(extends.template.value).blocks
    for block in tree.body:
        if isinstance(block, nodes.Block) and block.name not in known:
            near = difflib.get_close_matches(block.name, known, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Blocks: {', '.join(known)}."
            raise BadInputError(
                f"{own.path}, line {block.lineno}: {extends.template.value} has no block "
                f"{block.name!r}.",
                hint,
                code="unknown-template-block",
                path=str(own.path),
                line=block.lineno,
                block=block.name,
            )


@functools.cache
def shipped_template() -> Template:
    """Return the shipped template, which a process compiles once."""
    return environment().get_template(SHIPPED_TEMPLATE)


def environment(*folders: Path) -> Environment:
    """Return the Jinja2 environment; shipped templates are found before those of ``folders``."""
    jinja = _Environment(
        loader=FileSystemLoader([templates_folder(), *folders]),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        comment_start_string="{# ",  # with its blank, because bash has ${#name}
        comment_end_string=" #}",
        finalize=_filtered,
    )
    jinja.filters.update(FILTERS)
    return jinja


def _check_parts(text: str, context: Mapping[str, object], own: OwnTemplate) -> None:
    """Refuse a script without the parts that a template must not change.

    Raises:
        BadInputError: the first or the last lines differ from the shipped template's, or a function
            is missing.
    """
    optional = {"check_slice": "check", "name_output": "output_names"}
    functions = ("prepare", "run_slice", *(one for one, of in optional.items() if context[of]))
    if not text.startswith("#!/bin/bash\n"):
        missing = "#!/bin/bash as its first line"
    elif not text.startswith(f"#!/bin/bash\n{context['directives']}\n"):
        missing = "the #SBATCH lines at its beginning"
    elif not text.endswith(f"\n{context['source']}\nexit 125\n"):
        missing = "the source line at its end"
    elif lost := [name for name in functions if f"\n{name}() {{\n" not in text]:
        missing = f"the function {lost[0]}"
    else:
        return
    raise BadInputError(
        f"The template {own.path} gives a script without {missing}.",
        f'Begin it with {{% extends "{SHIPPED_TEMPLATE}" %}} and change only its blocks.',
        code="template-lacks-part",
        path=str(own.path),
        part=missing,
    )


def _location(why: BaseException, own: OwnTemplate) -> str:
    """Return file and line of a mistake: the last line of a template in the traceback."""
    if isinstance(why, TemplateSyntaxError):
        return f"{why.filename or own.path}, line {why.lineno}"
    frames = traceback.extract_tb(why.__traceback__)
    lines = [f for f in frames if f.filename == str(own.path) or f.filename.endswith(".j2")]
    return f"{lines[-1].filename}, line {lines[-1].lineno}" if lines else str(own.path)


def _message(why: BaseException) -> str:
    if isinstance(why, TemplateNotFound):
        return f"there is no template {why.name!r} to extend or include"
    return (str(why) or type(why).__name__).rstrip(".")


def _hint(why: BaseException, context: Mapping[str, object]) -> str:
    if isinstance(why, UndefinedError):
        return f"Names for a template: {', '.join(sorted(context))}."
    if isinstance(why, _UnfilteredError):
        return f"Filters: {', '.join(FILTERS)}. {{{{ … | quote }}}} gives one word of bash."
    return ""


class _UnfilteredError(TypeError):
    """A template prints a value without a filter."""


def _filtered(value: object) -> _Bash:
    """Refuse to print a value that did not pass a filter."""
    if not isinstance(value, _Bash):
        if isinstance(value, StrictUndefined):
            str(value)  # raises an error with the undefined name
        raise _UnfilteredError(f"The template prints {value!r} without a filter.")
    return value


def _quote(value: object) -> _Bash:
    """Quote a value as one word of bash."""
    return _Bash(quote(str(value)))


def _comment(value: object) -> _Bash:
    """Escape a text for a comment, so that it cannot end its line."""
    return _Bash("".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value)))


def _number(value: Any) -> _Bash:
    """Print a whole number."""
    return _Bash(int(value))


def _name(value: object) -> _Bash:
    """Print a name as code, after a check that it is one."""
    name = str(value)
    if not _NAME.fullmatch(name):
        raise BadInputError(
            f"{name!r} is not a valid name of a shell variable.",
            code="bad-variable-name",
            name=name,
        )
    return _Bash(name)


def _variable(column: object) -> _Bash:
    """Print the name of a column's variable."""
    return _Bash(variable_name(_name(column)))


def _body(value: object) -> _Bash:
    """Print a function's body. One line is indented; several are not, because of here-documents."""
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
"""The filters for the values in a template (``docs/reference/templates.md``). A value that is not
defined is refused."""
