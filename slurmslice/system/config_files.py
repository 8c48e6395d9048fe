"""The places of settings files: the site's, the user's and a folder's."""

from __future__ import annotations

import os
from pathlib import Path

SITE_FILE = Path("/etc/slurmslice.toml")
"""The file of the cluster's administrators. It may be absent."""


def settings_files(folder: Path = Path()) -> list[Path]:
    """Return the existing settings files, the lowest layer first: the user's, the folder's.

    Source: XDG Base Directory Specification.
    """
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    candidates = (Path(home) / "slurmslice" / "config.toml", folder / "slurmslice.toml")
    return [file for file in candidates if file.exists()]
