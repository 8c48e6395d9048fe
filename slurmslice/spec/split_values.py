"""Unquoted ``$SLICE`` in shell texts, if the value of a slice would be split or expanded. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from slurmslice.notes import Note
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import ShellText, variable_name
from slurmslice.spec.interpreters import find_code
from slurmslice.spec.run_spec import RunSpec
from slurmslice.spec.shell_words import unquoted_variables, wildcards_or_blanks


def split_value_notes(spec: RunSpec, table: SliceTable) -> Iterator[Note]:
    """Yield a note on each word in which a slice's value is not one word; each word once."""
    columns = {variable_name(name): name for name in ("", *table.columns)}
    bad: dict[str, int | None] = {}
    if table.max_array_index is not None:
        bad["SLICE"] = None  # numbers
    seen = set()
    for where, text in _shell_texts(spec):
        for found in unquoted_variables(text):
            if found.name not in columns or (where, found.word) in seen:
                continue
            column = columns[found.name]
            if found.name not in bad:
                bad[found.name] = wildcards_or_blanks(table.values(column))
            if (row := bad[found.name]) is not None:
                seen.add((where, found.word))
                value = table.column_values(row)[table.columns.index(column)] if column else ""
                yield _note(where, found.word, found.quoted, table.keys[row], value)


def _note(where: str, word: str, quoted: str, key: str, value: str) -> Note:
    own = f" (value {value!r})" if value else ""
    return Note(
        "unquoted-variable",
        f"{where}: bash splits {word} at blanks and expands wildcards, for example of slice "
        f"{key!r}{own}. Write {quoted}",
        {"where": where, "word": word, "quoted": quoted, "key": key},
    )


def _shell_texts(spec: RunSpec) -> Iterator[tuple[str, str]]:
    """Yield the shell texts that see a slice's variables, with their names for a person."""
    if isinstance(spec.command, ShellText):
        yield "--shell", spec.command.text
    else:
        for position, (program, entry) in sorted(find_code(spec.command.words).items()):
            if entry.splits:
                yield program, spec.command.words[position]
    if spec.packing.pack == 1:  # in a pack the setup sees no slice
        yield "--setup", spec.setup
    yield "--check", spec.check.text
