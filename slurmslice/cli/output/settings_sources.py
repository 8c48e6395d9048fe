"""The settings in force, each with its file: a part of ``doctor`` (docs/adr/0041)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from slurmslice.cli.output.console import print_line, printable_line
from slurmslice.settings.settings_file import Setting
from slurmslice.system import config_files
from slurmslice.system.files import read_file
from slurmslice.system.toml_text import load_toml


def show_settings(settings: Mapping[str, Setting], cluster: str, clusters: Iterable[str]) -> None:
    """Print each setting in force with its file, then the site's rules and the ways of mail.

    Args:
        settings: the settings in force.
        cluster: this cluster.
        clusters: the clusters that have tables of their own.
    """
    files = [str(file) for file in config_files.settings_files()]
    print_line(f"settings files, the lowest first: {', '.join(files) or 'none'}")
    for setting in settings.values():
        print_line(f"  {setting.where} = {printable_line(_text(setting))}")
    if others := [name for name in clusters if name != cluster]:
        print_line(f"  not used here ({cluster}): tables for the clusters {', '.join(others)}")
    _show_table(config_files.SITE_FILE, "site", values=True)
    for file in (config_files.SITE_FILE, config_files.user_file()):
        _show_table(file, "mail", values=False)


def _text(setting: Setting) -> str:
    value = setting.value
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else ", ".join(value)


def _show_table(file: Path, name: str, *, values: bool) -> None:
    """Print the keys of a table of a file; the values only if they are no secrets."""
    try:
        table = load_toml(read_file(file)).get(name)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return  # absent, or told by the checks of its readers
    for key, value in table.items() if isinstance(table, dict) else ():
        shown = f" = {printable_line(str(value))}" if values else ""
        print_line(f"  {file}: [{name}] {key}{shown}")
