"""A settings file's bytes to what it says. Source of the syntax: TOML 1.0."""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from slurmslice import directives, requests
from slurmslice.directives import NO_OPTIONS, Option, Takes
from slurmslice.errors import BadInput
from slurmslice.settings import Key, Keys, Kind, Layer, Setting, Settings, Value


def read(data: bytes, file: str, keys: Keys) -> Settings:
    """What a settings file says.

    Args:
        data: the file's bytes: TOML 1.0.
        file: its name, for errors.
        keys: what can be said.

    Raises:
        BadInput: it is no TOML (with the line), has a key that is not known (with the nearest
            one), or a value that its key does not take.
    """
    tree = _parse(data, file)
    profiles = _table(tree.pop("profile", {}), f"{file}: profile")
    return Settings(
        file,
        _Reader(file, "", keys).layer(tree),
        {
            name: _Reader(file, name, keys).layer(_table(table, f"{file}: profile.{name}"))
            for name, table in profiles.items()
        },
    )


def _parse(data: bytes, file: str) -> dict[str, object]:
    try:
        # Numbers with a point stay as they are written: 1e-5 is to be typed as 1e-5.
        return tomllib.loads(data.decode("utf-8-sig"), parse_float=lambda n: n.replace("_", ""))
    except RecursionError as why:
        raise BadInput(
            f"{file}: brackets in brackets, too deep to be read.",
            code="bad-settings-file",
            path=file,
        ) from why
    except UnicodeDecodeError as why:
        line = data.count(b"\n", 0, why.start) + 1
        raise BadInput(
            f"{file}, line {line}: this is not UTF-8.", code="not-utf8", path=file, line=line
        ) from why
    except tomllib.TOMLDecodeError as why:
        what, _, at = str(why).rpartition(" (at ")
        told = re.match(r"line (\d+)", at)
        line = int(told[1]) if told else len(data.splitlines())
        raise BadInput(
            f"{file}, line {line}: {what}.",
            'Texts stand in quotes: mem = "4G", time = "1:00:00".',
            code="bad-settings-file",
            path=file,
            line=line,
        ) from why


def _table(value: object, where: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(where, value, "a table")
    return dict(value)


@dataclass(frozen=True)
class _Reader:
    """Reads the tables of a file, or of one profile in it."""

    file: str
    profile: str
    keys: Keys

    def layer(self, tree: dict[str, object]) -> Layer:
        """What they say, by option."""
        layer: dict[str, Setting] = {}
        for option, setting in self._settings(tree):
            if option in layer:
                raise BadInput(
                    f"{setting.where} says what {layer[option].key} says.",
                    "Keep one.",
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
            for name in ("policy", "sbatch")
        }
        for key, value in tree.items():
            yield self._own("", key, value, self.keys.top)
        for key, value in tables["policy"].items():
            yield self._own("policy", key, value, self.keys.policy)
        for key, value in tables["sbatch"].items():
            yield self._of_sbatch(key, value)

    def _header(self, table: str) -> str:
        parts = [*(["profile", self.profile] if self.profile else []), *([table] if table else [])]
        return f"[{'.'.join(parts)}]" if parts else ""

    def _named(self, table: str, key: str) -> str:
        return f"{self._header(table)} {key}".lstrip()

    def _own(
        self, table: str, name: str, raw: object, keys: Mapping[str, Key]
    ) -> tuple[str, Setting]:
        named = self._named(table, name)
        if name not in keys:
            raise self._unknown(named, name)
        key = keys[name]
        if key.kind is Kind.WORDS and isinstance(raw, str):
            key = keys["shell"]
        value = _value(key.kind, raw)
        if value is None:
            raise _wrong(f"{self.file}: {named}", raw, keys[name].kind)
        return key.option, Setting(value, self.file, named)

    def _of_sbatch(self, name: str, raw: object) -> tuple[str, Setting]:
        named = self._named("sbatch", name)
        where = f"{self.file}: {named}"
        if name in self.keys.top:  # job-name, above all: the run's name has a token added
            raise self._unknown(named, name)
        option = self._option_of_sbatch(named, name)
        value = "" if raw is True and option.takes is not Takes.VALUE else _value(Kind.TEXT, raw)
        if value is None:
            takes = Kind.FLAG if option.takes is Takes.NOTHING else Kind.TEXT
            raise _wrong(where, raw, takes)
        if value is not False:
            _check(option.name, str(value), where)
        return "--" + option.name, Setting(value, self.file, named)

    def _option_of_sbatch(self, named: str, name: str) -> Option:
        """The option of a key: the cluster is asked for it only if it is not known."""
        try:
            return directives.find(name)
        except BadInput:
            more = self.keys.cluster_options()
        try:
            return directives.find(name, more)
        except BadInput as why:
            raise self._unknown(named, name, more) from why

    def _unknown(self, named: str, key: str, more: Mapping[str, Option] = NO_OPTIONS) -> BadInput:
        """The nearest key that there is, with the table in which it stands."""
        tables = {
            **dict.fromkeys((*directives.names(), *more), "sbatch"),
            **dict.fromkeys(self.keys.policy, "policy"),
            **dict.fromkeys(self.keys.top, ""),
        }
        hint = (
            "The long options of `slurmslice run --help` are keys, and sbatch's in [sbatch]. "
            "What is not known here can be typed: --sbatch NAME=VALUE."
        )
        meant = difflib.get_close_matches(key, tables, 1)
        for near in meant:
            header = self._header(tables[near])
            hint = f"Did you mean {near}, {f'in {header}' if header else 'above every [table]'}?"
        return BadInput(
            f"{self.file}: {named} is not known.",
            hint,
            code="unknown-key",
            path=self.file,
            key=key,
            where=f"{self.file}: {named}",
            nearest=meant[0] if meant else None,
        )


def _check(name: str, value: str, where: str) -> None:
    try:
        requests.check(name, value)
    except BadInput as why:
        raise why.inside(where, where=where) from why


def _value(kind: Kind, raw: object) -> Value | None:
    """A value as it would be typed; None where it is not of this kind."""
    if raw is False:
        return False
    match kind:
        case Kind.FLAG:
            return True if raw is True else None
        case Kind.TEXT:
            return _text(raw)
        case Kind.TEXTS if isinstance(raw, dict):
            return _all([_pair(name, value) for name, value in raw.items()])
        case Kind.TEXTS if not isinstance(raw, list):
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
        case datetime.date() | datetime.time():  # without quotes: begin = 2030-01-01T08:00:00
            return raw.isoformat()
    return None


def _pair(name: str, raw: object) -> str | None:
    """``lr=0.1,0.01``, as an option that is repeated takes it; a comma would make two of one."""
    texts = [_text(one) for one in raw] if isinstance(raw, list) else [_text(raw)]
    if None in texts or (len(texts) > 1 and any("," in str(text) for text in texts)):
        return None
    return f"{name}={','.join(map(str, texts))}"


def _all(texts: list[str | None]) -> tuple[str, ...] | None:
    whole = tuple(text for text in texts if text is not None)
    return whole if len(whole) == len(texts) else None


def _wrong(where: str, raw: object, takes: str) -> BadInput:
    return BadInput(
        f"{where} is {_shown(raw)}; it takes {takes}.",
        code="bad-value",
        where=where,
        takes=str(takes),
    )


def _shown(raw: object) -> str:
    match raw:
        case bool():
            return str(raw).lower()
        case str():
            return repr(raw)
        case dict():
            return "a table"
        case list():
            odd = [one for one in raw if _text(one) is None]
            return f"a list with {_shown(odd[0])} in it" if odd else "a list"
    return str(raw)
