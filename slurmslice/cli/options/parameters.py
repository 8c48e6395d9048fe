"""The values of a verb's options: whether one was typed, and where a wrong one stands."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
from click.core import ParameterSource

from slurmslice.errors import BadInputError
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.sbatch.typed_options import parse_typed_options


def with_options(
    function: Callable[..., Any], options: Sequence[Callable[..., Any]]
) -> Callable[..., Any]:
    """Give a verb these options, in this order."""
    for option in reversed(options):
        function = option(function)
    return function


def is_typed(parameter: str) -> bool:
    """Return whether a parameter was typed, and not taken from a settings file or a default."""
    source = click.get_current_context().get_parameter_source(parameter)
    return source is ParameterSource.COMMANDLINE


@contextlib.contextmanager
def naming_setting(option: str) -> Iterator[None]:
    """Add the settings file and its key to an error about the value of an option.

    Raises:
        BadInputError: the error; unchanged if the option was typed.
    """
    try:
        yield
    except BadInputError as why:
        where = click.get_current_context().meta.get("setting_locations", {}).get(option)
        if where is None:
            raise
        raise why.inside(where, where=where) from why


def parse_sbatch_words(parameter: str, text: str) -> ResourceRequest:
    """Parse sbatch's options in one word: the value of ``--steward-sbatch`` or ``--then-sbatch``.

    Args:
        parameter: the parameter that has the value.
        text: the value.

    Raises:
        BadInputError: it is no list of options that sbatch takes.
    """
    if not text:
        return NO_REQUEST
    try:
        with naming_setting(parameter):
            return parse_typed_options(text)
    except BadInputError as why:
        if "where" in why.fields:  # from a settings file, which is named
            raise
        raise why.inside("--" + parameter.replace("_", "-")) from why
