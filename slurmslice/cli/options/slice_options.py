"""The options for the slices: those of the input forms, and ``--column``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import click

from slurmslice.cli.output.console import print_note
from slurmslice.errors import BadInputError
from slurmslice.slices.sources.input_form import FormOption, FormSlices, InputForm
from slurmslice.slices.sources.registry import FORMS

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
        "--column", metavar="NAME=TEMPLATE", multiple=True,
        help="Add a column computed by a Jinja2 template from slice, row and earlier columns: "
        "'out=out/{{ \"%03d\" % (slice|int) }}.h5'.",
    ),
)  # fmt: skip


def read_slices(values: Mapping[str, Any], taken: FormSlices | None = None) -> FormSlices:
    """Read the slices from the one form that was typed, and add the columns of ``--column``.

    Args:
        values: the values of all options, by name.
        taken: the slices of another run (``--from``), in place of a form.

    Raises:
        BadInputError: no form was typed or more than one, or its input is invalid.
    """
    given = _chosen_form(values).read(values) if taken is None else _only(taken, values)
    for note in given.notes:
        print_note(note)
    if not values["column"]:
        return given
    from slurmslice.slices.sources.columns import add_computed_columns

    return replace(given, table=add_computed_columns(given.table, values["column"]))


def _only(taken: FormSlices, values: Mapping[str, Any]) -> FormSlices:
    """Return the slices of another run.

    Raises:
        BadInputError: a form was typed too.
    """
    if forms := [form.flag for form in FORMS if _is_given(values, form.option)]:
        raise BadInputError(
            f"--from and {forms[0]} both choose the slices.",
            "Use one of them. For some slices of the other run: --from RUN:STATES",
            code="one-source",
            options=("--from", *forms),
        )
    return taken


def _chosen_form(values: Mapping[str, Any]) -> InputForm:
    forms = [form for form in FORMS if _is_given(values, form.option)]
    if len(forms) != 1:
        typed = tuple(form.flag for form in forms)
        number = f"{len(forms)} options choose" if forms else "No option chooses"
        those = f": {' and '.join(typed)}" if forms else ""
        raise BadInputError(
            f"{number} the slices{those}. Use exactly one.",
            _EXAMPLES,
            code="one-source",
            options=typed,
        )
    for form in FORMS:
        for modifier in form.modifiers:
            if form is not forms[0] and _is_given(values, modifier):
                raise BadInputError(
                    f"{modifier.flags[-1]} needs {form.flag}; you used {forms[0].flag}.",
                    _EXAMPLES,
                    code="option-needs-another",
                    option=modifier.name,
                    needs=form.flag,
                )
    return forms[0]


def _is_given(values: Mapping[str, Any], option: FormOption) -> bool:
    return values[option.name] not in (None, False, ())
