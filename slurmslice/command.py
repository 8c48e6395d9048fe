r"""The command of a run: words for one program, or a text for the shell.

Words become one line of bash in which each is exactly one argument, whatever it holds, and in
which a slice's values come only from variables: ``x-{}.h5`` is ``"x-${SLICE}.h5"``. A shell
text is taken as it is.

In a word ``{}`` is the key and ``{name}`` a column. Doubled braces are literal ones: ``{{}}``,
``{{name}}``. Every other brace is itself, doubled or not, so that ``{1..3}``, nested JSON,
``--format '{{.Names}}'`` and awk's ``{print $1}`` need no care.

Source: bash(1), QUOTING and ``exec``.
"""

from __future__ import annotations

import difflib
import os.path
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from slurmslice.errors import BadInput
from slurmslice.tables import octets

_BARE = re.compile(r"[A-Za-z0-9@%+,./:=_-]+")
_NAME = r"((?:[A-Za-z_][A-Za-z0-9_]*)?)"
_BRACES = re.compile(rf"\{{\{{\{{{_NAME}\}}\}}\}}|\{{\{{{_NAME}\}}\}}|\{{{_NAME}\}}")
_VARIABLE = re.compile(r"\$(?:SLICE|\{SLICE)(?![A-Za-z0-9])")
_PROGRAM_TEXT = re.compile(r"-[a-z]*c")
_SPECIAL = frozenset('\\"$`')


@dataclass(frozen=True, slots=True)
class Words:
    """One program and its arguments; bytes that are not UTF-8 are surrogates."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ShellText:
    """A text for bash, of any number of lines, which finds the key in ``$SLICE``."""

    text: str


Command = Words | ShellText


@dataclass(frozen=True, slots=True)
class _Value:
    """A placeholder in a word; the empty name is the key."""

    name: str


def variable(column: str) -> str:
    """The environment variable that holds a column; that of the key, for the empty name."""
    return f"SLICE_{column.upper()}" if column else "SLICE"


def placeholders(command: Words) -> frozenset[str]:
    """The columns that the words name; the empty name is the key."""
    return frozenset().union(*map(placeholders_of, command.words))


def placeholders_of(word: str) -> frozenset[str]:
    """The columns that one word names; the empty name is the key."""
    return frozenset(part.name for part in _parts(word) if isinstance(part, _Value))


def check(command: Command, columns: Collection[str]) -> None:
    """Refuse a command that cannot mean what it says.

    Args:
        command: what was asked.
        columns: the names of the slices' columns.

    Raises:
        BadInput: there is no command; a word names a column that is not there, or a variable
            that nothing would expand; one word is a whole command line; a shell text has
            placeholders and no ``$SLICE``; a word holds NUL.
    """
    if isinstance(command, ShellText):
        check_text(command.text, "the shell text")
        return
    words = command.words
    if not words or not words[0]:
        raise BadInput(
            "There is no command.", "Write it after --, as in: -- python x.py {}", code="no-command"
        )
    if len(words) == 1 and any(map(str.isspace, words[0])):
        raise BadInput(
            f"The command is one word with blanks in it: {quote(words[0])}.",
            "Leave out the quotes around it, or give it to --shell.",
            code="command-in-one-word",
            word=words[0],
        )
    for before, word in zip(("", *words), words, strict=False):
        check_word(word, columns, before)


def check_text(text: str, what: str) -> None:
    """Refuse a shell text that cannot mean what it says.

    Args:
        text: what was typed.
        what: what it is, for a person.

    Raises:
        BadInput: it is empty; or it has placeholders, which a shell text has not, and no $SLICE.
    """
    if not text.strip():
        raise BadInput(f"There is no command: {what} is empty.", code="no-command")
    if "SLICE" not in text and "{}" in text:
        raise BadInput(
            f"{what[0].upper()}{what[1:]} has {{}} and no $SLICE, so that every slice would do "
            "the same.",
            'In a shell text the key is "$SLICE", a column "$SLICE_NAME". If {} is meant, as in '
            "find -exec, name $SLICE in a comment.",
            code="wrong-placeholder",
        )


def check_word(word: str, columns: Collection[str], before: str = "") -> None:
    """Refuse a word that cannot mean what it says; ``before`` is the word that stands before it.

    Raises:
        BadInput: it names a column that is not there, or a variable that nothing would expand;
            or it holds NUL.
    """
    quote(word)
    _check_variables(word, before)
    _check_placeholders(word, columns)


def _check_placeholders(word: str, columns: Collection[str]) -> None:
    for part in _parts(word):
        if isinstance(part, _Value) and part.name and part.name not in columns:
            known = {column.lower(): column for column in columns}
            near = difflib.get_close_matches(part.name.lower(), known, n=1)
            guess = f"Did you mean {{{known[near[0]]}}}? " if near else ""
            raise BadInput(
                f"{{{part.name}}} in {quote(word)} is no column of the slices.",
                f"{guess}The key is {{}}; {{{{ and }}}} around a name stand for literal "
                f"braces: {{{{{part.name}}}}}.",
                code="unknown-column",
                column=part.name,
                word=word,
                nearest=known[near[0]] if near else None,
            )


def _check_variables(word: str, before: str) -> None:
    # `bash -c '… $SLICE'` is the one place where a shell that follows does expand it.
    if _VARIABLE.search(word) and not _PROGRAM_TEXT.fullmatch(before):
        raise BadInput(
            f"Nothing expands $SLICE in the word {quote(word)}.",
            "Use {} for the key and {name} for a column, or give the whole command to --shell.",
            code="wrong-placeholder",
            word=word,
        )


def check_expanded_glob(command: Words, exists: Callable[[str], bool] = os.path.isfile) -> None:
    """Refuse words that look like a glob which the login shell has expanded.

    That is: three or more words in a row that are files of one folder with one suffix, in a
    command without any placeholder.

    Args:
        command: what was asked.
        exists: whether a path is a file.

    Raises:
        BadInput: it looks so; the message names the first and the last of them.
    """
    words = command.words
    if placeholders(command):
        return
    for first in range(1, len(words) - 2):
        alike = words[first : first + 3]
        if len({_kind(word) for word in alike}) == 1 and all(map(exists, alike)):
            raise BadInput(
                f"The shell seems to have expanded a pattern: {quote(alike[0])}, "
                f"{quote(alike[1])}, {quote(alike[2])} … would go to every slice.",
                "For one slice a file, give the pattern, quoted, to --glob, and put {} in its "
                "place. If every slice does need these files, use --shell.",
                code="expanded-pattern",
                words=tuple(alike[:3]),
            )


def _kind(path: str) -> tuple[str, str]:
    folder, name = os.path.split(path)
    return folder, os.path.splitext(name)[1]


def to_bash(command: Command) -> str:
    """The command as it stands in the script: one line for words, a shell text as it is.

    ``exec --`` keeps words such as ``time``, ``exit`` and ``X=1`` from being bash's own.

    Raises:
        BadInput: a word holds NUL or a surrogate that stands for no byte.
    """
    return command.text if isinstance(command, ShellText) else f"exec -- {argv(command)}"


def argv(command: Command) -> str:
    """The command as words of bash, to stand behind another program; a shell text in ``bash -c``.

    Raises:
        BadInput: a word holds NUL or a surrogate that stands for no byte.
    """
    if isinstance(command, ShellText):
        return f"bash -c {quote(command.text)}"
    return " ".join(map(word_to_bash, command.words))


def fill(command: Command, key: str, columns: Mapping[str, str]) -> list[str]:
    """The argv of one slice; of a shell text, that of the shell which would run it."""
    if isinstance(command, ShellText):
        return ["bash", "-c", command.text]
    values = {"": key, **columns}
    return ["".join(_filled(word, values)) for word in command.words]


def show(command: Command, key: str, columns: Mapping[str, str]) -> str:
    """One printable line that does, typed into bash, what the slice does."""
    line = join(fill(command, key, columns))
    if isinstance(command, Words):
        return line
    values = {"": key, **columns}
    used = [n for n in values if not n or re.search(rf"\b{variable(n)}\b", command.text)]
    return " ".join([*(f"{variable(name)}={quote(values[name])}" for name in used), line])


def join(words: Iterable[str]) -> str:
    """A line of bash that has these words."""
    return " ".join(map(quote, words))


def quote(text: str) -> str:
    r"""A text as one word of bash: bare, in single quotes, or ``$'…'`` where it is unreadable.

    Raises:
        BadInput: the text holds NUL or a surrogate that stands for no byte.
    """
    if _BARE.fullmatch(text):
        return text
    if text.isprintable():
        return "'" + text.replace("'", "'\\''") + "'"
    return _dollar_quoted(text)


def _dollar_quoted(text: str) -> str:
    letters = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\t": "\\t"}
    return "$'" + "".join(letters.get(c) or _readable(c) for c in text) + "'"


def _readable(character: str) -> str:
    if character.isprintable():
        return character
    return "".join(f"\\{octet}" for octet in octets(character))


def word_to_bash(word: str) -> str:
    """A word with placeholders as one word of bash.

    Raises:
        BadInput: it holds NUL or a surrogate that stands for no byte.
    """
    parts = list(_parts(word))
    if not any(isinstance(part, _Value) for part in parts):
        return quote("".join(_filled(word, {})))
    inner = (
        f"${{{variable(part.name)}}}" if isinstance(part, _Value) else _in_double_quotes(part)
        for part in parts
    )
    return '"' + "".join(inner) + '"'


def _in_double_quotes(text: str) -> str:
    def one(character: str) -> str:
        if character in _SPECIAL:
            return "\\" + character
        # Not to be seen in double quotes: these end and begin again around it.
        return character if character.isprintable() else f'"{_dollar_quoted(character)}"'

    return "".join(map(one, text))


def _parts(word: str) -> Iterator[str | _Value]:
    """Literal texts and placeholders, in their order."""
    end = 0
    for match in _BRACES.finditer(word):
        yield word[end : match.start()]
        end = match.end()
        name = match[match.lastindex or 0]
        if match.lastindex == 3:
            yield _Value(name)
        elif match.lastindex == 2:
            yield f"{{{name}}}"
        else:
            yield from ("{", _Value(name), "}")
    yield word[end:]


def _filled(word: str, values: Mapping[str, str]) -> Iterator[str]:
    for part in _parts(word):
        yield values[part.name] if isinstance(part, _Value) else part
