"""The programs that run a word of their command line as code. Pure.

A value that becomes a part of such a word becomes code. The table covers what people type in array
jobs. It does not know each option of each program, so it has limits: a program that is not in the
table is no interpreter, and ``awk``, ``sed`` and ``ssh`` are found only at the start of the command
or behind a program of ``LAUNCHERS``.

Source: the manual pages of the programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The command line of one program that runs code.

    Attributes:
        safe: a command that gets the key as data; ``{program}`` stands for the program.
        code: letters of the options whose value is code.
        code_long: the whole names of such options.
        flag: the options have no value of their own: the first operand is the code.
        valued: letters of options with another value.
        valued_long: the whole names of such options.
        attached: letters of options with a value in the same word.
        file: letters of options that name a file of code: then no operand is code.
        ends: letters of options after which only arguments follow.
        operands: the operands that are code if no option gives code: the first, and the end.
        mixes: options may follow operands.
        runs_files: the first operand is a file with code.
        splits: the code is for a shell that splits unquoted variables.
    """

    safe: str = ""
    code: str = ""
    code_long: frozenset[str] = frozenset()
    flag: bool = False
    valued: str = ""
    valued_long: frozenset[str] = frozenset()
    attached: str = ""
    file: str = ""
    ends: str = ""
    operands: tuple[int, int | None] = (0, 0)
    mixes: bool = False
    runs_files: bool = False
    splits: bool = False


_SHELL = Interpreter(
    "{program} -c 'echo \"$1\"' x {{}}",
    "c",
    flag=True,
    valued="oO",
    valued_long=frozenset({"--rcfile", "--init-file"}),
    runs_files=True,
    splits=True,
)
_OTHER_SHELL = replace(_SHELL, safe="{program} -c 'echo $SLICE'", runs_files=False, splits=False)
_PYTHON = Interpreter(
    "{program} -c 'import sys; print(sys.argv[1])' {{}}",
    "c",
    valued="WX",
    ends="cm",
    runs_files=True,
)
_PERL = Interpreter(
    "{program} -e 'print $ARGV[0]' {{}}", "eE", valued="I", attached="MmiFDxCV", runs_files=True
)
_RUBY = Interpreter(
    "{program} -e 'puts ARGV[0]' {{}}", "e", valued="IrC", attached="FiTWKxE", runs_files=True
)
_R = Interpreter("{program} -e 'print(commandArgs(TRUE)[1])' {{}}", "e", runs_files=True)
_JULIA = Interpreter(
    "{program} -e 'println(ARGS[1])' {{}}",
    "eE",
    frozenset({"--eval", "--print"}),
    valued="JLptC",
    runs_files=True,
)
_NODE = Interpreter(
    "{program} -e 'console.log(process.argv[1])' {{}}",
    "ep",
    frozenset({"--eval", "--print"}),
    flag=True,
    valued="r",
    runs_files=True,
)
_FROM_ENVIRONMENT = 'getenv("SLICE")'
_AWK = Interpreter(
    "{program} '{{print ENVIRON[\"SLICE\"]}}' FILE",
    "e",
    frozenset({"--source"}),
    valued="Fvil",
    file="fE",
    operands=(0, 1),
)
_SED = Interpreter(
    "awk 'NR == ENVIRON[\"SLICE\"]' FILE",
    "e",
    frozenset({"--expression"}),
    valued="l",
    file="f",
    operands=(0, 1),
)
_SSH = Interpreter(
    '--shell \'ssh HOST echo "$(printf %q "$SLICE")"\'',
    valued="bcDEeFIiJLlmOopQRSWwB",
    operands=(1, None),
)
_TEXT_OPTION = Interpreter(
    "{program} -c 'echo \"$SLICE\"'", "c", frozenset({"--command"}), mixes=True
)

INTERPRETERS = {
    **dict.fromkeys(("sh", "bash", "dash", "ash", "ksh", "mksh", "rbash"), _SHELL),
    **dict.fromkeys(("fish", "csh", "tcsh"), _OTHER_SHELL),
    **dict.fromkeys(("python", "pypy", "ipython"), _PYTHON),
    **dict.fromkeys(("Rscript", "R"), _R),
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), _AWK),
    **dict.fromkeys(("sed", "gsed"), _SED),
    **dict.fromkeys(("ssh", "rsh"), _SSH),
    **dict.fromkeys(("su", "runuser", "script"), _TEXT_OPTION),
    "zsh": replace(_SHELL, splits=False),
    "perl": _PERL,
    "ruby": _RUBY,
    "julia": _JULIA,
    "node": _NODE,
    "java": Interpreter(runs_files=True),
    "lua": Interpreter("{program} -e 'print(os.getenv(\"SLICE\"))'", "e", valued="l"),
    "php": Interpreter("{program} -r 'echo getenv(\"SLICE\");'", "rBRE", valued="cdz", file="fF"),
    "octave": Interpreter(
        f"{{program}} --eval 'disp({_FROM_ENVIRONMENT})'", code_long=frozenset({"--eval"})
    ),
    "matlab": Interpreter(
        f"{{program}} -batch 'disp({_FROM_ENVIRONMENT})'", code_long=frozenset({"-batch", "-r"})
    ),
    "env": Interpreter("env echo {{}}", "S", frozenset({"--split-string"}), valued="uC"),
    "sbatch": Interpreter("sbatch --wrap 'echo \"$SLICE\"'", code_long=frozenset({"--wrap"})),
    "watch": Interpreter("watch -x echo {{}}", valued="nq", file="x", operands=(0, None)),
}
"""The programs by name, without a path and without a version: ``python`` for ``python3.11``."""

LAUNCHERS = {
    **dict.fromkeys(("env", "nohup", "time", "nice", "ionice", "setsid", "stdbuf", "unbuffer"), 0),
    **dict.fromkeys(("srun", "mpirun", "mpiexec", "orterun", "prterun", "xargs", "numactl"), 0),
    **dict.fromkeys(("sudo", "doas", "busybox", "strace", "ltrace", "valgrind", "xvfb-run"), 0),
    **dict.fromkeys(("timeout", "taskset", "chrt", "chroot", "flock", "ch-run", "perf"), 1),
    **dict.fromkeys(("conda", "mamba", "micromamba", "uv", "poetry", "pixi", "pipenv"), 1),
    **dict.fromkeys(("apptainer", "singularity", "docker", "podman"), 2),
}
"""Programs that start the command in their words, and their operands before it."""

_VERSION = re.compile(r"[\d.-]+$")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=", re.ASCII)


def find_interpreter(word: str) -> tuple[str, Interpreter] | None:
    """Return the program's name and its entry in the table, if a word names an interpreter."""
    name = PurePath(word).name
    bare = name if name in INTERPRETERS else _VERSION.sub("", name)
    return (name, INTERPRETERS[bare]) if bare in INTERPRETERS else None


def find_code(words: Sequence[str]) -> dict[int, tuple[str, Interpreter]]:
    """Find the words that a program runs as code.

    Args:
        words: a command.

    Returns:
        by the position of the word: the program's name and its entry in the table.
    """
    certain = _command_starts(words)
    found: dict[int, tuple[str, Interpreter]] = {}
    for start, word in enumerate(words):
        known = find_interpreter(word)
        # An unknown program may start the rest of its words. A lone "awk" may mean anything there.
        if known and (start in certain or known[1].runs_files):
            for position in _code_positions(known[1], words[start + 1 :]):
                found.setdefault(start + 1 + position, known)
    return found


def _command_starts(words: Sequence[str]) -> set[int]:
    """Return the positions at which a command may start: the first word, and behind launchers."""
    found, todo = set[int](), [0]
    while todo:
        start = todo.pop()
        if start not in found and start < len(words):
            found.add(start)
            todo += _behind_launcher(words, start)
    return found


def _behind_launcher(words: Sequence[str], start: int) -> Iterator[int]:
    """Yield the positions at which the command of a launcher may start.

    The word after an option may be its value, or the command: both are possible.
    """
    operands = LAUNCHERS.get(PurePath(words[start]).name, -1)
    after_option = False
    for position in range(start + 1, len(words)):
        if operands < 0:
            return
        word = words[position]
        if word.startswith("-") and word != "-":
            after_option = word != "--" and "=" not in word
        elif not _ASSIGNMENT.match(word):
            yield position
            operands -= not after_option
            after_option = False


def _code_positions(entry: Interpreter, words: Sequence[str]) -> list[int]:
    """Return the positions of the code among the words behind an interpreter."""
    found: list[int] = []
    flagged, has_file, position = False, False, 0
    while position < len(words):
        word = words[position]
        if word == "--":
            position += 1
            break
        if len(word) < 2 or word[0] not in "-+":
            if not entry.mixes:
                break
            position += 1
            continue
        kind, takes_next = _option(entry, word)
        flagged = flagged or (entry.flag and kind == "code")
        has_file = has_file or kind == "file"
        if kind == "code" and not entry.flag:
            found.append(position + takes_next)
        if kind == "end" or (kind == "code" and entry.code and entry.code in entry.ends):
            return _existing(found, words)
        position += 1 + takes_next
    operands = range(len(words))[position:]
    if flagged:
        return list(operands[:1])
    return _existing(found, words) or ([] if has_file else list(operands[slice(*entry.operands)]))


def _existing(positions: Sequence[int], words: Sequence[str]) -> list[int]:
    return [position for position in positions if position < len(words)]


def _option(entry: Interpreter, word: str) -> tuple[str, bool]:
    """Return the kind of an option, and True if its value is the next word.

    The kinds are ``code``, ``file``, ``end``, ``value`` and, without a value, ``flag``.
    """
    name, equals, _ = word.partition("=")
    if name in entry.code_long:
        return "code", not equals and not entry.flag
    if name in entry.valued_long:
        return "value", not equals
    if word.startswith("--"):
        return "flag", False
    seen = "flag"
    for place, letter in enumerate(word[1:], 2):
        if not letter.isalnum():
            break
        is_last = place == len(word)
        if letter in entry.code:
            if not entry.flag:
                return "code", is_last
            seen = "code"
        elif letter in entry.file:
            return "file", is_last
        elif letter in entry.ends or letter in entry.attached:
            return "end" if letter in entry.ends else "value", False
        elif letter in entry.valued:
            return seen if seen == "code" else "value", is_last
    return seen, False
