"""Lines to type next that repeat what was typed."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping, Sequence

import click

from slurmslice import sbatch
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.system.shell_quoting import quote_words


def line_with_run(run: str) -> str:
    """Return the typed line with the name of a run after its verb."""
    verb, *words = sys.argv[1:]
    return quote_words(("slurmslice", verb, run, *words))


def line_with_key_last(key: str) -> str:
    """Return the typed line with a key that begins with a dash after ``--``."""
    words = sys.argv[1:]
    words.remove(key)
    dashes = () if "--" in words else ("--",)
    return quote_words(("slurmslice", *words, *dashes, key))


def typed_changes() -> ResourceRequest:
    """Return the typed options that change the request of an existing run."""
    context = click.get_current_context(silent=True)
    if context is None or not context.params.get("run_name"):
        return NO_REQUEST
    request: ResourceRequest = context.meta.get("sbatch", NO_REQUEST)
    return request


def options_again(changes: Mapping[str, str], suggested: Sequence[str]) -> list[str]:
    """Return typed options of sbatch and suggested ones, which replace options of the same name.

    Args:
        changes: the typed options, long names.
        suggested: words of a command line: ``-t TIME``.
    """
    flags = [word for word in suggested if word.startswith("-")]
    names: Collection[str] = {sbatch.find_option(flag).name for flag in flags}
    return [*ResourceRequest.of(changes).without(names).to_argv(), *suggested]
