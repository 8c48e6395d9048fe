"""Find unquoted variables in a text for bash. Pure.

bash splits the value of an unquoted variable at blanks and replaces its ``*``, ``?`` and ``[`` by
file names. The scanner knows quotes, comments, substitutions, assignments, ``[[ … ]]``, ``case``,
arithmetic and here-documents. It is not a parser. Its limits: it does not look into
here-documents, arithmetic, or text for ``eval``; an unquoted ``)`` of a ``case`` pattern ends a
surrounding ``$(…)`` too early; and it does not know if ``IFS`` or ``set -f`` changed the rules.

Source: bash(1), QUOTING, EXPANSION.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(\[[^]]*\])?\+?=", re.ASCII)
_HERE = re.compile(r"<<(-?)[ \t]*(?:'([^'\n]*)'|\"([^\"\n]*)\"|\\?([^\s;&|<>()'\"]+))")
_ENDS_WORD = frozenset(" \t\n;&|<>()")
_BEFORE_COMMAND = frozenset(
    ("if", "then", "elif", "else", "while", "until", "do", "!", "{", "time", "coproc")
)
_DECLARES = frozenset(("export", "declare", "local", "readonly", "typeset"))


@dataclass(frozen=True, slots=True)
class UnquotedVariable:
    """A word with an unquoted variable.

    Attributes:
        name: the variable.
        word: the word in the text.
        quoted: the same word with its variables in double quotes.
    """

    name: str
    word: str
    quoted: str


def unquoted_variables(text: str) -> list[UnquotedVariable]:
    """Return the variables that bash would split, in the order of their words; any text is read."""
    scanner = _Scanner(text)
    scanner.code("")
    return scanner.found


@dataclass(slots=True)
class _Word:
    """The word at which a scanner is: its start, and its unquoted variables with their place."""

    start: int
    spans: list[tuple[int, int]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)


class _Scanner:
    """Reads a text once, from ``at`` on; each method reads one construct to its end."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.found: list[UnquotedVariable] = []

    def code(self, end: str) -> None:
        """Read commands, up to an unquoted character ``end``; an empty one is the text's end."""
        state, here = _CommandState(), list[tuple[str, bool]]()
        while self.at < len(self.text) and self.text[self.at] != end:
            sign = self.text[self.at]
            if sign == "#":
                self._skip_to("\n")
            elif heredoc := _HERE.match(self.text, self.at):
                here.append((heredoc[2] or heredoc[3] or heredoc[4] or "", heredoc[1] == "-"))
                self.at = heredoc.end()
            elif self.text.startswith("<<<", self.at):
                self.at += 3
                state.next_is_whole = True
            elif self.text.startswith("((", self.at) and state.at_command:
                self._arithmetic()
            elif sign == "(":
                self.at += 1
                self.code(")")
                self.at += 1
            elif sign in _ENDS_WORD:
                self.at += 1
                state.separator(sign)
                if sign == "\n":
                    self._skip_bodies(here)
            else:
                self._read_word(state, end)

    def _read_word(self, state: _CommandState, end: str) -> None:
        word = _Word(self.at)
        while self.at < len(self.text):
            sign = self.text[self.at]
            if sign == end or sign in _ENDS_WORD:
                break
            first = self.at
            if names := self._piece(quoted=False):
                word.names += names
                word.spans.append((first, self.at))
        if self.at == word.start:  # the end of a construct that was not opened
            self.at += 1
        whole = self.text[word.start : self.at]
        if not state.word(whole):
            self.found += self._of_word(word, whole)

    def _of_word(self, word: _Word, whole: str) -> Iterator[UnquotedVariable]:
        quoted, end = "", word.start
        for first, last in word.spans:
            quoted += f'{self.text[end:first]}"{self.text[first:last]}"'
            end = last
        quoted += self.text[end : self.at]
        for name in dict.fromkeys(word.names):
            yield UnquotedVariable(name, whole, quoted)

    def _piece(self, *, quoted: bool) -> list[str]:
        """Read one character or construct of a word; return the variables that are not quoted."""
        sign = self.text[self.at]
        self.at += 1
        if sign == "\\":
            self.at += 1
        elif sign == "'" and not quoted:
            self._skip_to("'")
            self.at += 1
        elif sign == '"':
            self._double()
        elif sign == "`":
            self.code("`")
            self.at += 1
        elif sign == "$":
            return self._dollar(quoted=quoted)
        return []

    def _double(self) -> None:
        while self.at < len(self.text) and self.text[self.at] != '"':
            self._piece(quoted=True)
        self.at += 1

    def _dollar(self, *, quoted: bool) -> list[str]:
        """Read what follows a ``$``; return the variables in it that are not quoted."""
        if self.text.startswith("((", self.at):
            self._arithmetic()
        elif self.text.startswith("(", self.at):
            self.at += 1
            self.code(")")
            self.at += 1
        elif self.text.startswith("{", self.at):
            self.at += 1
            return self._braces(quoted=quoted)
        elif self.text.startswith("'", self.at) and not quoted:
            self.at += 1
            while self.at < len(self.text) and self.text[self.at] != "'":
                self.at += 2 if self.text[self.at] == "\\" else 1
            self.at += 1
        elif name := _NAME.match(self.text, self.at):
            self.at = name.end()
            return [] if quoted else [name[0]]
        else:
            self.at += not self.text.startswith('"', self.at)  # $1, $@, $$, or $"…"
        return []

    def _braces(self, *, quoted: bool) -> list[str]:
        names = []
        if (name := _NAME.match(self.text, self.at)) and not quoted:
            names.append(name[0])
        while self.at < len(self.text) and self.text[self.at] != "}":
            names += self._piece(quoted=quoted)
        self.at += 1
        return names

    def _arithmetic(self) -> None:
        depth = 0
        while self.at < len(self.text):
            depth += {"(": 1, ")": -1}.get(self.text[self.at], 0)
            self.at += 1
            if not depth:
                return

    def _skip_to(self, sign: str) -> None:
        place = self.text.find(sign, self.at)
        self.at = len(self.text) if place < 0 else place

    def _skip_bodies(self, here: list[tuple[str, bool]]) -> None:
        for delimiter, tabs in here:
            while self.at < len(self.text):
                first = self.at
                self._skip_to("\n")
                line = self.text[first : self.at]
                self.at += 1
                if (line.lstrip("\t") if tabs else line) == delimiter:
                    break
        here.clear()


class _CommandState:
    """The place in a command: what the next word is."""

    def __init__(self) -> None:
        self.at_command, self.declares, self.in_test = True, False, False
        self.next_is_whole = False

    def separator(self, sign: str) -> None:
        """Pass a character that ends a word."""
        if sign in "\n;&|" and not self.in_test:
            self.at_command, self.declares = True, False

    def word(self, text: str) -> bool:
        """Pass a word; return True if bash does not split it."""
        whole, self.next_is_whole = self.next_is_whole or self.in_test, False
        if text == "]]":
            self.in_test = False
        if _ASSIGNMENT.match(text) and (self.at_command or self.declares):
            return True
        if self.at_command:
            self.in_test = text == "[["
            self.next_is_whole = text == "case"
            self.declares = text in _DECLARES
            self.at_command = text in _BEFORE_COMMAND
        return whole


def wildcards_or_blanks(values: Iterable[str]) -> int | None:
    """Return the position of the first value that is not one word to bash; None if all are.

    An empty value is no word at all: an unquoted variable then vanishes.
    """
    return next((n for n, value in enumerate(values) if not value or _SPLITS.search(value)), None)


_SPLITS = re.compile(r"[ \t\n*?\[]")
