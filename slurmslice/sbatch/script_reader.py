"""A parser of the ``#SBATCH`` lines in an edited script, equivalent to sbatch's.

Source: sbatch(1), and sbatch's ``get_argument`` (``src/sbatch/opt.c``) followed by getopt_long(3).
The treatment of quotes, comments and shortened names was compared with ``sbatch -v --test-only``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from slurmslice.errors import BadInputError
from slurmslice.sbatch.option_table import Option, Takes


class UnreadableScriptError(BadInputError):
    """A line of the script that sbatch cannot read; line 0 is no line of a script."""

    def __init__(
        self, line: int, message: str, hint: str = "", *, code: str, **fields: object
    ) -> None:
        super().__init__(
            f"Line {line} of the script: {message}" if line else message,
            hint,
            code=code,
            line=line,
            **fields,
        )
        self.line = line


def parse_directives(script: str, known: Mapping[str, Option]) -> Iterator[tuple[str, str]]:
    """Return each option in a script's ``#SBATCH`` lines with its value, in their order.

    Letters and shortened names become long names. Unknown options, of a site or of a newer
    sbatch, are returned as they are written.

    Args:
        script: the whole script.
        known: sbatch's options by long name or other spelling.

    Raises:
        Unreadable: sbatch cannot read a line.
    """
    foreign, words = _lines(script)
    ignored = False
    for name, value in _Reader(known, words).options():
        ignored = ignored or name == "ignore-pbs"
        yield name, value
    if foreign and not ignored:
        raise UnreadableScriptError(
            foreign,
            "sbatch also reads options from #PBS and #BSUB lines.",
            "Write it as #SBATCH, or add the line `#SBATCH --ignore-pbs`.",
            code="foreign-directive",
        )


def parse_option_words(
    words: Sequence[str], known: Mapping[str, Option]
) -> Iterator[tuple[str, str]]:
    """Return each option among words of sbatch's command line, as ``parse_directives`` does.

    Raises:
        UnreadableScriptError: sbatch cannot read them.
    """
    yield from _Reader(known, [(0, word) for word in words]).options()


_BLANKS = " \t\v\f\r"
_MAGIC = re.compile(r"#(?:SBATCH|SLURM)")
_Word = tuple[int, str]


def _lines(script: str) -> tuple[int, list[_Word]]:
    """Return the number of the first #PBS or #BSUB line (or 0), and each word with its line."""
    foreign, words = 0, list[_Word]()
    for number, line in enumerate(script.split("\n"), 1):
        magic = _MAGIC.match(line)
        if magic:
            words += ((number, word) for word in _split(line[magic.end() :], number))
        elif line.startswith(("#PBS", "#BSUB")):
            foreign = foreign or number
        elif line.strip(_BLANKS) and not line.lstrip(_BLANKS).startswith("#"):
            break
    return foreign, words


def _split(line: str, number: int) -> Iterator[str]:
    """Return the words of a line up to a ``#`` or an empty word, as sbatch does."""
    at = 0
    while True:
        at += len(line[at:]) - len(line[at:].lstrip(_BLANKS))
        word, at = _word(line, at, number)
        if not word:
            return
        if word.startswith(":") or word in {"hetjob", "packjob"}:
            raise UnreadableScriptError(
                number, "a heterogeneous job cannot be an array.", code="heterogeneous-job"
            )
        yield word


def _word(line: str, at: int, number: int) -> tuple[str, int]:
    """Return the word that starts at an index of the line, and the index of its end."""
    word, quote, escaped = "", "", False
    while at < len(line) and (quote or escaped or line[at] not in _BLANKS):
        char = line[at]
        if escaped:
            word, escaped = word + char, False
        elif char == "\\":
            escaped = True
        elif char == quote:
            quote = ""
        elif not quote and char in "\"'":
            quote = char
        elif not quote and char == "#":
            break
        else:
            word += char
        at += 1
    if quote:
        raise UnreadableScriptError(
            number, f"the quote {quote} is not closed.", code="unclosed-quote"
        )
    return word, at


class _Reader:
    """A parser like getopt_long: a value may be the next word, even on the next line."""

    def __init__(self, known: Mapping[str, Option], words: Sequence[_Word]) -> None:
        self._known = known
        self._letters = {option.letter: option for option in known.values() if option.letter}
        self._rest = list(reversed(words))

    def options(self) -> Iterator[tuple[str, str]]:
        """Return each option with its value, in the order of the words."""
        while self._rest:
            number, word = self._rest.pop()
            if word.startswith("--") and word != "--":
                yield self._long(word[2:], number)
            elif word.startswith("-") and word not in {"-", "--"}:
                yield from self._short(word[1:], number)
            else:
                raise UnreadableScriptError(
                    number,
                    f"sbatch has no option {word!r}.",
                    f"Did you mean --{word}?" if word.partition("=")[0] in self._known else "",
                    code="unknown-option",
                    option=word,
                )

    def _long(self, word: str, number: int) -> tuple[str, str]:
        written, equals, value = word.partition("=")
        option = self._completed(written, number)
        if option is None:
            follows = not equals and self._rest and not self._rest[-1][1].startswith("-")
            return written, self._rest.pop()[1] if follows else value
        if equals and option.takes is Takes.NOTHING:
            raise UnreadableScriptError(
                number,
                f"--{option.name} takes no value.",
                code="unexpected-value",
                option=option.name,
            )
        if not equals and option.takes is Takes.VALUE:
            value = self._next(option, number)
        return option.name, value

    def _completed(self, written: str, number: int) -> Option | None:
        """Return the option with a name or a unique shortened name; None if it is unknown."""
        if written in self._known:
            return self._known[written]
        found = {o.name: o for name, o in self._known.items() if name.startswith(written)}
        if len(found) > 1:
            several = ", ".join(f"--{name}" for name in sorted(found))
            raise UnreadableScriptError(
                number,
                f"--{written} may be {several}.",
                "Write the whole name.",
                code="ambiguous-option",
                option=written,
            )
        return next(iter(found.values()), None)

    def _short(self, letters: str, number: int) -> Iterator[tuple[str, str]]:
        for at, letter in enumerate(letters, 1):
            option = self._letters.get(letter)
            if option is None:
                raise UnreadableScriptError(
                    number, f"sbatch has no option -{letter}.", code="unknown-option", option=letter
                )
            if option.takes is Takes.NOTHING:
                yield option.name, ""
                continue
            needed = option.takes is Takes.VALUE and not letters[at:]
            yield option.name, self._next(option, number) if needed else letters[at:]
            return

    def _next(self, option: Option, number: int) -> str:
        if not self._rest:
            raise UnreadableScriptError(
                number, f"--{option.name} needs a value.", code="missing-value", option=option.name
            )
        return self._rest.pop()[1]
