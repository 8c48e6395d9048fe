"""The errors that slurmslice raises on purpose.

An error has a message, a hint with the next command, a code and an exit code. Only
``slurmslice.cli.app`` prints it.
"""

from __future__ import annotations

from typing import Self


class SlurmsliceError(Exception):
    """The base of all errors. ``exit_code`` is the exit code of a process that it ends.

    Args:
        message: the event and the slice, file or option, in whole sentences.
        hint: the text to type next; empty if there is none.
        code: a stable name for this kind of error, in kebab-case (``unknown-column``). Programs
            and tests recognise an error by its code, never by its text.
        fields: the values in the message, by name: ``key="b"``, ``option="mem"``, ``path=…``.
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
        """Return the same error with its location in front of the message.

        Args:
            where: the location: a file, an option, a slice; empty for none.
            hint: a hint in place of this error's own.
            fields: the values in the location. Fields of the error keep their values.
        """
        error = type(self).__new__(type(self))
        message = f"{where}: {self.message}" if where else self.message
        hint = self.hint if hint is None else hint
        SlurmsliceError.__init__(error, message, hint, code=self.code, **{**fields, **self.fields})
        return error

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class BadInputError(SlurmsliceError):
    """Wrong input: usage, files, options. Nothing was done.

    The class has no code of its own: each kind of mistake has one.
    """

    def __init__(self, message: str, hint: str = "", *, code: str, **fields: object) -> None:
        super().__init__(message, hint, code=code, **fields)


class DamagedRunError(SlurmsliceError):
    """A file of the run directory has wrong contents."""

    code = "damaged-run"


class NotAFileError(DamagedRunError, OSError):
    """A path is not a regular file. A caller that can do without the file catches OSError.

    Args:
        path: the path.
        what: the kind of file there: "a named pipe".
    """

    code = "not-a-file"

    def __init__(self, path: str, what: str) -> None:
        super().__init__(
            f"{path} is {what}, not a file.",
            "Move it away, or restore the file.",
            path=path,
            found=what,
        )
        self.filename, self.strerror = path, f"it is {what}, not a file"


class EngineError(SlurmsliceError):
    """Slurm or the local engine did not answer, or rejected a request."""

    exit_code = 3


class NoAnswerError(EngineError):
    """A query got no usable answer, because of an error, a time-out or unreadable output."""

    code = "no-answer"


class SubmissionRejectedError(EngineError):
    """A submission was rejected permanently: the same submission would fail again."""

    code = "submission-rejected"


class SubmitLimitError(EngineError):
    """A submission was rejected because a limit is reached. It may succeed later."""

    code = "submit-limit"


class TooManyTasksError(SubmitLimitError):
    """A submission had more tasks than a limit allows now. Fewer tasks may succeed."""

    code = "too-many-tasks"


class SubmissionUnknownError(EngineError):
    """The result of a submission is unknown. Its token must be looked up."""

    code = "submission-unknown"


class SubmissionUnclearError(SubmissionUnknownError):
    """A submission got an answer in words that are not Slurm's: a site's own program refused it.

    Args:
        message: the event.
        said: the words.
    """

    def __init__(self, message: str, hint: str = "", *, said: str) -> None:
        super().__init__(message, hint, said=said)
        self.said = said


class UnusableSlurmError(NoAnswerError):
    """A command of Slurm cannot work here, so that waiting for its answer is no help."""

    code = "slurm-command-unusable"


class LockedError(EngineError):
    """Another slurmslice process holds the lock of the run."""

    code = "locked"


class MailError(SlurmsliceError):
    """A mail was not accepted; the run is not affected."""

    code = "mail-not-sent"


class OnEndError(SlurmsliceError):
    """The person's command at the end of a run failed; the run is not affected."""

    code = "on-end-failed"
