"""The command line: the only place that prints, picks an engine and sets the exit code."""

from __future__ import annotations

import io
import os
import re
import sys

import click

from slurmslice import __version__
from slurmslice.errors import EngineError, SlurmsliceError

VERBS = {
    "run": "Submit, follow to the end and report; the same line goes on where it stopped.",
    "render": "Make a run directory to review; submit nothing.",
    "submit": "Submit what waits in a run, all or a few.",
    "status": "Say where every slice stands.",
    "watch": "Follow a run; change nothing.",
    "tick": "One step: look, put in what has room, end; for cron.",
    "resubmit": "Submit what failed again, with more memory or time if asked.",
    "cancel": "Cancel slices, or all of a run.",
    "throttle": "Change how many slices run at once.",
    "attach": "Take a job into a run that was sent by hand under another name.",
    "logs": "Show what a slice wrote.",
    "runs": "List the runs here.",
    "doctor": "Say what this cluster or machine can do.",
}
"""The verbs in the order of their use. Their modules are imported when they are called."""

_MEANT = {
    **dict.fromkeys(("rerun", "retry", "redo", "restart", "requeue"), "resubmit"),
    **dict.fromkeys(("kill", "stop", "abort"), "cancel"),
    **dict.fromkeys(("list", "ls"), "runs"),
    **dict.fromkeys(("log", "output"), "logs"),
    **dict.fromkeys(
        ("remove", "rm", "delete", "clean"),
        "rm -r slurmslice-runs/RUN (once nothing of it is in flight)",
    ),
}
"""What is meant by words that other programs have."""

EXAMPLES = """\
No run here yet. For example:

  slurmslice run -a 0-98%10 --mem 4G -t 1:00:00 -- python x.py --in 'part-{}.h5'
  ls data/*.h5 | slurmslice run --slices-from - --mem 2G -- ./convert {}
  slurmslice render -a 0-98 -c 4 -- ./simulate --seed {}     # to review first
"""


class UnknownVerb(click.UsageError):
    """The first word is no verb."""


USAGE_CODES: dict[type[click.ClickException], str] = {
    UnknownVerb: "unknown-verb",
    click.NoSuchOption: "unknown-option",
    click.MissingParameter: "missing-argument",
    click.BadOptionUsage: "bad-option-usage",
    click.BadParameter: "bad-value",
    click.FileError: "unreadable-file",
    click.ClickException: "usage",
}
"""The codes of the errors that click finds. An exception has the code of its nearest class."""


class LazyGroup(click.Group):
    """A group whose verbs are imported when they are used; its help needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of their use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one verb's module; None where there is no such verb."""
        if cmd_name not in VERBS:
            return None
        import importlib

        module = importlib.import_module(f"slurmslice.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; a misspelt one is an error that names the nearest."""
        if args and args[0] not in VERBS:
            import difflib

            near = [_MEANT[args[0]]] if args[0] in _MEANT else []
            near += difflib.get_close_matches(args[0], VERBS, 1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise UnknownVerb(f"There is no verb {args[0]!r}.{guess}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with their summaries, from the table above."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=LazyGroup, invoke_without_command=True)
@click.version_option(__version__, "-V", "--version", message="slurmslice %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """From a command and N slices of data to every slice done, on Slurm or on one machine.

    Exit codes: 0 every slice done, or asked and answered; 1 finished, some failed; 2 bad input,
    nothing done; 3 Slurm did not answer, or refused; 4 not finished yet; 130 interrupted.
    """
    if ctx.invoked_subcommand is None:
        from slurmslice.cli.runs import overview

        overview(EXAMPLES)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # no locale is a reason to fail
    sys.exit(_code())


def _code() -> int:
    try:
        result = cli.main(prog_name="slurmslice", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as why:
        _complain_of_usage(why)
        return 2
    except KeyboardInterrupt:
        return 130
    except SlurmsliceError as why:
        _complain(why)
        return why.exit_code
    except MemoryError:
        _complain(
            EngineError(
                "There is not enough memory.",
                "Nothing that was written is lost.",
                code="out-of-memory",
            )
        )
        return EngineError.exit_code
    except BrokenPipeError:
        # The reader (head, less) has seen enough; nothing more can be said to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as why:
        # A full disk, a folder without rights: what was written before stays whole.
        what = why.filename or "A file of the run cannot be written"
        hint = "What was written before is whole; once mended, the same line goes on."
        _complain(
            EngineError(f"{what}: {why.strerror or why}.", hint, code="os-error", path=why.filename)
        )
        return EngineError.exit_code
    return result if isinstance(result, int) else 0


def _complain_of_usage(why: click.ClickException) -> None:
    """What click says, in which words that were typed may stand as they are."""
    from slurmslice.cli.console import say

    said = io.StringIO()
    why.show(said)
    text = said.getvalue().removesuffix("\n")
    say(re.sub(r"^(Error: .*)$", rf"\1 [{usage_code(why)}]", text, count=1, flags=re.MULTILINE))


def usage_code(why: click.ClickException) -> str:
    """Return the code of an error of click's; one that was raised anew has its cause's."""
    if isinstance(why.__cause__, click.ClickException):
        return usage_code(why.__cause__)
    return next(USAGE_CODES[kind] for kind in type(why).__mro__ if kind in USAGE_CODES)


def _complain(why: SlurmsliceError) -> None:
    from slurmslice.cli.console import printable

    click.echo(f"slurmslice: {printable(why.message)} [{why.code}]", err=True)
    if why.hint:
        click.echo(printable(why.hint), err=True)
