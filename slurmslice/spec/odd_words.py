"""Parts of a command that nobody replaces or executes, and that probably should be. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from slurmslice.notes import Note
from slurmslice.spec.command import CommandWords, ShellText, shell_placeholders
from slurmslice.system.shell_quoting import quote

# Not `;` and `!`, which find(1) takes as words.
_OPERATORS = re.compile(r"[|&]|\|\||&&|\|&|[0-9&]?(?:>|>>|<)|<<<?|[0-9]?>&[0-9]?")
_ARRAY_INDEX = re.compile(r"(?<!%)%\d*[aA](?![A-Za-z%])")
_COMPARISONS = frozenset({"test", "[", "[[", "expr"})


def braces_in_shell(command: ShellText, columns: Collection[str]) -> Iterator[Note]:
    """Yield a note on each placeholder in a shell text: bash does not replace it."""
    for written, variable in shell_placeholders(command.text, columns).items():
        message = f"{written} in a shell text is not replaced; write {variable}"
        yield Note("braces-in-shell", message, {"written": written, "variable": variable})


def odd_word_notes(command: CommandWords) -> Iterator[Note]:
    """Yield a note on shell operators and on sbatch's ``%a`` in the words of a command.

    No shell reads the words, and sbatch replaces ``%a`` only in names of files.
    """
    words = command.words
    operators = [word for word in words if _OPERATORS.fullmatch(word)]
    if operators and words[0] not in _COMPARISONS:
        message = (
            f"{quote(operators[0])} is a word for the program, because no shell reads the command; "
            "for a shell: --shell TEXT"
        )
        yield Note("operator-in-words", message, {"words": operators})
    for word in words[1:]:
        # `date +%A` formats a time.
        if not word.startswith("+") and (found := _ARRAY_INDEX.search(word)):
            message = f"{found[0]} in {quote(word)} is not replaced in a command; {{}} is the key"
            yield Note("array-index-in-words", message, {"word": word})
