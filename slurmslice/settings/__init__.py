"""Settings files: what a ``slurmslice.toml`` says, and what counts where several say something.

A setting is an option of the command line, said in a file: its value is the text that would be
typed. At the top stand the options that describe a run, in ``[policy]`` what ``run`` does by
itself, in ``[sbatch]`` the options of sbatch, and in each ``[profile.NAME]`` the same again.

An option is named as the command line's parameter (``slices_from``), one of sbatch's with its
dashes (``--mem-per-cpu``), and the words of the command are ``words``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from slurmslice import directives
from slurmslice.directives import Option
from slurmslice.errors import BadInput

Value = bool | str | tuple[str, ...]
"""A text as it would be typed, several for an option that is repeated, true for a bare flag;
false leaves the option out."""


class Kind(StrEnum):
    """What a key takes, as a person is told."""

    FLAG = "true or false"
    TEXT = "a text or a number"
    TEXTS = "a list of texts, or a table"
    WORDS = "a list of words, or a text for the shell"


@dataclass(frozen=True)
class Key:
    """A key of a settings file: the option that it says, and what it takes."""

    option: str
    kind: Kind


@dataclass(frozen=True)
class Keys:
    """The keys that can be said: at the top, in ``[policy]``, and beside the known ones of sbatch.

    Attributes:
        top: keys above every table.
        policy: keys of ``[policy]``.
        cluster_options: asks the cluster for its own options of sbatch, by long name.
    """

    top: Mapping[str, Key]
    policy: Mapping[str, Key]
    cluster_options: Callable[[], Mapping[str, Option]] = dict


@dataclass(frozen=True)
class Setting:
    """A value, and where it was said: the file, and the key with its table.

    On the command line there is no file: both are empty.
    """

    value: Value
    file: str = ""
    key: str = ""

    @property
    def where(self) -> str:
        """For a person: ``slurmslice.toml: [sbatch] mem``."""
        return f"{self.file}: {self.key}"


Layer = Mapping[str, Setting]
"""What one source says, by option."""


@dataclass(frozen=True)
class Settings:
    """What one file says: always, and in each of its profiles."""

    file: str
    always: Layer
    profiles: Mapping[str, Layer]


# Each names the slices, or the command: who says one does not mean another that a lower layer
# says. What only says how such a one is read goes with it.
_SLICES = frozenset({"slices", "slices_from", "table", "glob", "grid", "job_file"})
_WITH_SLICES = frozenset({"null", "key"})
_COMMAND = frozenset({"words", "shell", "job_file"})


def merged(layers: Iterable[Layer]) -> Layer:
    """The layers one over the other, the lowest first.

    Where a layer says one of several options that exclude one another, what lower layers say of
    any of them is gone.
    """
    result: Layer = {}
    for layer in layers:
        gone = {*layer, *(other for name in layer for other in _replaced(name, layer[name].value))}
        result = {**{name: result[name] for name in result if name not in gone}, **layer}
    return result


def _replaced(name: str, value: Value) -> frozenset[str]:
    """The options of lower layers that cannot stand beside this one or mean another throttle."""
    if value is False:
        return frozenset()
    if name.startswith("--"):
        return frozenset("--" + rival for rival in directives.rivals(name.removeprefix("--")))
    replaced: frozenset[str] = frozenset()
    if name in _SLICES:
        replaced |= _SLICES | _WITH_SLICES
    if name in _COMMAND:
        replaced |= _COMMAND
    if name == "slices" and "%" in str(value):
        replaced |= {"throttle"}
    return replaced


def chosen(files: Sequence[Settings], profile: str | None) -> list[Layer]:
    """The layers of files, the lowest first, with a profile over all of them.

    Raises:
        BadInput: no file has that profile.
    """
    layers = [file.always for file in files]
    if profile is None:
        return layers
    found = [file.profiles[profile] for file in files if profile in file.profiles]
    if not found:
        raise _no_profile(files, profile)
    return [*layers, *found]


def _no_profile(files: Sequence[Settings], profile: str) -> BadInput:
    known = sorted({name for file in files for name in file.profiles})
    near = difflib.get_close_matches(profile, known, 1)
    hint = f"Did you mean {near[0]}? " if near else ""
    hint += f"There are: {', '.join(known)}. " if known else ""
    where = " or ".join(file.file for file in files) or "a settings file"
    return BadInput(
        f"There is no [profile.{profile}] in {where}.",
        hint + f"sbatch's own --profile: --sbatch profile={profile}, or in [sbatch] of a file.",
        code="unknown-profile",
        profile=profile,
        nearest=near[0] if near else None,
    )
