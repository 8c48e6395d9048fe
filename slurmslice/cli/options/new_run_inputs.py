"""The inputs of a new run, made of the options that describe it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from slurmslice.actions.after_run import NO_RUN
from slurmslice.actions.create import RunInputs, check_run_name, default_name
from slurmslice.actions.find_done import NONE_DONE, DoneBefore, find_done
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import typed_words_and_request
from slurmslice.cli.options.from_run import read_taken_run, taken_slices
from slurmslice.cli.options.packing_options import parse_packing
from slurmslice.cli.options.parameters import is_typed, naming_setting
from slurmslice.cli.options.policy_options import refuse_incomplete_continuation
from slurmslice.cli.options.slice_options import read_slices
from slurmslice.cli.options.task_id_mentions import refuse_growing_value, refuse_task_id
from slurmslice.cli.options.then_options import parse_then
from slurmslice.cli.output.console import emit_note, printable_line
from slurmslice.cli.output.preview import relative_path
from slurmslice.errors import BadInputError
from slurmslice.notify.address import check_address
from slurmslice.policy.budget import check_budget
from slurmslice.policy.continue_on import MOST_CONTINUES, parse_continue_on
from slurmslice.policy.log_causes import parse_causes
from slurmslice.policy.repair_rules import parse_rules
from slurmslice.script.render import check_bash_syntax
from slurmslice.script.template_files import OwnTemplate, find_template
from slurmslice.slices.slice_table import SliceTable
from slurmslice.slices.sources.input_form import FormSlices
from slurmslice.spec.array_variables import NUMBER_OF_SLICES
from slurmslice.spec.canary import canary_rows
from slurmslice.spec.command import (
    JOB_COMMAND,
    Command,
    CommandWords,
    ShellText,
    check_command,
    check_command_word,
    refuse_expanded_pattern,
)
from slurmslice.spec.key_in_code import refuse_code_in_values
from slurmslice.spec.output_check import OutputCheck
from slurmslice.spec.output_names import check_output_names
from slurmslice.spec.run_spec import NO_LIMIT, FailureLimit, RunSpec
from slurmslice.spec.slice_numbers import SliceNumbers
from slurmslice.spec.slice_path import check_slice_path, refuse_shared_paths
from slurmslice.system.line_ends import unix_text
from slurmslice.system.shell_quoting import quote

_NEVER_EMPTY = ("after", "canary", "name")
"""Options that turn nothing off with an empty value; the word for that is ``none``."""


def _refuse_empty(values: Mapping[str, Any]) -> None:
    """Refuse ``--after "$PREVIOUS"`` without that variable: the run would begin at once."""
    for name in _NEVER_EMPTY:
        if is_typed(name) and not (values[name] or "").strip():
            raise BadInputError(
                f"--{name} needs a value.",
                "Perhaps a variable of your shell is empty.",
                code="missing-value",
                option=name,
            )


class NewRunOptions:
    """The options that describe a new run, typed or from a settings file.

    Args:
        values: the values by parameter name.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        _refuse_empty(values)
        self.values = values
        self.words, self.sbatch = typed_words_and_request()
        self.run_dir: str | None = values["run_dir"]
        self.engine: str = values["engine"]
        self.same_code: bool | None = values["same_code"]
        self.max_failures: FailureLimit | None = values["max_failures"]
        self.cancel_rest: bool | None = values["cancel_rest"]
        self.canary: str = values["canary"] or ""
        self.after: str | None = values["after"]
        self.retry: bool = values["retry"]
        with naming_setting("cause"):
            parse_causes(values["cause"])
        self.causes: tuple[str, ...] = values["cause"]
        with naming_setting("budget"):
            self.budget = "" if values["budget"] is None else check_budget(values["budget"])

    def rules(self, causes: tuple[str, ...]) -> tuple[str, ...]:
        """Return the rules of ``--on`` in their usual form.

        Args:
            causes: the named causes of the run.

        Raises:
            BadInputError: a rule is wrong.
        """
        with naming_setting("on"):
            return tuple(rule.text for rule in parse_rules(self.values["on"], causes))

    def read(self, max_attempts: int | None) -> RunInputs:
        """Return the inputs of the new run. An option fills the field of the same name.

        Raises:
            BadInputError: an option is wrong.
        """
        self.refuse_cancel_without_limit(self.max_failures)
        values = self.values
        taken = read_taken_run(click.get_current_context())
        given = read_slices(values, taken_slices(taken) if taken else None)
        template = self._template()
        command = self._command(given)
        named = CommandWords((given.source,)) if given.are_commands else command
        packing = parse_packing(
            values["pack"], values["at_once"], values["slice_time"], self.sbatch, command,
            len(given.table),
        )  # fmt: skip
        check = self._check(given.table)
        known = {name: values[name] for name in RunSpec.__dataclass_fields__ if name in values}
        spec = RunSpec(**known | {
            "name": check_run_name(values["name"] or default_name(named)),
            "command": command,
            "source": given.source,
            "form": given.form,
            "numbers": SliceNumbers.of(given.numbers) if given.numbers else None,
            "request": self.sbatch,
            "throttle": self._throttle(given.throttle),
            "packing": packing,
            "setup": self._setup(),
            "check": check,
            "work_dir": os.getcwd(),
            "same_code": bool(self.same_code),
            "cancel_rest": bool(self.cancel_rest),
            "canary": self._canary(given.table),
            "max_attempts": max_attempts,
            "on": self.rules(self.causes),
            "budget": self.budget,
            "continue_on": self._continue_on(given.table),
            "max_continues": self.values["max_continues"] or MOST_CONTINUES,
            "on_end": self._on_end(),
            "open_mode": values["open_mode"] or "",
            "after": self._after(),
            "then": parse_then(self._shell_text("then"), values),
        })  # fmt: skip
        with naming_setting("output"):
            check_output_names(spec, given.table)
        if spec.mail:
            check_address(self.sbatch.get("mail-user", ""))
        if not values["allow_task_id"]:
            refuse_task_id(spec, given.table, template)
        if spec.open:
            own = template.text if template else ""
            refuse_growing_value(spec, given.table, NUMBER_OF_SLICES, own)
        done = find_done(check, given.table) if spec.skip_done else NONE_DONE
        if taken:
            done = DoneBefore(tuple(sorted({*taken.done, *done.rows})), done.young)
        return RunInputs(spec, given.table, dict(os.environ), template, done)

    def refuse_cancel_without_limit(self, limit: FailureLimit | None) -> None:
        """Refuse ``--cancel-rest`` without a limit: what a run finds by itself may be wrong.

        Raises:
            BadInputError: there is no limit.
        """
        if self.cancel_rest and limit in {None, NO_LIMIT}:
            raise BadInputError(
                "--cancel-rest needs a limit.",
                "Add it, as in --max-failures 20 or --max-failures 5%.",
                code="cancel-rest-without-limit",
                option="cancel-rest",
            )

    def _canary(self, table: SliceTable) -> str:
        with naming_setting("canary"):
            canary_rows(self.canary, table)
        return self.canary

    def _after(self) -> str:
        """Return the directory of the run to wait for; empty for none."""
        if (self.after or NO_RUN) == NO_RUN:
            return ""
        with naming_setting("after"):
            return str(locate_run.find_run(self.after, changing=False).path)

    def _throttle(self, in_range: int | None) -> int | None:
        """Return the throttle: that of ``--throttle``, or of ``%N`` in the range.

        Raises:
            BadInputError: both were typed, and they differ.
        """
        given: int | None = self.values["throttle"]
        typed = is_typed("throttle") and is_typed("slices")
        if typed and in_range is not None and in_range != given:
            raise BadInputError(
                f"--throttle {given} and %{in_range} in the range are two throttles.",
                "Give one of them.",
                code="options-conflict",
                option="throttle",
                value=given,
                other=in_range,
            )
        return given or in_range

    def _setup(self) -> str:
        with naming_setting("setup"):
            return _read_setup(self._shell_text("setup"))

    def _shell_text(self, name: str) -> str:
        """Return the shell text of an option, with LF at the ends of its lines."""
        option = f"--{name.replace('_', '-')}"
        hint = f"Type {option} again without it."
        data = self.values[name].encode("utf-8", "surrogateescape")
        return unix_text(data, option, hint).decode("utf-8", "surrogateescape")

    def _on_end(self) -> str:
        text = self._shell_text("on_end")
        if text.strip():
            with naming_setting("on_end"):
                check_bash_syntax(text, "--on-end")
        return text

    def _check(self, table: SliceTable) -> OutputCheck:
        for name, part in (
            ("check", OutputCheck(self._shell_text("check"))),
            ("check_file", OutputCheck("", self.values["check_file"])),
        ):
            with naming_setting(name):
                part.verify(table.columns)
                refuse_shared_paths(part.files, table, "check-file")
        return OutputCheck(self._shell_text("check"), self.values["check_file"])

    def _continue_on(self, table: SliceTable) -> str:
        """Return the causes after which slices continue from their checkpoints; check the path.

        Raises:
            BadInputError: one of both options is missing, or is wrong.
        """
        path, causes = self.values["checkpoint"], self.continues(self.causes)
        refuse_incomplete_continuation(causes, path, self.values["max_continues"])
        if path:
            with naming_setting("checkpoint"):
                if len(table) > 1:
                    check_slice_path(path, table.columns, "checkpoint")
                    refuse_shared_paths([path], table, "checkpoint")
                else:
                    check_command_word(path, table.columns)
        return causes

    def continues(self, causes: tuple[str, ...]) -> str:
        """Return the causes of ``--continue-on`` in their usual form.

        Args:
            causes: the named causes of the run.

        Raises:
            BadInputError: there is no such cause.
        """
        with naming_setting("continue_on"):
            return parse_continue_on(self.values["continue_on"], causes)

    def _template(self) -> OwnTemplate | None:
        """Return the user's template. A note says first that it is code."""
        if not self.values["template"]:
            return None
        own = find_template(self.values["template"], Path.cwd())
        path = printable_line(relative_path(own.path))
        message = f"The template {path} is code. It runs here to make the script."
        emit_note("template-is-code", message, path=path)
        return own

    def _command(self, given: FormSlices) -> Command:
        shell = None if self.values["shell"] is None else self._shell_text("shell")
        if given.are_commands and (self.words or shell is not None):
            raise BadInputError(
                "There are two commands: the lines of --job-file, and another one.",
                "Leave out --shell and the words after --.",
                code="two-commands",
                option="job-file",
            )
        if given.are_commands:
            return JOB_COMMAND
        if shell is not None and self.words:
            raise BadInputError(
                "There are two commands: --shell, and the words after --.",
                "Give one of them.",
                code="two-commands",
                option="shell",
            )
        command: Command = CommandWords(self.words) if shell is None else ShellText(shell)
        with naming_setting("words" if shell is None else "shell"):
            check_command(command, given.table.columns)
            refuse_code_in_values(command, given.table)
        if isinstance(command, CommandWords):
            refuse_expanded_pattern(command)
        return command


_LIKE_A_PATH = re.compile(r"[\w.+@~/-]*(/[\w.+@~/-]*|\.sh)")


def _read_setup(text: str) -> str:
    """Return the shell text of the setup; if the text names a file, the text in the file.

    Raises:
        BadInputError: the text is a folder, or looks like the path of a file that does not exist.
    """
    if os.path.isfile(text):
        return unix_text(Path(text).read_bytes(), text).decode("utf-8", "surrogateescape")
    wants = "--setup needs shell lines, or a file of them"
    if os.path.isdir(text):
        raise BadInputError(
            f"{wants}: {quote(text)} is a folder.",
            "Name a file in it.",
            code="is-a-folder",
            option="setup",
            path=text,
        )
    if _LIKE_A_PATH.fullmatch(text):
        raise BadInputError(
            f"{wants}: {quote(text)} does not exist.",
            f"To run a program of the nodes:  --setup {quote(f'{text} || exit')}",
            code="no-such-file",
            option="setup",
            path=text,
        )
    return text
