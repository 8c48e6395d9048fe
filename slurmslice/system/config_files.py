"""The places of settings files: the site's, the user's and a folder's."""

from __future__ import annotations

import os
from pathlib import Path

SITE_FILE = Path("/etc/slurmslice.toml")
"""The file of the cluster's administrators. It may be absent."""

FOLDER_FILE = "slurmslice.toml"
"""The name of a folder's settings file. The folder may be another user's."""


def user_file() -> Path:
    """Return the user's own settings file, which may be absent.

    Source: XDG Base Directory Specification.
    """
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(home) / "slurmslice" / "config.toml"


def settings_files() -> list[Path]:
    """Return the existing settings files, the lowest layer first: site, user, this folder."""
    return [file for file in (SITE_FILE, user_file(), Path(FOLDER_FILE)) if file.exists()]
