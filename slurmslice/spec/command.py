r"""The command of a run: the words of one program, or a text for the shell.

Words become one line of bash. Each word stays exactly one argument, and a slice's values come
only from variables: ``x-{}.h5`` becomes ``"x-${SLICE}.h5"``. A shell text is not changed.

In a word, ``{}`` is the key and ``{name}`` is a column. Doubled braces are literal braces:
``{{}}``, ``{{name}}``. Every other brace is literal, doubled or not, so ``{1..3}``, nested JSON,
``--format '{{.Names}}'`` and awk's ``{print $1}`` work unchanged.

Source: bash(1), QUOTING and ``exec``.
"""

from __future__ import annotations

import difflib
import itertools
import os.path
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from slurmslice.errors import BadInputError
from slurmslice.system.shell_quoting import dollar_quoted, quote, quote_words

_NAME = r"((?:[A-Za-z_][A-Za-z0-9_]*)?)"
_BRACES = re.compile(rf"\{{\{{\{{{_NAME}\}}\}}\}}|\{{\{{{_NAME}\}}\}}|\{{{_NAME}\}}")
_VARIABLE = re.compile(r"\$(?:SLICE|\{SLICE)(?![A-Za-z0-9])")
_PROGRAM_TEXT = re.compile(r"-[a-z]*c")
_SPECIAL = frozenset('\\"$`')


@dataclass(frozen=True, slots=True)
class CommandWords:
    """A program and its arguments; non-UTF-8 bytes are surrogates."""

    words: tuple[str, ...]


JOB_COMMAND = CommandWords(("bash", "-c", "--", "{job}"))
"""The command of every slice of a job file: bash executes the line as its program text."""


@dataclass(frozen=True, slots=True)
class ShellText:
    """A text of one or more lines for bash; it reads the key from ``$SLICE``."""

    text: str


Command = CommandWords | ShellText


@dataclass(frozen=True, slots=True)
class Placeholder:
    """A placeholder in a word; the empty name is the key."""

    name: str


def variable_name(column: str) -> str:
    """The environment variable of a column; an empty name means the key."""
    return f"SLICE_{column.upper()}" if column else "SLICE"


def placeholder_text(column: str) -> str:
    """The placeholder of a column, as it is typed; an empty name means the key."""
    return f"{{{column}}}"


def command_placeholders(command: CommandWords) -> frozenset[str]:
    """The columns in the words; the empty name is the key."""
    return frozenset().union(*map(word_placeholders, command.words))


def word_placeholders(word: str) -> frozenset[str]:
    """The columns in one word; the empty name is the key."""
    return frozenset(part.name for part in word_parts(word) if isinstance(part, Placeholder))


def check_command(command: Command, columns: Collection[str]) -> None:
    """Refuse a command with an obvious mistake.

    Args:
        command: the command.
        columns: the names of the slices' columns.

    Raises:
        BadInputError: there is no command; a word names an unknown column, or a variable
            without a shell to expand it; a single word holds a whole command line; a shell text has
            placeholders and no ``$SLICE``; or a word holds NUL.
    """
    if isinstance(command, ShellText):
        check_shell_text(command.text, "the shell text", columns)
        return
    words = command.words
    if not words or not words[0]:
        raise BadInputError(
            "There is no command.",
            "Write it after --, for example: -- python x.py {}",
            code="no-command",
        )
    if len(words) == 1 and any(map(str.isspace, words[0])):
        raise BadInputError(
            f"The command is one word that holds blanks: {quote(words[0])}.",
            "Remove the quotes around it, or use it as the value of --shell.",
            code="command-in-one-word",
            word=words[0],
        )
    for before, word in zip(("", *words), words, strict=False):
        check_command_word(word, columns, before)


def check_shell_text(text: str, what: str, columns: Collection[str] = ()) -> None:
    """Refuse a shell text with an obvious mistake.

    Args:
        text: the shell text.
        what: its name in error messages.
        columns: the names of the slices' columns.

    Raises:
        BadInputError: it is empty; or it has a placeholder and no ``$SLICE``; a shell text does not
            replace placeholders.
    """
    if not text.strip():
        raise BadInputError(f"There is no command: {what} is empty.", code="no-command")
    if "SLICE" not in text and (found := shell_placeholders(text, columns)):
        raise BadInputError(
            f"{what[0].upper()}{what[1:]} has {next(iter(found))} but no $SLICE, so every slice "
            "would do the same.",
            'In a shell text, "$SLICE" is the key and "$SLICE_NAME" is a column. If you need {} '
            "itself, as in find -exec, mention $SLICE in a comment.",
            code="wrong-placeholder",
        )


_SHELL_BRACES = re.compile(rf"(?<![$\w{{])\{{{_NAME}\}}(?!\}})")


def shell_placeholders(text: str, columns: Collection[str]) -> dict[str, str]:
    """Return the placeholders in a shell text, each with the variable to write instead.

    ``{}``, ``{slice}`` and ``{key}`` are probably meant as the key, ``{row}`` as the row.
    """
    names = {name: variable_name(name) for name in columns}
    meant = {"": "SLICE", "slice": "SLICE", "key": "SLICE", "row": "SLICE_ROW", **names}
    found = dict.fromkeys(match[1] for match in _SHELL_BRACES.finditer(text))
    return {placeholder_text(name): f'"${meant[name]}"' for name in found if name in meant}


def check_command_word(word: str, columns: Collection[str], before: str = "") -> None:
    """Refuse a word with an obvious mistake; ``before`` is the previous word.

    Raises:
        BadInputError: the word names an unknown column, or a variable without a shell to expand
        it; or it holds NUL.
    """
    quote(word)
    _check_variables(word, before)
    _check_placeholders(word, columns)


def _check_placeholders(word: str, columns: Collection[str]) -> None:
    for part in word_parts(word):
        if isinstance(part, Placeholder) and part.name and part.name not in columns:
            known = {column.lower(): column for column in columns}
            near = difflib.get_close_matches(part.name.lower(), known, n=1)
            guess = f"Did you mean {{{known[near[0]]}}}? " if near else ""
            raise BadInputError(
                f"{{{part.name}}} in {quote(word)} is not a column of the slices.",
                f"{guess}{{}} is the key. For literal braces, double them: {{{{{part.name}}}}}.",
                code="unknown-column",
                column=part.name,
                word=word,
                nearest=known[near[0]] if near else None,
            )


def _check_variables(word: str, before: str) -> None:
    # After -c, as in `bash -c '… $SLICE'`, the started shell does expand the variable.
    if _VARIABLE.search(word) and not _PROGRAM_TEXT.fullmatch(before):
        raise BadInputError(
            f"No shell expands $SLICE in the word {quote(word)}.",
            "Use {} for the key and {name} for a column, or use the whole command as the value of "
            "--shell.",
            code="wrong-placeholder",
            word=word,
        )


def refuse_expanded_pattern(
    command: CommandWords, exists: Callable[[str], bool] = os.path.isfile
) -> None:
    """Refuse words that look like an expanded file pattern.

    The sign is: a command without placeholders has three or more neighbouring words,
    all of them files in one folder with one suffix.

    Args:
        command: the command.
        exists: tells if a path is a file.

    Raises:
        BadInputError: the command has this sign; the message names the first three files.
    """
    words = command.words
    if command_placeholders(command):
        return
    for first in range(1, len(words) - 2):
        alike = words[first : first + 3]
        if len({_folder_and_suffix(word) for word in alike}) == 1 and all(map(exists, alike)):
            raise BadInputError(
                "The shell seems to have expanded a pattern: every slice would get "
                f"{quote(alike[0])}, {quote(alike[1])}, {quote(alike[2])} …",
                "For one slice per file, give the pattern in quotes to --glob, and write {} in "
                "its place. If every slice needs all these files, use --shell.",
                code="expanded-pattern",
                words=tuple(alike[:3]),
            )


def _folder_and_suffix(path: str) -> tuple[str, str]:
    folder, name = os.path.split(path)
    return folder, os.path.splitext(name)[1]


def expand_word(word: str, values_of: Callable[[str], Iterable[str]]) -> Iterator[str]:
    """Yield a word with the values of each slice; it has at least one placeholder.

    Args:
        word: the word.
        values_of: returns the values of a column by row; the empty name is the key.
    """
    columns = (
        values_of(part.name) if isinstance(part, Placeholder) else itertools.repeat(part)
        for part in word_parts(word)
    )
    return map("".join, zip(*columns, strict=False))


def command_to_bash(command: Command) -> str:
    """Return the command as bash code for the script; a shell text is not changed.

    ``exec --`` prevents bash from interpreting words such as ``time``, ``exit`` and ``X=1``.

    Raises:
        BadInputError: a word holds NUL or a surrogate without a byte.
    """
    return (
        command.text if isinstance(command, ShellText) else f"exec -- {command_to_words(command)}"
    )


def command_to_words(command: Command) -> str:
    """Return the command as bash words, to follow another program.

    A shell text becomes the argument of ``bash -c``.

    Raises:
        BadInputError: a word holds NUL or a surrogate without a byte.
    """
    if isinstance(command, ShellText):
        return f"bash -c {quote(command.text)}"
    return " ".join(map(word_to_bash, command.words))


def slice_argv(command: Command, key: str, columns: Mapping[str, str]) -> list[str]:
    """The argv of one slice's command; for a shell text, the argv of its shell."""
    if isinstance(command, ShellText):
        return ["bash", "-c", command.text]
    values = {"": key, **columns}
    return ["".join(_substituted(word, values)) for word in command.words]


def slice_command_line(command: Command, key: str, columns: Mapping[str, str]) -> str:
    """Return a printable line of bash with the same effect as the slice."""
    line = quote_words(slice_argv(command, key, columns))
    if isinstance(command, CommandWords):
        return line
    values = {"": key, **columns}
    used = [n for n in values if not n or re.search(rf"\b{variable_name(n)}\b", command.text)]
    return " ".join([*(f"{variable_name(name)}={quote(values[name])}" for name in used), line])


def word_to_bash(word: str) -> str:
    """Return a word with placeholders as one word of bash.

    Raises:
        BadInputError: the word holds NUL or a surrogate without a byte.
    """
    parts = list(word_parts(word))
    if not any(isinstance(part, Placeholder) for part in parts):
        return quote("".join(_substituted(word, {})))
    inner = (
        f"${{{variable_name(part.name)}}}"
        if isinstance(part, Placeholder)
        else _in_double_quotes(part)
        for part in parts
    )
    return '"' + "".join(inner) + '"'


def _in_double_quotes(text: str) -> str:
    def quoted(character: str) -> str:
        if character in _SPECIAL:
            return "\\" + character
        # Double quotes cannot show this character, so close them, use $'…', and reopen them.
        return character if character.isprintable() else f'"{dollar_quoted(character)}"'

    return "".join(map(quoted, text))


def word_parts(word: str) -> Iterator[str | Placeholder]:
    """Yield the literal texts and placeholders of a word in order."""
    end = 0
    for match in _BRACES.finditer(word):
        yield word[end : match.start()]
        end = match.end()
        name = match[match.lastindex or 0]
        if match.lastindex == 3:
            yield Placeholder(name)
        elif match.lastindex == 2:
            yield f"{{{name}}}"
        else:
            yield from ("{", Placeholder(name), "}")
    yield word[end:]


def _substituted(word: str, values: Mapping[str, str]) -> Iterator[str]:
    for part in word_parts(word):
        yield values[part.name] if isinstance(part, Placeholder) else part
