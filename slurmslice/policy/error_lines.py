"""The line of a log that says why a program failed: one table of the forms of errors. Pure.

A form is no cause: repairs know only the texts of ``log_causes``. ``docs/adr/0043`` gives the
ranks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from slurmslice.policy.log_causes import causes_in_force
from slurmslice.policy.tracebacks import exception_after, is_launcher_exception, last_tracebacks

MAX_LINE = 1000
"""Bytes of a line that count."""

_MOST_PLACES = 200
"""So many places of one text are looked at, because a log may have a common text in each line."""

_NEAR = 8 << 10
"""So many bytes at the end are searched first."""

_WORD_BYTES = 16 << 10
"""So many bytes at the end are searched for a word such as error."""


class Rank(IntEnum):
    """The ranks of forms: the first that is found in a log counts."""

    PROGRAM = 0  # what a program says about itself; the last one counts
    COMPILER = 1  # the first one counts: the others follow from it
    SYSTEM = 2  # errno and the shell; the last one counts
    LAUNCHER = 3  # what reports the end of another program; the first one counts


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """One form in which errors are reported.

    Attributes:
        rank: its rank.
        texts: fixed texts, one of which its line has.
        line: the form of the whole line, after its prefix; None for any.
        joins: the form of the next line that belongs to it; None for none.
    """

    rank: Rank
    texts: tuple[bytes, ...]
    line: re.Pattern[bytes] | None = None
    joins: re.Pattern[bytes] | None = None


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """The line of a log that tells why a program failed.

    Attributes:
        text: the line as it stands, perhaps with the next one that belongs to it.
        frame: the innermost function of the program's own code, ``file:function``; else empty.
        is_error: something in the line says that it is an error; otherwise it is the last line.
    """

    text: str
    frame: str = ""
    is_error: bool = True


def _form(rank: Rank, *texts: str, line: str = "", joins: str = "") -> ErrorForm:
    return ErrorForm(
        rank,
        tuple(text.encode() for text in texts),
        re.compile(line.encode()) if line else None,
        re.compile(joins.encode()) if joins else None,
    )


_ANY = r"\s*\S"
_NOT_OF_SLURM = r"(?!slurmstepd|srun|sbatch|slurmd|scontrol)"

FORMS = (
    # Python without a traceback (SyntaxError); Java's and Scala's exceptions look alike
    _form(
        Rank.PROGRAM, "Error", "Exception",
        line=r"(?!\S*ChildFailedError)(?:\w+\.)*\w*(?:Error|Exception)(?:: |$)",
    ),
    _form(Rank.PROGRAM, "Exception in thread ", "Caused by: "),
    # R
    _form(Rank.PROGRAM, "Error in ", line=r"Error in .*:\s*$", joins=_ANY),
    _form(Rank.PROGRAM, "Error in ", line=r"Error in "),
    _form(Rank.PROGRAM, "Error: ", "Error : ", "Error:", line=r"Error ?: ?", joins=r"[!✖] "),
    # Julia; LAMMPS and many others
    _form(Rank.PROGRAM, "ERROR: ", line=r"ERROR: "),
    # C and C++
    _form(Rank.PROGRAM, "terminate called ", joins=r"\s*what\(\):"),
    _form(Rank.PROGRAM, "terminating due to ", "terminating with "),
    _form(Rank.PROGRAM, "Assertion `", "Assertion '", "Assertion failed", "assertion failed"),
    _form(Rank.PROGRAM, "ERROR: AddressSanitizer", "runtime error: "),
    _form(
        Rank.PROGRAM, "double free or corruption", "free(): invalid", "munmap_chunk(): ",
        "corrupted size vs", "malloc(): ", "*** stack smashing detected", "*** buffer overflow",
    ),
    # Fortran
    _form(Rank.PROGRAM, "Fortran runtime error", "forrtl: ", "ERROR STOP"),
    _form(Rank.PROGRAM, "Program received signal "),
    # Rust, Go, MATLAB, GROMACS
    _form(Rank.PROGRAM, "' panicked at ", joins=_ANY),
    _form(Rank.PROGRAM, "panic: ", line=r"panic: "),
    _form(Rank.PROGRAM, "Error using ", line=r"Error using ", joins=_ANY),
    _form(Rank.PROGRAM, "Fatal error:", line=r"Fatal error:\s*$", joins=_ANY),
    # MPI's own errors: Open MPI, MPICH
    _form(Rank.PROGRAM, "*** MPI_ERR_"),
    _form(Rank.PROGRAM, "Fatal error in "),
    # compilers and linkers
    _form(Rank.COMPILER, ": error: ", ": fatal error: ", ": error #", line=_NOT_OF_SLURM),
    _form(Rank.COMPILER, "): error", "error[E", "CMake Error"),
    _form(Rank.COMPILER, "undefined reference to", "undefined symbol", ": cannot find -l"),
    # errno(3), ld.so(8), bash(1)
    _form(
        Rank.SYSTEM, "No such file or directory", "Permission denied", "command not found",
        "Is a directory", "cannot execute", "Exec format error", "Input/output error",
        "error while loading shared libraries", "Too many open files", "Connection refused",
        "Text file busy", "syntax error near",
    ),
    # launchers: MPI, shells, make, Slurm, slurmslice itself
    _form(Rank.LAUNCHER, "MPI_ABORT was invoked", joins=r"with errorcode"),
    _form(Rank.LAUNCHER, "application called MPI_Abort("),
    _form(Rank.LAUNCHER, "mpirun noticed that", "prterun noticed that", joins=_ANY),
    _form(Rank.LAUNCHER, "BAD TERMINATION OF ONE OF YOUR"),
    _form(Rank.LAUNCHER, "Killed", line=r"(?:.*: line \d+: +)?(?:\d+ +)?Killed\b"),
    _form(
        Rank.LAUNCHER, "Segmentation fault", "Aborted", "Bus error", "Floating point exception",
        "Illegal instruction", "(core dumped)",
    ),
    _form(Rank.LAUNCHER, "make: *** ", "]: *** ", "ninja: build stopped"),
    _form(Rank.LAUNCHER, "slurmstepd: error: ", "srun: error: "),
    _form(Rank.LAUNCHER, "slurmslice: ", line=r"slurmslice: "),
)  # fmt: skip
"""The forms of errors that slurmslice knows, in English."""

_WORDS = (
    b"error", b"fatal", b"exception", b"fail", b"cannot", b"can't", b"could not", b"couldn't",
    b"unable", b"invalid", b"illegal", b"not found", b"abort", b"denied", b"unknown", b"missing",
    b"exceeded", b"panic", b"refused", b"unexpected",
)  # fmt: skip
_PREFIX = re.compile(
    rb"(?:\x1b\[[0-9;]*m|\[?rank ?\d+\]?: ?|\d{1,5}: |\[[\w.-]+:\d+\] ?|\s)+", re.IGNORECASE
)
_HAS_TEXT = re.compile(rb"[^\W_]|[\x80-\xff]")
_FORTRAN_PLACE = re.compile(r"of file (\S+)")


def find_error_line(tail: bytes, cause: str = "", own: tuple[str, ...] = ()) -> ErrorLine | None:
    """Return what the end of a log says about the failure; None if it has no text.

    Args:
        tail: the end of the log.
        cause: the named cause that it has; empty for none.
        own: the person's causes, as ``find_cause`` takes them.
    """
    place = _place_of_cause(tail, cause, own) if cause else -1
    if place >= 0:
        return ErrorLine(_text(_line_at(tail, place)[1]))
    near = len(tail) - _NEAR
    if near > 0 and (found := _of_program(tail, tail[near:], near)):
        return found
    return _of_program(tail, tail, 0) or _of_others(tail) or _by_words(tail)


def _place_of_cause(tail: bytes, cause: str, own: tuple[str, ...]) -> int:
    places = (one.last_place(tail) for one in causes_in_force(own) if one.name == cause)
    return max(places, default=-1)


def _of_program(tail: bytes, end: bytes, offset: int) -> ErrorLine | None:
    """Return the last line in which the program itself reports an error. A traceback counts too.

    Args:
        tail: the end of the log.
        end: its last part, which begins at the offset: in most logs the error is there.
        offset: where that part begins.
    """
    found, formed = _last_traceback(tail, offset), _best(end, Rank.PROGRAM)
    if found and (formed is None or formed[0] + offset <= found[0]):
        return found[1]
    return _as_line(end, *formed) if formed else None


def _of_others(tail: bytes) -> ErrorLine | None:
    """Return the line of the highest rank below that of programs."""
    ranks = (rank for rank in Rank if rank is not Rank.PROGRAM)
    found = next((best for rank in ranks if (best := _best(tail, rank))), None)
    return _as_line(tail, *found) if found else None


def _as_line(tail: bytes, start: int, form: ErrorForm) -> ErrorLine:
    return ErrorLine(_joined(tail, start, form), _frame(tail, start))


def _last_traceback(tail: bytes, offset: int) -> tuple[int, ErrorLine] | None:
    """Return the last traceback that is not one of a launcher of processes, with its place.

    One that begins before the offset does not count.
    """
    spare = None
    for start in last_tracebacks(tail, offset):
        if (found := exception_after(tail, start)) is None:
            continue
        place, text, frame = found
        line = place, ErrorLine(_text(text), frame)
        if not is_launcher_exception(text):
            return line
        spare = spare or line
    return spare


def _best(tail: bytes, rank: Rank) -> tuple[int, ErrorForm] | None:
    """Return the place and the form of the line that counts in a rank."""
    first = rank in {Rank.COMPILER, Rank.LAUNCHER}
    found: tuple[int, ErrorForm] | None = None
    for form in (one for one in FORMS if one.rank is rank):
        for text in form.texts:
            for place in _places(tail, text, first=first):
                start, line = _line_at(tail, place)
                if found and (start >= found[0] if first else start <= found[0]):
                    break
                if form.line is None or form.line.match(_without_prefix(line)):
                    found = start, form
                    break
    return found


def _places(tail: bytes, text: bytes, *, first: bool) -> Iterator[int]:
    """Iterate over the places of a text: from the beginning, or from the end."""
    at = tail.find(text) if first else tail.rfind(text)
    for _ in range(_MOST_PLACES):
        if at < 0:
            return
        yield at
        at = tail.find(text, at + 1) if first else tail.rfind(text, 0, at)


def _line_at(tail: bytes, place: int) -> tuple[int, bytes]:
    """Return the line at a place, and where it begins. A carriage return ends a line too."""
    start = max(tail.rfind(b"\n", 0, place), tail.rfind(b"\r", 0, place)) + 1
    start = max(start, place - MAX_LINE // 2)
    rest = tail[start : start + MAX_LINE]
    ends = [at for at in (rest.find(b"\n", place - start), rest.find(b"\r", place - start))
            if at >= 0]  # fmt: skip
    return start, rest[: min(ends, default=len(rest))]


def _joined(tail: bytes, start: int, form: ErrorForm) -> str:
    line = _line_at(tail, start)[1]
    text = _text(line)
    if form.joins:
        for after in tail[start + len(line) :][: 2 * MAX_LINE].split(b"\n")[1:3]:
            if form.joins.match(bare := _without_prefix(after)):
                return f"{text} {_text(bare)}"
            if after.strip():
                break
    return text


def _frame(tail: bytes, start: int) -> str:
    """Return the file that gfortran names in the line before its message; else empty."""
    if not tail.startswith(b"Fortran runtime error", start):
        return ""
    found = _FORTRAN_PLACE.search(_text(_line_at(tail, max(0, start - 2))[1]))
    return re.split(r"[/\\]", found[1])[-1] if found else ""


def _without_prefix(line: bytes) -> bytes:
    found = _PREFIX.match(line)
    return line[found.end() :] if found else line


def _by_words(tail: bytes) -> ErrorLine | None:
    """Return the last line with a word of errors, else the last line with a letter or digit."""
    end = tail[-_WORD_BYTES:]
    low = end.lower()  # of bytes: only ASCII letters change, so places stay
    place = max(low.rfind(word) for word in _WORDS)
    if place >= 0:
        return ErrorLine(_text(_line_at(end, place)[1]))
    lines = re.split(rb"[\r\n]+", end)
    last = next((line for line in reversed(lines) if _HAS_TEXT.search(line)), None)
    return None if last is None else ErrorLine(_text(last[:MAX_LINE]), is_error=False)


def first_line(reason: bytes) -> ErrorLine | None:
    """Return the first line of a reason that a program wrote itself; None if there is none."""
    lines = (line for line in reason.splitlines() if line.strip())
    line = next(lines, None)
    return None if line is None else ErrorLine(_text(line[:MAX_LINE]))


def _text(line: bytes) -> str:
    return line.replace(b"\0", b"").decode("utf-8", "surrogateescape").strip()
