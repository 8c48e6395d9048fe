"""What settings files say, put where the command line says nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from slurmslice.cli.asking import NAMES
from slurmslice.cli.console import note
from slurmslice.cli.sbatch_options import cluster_options
from slurmslice.errors import BadInput, NotAFile
from slurmslice.files import read as read_file
from slurmslice.resources import ResourceRequest
from slurmslice.settings import Key, Keys, Kind, Layer, Setting, Settings, chosen, merged
from slurmslice.settings.reading import read

# What is said of one call, not of a run.
_NO_SETTING = {"dry_run", "profile"}


def fill_in(ctx: click.Context, files: list[Path]) -> None:
    """Put what these files say, the lowest first, where nothing that was typed says otherwise.

    A run that is named has been described: for it just ``[policy]`` is read.

    Raises:
        BadInput: a file cannot be read or understood, or the profile is in none of them.
    """
    keys = replace(known_keys(), cluster_options=lambda: cluster_options(ctx))
    layers = chosen([_read(path, keys) for path in files], ctx.params["profile"])
    result = merged([*layers, _typed(ctx)])
    if ctx.params.get("run_name"):
        policy = {key.option for key in keys.policy.values()}
        result = {option: result[option] for option in result if option in policy}
    said = {name: s for name, s in result.items() if s.file and s.value is not False}
    for file in dict.fromkeys(setting.file for setting in said.values()):
        names = [setting.key for setting in said.values() if setting.file == file]
        note("settings-read", f"From {file}: {', '.join(names)}", file=file, keys=names)
    _put(ctx, said)


def known_keys() -> Keys:
    """What a file can say: the options of ``run``, under all their long names."""
    from slurmslice.cli.run import command

    top = {"command": Key("words", Kind.WORDS)}
    policy: dict[str, Key] = {}
    for name, option in _options(command).items():
        if name not in _NO_SETTING:
            flags = [flag.removeprefix("--") for flag in option.opts if flag.startswith("--")]
            table = top if name in NAMES else policy
            table.update(dict.fromkeys(flags, Key(name, _kind(option))))
    return Keys(top, policy)


def _options(command: click.Command) -> dict[str, click.Option]:
    """The command's own, by parameter."""
    return {str(o.name): o for o in command.params if isinstance(o, click.Option)}


def _kind(option: click.Option) -> Kind:
    if option.is_flag:
        return Kind.FLAG
    return Kind.TEXTS if option.multiple else Kind.TEXT


def _read(path: Path, keys: Keys) -> Settings:
    try:
        data = read_file(path)
    except NotAFile:
        raise
    except OSError as why:
        raise BadInput(
            f"The settings in {path} cannot be read: {why.strerror}.",
            code="unreadable-file",
            path=str(path),
        ) from why
    return read(data, str(path), keys)


def _typed(ctx: click.Context) -> Layer:
    """The command line as the highest layer."""
    layer = {
        name: Setting(str(value))
        for name, value in ctx.params.items()
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    layer |= {f"--{name}": Setting(value) for name, value in ctx.meta["sbatch"].items()}
    return layer | ({"words": Setting(ctx.meta["words"])} if ctx.meta["words"] else {})


def _put(ctx: click.Context, said: Layer) -> None:
    own = _options(ctx.command)
    ctx.meta["said_in"] = {name: setting.where for name, setting in said.items()}
    sbatch = []
    for name, setting in said.items():
        if name.startswith("--"):
            sbatch.append((name.removeprefix("--"), str(setting.value)))
        elif name == "words":
            ctx.meta["words"] = setting.value
        elif name in own:  # render has no policy
            ctx.params[name] = _converted(ctx, own[name], setting)
    ctx.meta["sbatch"] = ResourceRequest.of((*sbatch, *ctx.meta["sbatch"].options))


def _converted(ctx: click.Context, option: click.Option, setting: Setting) -> Any:
    """The value as the command line's own types have it."""
    try:
        return option.process_value(ctx, setting.value)
    except click.BadParameter as why:
        raise BadInput(
            f"{setting.where}: {why.message}",
            code="bad-value",
            option=option.name,
            where=setting.where,
        ) from why
