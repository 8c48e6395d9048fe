"""The files of templates: the shipped ones, and a person's own.

This module does not need Jinja2, whose import takes a tenth of a command's time.
"""

from __future__ import annotations

import os.path
from dataclasses import dataclass
from pathlib import Path

from slurmslice.errors import BadInputError
from slurmslice.system.files import unreadable_file_error


@dataclass(frozen=True, slots=True)
class OwnTemplate:
    """A person's template: its path, and its text as it was read."""

    path: Path
    text: str


def find_template(given: str, project: Path) -> OwnTemplate:
    """Find and read a person's template.

    Args:
        given: the path of a file, or a name in the project's ``templates/`` folder, with or without
            ``.sh.j2``.
        project: the project's folder; paths are relative to it.

    Raises:
        BadInputError: there is no such template, or it cannot be read.
    """
    folder = project / "templates"
    for path in (project / given, folder / given, folder / f"{given}.sh.j2"):
        if os.path.isfile(path):
            return _read(path.absolute())
    names = ", ".join(sorted(path.name.removesuffix(".sh.j2") for path in folder.glob("*.j2")))
    raise BadInputError(
        f"There is no template {given!r}: no such file, and none in {folder}.",
        f"Templates: {names}." if names else "Give the path of a file.",
        code="unknown-template",
        template=given,
    )


def _read(path: Path) -> OwnTemplate:
    try:
        return OwnTemplate(path, path.read_text("utf-8-sig"))
    except OSError as why:
        raise unreadable_file_error(f"The template {path}", str(path), why) from why
    except UnicodeDecodeError as why:
        raise BadInputError(
            f"The template {path} cannot be read: {why}.", code="unreadable-file", path=str(path)
        ) from why


def templates_folder() -> Path:
    """Return the folder of the templates: in the package, or beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"
