"""The README agrees with the code."""

from __future__ import annotations

import re

from slurmslice.cli.app import VERBS
from tests.support.paths import REPOSITORY

ROOT = REPOSITORY
README = (ROOT / "README.md").read_text()


def test_the_script_in_the_readme_is_the_reviewed_one() -> None:
    """The printed script is, byte for byte, the snapshot that the renderer is held to."""
    shown = re.search(r"<!-- script -->\n```bash\n(.*?)```\n<!-- /script -->", README, re.DOTALL)
    assert shown
    assert shown[1] == (ROOT / "tests" / "snapshots" / "direct.sh").read_text()


def test_every_verb_is_described() -> None:
    """The page of commands has each verb, so that a user finds it."""
    page = (ROOT / "docs" / "reference" / "commands.md").read_text()
    assert [verb for verb in VERBS if f"`{verb}" not in page] == []
