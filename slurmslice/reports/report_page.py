"""A report as one HTML file, in which no address of another file is. Pure. ADR 45."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from slurmslice.reports.report_model import Page

FIRST_BYTES = b"<!doctype html>\n<!-- slurmslice report -->"
"""The beginning of every report, and of no other file."""


def render_page(page: Page) -> bytes:
    """Return a page as HTML in UTF-8. Every value is escaped; what is no UTF-8 is replaced."""
    from jinja2 import Environment  # late: only a report needs it
    from markupsafe import Markup

    files = resources.files("slurmslice.reports") / "page"
    template, style, script = (
        (files / name).read_text("utf-8") for name in ("report.html.j2", "report.css", "report.js")
    )
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(template).render(
        page=page, style=Markup(style), script=Markup(script),  # noqa: S704 - our own files
        style_hash=_digest(style), script_hash=_digest(script),
    )  # fmt: skip
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").encode()


def _digest(text: str) -> str:
    """Return a source of a Content-Security-Policy that allows this text."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
