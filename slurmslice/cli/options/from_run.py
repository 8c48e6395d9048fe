"""``--from``: the description of another run as a layer of settings (docs/adr/0042)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from slurmslice.actions.take_over import TakenRun, take_over
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import parse_states
from slurmslice.cli.output.console import emit_note
from slurmslice.errors import BadInputError
from slurmslice.run.exported import RUN_FILE
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.settings.settings_file import Setting, SettingsLayer, SettingValue
from slurmslice.slices.sources.input_form import FormSlices
from slurmslice.spec.command import JOB_COMMAND, CommandWords
from slurmslice.spec.run_spec import NO_LIMIT, RunSpec

_OF_A_PERSON = frozenset({"account", "qos", "reservation", "mail-user", "mail-type"})
"""Options of sbatch that say who submits."""

_TEXTS = (
    *("name", "setup", "keep_logs", "canary", "budget", "continue_on", "checkpoint"),
    *("output", "error", "open_mode"),
)
"""Fields of a description that are the texts of options with the same names."""


def read_taken_run(ctx: click.Context) -> TakenRun | None:
    """Read the run that ``--from`` names, once for each command; None without it.

    Raises:
        BadInputError, DamagedRunError: as ``take_over``.
    """
    text: str | None = ctx.params.get("from_run")
    if text is None:
        return None
    if "taken_run" not in ctx.meta:
        path, states = _source(text)
        ctx.meta["taken_run"] = take_over(path, parse_states((states,) if states else ()))
    found: TakenRun = ctx.meta["taken_run"]
    return found


def _source(text: str) -> tuple[Path, str]:
    """Split ``SOURCE[:STATES]``; a path may hold a colon.

    Raises:
        BadInputError: there is no such run.
    """
    if not text.strip():
        raise BadInputError(
            "--from needs a run directory, the name of a run, or an export.",
            "As in: --from /home/eve/runs/x --name mine",
            code="missing-value",
            option="from",
        )
    name, colon, states = text.rpartition(":")
    if os.path.exists(text) or not colon:
        name, states = text, ""
    if os.path.exists(os.path.join(name, RUN_FILE)):
        return Path(os.path.abspath(name)), states
    return locate_run.find_run(name, changing=False).path, states


def taken_settings(taken: TakenRun, cluster: str) -> SettingsLayer:
    """Return the description of a run as settings, and tell what is not taken over.

    Args:
        taken: the run.
        cluster: this cluster; empty if it is not known.
    """
    spec = taken.spec
    left = _OF_A_PERSON if taken.foreign else frozenset[str]()
    if taken.cluster != cluster:
        left |= {"partition"}
    layer = {name: value for name, value in _options(spec) if value not in {None, "", ()}}
    layer |= {f"--{name}": value for name, value in spec.request.options if name not in left}
    gone = [f"--{name}" for name in spec.request if name in left]
    gone += [f"--{name}" for name in ("mail", "on-end", "after") if getattr(spec, _field(name))]
    gone += [f"--template {taken.template}"] if taken.template else []
    if gone:
        message = f"Not taken over from {taken.path}: {', '.join(gone)}"
        emit_note("not-taken-over", message, path=str(taken.path), options=gone)
    if taken.done:
        number = len(taken.done)
        where = f"their results are in {spec.work_dir} or where the command put them"
        message = f"{number} slices were done by {taken.path}: {where}."
        emit_note("taken-over", message, path=str(taken.path), slices=number)
    return {name: Setting(value, str(taken.path), name) for name, value in layer.items()}


def _field(option: str) -> str:
    return option.replace("-", "_")


def _options(spec: RunSpec) -> Iterator[tuple[str, SettingValue | None]]:
    """Yield the values of options by parameter, as a person would type them."""
    if isinstance(spec.command, CommandWords):
        yield "words", spec.command.words if spec.command != JOB_COMMAND else None
    else:
        yield "shell", spec.command.text
    for flag in ("allow_failed_steps", "same_code", "retry", "allow_changed"):
        yield flag, getattr(spec, flag) or None
    for texts in ("env", "on", "cause"):
        yield texts, getattr(spec, texts)
    for text in _TEXTS:
        yield text, getattr(spec, text)
    yield "cancel_rest", spec.cancel_rest or None
    yield "check", spec.check.text
    yield "check_file", spec.check.files
    yield "throttle", None if spec.throttle is None else str(spec.throttle)
    if spec.packing.pack > 1:
        yield "pack", str(spec.packing.pack)
        yield "at_once", str(spec.packing.at_once)
    limit, attempts = spec.max_failures, spec.max_attempts
    yield "max_failures", "none" if limit == NO_LIMIT else str(limit or "")
    yield "max_attempts", str(attempts or "")
    yield "max_continues", str(spec.max_continues) if spec.continue_on else None
    if spec.then:
        yield "then", spec.then.command
        yield "then_if", spec.then.condition
        yield "then_sbatch", str(spec.then.request)


def taken_slices(taken: TakenRun) -> FormSlices:
    """Return the slices of a run as those of an input form."""
    numbers = None
    if taken.spec.numbers is not None:
        numbers = compress_indices(list(map(int, taken.table.keys)))
    are_commands = taken.spec.command == JOB_COMMAND
    return FormSlices(
        taken.table,
        f"the run {taken.path}",
        numbers=numbers,
        are_commands=are_commands,
        form=taken.spec.form,
    )
