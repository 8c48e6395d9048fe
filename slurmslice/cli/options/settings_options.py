"""Values from settings files for the options that were not typed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from slurmslice.cli.options.from_run import read_taken_run, taken_settings
from slurmslice.cli.options.sbatch_options import cluster_options
from slurmslice.cli.output.console import emit_note
from slurmslice.engines.protocol import Engine
from slurmslice.errors import BadInputError, NotAFileError, SlurmsliceError
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.settings.settings_file import (
    JOINED_OPTIONS,
    RULES_OPTION,
    KnownKeys,
    Setting,
    SettingsFile,
    SettingsLayer,
    choose_layers,
    merge_layers,
)
from slurmslice.settings.toml_reader import parse_settings
from slurmslice.system import config_files
from slurmslice.system.files import read_file, unreadable_file_error


def fill_in_settings(ctx: click.Context, files: list[Path], known: KnownKeys) -> None:
    """Set each option that was not typed to its value in the settings files.

    An existing run is described already: for it only ``[policy]`` is used.

    Args:
        ctx: the context of the command; its line is parsed.
        files: the settings files. A later file overrides an earlier one.
        known: the keys that a file may have.

    Raises:
        BadInputError: a file cannot be read or has an error, or no file has the profile.
    """
    keys = replace(known, cluster_options=lambda: cluster_options(ctx))
    read = read_settings(files, keys)
    typed = _typed(ctx)
    engine = merge_layers([*choose_layers(read, ctx.params["profile"]), typed]).get("engine")
    taken = None if ctx.params.get("run_name") else read_taken_run(ctx)
    used, tables = str(engine.value) if engine else ctx.params["engine"], _has_clusters(read)
    cluster = _cluster(used, tables=tables) if taken or tables else ""
    layers = choose_layers(read, ctx.params["profile"], cluster)
    general = len(choose_layers(read, None, cluster))
    layers[general:general] = [taken_settings(taken, cluster)] if taken else []
    result = merge_layers([*layers, typed])
    if ctx.params.get("run_name"):
        policy = {key.option for key in keys.policy.values()}
        if ctx.get_parameter_source(RULES_OPTION) is ParameterSource.COMMANDLINE:
            policy.discard(RULES_OPTION)  # the rules of files are for new runs
        result = {option: result[option] for option in result if option in policy}
    found = {name: s for name, s in result.items() if s.file and s.value is not False}
    for file in dict.fromkeys(setting.file for setting in found.values()):
        names = [setting.key for setting in found.values() if setting.file == file]
        emit_note("settings-read", f"From {file}: {', '.join(names)}", file=file, keys=names)
    _set_options(ctx, found)


def read_settings(files: Sequence[Path], keys: KnownKeys) -> list[SettingsFile]:
    """Read settings files. A note tells an error of the site's, which stops no user.

    Raises:
        BadInputError: another file cannot be read or has an error.
    """
    found = []
    for path in files:
        try:
            found.append(_read(path, keys))
        except SlurmsliceError as why:
            if path != config_files.SITE_FILE:
                raise
            message = f"The defaults of {path} do not count: {why.message}"
            emit_note("site-defaults-unusable", message, path=str(path))
    return found


def _has_clusters(read: Sequence[SettingsFile]) -> bool:
    return any(file.clusters for file in read)


def _cluster(engine: str, *, tables: bool) -> str:
    """Return the name of the cluster; empty if it is not known. A note says it if there are tables.

    Args:
        engine: the engine's name.
        tables: a file has tables for clusters.
    """
    from slurmslice.actions.open_run import choose_engine

    try:
        return choose_engine(engine, Path.cwd()).cluster()
    except SlurmsliceError as why:
        if tables:
            message = f"The tables [cluster.NAME] of the settings do not count: {why.message}"
            emit_note("cluster-unknown", message)
        return ""


def settings_in_force(
    files: Sequence[Path], known: KnownKeys, engine: Engine
) -> tuple[SettingsLayer, list[str]]:
    """Return the settings of files, without profiles, and the clusters that have a table.

    Raises:
        BadInputError: a file cannot be read or has an error.
    """
    read = read_settings(files, known)
    clusters = sorted({name for file in read for name in file.clusters})
    cluster = engine.cluster() if clusters else ""
    return merge_layers(choose_layers(read, None, cluster)), clusters


def setting_of(option: str, files: list[Path], profile: str, known: KnownKeys) -> str:
    """Return the text of a setting; empty if there is none or a file has an error.

    Args:
        option: the option, by its parameter.
        files: the settings files, as for ``fill_in_settings``.
        profile: the profile; empty for none.
        known: the keys that a file may have.
    """
    with contextlib.suppress(SlurmsliceError):
        layers = choose_layers([_read(path, known) for path in files], profile or None)
        if found := merge_layers(layers).get(option):
            return str(found.value)
    return ""


def _options(command: click.Command) -> dict[str, click.Option]:
    """Return the command's own options, by parameter name."""
    return {str(o.name): o for o in command.params if isinstance(o, click.Option)}


def _read(path: Path, keys: KnownKeys) -> SettingsFile:
    try:
        data = read_file(path)
    except NotAFileError:
        raise
    except OSError as why:
        raise unreadable_file_error(f"The settings file {path}", str(path), why) from why
    return parse_settings(data, str(path), keys)


def _typed(ctx: click.Context) -> SettingsLayer:
    """Return the typed options as the highest layer."""
    layer = {
        name: Setting(value if name in JOINED_OPTIONS else str(value))
        for name, value in ctx.params.items()
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    layer |= {f"--{name}": Setting(value) for name, value in ctx.meta["sbatch"].items()}
    return layer | ({"words": Setting(ctx.meta["words"])} if ctx.meta["words"] else {})


def _set_options(ctx: click.Context, found: SettingsLayer) -> None:
    own = _options(ctx.command)
    ctx.meta["setting_locations"] = {name: setting.where for name, setting in found.items()}
    sbatch = []
    for name, setting in found.items():
        if name.startswith("--"):
            sbatch.append((name.removeprefix("--"), str(setting.value)))
        elif name == "words":
            ctx.meta["words"] = setting.value
        elif name in own:  # render has no --max-attempts and no --interval
            ctx.params[name] = _convert(ctx, own[name], setting)
    ctx.meta["sbatch"] = ResourceRequest.of((*sbatch, *ctx.meta["sbatch"].options))


def _convert(ctx: click.Context, option: click.Option, setting: Setting) -> Any:
    """Return the value in the type of the option."""
    try:
        return option.process_value(ctx, setting.value)
    except click.BadParameter as why:
        raise BadInputError(
            f"{setting.where}: {why.message}",
            code="bad-value",
            option=option.name,
            where=setting.where,
        ) from why
