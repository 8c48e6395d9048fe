"""Messages that are not errors: actions, waiting slices, and other facts for the user.

A note has a stable code and fields, as an error has. Only ``slurmslice.cli.output.console`` prints
it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Note:
    """One message to the user.

    Attributes:
        code: a stable name for this kind of note, in kebab-case (``would-submit``). Programs and
            tests recognise a note by its code, never by its text.
        message: the text, whole sentences; it may have several lines.
        fields: the values in the message, by name: ``{"keys": "0-3", "submission": 2}``.
    """

    code: str
    message: str
    fields: Mapping[str, object] = field(default_factory=dict)

    @property
    def mark(self) -> str:
        """The code and the fields in brackets, for programs.

        ``[note would-submit {"keys": "0-3", "submission": 2}]``
        """
        import json

        fields = f" {json.dumps(self.fields, default=str)}" if self.fields else ""
        return f"[note {self.code}{fields}]"
