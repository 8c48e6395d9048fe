"""Every error that slurmslice raises on purpose.

An error carries what happened, its exit code and what to type next; where it is shown is
decided in one place, ``slurmslice.cli``.
"""

from __future__ import annotations

from typing import Self


class SlurmsliceError(Exception):
    """Base of all of them. ``exit_code`` is the process' exit code when it reaches the top.

    Args:
        message: what happened, to which slice, file or option; whole sentences.
        hint: what to type next; empty if there is nothing to type.
        code: a stable name for this kind of error, in kebab-case (``unknown-column``). Programs
            and tests recognise an error by its code, never by its text.
        fields: what the message names, by name: ``key="b"``, ``option="mem"``, ``path=…``.
    """

    exit_code = 2
    code: str

    def __init__(
        self, message: str, hint: str = "", *, code: str | None = None, **fields: object
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or type(self).code
        self.fields = fields

    def inside(self, where: str, hint: str | None = None, /, **fields: object) -> Self:
        """Return the same error with a prefix that says where it was found.

        Args:
            where: the prefix of the message: a file, an option, a slice; no prefix if it is empty.
            hint: a hint in place of this error's own.
            fields: what the prefix names. A field that the error has already keeps its value.
        """
        error = type(self).__new__(type(self))
        message = f"{where}: {self.message}" if where else self.message
        hint = self.hint if hint is None else hint
        SlurmsliceError.__init__(error, message, hint, code=self.code, **{**fields, **self.fields})
        return error

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class BadInput(SlurmsliceError):
    """What was asked cannot be done as it stands: usage, files, options. Nothing was done.

    It has no code of its own: each mistake that a person can make has one.
    """

    def __init__(self, message: str, hint: str = "", *, code: str, **fields: object) -> None:
        super().__init__(message, hint, code=code, **fields)


class DamagedRun(SlurmsliceError):
    """A file of the run directory does not say what it must be able to say."""

    code = "damaged-run"


class NotAFile(DamagedRun, OSError):
    """In a file's place stands something else. Who can do without the file goes on (OSError).

    Args:
        path: whose place it is.
        what: what is there: "a named pipe".
    """

    code = "not-a-file"

    def __init__(self, path: str, what: str) -> None:
        super().__init__(
            f"{path} is {what}, and no file.",
            "Move it away, or put the file back in its place.",
            path=path,
            found=what,
        )
        self.filename, self.strerror = path, f"it is {what}, and no file"


class EngineError(SlurmsliceError):
    """Slurm (or the local engine) did not answer, or refused."""

    exit_code = 3


class NoAnswer(EngineError):
    """A question got no usable answer (an error, a time-out, garbage): nothing was learnt."""

    code = "no-answer"


class Refused(EngineError):
    """A submission was refused for good: trying the same again is of no use."""

    code = "submission-rejected"


class Full(EngineError):
    """A submission was refused for now: a limit is reached, it may be let in later."""

    code = "submit-limit"


class TooMany(Full):
    """A submission had more tasks than a limit lets in now: fewer may be let in at once."""

    code = "too-many-tasks"


class Unsure(EngineError):
    """It is not known whether a submission was taken: its token must be looked up."""

    code = "submission-unknown"


class Busy(EngineError):
    """Another slurmslice holds the run's lock."""

    code = "locked"
