"""Search the texts of a new run, and the files that they name, for SLURM_ARRAY_TASK_ID."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from slurmslice.cli.output.named_files import first_command, named_files, run_texts
from slurmslice.cli.output.preview import relative_path
from slurmslice.script.template_files import OwnTemplate
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.array_variables import Mention, assigns_task_id, find_mention, mention_error
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


def _first(texts: Iterable[tuple[str, str]], words: Iterable[str] = ()) -> Mention | None:
    """Return the first mention in the texts, or else in the files that they name."""
    known = list(texts)
    for where, text in chain(known, named_files(known, words)):
        if found := find_mention(where, text):
            return found
    return None
