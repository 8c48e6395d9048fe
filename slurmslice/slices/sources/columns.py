"""Rules for column names, and columns computed from other columns."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable, check_value_length
from slurmslice.slices.sources.expression_limits import (
    MAX_MEMORY_MIB,
    check_digit_count,
    limited_resources,
)
from slurmslice.system.escaping import escape

if TYPE_CHECKING:
    from jinja2.runtime import Context
    from jinja2.sandbox import SandboxedEnvironment

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
RESERVED = frozenset({"slice", "row", "count", "attempt", "continued", "slot"})
"""Names that no column can have: ``$SLICE_COUNT`` is not a column (``docs/adr/0015``)."""

_BLOCK = 200
"""Rows computed per limit of memory and time: enough to be fast, few enough to need little."""

_Rendered = Callable[[Mapping[str, str]], str]
_RENAME = "Rename it, for example to {}. Use letters, digits and _, as in a shell variable."


def check_column_names(names: Iterable[str], where: str) -> None:
    """Refuse columns with invalid names for shell variables (``SLICE_<NAME>``, in capitals).

    Args:
        names: the names in order.
        where: their source, for error messages.

    Raises:
        BadInputError: a name is not a shell name, is in ``RESERVED``, or occurs twice (case is
            ignored).
    """
    seen: set[str] = set()
    for number, name in enumerate(names, 1):
        if not name:
            raise BadInputError(
                f"{where}: column {number} has no name.",
                _RENAME.format("mass"),
                code="unnamed-column",
                column=number,
            )
        if not _NAME.fullmatch(name):
            hint = _RENAME.format(_nearest(name))
            raise BadInputError(
                f"{where}: {name!r} cannot be a column's name.",
                hint,
                code="bad-column-name",
                column=name,
            )
        if name.lower() in RESERVED:
            why = f"{where}: the column {name!r} has the name of the slice's own {name.lower()}."
            raise BadInputError(
                why, _RENAME.format(f"{name}_1"), code="reserved-column-name", column=name
            )
        if name.lower() in seen:
            why = f"{where}: the column {name!r} occurs twice (case is ignored)."
            raise BadInputError(
                why, _RENAME.format(f"{name}_2"), code="duplicate-column", column=name
            )
        seen.add(name.lower())


def _nearest(name: str) -> str:
    better = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_") or "mass"
    return better if _NAME.fullmatch(better) else f"n{better}"


def split_assignment(text: str, option: str) -> tuple[str, str]:
    """Split an option's value ``name=rest`` into name and rest.

    Raises:
        BadInputError: there is no ``=``, or the name is not a column name.
    """
    name, equals, rest = text.partition("=")
    if not equals:
        raise BadInputError(
            f"{option} {text!r} has no =.",
            f"Write it as {option} name=…",
            code="missing-equals",
            option=option.lstrip("-"),
            value=text,
        )
    check_column_names((name,), option)
    return name, rest


def add_computed_columns(table: SliceTable, texts: Sequence[str]) -> SliceTable:
    """Return the table with additional columns, computed from the existing ones.

    Args:
        table: the slices.
        texts: ``name=TEMPLATE`` each, in Jinja2. In a template, ``slice`` is the key, ``row`` is
            the row, and every earlier column has its own name. All values are strings, also the
            result.

    Raises:
        BadInputError: a name or a template is invalid, or a template fails for a slice; the message
            names both.
    """
    pairs = [split_assignment(text, "--column") for text in texts]
    check_column_names((*table.columns, *(name for name, _ in pairs)), "--column")
    templates = {name: _template(name, text) for name, text in pairs}
    return table.with_columns(tuple(templates), _computed(table, templates))


def _computed(table: SliceTable, templates: Mapping[str, _Rendered]) -> Iterator[Sequence[str]]:
    for first in range(0, len(table), _BLOCK):
        rows = range(first, min(first + _BLOCK, len(table)))
        with limited_resources():
            block = [_row(table, row, templates) for row in rows]
        yield from block


def _row(table: SliceTable, row: int, templates: Mapping[str, _Rendered]) -> Sequence[str]:
    key, names = table.keys[row], ("slice", "row", *table.columns)
    values = dict(zip(names, (key, str(row), *table.column_values(row)), strict=True))
    for name, template in templates.items():
        try:
            values[name] = template(values)
            escape(values[name])  # refuses an impossible value here, so the error names the slice
            check_value_length(values[name], "it")
        except Exception as why:
            raise BadInputError(
                f"The column {name!r} cannot be computed for slice {key[:200]!r}: "
                f"{_failure_text(why)}",
                f"The template can use {', '.join(n for n in values if n != name)}. All are text; "
                "{{ row|int + 1 }} converts one to a number.",
                code="column-failed",
                column=name,
                key=key,
            ) from why
    return [values[name] for name in templates]


def _failure_text(why: Exception) -> str:
    if isinstance(why, MemoryError):
        return f"it takes more than {MAX_MEMORY_MIB} MiB of memory"
    return str(why) or type(why).__name__


def _template(name: str, text: str) -> _Rendered:
    from jinja2 import TemplateSyntaxError

    environment = _environment()
    try:
        template = environment.from_string(text)
    except (TemplateSyntaxError, RecursionError) as why:
        raise BadInputError(
            f"The template of column {name!r} is invalid: {why}",
            "Write a Jinja2 template, for example --column 'out=out/{{ slice }}.h5'",
            code="bad-column-template",
            column=name,
        ) from why

    def rendered(values: Mapping[str, str]) -> str:
        # Equal to template.render, but it does not copy the environment's names for each slice.
        context = template.new_context({**environment.globals, **values}, shared=True)
        return "".join(template.root_render_func(context))

    return rendered


@cache
def _environment() -> SandboxedEnvironment:
    from jinja2 import StrictUndefined, pass_context
    from jinja2.sandbox import SandboxedEnvironment

    class Bounded(SandboxedEnvironment):
        """A sandbox without huge numbers, because no signal interrupts their arithmetic."""

        intercepted_binops = frozenset({"*", "**"})

        def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
            check_digit_count(operator, left, right)
            return super().call_binop(context, operator, left, right)

    environment = Bounded(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        # These two prevent computation while a template is parsed, because no limit applies then.
        optimized=False,
        finalize=pass_context(lambda context, value: value),
    )
    # The same command line must produce the same run.
    del environment.filters["random"], environment.globals["lipsum"]
    return environment
