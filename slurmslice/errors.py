"""Every error that slurmslice raises on purpose.

An error carries what happened, its exit code and what to type next; where it is shown is
decided in one place, ``slurmslice.cli``.
"""

from __future__ import annotations


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
    code = "error"

    def __init__(
        self, message: str, hint: str = "", *, code: str | None = None, **fields: object
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code or type(self).code
        self.fields = fields

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class BadInput(SlurmsliceError):
    """What was asked cannot be done as it stands: usage, files, options. Nothing was done."""


class DamagedRun(SlurmsliceError):
    """A file of the run directory does not say what it must be able to say."""


class NotAFile(DamagedRun, OSError):
    """In a file's place stands something else. Who can do without the file goes on (OSError).

    Args:
        path: whose place it is.
        what: what is there: "a named pipe".
    """

    def __init__(self, path: str, what: str) -> None:
        super().__init__(
            f"{path} is {what}, and no file.", "Move it away, or put the file back in its place."
        )
        self.filename, self.strerror = path, f"it is {what}, and no file"


class EngineError(SlurmsliceError):
    """Slurm (or the local engine) did not answer, or refused."""

    exit_code = 3


class NoAnswer(EngineError):
    """A question got no usable answer (an error, a time-out, garbage): nothing was learnt."""


class Refused(EngineError):
    """A submission was refused for good: trying the same again is of no use."""


class Full(EngineError):
    """A submission was refused for now: a limit is reached, it may be let in later."""


class TooMany(Full):
    """A submission had more tasks than a limit lets in now: fewer may be let in at once."""


class Unsure(EngineError):
    """It is not known whether a submission was taken: its token must be looked up."""


class Busy(EngineError):
    """Another slurmslice holds the run's lock."""
