"""The options of ``run`` and ``render`` that describe a new run, and their settings keys."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import click

from slurmslice.cli.options.common import engine_option, same_code_option, whole_number
from slurmslice.cli.options.new_run_inputs import NewRunOptions
from slurmslice.cli.options.parameters import is_typed, with_options
from slurmslice.cli.options.policy_options import (
    FOLLOW_OPTIONS,
    POLICY_KEYS,
    POLICY_OPTIONS,
    POLICY_PARAMETERS,
)
from slurmslice.cli.options.slice_options import SLICE_OPTIONS
from slurmslice.cli.options.steward_options import STEWARD_OPTIONS
from slurmslice.cli.options.then_options import THEN_KEYS, THEN_PARAMETERS
from slurmslice.settings.settings_file import KnownKeys, SettingKey, ValueKind
from slurmslice.slices.sources.registry import FORMS

_OPTIONS: tuple[Callable[..., Any], ...] = (
    *SLICE_OPTIONS,
    click.option(
        "--throttle", type=whole_number, metavar="N",
        help="Run at most N slices at once, over all submissions of the run. The same as %N in -a.",
    ),
    click.option(
        "--pack", metavar="K|auto",
        help="Run K slices one after another in each array task. --time, --mem and -c remain those "
        "of one slice. auto: as many slices as take about 15 minutes.",
    ),
    click.option(
        "--at-once", type=whole_number, default="1", metavar="P",
        help="Run P slices of a task at the same time. The task requests P times the CPUs and "
        "the memory.",
    ),
    click.option(
        "--slice-time", metavar="TIME",
        help="The duration of one slice for --pack auto: with a unit (0.2s, 5m, 1.5h), or as for "
        "--time. Default: the duration in an earlier run of the same command.",
    ),
    *POLICY_OPTIONS,
    click.option(
        "--shell", metavar="TEXT", help="Use a shell text as the command. The key is $SLICE."
    ),
    click.option(
        "--check", metavar="TEXT", default="",
        help="Run this shell text after a command that exits with 0. If the text exits with "
        "another code, the slice is CHECK_FAILED.",
    ),
    click.option(
        "--check-file", metavar="PATH", multiple=True,
        help="Require this file after the command; it must not be empty. Write {} or {column} in "
        "its path.",
    ),
    click.option(
        "--skip-done", is_flag=True,
        help="Do not submit slices whose --check-file is there and not empty now. A file that "
        "changed in the last 10 minutes does not count.",
    ),
    click.option(
        "--open", is_flag=True,
        help="The run gets more slices later (`slurmslice extend`). It is not over, and no step "
        "follows it, before `slurmslice extend RUN --close`.",
    ),
    click.option(
        "--allow-failed-steps", is_flag=True,
        help="Count a slice as done if its command exits with 0, although a job step (srun) "
        "failed.",
    ),
    click.option(
        "--allow-task-id", is_flag=True,
        help="Accept a command that uses SLURM_ARRAY_TASK_ID although its slices are not from a "
        "range: it then gets the index of the array task.",
    ),
    click.option(
        "--setup", metavar="TEXT|FILE", default="",
        help="Run these shell lines once per task before the command: modules, conda, scratch. "
        "End a line that must succeed with `|| exit`.",
    ),
    click.option(
        "--keep-logs", type=click.Choice(["all", "failed"]), default="all",
        help="Keep the logs of all slices that wrote something, or only of those that failed. "
        "Default: all.",
    ),
    click.option(
        "-o", "--output", "output", metavar="FILE", default="",
        help="Write the output of each slice to this file instead of its log in the run directory. "
        "Write %A, %a, %x, %j, %N as for sbatch, {} or {column} in its name.",
    ),
    click.option(
        "-e", "--error", "error", metavar="FILE", default="",
        help="Write the standard error of each slice to this file. Default: where its output goes.",
    ),
    click.option(
        "--open-mode", type=click.Choice(["append", "truncate"]),
        help="For -o and -e: always append, or overwrite the file in each attempt. Default: the "
        "first attempt overwrites a file that is older than the run; later ones append.",
    ),
    click.option(
        "--env", metavar="NAME[=VALUE]", multiple=True,
        help="Keep this variable in the script, with its present value or the given one. Every "
        "attempt then has it, wherever it is submitted. The script is no place for a password.",
    ),
    click.option(
        "--template", metavar="FILE|NAME",
        help="Make the script from your own template: a file, or a name in templates/ here. A "
        "template is code; it runs here when the script is made.",
    ),
    click.option(
        "-J", "--name", "--job-name", "name", metavar="NAME", default="",
        help="Name the run. Default: the name of the program.",
    ),
    click.option(
        "--run-dir", metavar="DIR", help="Use this run directory. Default: slurmslice-runs/NAME."
    ),
    click.option(
        "--from", "from_run", metavar="RUN[:STATES]",
        help="Take over another run, also another user's, or an export: its description and what "
        "is done. The rest is done here. With STATES, take only slices in these states.",
    ),
    click.option(
        "--profile", metavar="NAME", help="Also use the settings in [profile.NAME]."
    ),
    engine_option,
    same_code_option,
)  # fmt: skip

EPILOG = (
    "sbatch's options describe the request of one slice, by their own names and letters: "
    "-p -A -q -c -t -N -n -G -C -d -w -x --mem --mem-per-cpu --gres --exclusive …\n\n"
    "Options may also be in slurmslice.toml in this folder, and in "
    "~/.config/slurmslice/config.toml. A typed option overrides --profile, which overrides "
    "slurmslice.toml, which overrides config.toml, which overrides the site's file. Each may have "
    "[cluster.NAME]. `slurmslice doctor` shows which file said what."
)


def _parameters(options: Sequence[Callable[..., Any]]) -> list[click.Parameter]:
    return click.command(with_options(lambda: None, options)).params


NEW_RUN_PARAMETERS = tuple(str(parameter.name) for parameter in _parameters(_OPTIONS))
"""The parameters that describe a new run, in the order of their options."""

TYPED_ONCE = frozenset({"shell", "setup", "check", *(form.option.name for form in FORMS)})
"""The parameters that may not be typed twice. The last value of others counts, so that an alias of
the person's shell can have defaults."""

_NOT_IN_SETTINGS = {"profile", "from_run"} | THEN_PARAMETERS


def new_run_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options that describe a new run; it gets them as one ``NewRunOptions``."""

    @functools.wraps(function)
    def verb(*args: Any, **given: Any) -> Any:
        values = {name: given.pop(name) for name in NEW_RUN_PARAMETERS}
        return function(*args, options=NewRunOptions(values), **given)

    return with_options(verb, _OPTIONS)


def follow_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options for a run that it follows: ``--max-attempts`` and others."""
    return with_options(function, FOLLOW_OPTIONS)


def setting_keys() -> KnownKeys:
    """Return the keys of a settings file: all long names of the options of ``run``."""
    top = {"command": SettingKey("words", ValueKind.WORDS)}
    policy: dict[str, SettingKey] = {}
    for option in _parameters((*_OPTIONS, *FOLLOW_OPTIONS, *STEWARD_OPTIONS)):
        name = str(option.name)
        if isinstance(option, click.Option) and name not in _NOT_IN_SETTINGS:
            flags = [flag.removeprefix("--") for flag in option.opts if flag.startswith("--")]
            flags = ["causes"] if name == "cause" else flags  # a table [causes.NAME] for each
            table = policy if name in POLICY_KEYS else top
            table.update(dict.fromkeys(flags, SettingKey(name, _kind(option))))
    return KnownKeys(top, policy, THEN_KEYS)


def _kind(option: click.Option) -> ValueKind:
    if option.is_flag:
        return ValueKind.FLAG
    if option.name in {"on", "cause"}:
        return ValueKind.RULES if option.name == "on" else ValueKind.CAUSES
    return ValueKind.TEXTS if option.multiple else ValueKind.TEXT


def describes_new_run(parameter: str) -> bool:
    """Tell if a parameter can be given only for a new run."""
    return parameter in NEW_RUN_PARAMETERS and parameter not in POLICY_PARAMETERS


def first_typed(options: NewRunOptions) -> str:
    """Return the first typed word that describes a new run; empty if there is none."""
    if options.words:
        return "the command"
    for option in click.get_current_context().command.params:
        name = str(option.name)
        if describes_new_run(name) and is_typed(name):
            long = (flag for flag in option.opts if flag.startswith("--"))
            return option.opts[0] if name == "slices" else next(long)
    return ""
