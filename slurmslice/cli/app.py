"""The command line: only this package prints and sets the exit code."""

from __future__ import annotations

import gc
import io
import os
import re
import sys

import click

from slurmslice import __version__
from slurmslice.errors import EngineError, SlurmsliceError

VERBS = {
    "run": "Submit slices, follow them until all have ended, and report.",
    "render": "Create a run directory to review, and submit nothing.",
    "import": "Make a run of an existing sbatch script, and submit nothing.",
    "submit": "Submit waiting slices of a run, or a new run, and end.",
    "extend": "Add what is new to a run: more files, lines, rows or values.",
    "status": "Show the state of every slice.",
    "watch": "Follow a run without changing it.",
    "tick": "Do one step and end: poll, submit what fits. For cron.",
    "resubmit": "Submit failed slices again, with more memory or time if you like.",
    "cancel": "Cancel slices, or all of a run.",
    "accept": "Accept that slices failed, so that the run can be done.",
    "throttle": "Change the number of slices that run at once.",
    "attach": "Attach a job that was submitted by hand to a run.",
    "then": "Run the step after a run again (run --then).",
    "logs": "Show the output of a slice.",
    "failures": "Group the failed slices by their error.",
    "explain": "Tell the life of a slice, and why it is in its state.",
    "efficiency": "Compare what slices used with their requests, and advise on the next ones.",
    "report": "Write a run as one HTML file to read and show, or as CSV.",
    "gather": "Join the logs or result files of slices that are done.",
    "export": "Write a run as files that can be read without slurmslice.",
    "runs": "List the runs here.",
    "doctor": "Show the limits and free resources of this cluster or machine.",
}
"""The verbs in the order of their use. Each module is imported when its verb is called."""

_VERBS_OF_JOBS = frozenset({"steward"})
"""Verbs that only our own jobs call. No help lists them."""

_SYNONYMS = {
    **dict.fromkeys(("rerun", "retry", "redo", "restart", "requeue"), "resubmit"),
    **dict.fromkeys(("kill", "stop", "abort"), "cancel"),
    **dict.fromkeys(("list", "ls"), "runs"),
    **dict.fromkeys(("log", "output", "cat", "show", "less"), "logs"),
    **dict.fromkeys(("tail", "follow"), "logs -f"),
    **dict.fromkeys(("failed", "failure", "errors", "causes", "group"), "failures"),
    **dict.fromkeys(("why", "describe", "inspect", "history"), "explain"),
    **dict.fromkeys(("ps", "queue", "squeue", "info", "jobs"), "status"),
    **dict.fromkeys(("start", "launch", "exec", "new", "continue", "resume"), "run"),
    **dict.fromkeys(("sbatch", "send"), "submit"),
    **dict.fromkeys(("sinfo", "limits"), "doctor"),
    **dict.fromkeys(("ignore", "skip", "waive", "forgive"), "accept"),
    **dict.fromkeys(("append", "add", "grow", "update"), "extend"),
    "scancel": "cancel",
    **dict.fromkeys(("seff", "usage", "stats"), "efficiency"),
    **dict.fromkeys(("join", "combine", "merge", "collect"), "gather"),
    **dict.fromkeys(
        ("remove", "rm", "delete", "clean"),
        "rm -r slurmslice-runs/RUN (after all of its jobs have ended)",
    ),
}
"""Verbs of other programs, and the slurmslice verb to suggest instead."""

EXAMPLES = """\
No run here yet. For example:

  slurmslice run -a 0-98%10 --mem 4G -t 1:00:00 -- python x.py --in 'part-{}.h5'
  ls data/*.h5 | slurmslice run --slices-from - --mem 2G -- ./convert {}
  slurmslice render -a 0-98 -c 4 -- ./simulate --seed {}     # review it first
"""


class UnknownVerb(click.UsageError):
    """The first word is not a verb."""


USAGE_CODES: dict[type[click.ClickException], str] = {
    UnknownVerb: "unknown-verb",
    click.NoSuchOption: "unknown-option",
    click.MissingParameter: "missing-argument",
    click.BadOptionUsage: "bad-option-usage",
    click.BadParameter: "bad-value",
    click.FileError: "unreadable-file",
    click.ClickException: "usage",
}
"""The codes of click's errors. An exception has the code of its nearest class."""


class LazyGroup(click.Group):
    """A group that imports a verb when it is used. Its help imports none."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of their use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a verb; None if there is no such verb."""
        if cmd_name not in VERBS and cmd_name not in _VERBS_OF_JOBS:
            return None
        import importlib

        name = "import_script" if cmd_name == "import" else cmd_name  # a keyword of Python
        module = importlib.import_module(f"slurmslice.cli.commands.{name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb.

        Raises:
            UnknownVerb: there is no such verb; the message names the nearest one.
        """
        if args and args[0] not in VERBS and args[0] not in _VERBS_OF_JOBS:
            import difflib

            near = [_SYNONYMS[args[0]]] if args[0] in _SYNONYMS else []
            near += difflib.get_close_matches(args[0], VERBS, 1)
            guess = f" Did you mean {near[0]}?" if near else ""
            raise UnknownVerb(f"There is no verb {args[0]!r}.{guess}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run the verb. An option of another program gets our word for it."""
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as why:
            from slurmslice.cli.options.common import name_meaning

            name_meaning(why, why.ctx or ctx)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs and their summaries."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, "-V", "--version", message="slurmslice %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run one command on N slices of data until every slice is done, on Slurm or this machine.

    Exit codes: 0 success; 1 the run finished with failures; 2 wrong input, nothing was done;
    3 Slurm did not answer or rejected a submission; 4 not finished yet; 5 nothing to do; 6 held by
    the run's own rule; 130 interrupted.
    """
    if ctx.invoked_subcommand is None:
        from slurmslice.cli.commands.runs import show_overview

        show_overview(EXAMPLES)


def main() -> None:
    """Run the command line and end the process with its exit code."""
    gc.set_threshold(20_000)  # imports make many objects, and none of them is garbage
    if sys.stderr is None:
        _open_standard_error()
    _use_utf8()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # no locale may cause a failure
    sys.exit(_exit_code())


def _open_standard_error() -> None:
    """Open the null device in place of a closed standard error (``2>&-``).

    Otherwise a file of a run would get the number 2, and each message would fail.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stderr = open(_STANDARD_ERROR, "w", encoding="utf-8")  # noqa: SIM115 - until the end


_STANDARD_ERROR = 2


def _use_utf8() -> None:
    """Start Python again in UTF-8 mode if it decodes file names in another way.

    Files of a run are UTF-8, and other bytes pass unchanged. In an 8-bit locale Python would
    decode the same name in two ways. The mode is an option of Python and no variable, so no slice
    inherits it.
    """
    if sys.getfilesystemencoding() != "utf-8":
        from slurmslice.system.process import replace_process

        replace_process((sys.executable, "-X", "utf8", *sys.orig_argv[1:]))


def _exit_code() -> int:
    try:
        result = cli.main(prog_name="slurmslice", standalone_mode=False)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as why:
        _print_usage_error(why)
        return 2
    except KeyboardInterrupt:
        return 130
    except SlurmsliceError as why:
        _print_error(why)
        return why.exit_code
    except MemoryError:
        _print_error(
            EngineError(
                "There is not enough memory.",
                "All files written so far are complete.",
                code="out-of-memory",
            )
        )
        return EngineError.exit_code
    except BrokenPipeError:
        # The reader (head, less) has closed the pipe, so nothing can be printed any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as why:
        # For example a full disk or missing rights. Files written before remain complete.
        what = why.filename or "A file of the run cannot be written"
        hint = "Files written before are complete. Repair this, then run the same command again."
        _print_error(
            EngineError(f"{what}: {why.strerror or why}.", hint, code="os-error", path=why.filename)
        )
        return EngineError.exit_code
    return result if isinstance(result, int) else 0


def _print_usage_error(why: click.ClickException) -> None:
    """Print click's message. It may quote typed words, which are made printable."""
    from slurmslice.cli.output.console import print_message

    output = io.StringIO()
    why.show(output)
    text = output.getvalue().removesuffix("\n")
    print_message(
        re.sub(r"^(Error: .*)$", rf"\1 [{usage_code(why)}]", text, count=1, flags=re.MULTILINE)
    )


def usage_code(why: click.ClickException) -> str:
    """Return the code of a click error; a re-raised error has the code of its cause."""
    if isinstance(why.__cause__, click.ClickException):
        return usage_code(why.__cause__)
    return next(USAGE_CODES[kind] for kind in type(why).__mro__ if kind in USAGE_CODES)


def _print_error(why: SlurmsliceError) -> None:
    from slurmslice.cli.output.console import make_printable

    click.echo(f"slurmslice: {make_printable(why.message)} [{why.code}]", err=True)
    if why.hint:
        click.echo(make_printable(why.hint), err=True)
