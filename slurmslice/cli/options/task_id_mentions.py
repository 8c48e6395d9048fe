"""Search the texts of a new run, and the files that they name, for SLURM_ARRAY_TASK_ID."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain

from slurmslice.cli.output.named_files import first_command, named_files, run_texts
from slurmslice.cli.output.preview import relative_path
from slurmslice.script.template_files import OwnTemplate
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.array_variables import (
    TASK_ID,
    Mention,
    assigns_task_id,
    find_mention,
    growth_error,
    mention_error,
)
from slurmslice.spec.run_spec import RunSpec


def refuse_task_id(spec: RunSpec, table: SliceTable, template: OwnTemplate | None) -> None:
    """Refuse a run whose slices would see another number than their own.

    Raises:
        BadInputError: a text, or a file that it names, uses SLURM_ARRAY_TASK_ID although the
            slices are not from a range; or the setup of a pack uses it.
    """
    texts = list(run_texts(spec, table))
    if any(assigns_task_id(text) for _, text in texts):
        return
    setup = [("--setup", spec.setup)]
    if spec.packing.pack > 1 and (found := _first(setup)):
        raise mention_error(found, setup_of_pack=True)
    if spec.numbers is not None:
        return
    own = [(str(relative_path(template.path)), template.text)] if template else []
    if found := _first((*texts, *own), first_command(spec, table)):
        raise mention_error(found)


def refuse_growing_value(
    spec: RunSpec, table: SliceTable, variables: re.Pattern[str], script: str = ""
) -> None:
    """Refuse to let a run grow if its command uses a variable that then has another value.

    Args:
        spec: the run.
        table: its slices.
        variables: the variables.
        script: the text of its script or its template, which a person may have edited.

    Raises:
        BadInputError: a text, or a file that it names, uses one of them.
    """
    texts = [*run_texts(spec, table), ("The script", script)]
    if found := _first(texts, first_command(spec, table), variables):
        raise growth_error(found, variables)


def _first(
    texts: Iterable[tuple[str, str]],
    words: Iterable[str] = (),
    variables: re.Pattern[str] = TASK_ID,
) -> Mention | None:
    """Return the first mention in the texts, or else in the files that they name."""
    known = list(texts)
    for where, text in chain(known, named_files(known, words)):
        if found := find_mention(where, text, variables):
            return found
    return None
