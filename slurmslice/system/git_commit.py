"""The git commit of a folder, read from the files of its repository. No program of git is run.

Source: gitrepository-layout(5).
"""

from __future__ import annotations

import re
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_MOST_BYTES = 1 << 20
_MOST_REFERENCES = 5


def git_commit(folder: Path) -> str:
    """Return the commit that is checked out in the repository around a folder; empty for none."""
    try:
        git = next((found for f in (folder, *folder.parents) if (found := _git_folder(f))), None)
        return _resolve(git, "HEAD") if git else ""
    except (OSError, ValueError):
        return ""


def _git_folder(folder: Path) -> Path | None:
    """Return the folder ``.git`` of a repository, or the one that the file ``.git`` names."""
    git = folder / ".git"
    if git.is_dir():
        return git
    if not git.is_file():
        return None
    named = _read(git).removeprefix("gitdir:").strip()
    return folder / named if named else None


def _resolve(git: Path, name: str) -> str:
    """Follow references from a name to a commit."""
    for _ in range(_MOST_REFERENCES):
        text = _reference(git, name)
        if not text.startswith("ref:"):
            return text if _COMMIT.fullmatch(text) else ""
        name = text.removeprefix("ref:").strip()
        if not re.fullmatch(r"refs/[^\0]+", name) or ".." in name:
            return ""
    return ""


def _reference(git: Path, name: str) -> str:
    """Return the text of a reference; branches may be in the main repository of a worktree."""
    common = git / "commondir"
    main = git / _read(common).strip() if common.is_file() else git
    for folder in (git, main):
        if (folder / name).is_file():
            return _read(folder / name).strip()
    packed = main / "packed-refs"
    lines = _read(packed).splitlines() if packed.is_file() else []
    pairs = (line.partition(" ") for line in lines)
    return next((commit for commit, _, found in pairs if found == name), "")


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode("utf-8", "surrogateescape")
