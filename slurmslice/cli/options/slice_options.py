"""The options for the slices: those of the input forms, and ``--column``."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import click

from slurmslice.cli.output.console import print_note
from slurmslice.cli.output.long_work import shown_if_long
from slurmslice.errors import BadInputError
from slurmslice.slices.sources.array_range import ARRAY_RANGE
from slurmslice.slices.sources.axes import Axis, combine, with_item, with_key
from slurmslice.slices.sources.delimited_table import DELIMITED_TABLE
from slurmslice.slices.sources.file_paths import FILE_PATHS
from slurmslice.slices.sources.grid import GRID, grid_axes
from slurmslice.slices.sources.input_form import FormOption, FormSlices, InputForm
from slurmslice.slices.sources.key_list import KEY_LIST
from slurmslice.slices.sources.registry import FORMS
from slurmslice.slices.sources.zip_lists import ZIP, zip_axes

AXES = (GRID, ZIP)
"""The forms that combine with one another, and with one other form."""

_WITH_ITEM = (ARRAY_RANGE, KEY_LIST, FILE_PATHS)
"""The forms whose key is in no column."""

_EXAMPLES = "\n".join(
    [*(f"{form.example:27} {form.summary}" for form in FORMS), "FILE may be - for standard input."]
)


def _form_options() -> Iterator[Callable[..., Any]]:
    for form in FORMS:
        for option in (form.option, *form.modifiers):
            yield _click_option(option)


def _click_option(option: FormOption) -> Callable[..., Any]:
    if not option.metavar:
        return click.option(*option.flags, option.name, is_flag=True, help=option.help)
    return click.option(
        *option.flags, option.name, metavar=option.metavar, multiple=option.multiple,
        help=option.help,
    )  # fmt: skip


SLICE_OPTIONS: tuple[Callable[..., Any], ...] = (
    *_form_options(),
    click.option(
        "--key", metavar="NAME",
        help="Column with the keys, also one of --column. Default: the row number of --table, else "
        "the number, the line, the file or NAME=VALUE,….",
    ),
    click.option(
        "--column", metavar="NAME=TEMPLATE", multiple=True,
        help="Add a column computed by a Jinja2 template from slice, row and earlier columns: "
        "'out=out/{{ \"%03d\" % (slice|int) }}.h5'.",
    ),
)  # fmt: skip


def read_slices(values: Mapping[str, Any], taken: FormSlices | None = None) -> FormSlices:
    """Read the slices that were typed, and add the columns of ``--column``.

    Args:
        values: the values of all options, by name.
        taken: the slices of another run (``--from``), in place of a form.

    Raises:
        BadInputError: no form was typed or several that do not combine, or its input is invalid.
    """
    given, key = _read_forms(values) if taken is None else (_only(taken, values), None)
    given = given if taken else replace(given, form=_form(values))
    for note in given.notes:
        print_note(note)
    if values["column"]:
        from slurmslice.slices.sources.columns import add_computed_columns

        given = replace(given, table=add_computed_columns(given.table, values["column"]))
    return given if key is None else _with_key(given, key)


def _form(values: Mapping[str, Any]) -> str:
    """Return the typed options that decide on the keys: ``--table --key name``."""
    flags = [form.flag for form in FORMS if _is_given(values, form.option)]
    return " ".join([*flags, *(["--key", values["key"]] if values["key"] is not None else [])])


def _read_forms(values: Mapping[str, Any]) -> tuple[FormSlices, str | None]:
    """Read a source and combine it with axes.

    Returns:
        the slices, and the column that becomes their key; None if they have their key.
    """
    source, axes = _chosen_forms(values)
    if source and values[source.option.name] in {"", "-"} and sys.stdin and sys.stdin.isatty():
        return _read_source(values, source, axes)  # a person is typing them
    with shown_if_long("Reading the slices"):
        return _read_source(values, source, axes)


def _read_source(
    values: Mapping[str, Any], source: InputForm | None, axes: Sequence[Axis]
) -> tuple[FormSlices, str | None]:
    key: str | None = values["key"]
    if source is None:
        return combine(None, axes), key
    computed = {text.partition("=")[0] for text in values["column"]}
    if source is DELIMITED_TABLE and key not in computed:
        return _combined(source.read(values), axes, None, source), None
    return _combined(source.read({**values, "key": None}), axes, key, source), key


def _only(taken: FormSlices, values: Mapping[str, Any]) -> FormSlices:
    """Return the slices of another run.

    Raises:
        BadInputError: a form was typed too, or a key.
    """
    forms = [form.flag for form in FORMS if _is_given(values, form.option)]
    if forms := [*forms, *(["--key"] if values["key"] is not None else [])]:
        raise BadInputError(
            f"--from and {forms[0]} both choose the slices.",
            "Use one of them. For some slices of the other run: --from RUN:STATES",
            code="one-source",
            options=("--from", *forms),
        )
    return taken


def _combined(
    given: FormSlices, axes: Sequence[Axis], key: str | None, source: InputForm
) -> FormSlices:
    """Combine a source with axes. If that changes the key, the column ``item`` has the old one."""
    if source in _WITH_ITEM and (axes or key is not None):
        given = replace(given, table=with_item(given.table))
    return combine(given, axes) if axes else given


def _with_key(given: FormSlices, key: str) -> FormSlices:
    """Return the slices with the values of a column as keys.

    Raises:
        BadInputError: there is no such column, or two slices have the same value.
    """
    columns = given.table.columns
    if key not in columns:
        near = difflib.get_close_matches(key, columns, 1)
        hint = f"Did you mean {near[0]}?" if near else f"The columns are {', '.join(columns)}."
        raise BadInputError(
            f"There is no column {key!r} for --key.",
            f"{hint} --column NAME=TEMPLATE computes one.",
            code="unknown-column",
            column=key,
            nearest=near[0] if near else None,
        )
    return replace(given, table=with_key(given.table, key), numbers=None)


def _chosen_forms(values: Mapping[str, Any]) -> tuple[InputForm | None, list[Axis]]:
    """Return the source that was typed, None if there are only axes, and the axes.

    Raises:
        BadInputError: nothing was typed, or forms that do not combine; or a modifier without its
            form.
    """
    forms = [form for form in FORMS if _is_given(values, form.option)]
    sources = [form for form in forms if form not in AXES]
    alone = len(forms) == 1 or (len(sources) <= 1 and all(form.combines for form in sources))
    if not (forms and alone):
        raise _no_one_source(forms)
    for form in FORMS:
        for modifier in form.modifiers:
            if form not in sources and _is_given(values, modifier):
                used = forms[0].flag
                raise BadInputError(
                    f"{modifier.flags[-1]} needs {form.flag}; you used {used}.",
                    _EXAMPLES,
                    code="option-needs-another",
                    option=modifier.name,
                    needs=form.flag,
                )
    return next(iter(sources), None), [*zip_axes(values), *grid_axes(values)]


def _no_one_source(forms: Sequence[InputForm]) -> BadInputError:
    typed = tuple(form.flag for form in forms)
    those = f"{' and '.join(typed)} do not combine" if forms else "No option chooses the slices"
    why = "--grid and --zip combine with --glob, --slices-from and --table; a range is then an axis"
    combined = f"{why}: --grid n=0-9\n" if set(forms) & set(AXES) else ""
    return BadInputError(
        f"{those}. Use exactly one source.",
        combined + _EXAMPLES,
        code="one-source",
        options=typed,
    )


def any_slices_given(values: Mapping[str, Any]) -> bool:
    """Tell if an option for slices was typed."""
    options = (option for form in FORMS for option in (form.option, *form.modifiers))
    return any(_is_given(values, option) for option in options) or bool(
        values["column"] or values["key"]
    )


def _is_given(values: Mapping[str, Any], option: FormOption) -> bool:
    return values[option.name] not in (None, False, ())
