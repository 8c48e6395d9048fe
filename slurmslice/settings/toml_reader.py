"""Parser of settings files. Source of the syntax: TOML 1.0."""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slurmslice import sbatch
from slurmslice.errors import BadInputError
from slurmslice.sbatch import NO_OPTIONS, Option, Takes
from slurmslice.settings.mail_settings import parse_mail_table
from slurmslice.settings.settings_file import (
    KnownKeys,
    Setting,
    SettingKey,
    SettingsFile,
    SettingsLayer,
    SettingValue,
    ValueKind,
)
from slurmslice.spec import per_slice_options
from slurmslice.system import config_files
from slurmslice.system.toml_text import load_toml

_HOOKS = frozenset({"on-end"})
"""Keys of commands that run beside slurmslice, not as jobs (docs/adr/0041)."""


def parse_settings(data: bytes, file: str, keys: KnownKeys) -> SettingsFile:
    """Parse a settings file.

    Args:
        data: the file's bytes: TOML 1.0.
        file: its name, for error messages.
        keys: the valid keys.

    Raises:
        BadInputError: the file is not TOML (the message names the line), has an unknown key (the
            message names the nearest one), or has a value of the wrong type.
    """
    tree = _parse(data, file)
    if file == str(config_files.SITE_FILE):
        return _parse_defaults(tree, file, keys)
    if isinstance(tree.get("mail"), bool):
        raise _mail_flag(file)
    mail = _table(tree.pop("mail", {}), f"{file}: [mail]")
    if mail and file == config_files.FOLDER_FILE:
        raise BadInputError(
            f"{file} has a table [mail]. It counts only in your own settings.",
            "Move it to ~/.config/slurmslice/config.toml.",
            code="mail-in-folder",
            path=file,
        )
    parse_mail_table(mail, file)  # its values are read when mail is sent
    return _file(tree, file, (), keys)


def _parse_defaults(tree: dict[str, object], file: str, keys: KnownKeys) -> SettingsFile:
    """Parse the defaults in the site's file; its other tables are read elsewhere."""
    return _file(_table(tree.get("defaults", {}), f"{file}: defaults"), file, ("defaults",), keys)


def _file(
    tree: dict[str, object], file: str, above: tuple[str, ...], keys: KnownKeys
) -> SettingsFile:
    """Return the settings of a tree, which is at a place in its file."""
    named: dict[str, dict[str, SettingsLayer]] = {}
    for kind in ("profile", "cluster"):
        place = ".".join((*above, kind))
        named[kind] = {
            name: _Reader(file, (*above, kind, name), keys).layer(
                _table(table, f"{file}: {place}.{name}")
            )
            for name, table in _table(tree.pop(kind, {}), f"{file}: {place}").items()
        }
    always = _Reader(file, above, keys).layer(tree)
    return SettingsFile(file, always, named["profile"], named["cluster"])


def _mail_flag(file: str) -> BadInputError:
    """Return the error of the option ``--mail`` at the place of the table ``[mail]``."""
    return BadInputError(
        f"{file}: mail is not a known key here: a table [mail] says how mail leaves this machine.",
        "For the option --mail, write mail = true in [policy].",
        code="unknown-key",
        path=file,
        key="mail",
        where=f"{file}: mail",
        nearest="mail",
    )


def _parse(data: bytes, file: str) -> dict[str, object]:
    try:
        # Keep decimal numbers as written, so that 1e-5 is passed on as 1e-5.
        return load_toml(data, parse_float=lambda n: n.replace("_", ""))
    except UnicodeDecodeError as why:
        line = data.count(b"\n", 0, why.start) + 1
        raise BadInputError(
            f"{file}, line {line}: this is not UTF-8.",
            "Save the file as UTF-8.",
            code="not-utf8",
            path=file,
            line=line,
        ) from why
    except tomllib.TOMLDecodeError as why:
        what, _, position = str(why).rpartition(" (at ")
        if not what:  # the place is not known
            raise BadInputError(f"{file}: {why}.", code="bad-settings-file", path=file) from why
        found = re.match(r"line (\d+)", position)
        line = int(found[1]) if found else len(data.splitlines())
        raise BadInputError(
            f"{file}, line {line}: {what}.",
            'Put texts in quotes: mem = "4G", time = "1:00:00".',
            code="bad-settings-file",
            path=file,
            line=line,
        ) from why


def _table(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong_type(where, value, "a table")
    return dict(value)


@dataclass(frozen=True)
class _Reader:
    """Parses the tables of a file, or of one profile or cluster in it."""

    file: str
    above: tuple[str, ...]
    keys: KnownKeys

    def layer(self, tree: dict[str, object]) -> SettingsLayer:
        """Return the settings of these tables, by option."""
        layer: dict[str, Setting] = {}
        for option, setting in self._settings(tree):
            if option in layer:
                raise BadInputError(
                    f"{setting.where} sets the same option as {layer[option].key}.",
                    "Keep one of them.",
                    code="duplicate-setting",
                    where=setting.where,
                    key=setting.key,
                    other=layer[option].key,
                )
            layer[option] = setting
        return layer

    def _settings(self, tree: dict[str, object]) -> Iterator[tuple[str, Setting]]:
        tables = {
            name: _table(tree.pop(name, {}), f"{self.file}: {self._header(name)}")
            for name in ("policy", "then", "sbatch")
        }
        for key, value in tree.items():
            yield self._option("", key, value, self.keys.top)
        for key, value in tables["policy"].items():
            yield self._option("policy", key, value, self.keys.policy)
        for key, value in tables["then"].items():
            yield self._option("then", key, value, self.keys.then)
        for key, value in tables["sbatch"].items():
            yield self._sbatch_option(key, value)

    def _header(self, table: str) -> str:
        parts = [*self.above, *([table] if table else [])]
        return f"[{'.'.join(parts)}]" if parts else ""

    def _full_key(self, table: str, key: str) -> str:
        return f"{self._header(table)} {key}".lstrip()

    def _option(
        self, table: str, name: str, raw: object, keys: Mapping[str, SettingKey]
    ) -> tuple[str, Setting]:
        full_key = self._full_key(table, name)
        if name not in keys:
            raise self._unknown(full_key, name)
        key = keys[name]
        if name in _HOOKS and self.file == config_files.FOLDER_FILE:
            raise _hook_in_folder(f"{self.file}: {full_key}", self.file, name)
        if key.kind is ValueKind.WORDS and isinstance(raw, str):
            key = keys["shell"]
        value = _value(key.kind, raw)
        if value is None:
            raise _wrong_type(f"{self.file}: {full_key}", raw, keys[name].kind)
        return key.option, Setting(value, self.file, full_key)

    def _sbatch_option(self, name: str, raw: object) -> tuple[str, Setting]:
        full_key = self._full_key("sbatch", name)
        where = f"{self.file}: {full_key}"
        if name in self.keys.top:  # above all job-name, because slurmslice adds a token to it
            raise self._unknown(full_key, name)
        option = self._find_sbatch_option(full_key, name)
        value = (
            "" if raw is True and option.takes is not Takes.VALUE else _value(ValueKind.TEXT, raw)
        )
        if value is None:
            takes = ValueKind.FLAG if option.takes is Takes.NOTHING else ValueKind.TEXT
            raise _wrong_type(where, raw, takes)
        if value is not False:
            _check(option.name, str(value), where)
        return "--" + option.name, Setting(value, self.file, full_key)

    def _find_sbatch_option(self, full_key: str, name: str) -> Option:
        """Return the option of a key. Ask the cluster only if the key is unknown here."""
        try:
            return sbatch.find_option(name)
        except BadInputError:
            more = self.keys.cluster_options()
        try:
            return sbatch.find_option(name, more)
        except BadInputError as why:
            raise self._unknown(full_key, name, more) from why

    def _unknown(
        self, full_key: str, key: str, more: Mapping[str, Option] = NO_OPTIONS
    ) -> BadInputError:
        """Return the error of an unknown key; it names the nearest known key and its table."""
        tables = {
            **dict.fromkeys((*sbatch.known_options(), *more), "sbatch"),
            **dict.fromkeys(self.keys.then, "then"),
            **dict.fromkeys(self.keys.policy, "policy"),
            **dict.fromkeys(self.keys.top, ""),
        }
        hint = (
            "Valid keys are the long options of `slurmslice run --help`, and in [sbatch] those of "
            "sbatch. An option that is unknown here can be typed: --sbatch NAME=VALUE."
        )
        meant = difflib.get_close_matches(key, tables, 1)
        for near in meant:
            header = self._header(tables[near])
            hint = f"Did you mean {near}, {f'in {header}' if header else 'above every [table]'}?"
        return BadInputError(
            f"{self.file}: {full_key} is not a known key.",
            hint,
            code="unknown-key",
            path=self.file,
            key=key,
            where=f"{self.file}: {full_key}",
            nearest=meant[0] if meant else None,
        )


def _hook_in_folder(where: str, file: str, name: str) -> BadInputError:
    return BadInputError(
        f"{where} is a command that runs where you type slurmslice, and a folder's file may be "
        "another user's.",
        f"Move it to ~/.config/slurmslice/config.toml, or type --{name}.",
        code="hook-in-folder",
        path=file,
        key=name,
        where=where,
    )


def _check(name: str, value: str, where: str) -> None:
    try:
        per_slice_options.check_run_option(name, value)
    except BadInputError as why:
        raise why.inside(where, where=where) from why


def _value(kind: ValueKind, raw: object) -> SettingValue | None:
    """Return a value as a person would type it; None if it has not this type."""
    if raw is False:
        return False
    match kind:
        case ValueKind.FLAG:
            return True if raw is True else None
        case ValueKind.TEXT:
            return _text(raw)
        case ValueKind.RULES:
            return _rules(raw)
        case ValueKind.CAUSES:
            return _causes(raw)
        case ValueKind.TEXTS if isinstance(raw, dict):
            return _all([_pair(name, value) for name, value in raw.items()])
        case ValueKind.TEXTS if not isinstance(raw, list):
            return _all([_text(raw)])
        case _:
            return _all([_text(one) for one in raw]) if isinstance(raw, list) else None


def _text(raw: object) -> str | None:
    match raw:
        case bool():
            return None
        case int():
            return str(raw)
        case str() if "\0" not in raw:
            return raw
        case datetime.date() | datetime.time():  # unquoted, as in begin = 2030-01-01T08:00:00
            return raw.isoformat()
    return None


def _rules(raw: object) -> SettingValue | None:
    """Return ``CAUSE=STEPS`` for each cause of a table; None if it is no such table."""
    if not isinstance(raw, dict):
        return None
    ladders = {cause: one if isinstance(one, list) else [one] for cause, one in raw.items()}
    if not all(isinstance(step, str) for steps in ladders.values() for step in steps):
        return None
    return _all([_text(f"{cause}={'; '.join(steps)}") for cause, steps in ladders.items()])


def _causes(raw: object) -> SettingValue | None:
    """Return ``NAME=TEXT`` for each table of causes; None if it is no such table."""
    if not isinstance(raw, dict):
        return None
    return _all([_cause(name, one) for name, one in raw.items()])


def _cause(name: str, raw: object) -> str | None:
    match raw:
        case {"match": str() as pattern, **others} if not others:
            return f"{name}={pattern}"
    return None


def _pair(name: str, raw: object) -> str | None:
    """Return ``lr=0.1,0.01`` for a repeated option; None if a comma would split a value."""
    texts = [_text(one) for one in raw] if isinstance(raw, list) else [_text(raw)]
    if None in texts or (len(texts) > 1 and any("," in str(text) for text in texts)):
        return None
    return f"{name}={','.join(map(str, texts))}"


def _all(texts: list[str | None]) -> tuple[str, ...] | None:
    whole = tuple(text for text in texts if text is not None)
    return whole if len(whole) == len(texts) else None


def _wrong_type(where: str, raw: object, takes: str) -> BadInputError:
    return BadInputError(
        f"{where} is {_description(raw)}; it must be {takes}.",
        code="bad-value",
        where=where,
        takes=str(takes),
    )


def _description(raw: object) -> str:
    match raw:
        case bool():
            return str(raw).lower()
        case str():
            return repr(raw)
        case dict():
            return "a table"
        case list():
            odd = [one for one in raw if _text(one) is None]
            return f"a list that holds {_description(odd[0])}" if odd else "a list"
    return str(raw)
