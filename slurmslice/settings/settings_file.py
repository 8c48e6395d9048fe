"""Settings files: the content of each ``slurmslice.toml``, and the merge of several sources.

A setting is a command line option in a file. Its value is the text of that option. The
top level holds the options of a new run, ``[policy]`` the options of ``run``, ``[then]`` the step
after it, and ``[sbatch]`` the options of sbatch. Each ``[profile.NAME]`` and ``[cluster.NAME]`` may
hold all of these.

In memory an option has the name of its command line parameter (``slices_from``). An sbatch
option has its dashes (``--mem-per-cpu``). The words of the command are ``words``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from slurmslice import sbatch
from slurmslice.errors import BadInputError
from slurmslice.sbatch import Option

SettingValue = bool | str | tuple[str, ...]
"""The text of the option; several texts for a repeated option; True for a bare flag.

False removes an option that another source set.
"""


class ValueKind(StrEnum):
    """The type of a key's value, in words for a person."""

    FLAG = "true or false"
    TEXT = "a text or a number"
    TEXTS = "a list of texts, or a table"
    RULES = "a table of causes, each with a text of steps or a list of them"
    CAUSES = 'a table of names, each with match = "TEXT"'
    WORDS = "a list of words, or a text for the shell"


@dataclass(frozen=True)
class SettingKey:
    """A key of a settings file: its command line option and the type of its value."""

    option: str
    kind: ValueKind


@dataclass(frozen=True)
class KnownKeys:
    """The valid keys of a settings file. Those of ``[sbatch]`` are sbatch's own options.

    Attributes:
        top: keys of the top level.
        policy: keys of ``[policy]``.
        then: keys of ``[then]``.
        cluster_options: returns the cluster's additional sbatch options by long name.
    """

    top: Mapping[str, SettingKey]
    policy: Mapping[str, SettingKey]
    then: Mapping[str, SettingKey] = field(default_factory=dict)
    cluster_options: Callable[[], Mapping[str, Option]] = dict


@dataclass(frozen=True)
class Setting:
    """A value and its source: the file, and the key with its table.

    Both are empty for a value from the command line.
    """

    value: SettingValue
    file: str = ""
    key: str = ""

    @property
    def where(self) -> str:
        """The source in words for a person: ``slurmslice.toml: [sbatch] mem``."""
        return f"{self.file}: {self.key}"


SettingsLayer = Mapping[str, Setting]
"""The settings of one source, by option."""


@dataclass(frozen=True)
class SettingsFile:
    """The settings of one file: the general ones, and those of each profile and cluster."""

    file: str
    always: SettingsLayer
    profiles: Mapping[str, SettingsLayer]
    clusters: Mapping[str, SettingsLayer] = field(default_factory=dict)


# Each option of _SLICES chooses the slices, and each of _COMMAND chooses the command. A layer that
# sets one of them replaces all of them in lower layers. _WITH_SLICES only modifies _SLICES.
_SLICES = frozenset(
    {"slices", "slices_from", "table", "glob", "grid", "zip", "job_file", "from_run"}
)
_WITH_SLICES = frozenset({"null", "key"})
_COMMAND = frozenset({"words", "shell", "job_file"})


RULES_OPTION = "on"
JOINED_OPTIONS = frozenset({RULES_OPTION, "cause"})
"""Options whose values of all layers count. Of two for one cause, the later one counts."""


def merge_layers(layers: Iterable[SettingsLayer]) -> SettingsLayer:
    """Merge layers; a later layer overrides an earlier one, or adds to it, as sbatch does.

    Some options exclude one another. If a layer sets one of these, all of them are removed from
    the layers below it.
    """
    result: SettingsLayer = {}
    for layer in layers:
        gone = {*layer, *(other for name in layer for other in _replaced(name, layer[name].value))}
        both = {name: _both(name, result[name], layer[name]) for name in layer if name in result}
        result = {**{name: result[name] for name in result if name not in gone}, **layer, **both}
    return result


def _both(name: str, lower: Setting, upper: Setting) -> Setting:
    """Return the higher one of two settings; with a part of the lower one if sbatch keeps it."""
    if name in JOINED_OPTIONS and isinstance(lower.value, tuple) and isinstance(upper.value, tuple):
        where = upper if upper.file else lower
        return Setting((*lower.value, *upper.value), where.file, where.key)
    option = name.removeprefix("--")
    is_joined = name != option and sbatch.accumulates(option)
    if not is_joined or False in {lower.value, upper.value}:
        return upper
    values = sbatch.values_in_force([(option, str(lower.value)), (option, str(upper.value))])
    where = upper if upper.file else lower
    return Setting(values[option], where.file, where.key)


def _replaced(name: str, value: SettingValue) -> frozenset[str]:
    """The options of lower layers that this setting removes, because they contradict it."""
    if value is False:
        return frozenset()
    if name.startswith("--"):
        return frozenset(
            "--" + rival for rival in sbatch.conflicting_options(name.removeprefix("--"))
        )
    replaced: frozenset[str] = frozenset()
    if name in _SLICES:
        replaced |= _SLICES | _WITH_SLICES
    if name in _COMMAND:
        replaced |= _COMMAND
    if name == "slices" and "%" in str(value):
        replaced |= {"throttle"}
    return replaced


def choose_layers(
    files: Sequence[SettingsFile], profile: str | None, cluster: str = ""
) -> list[SettingsLayer]:
    """Return the layers of files, the lowest first, and above them those of a profile.

    Args:
        files: the files.
        profile: the profile; None for none.
        cluster: the cluster, whose table counts above the rest of its file; empty: not known.

    Raises:
        BadInputError: no file has this profile.
    """
    layers = []
    for one in files:
        layers += [one.always, *([one.clusters[cluster]] if cluster in one.clusters else [])]
    if profile is None:
        return layers
    found = [file.profiles[profile] for file in files if profile in file.profiles]
    if not found:
        raise _no_profile(files, profile)
    return [*layers, *found]


def _no_profile(files: Sequence[SettingsFile], profile: str) -> BadInputError:
    known = sorted({name for file in files for name in file.profiles})
    near = difflib.get_close_matches(profile, known, 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    hint += f"Known profiles: {', '.join(known)}. " if known else ""
    where = " or ".join(file.file for file in files) or "a settings file"
    return BadInputError(
        f"There is no [profile.{profile}] in {where}.",
        hint + f"For sbatch's own --profile, type --sbatch profile={profile}, or set it in "
        "[sbatch] of a settings file.",
        code="unknown-profile",
        profile=profile,
        nearest=near[0] if near else None,
    )
