"""The test mail of ``doctor --mail``. Pure."""

from __future__ import annotations

from slurmslice.notify.end_message import EndMessage


def message_of_test(way: str) -> EndMessage:
    """Return a test message that names its way."""
    return EndMessage(
        f"slurmslice: test mail by {way}",
        f"`slurmslice doctor --mail` sent this by {way}. The end of a run is told the same way.\n",
    )
