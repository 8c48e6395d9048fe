"""Asking Slurm: its commands, each with a time limit and a clean environment, and their words."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from slurmslice import process
from slurmslice.directives.option_table import Option
from slurmslice.directives.sbatch_help import listed_options
from slurmslice.engines.slurm import answers, capacity, commands, environment, resources
from slurmslice.engines.slurm.versions import Release, release_of
from slurmslice.errors import BadInput, EngineError, NoAnswer

SUBMIT_TIMEOUT_S = 180.0
"""sbatch itself tries a full queue again for 120 s: less than 150 s would cut it short."""
ASK_TIMEOUT_S = 120.0
HELP_TIMEOUT_S = 10.0
"""sbatch --help asks no controller; a person waits for the answer to a misspelt option."""
ACCOUNTING_OFF = "accounting storage is disabled"
"""What sacct says where there is none."""
UNKNOWN_JOB = "Invalid job id specified"
_GONE = (UNKNOWN_JOB, "already complet", "already finished")


class Asking:
    """What is asked of a cluster and told to it; what does not change is asked for once.

    Args:
        environ: the caller's environment.

    Attributes:
        accounting_off: sacct has said that accounting is switched off for good.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.accounting_off = False
        self._settings: dict[str, str] = {}
        self._own_texts: tuple[str, str] | None = None

    @property
    def clusters(self) -> str | None:
        """The cluster that the caller's environment names."""
        return self.environ.get("SLURM_CLUSTERS")

    def config(self) -> dict[str, str]:
        """What ``scontrol show config`` says.

        Raises:
            NoAnswer: the controller does not answer.
        """
        if not self._settings:
            self._settings = resources.config(self.ask(commands.CONFIG))
        return self._settings

    @property
    def release_if_known(self) -> Release | None:
        """Slurm's release where the settings were asked for already; asks nothing."""
        return release_of(self._settings.get("SLURM_VERSION", ""))

    def release(self) -> Release | None:
        """Slurm's release. As ``config``."""
        return release_of(self.config().get("SLURM_VERSION", ""))

    def own(self) -> tuple[str, str]:
        """The user's associations and the qualities of service, asked once, both at a time.

        Empty where their limits are not enforced, or cannot be asked.
        """
        if self._own_texts is None:
            if not capacity.enforces_limits(self.config()):
                return "", ""
            try:
                user = pwd.getpwuid(os.getuid()).pw_name
                with ThreadPoolExecutor() as both:  # slurmdbd takes 0.3 s to answer anything
                    questions = commands.associations(user), commands.qos()
                    own, qualities = both.map(self.ask, questions)
            except (KeyError, NoAnswer):
                return "", ""
            self._own_texts = own, qualities
        return self._own_texts

    def sbatch_options(self) -> Mapping[str, Option]:
        """The options that this cluster's sbatch lists, its plugins' among them, by long name.

        Raises:
            NoAnswer: sbatch is not there, failed, took too long, or listed none.
        """
        seconds = min(self._seconds("SLURMSLICE_ASK_TIMEOUT", ASK_TIMEOUT_S), HELP_TIMEOUT_S)
        # Its plugins' options are cut at the terminal's width.
        env = {**environment.for_questions(self.environ), "COLUMNS": "80"}
        done = process.run(commands.SBATCH_HELP, timeout=seconds, env=env)
        options = listed_options(done.stdout) if done.returncode == 0 else {}
        if not options:
            raise silence(done)
        return options

    def ask(self, argv: commands.Argv) -> str:
        """What a command answers.

        Raises:
            NoAnswer: it failed, took too long, or is not there.
        """
        done = self.run(argv)
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.strip() or done.stdout.strip()
        if argv[0] == "sacct" and ACCOUNTING_OFF in said:
            self.accounting_off = True
        if argv[0] == "squeue" and _asked_for_one(argv) and UNKNOWN_JOB in said:
            return ""  # the controller has forgotten it
        raise silence(done)

    def steer(self, job: str, name: str, argv: commands.Argv) -> None:
        """Tell an array something, unless the queue has its id under another name only."""
        rows = answers.queue_rows(self.ask(commands.squeue((job,), ended=False)))
        names = {row.name for row in rows if row.job == job}
        if not names or any(answers.is_same_name(name, theirs) for theirs in names):
            self._tell(argv)

    def _tell(self, argv: commands.Argv) -> None:
        done = self.run(argv)
        words = done.stderr + done.stdout
        if done.returncode == 0 or any(gone in words for gone in _GONE):
            return
        if done.returncode is None or "Unable to contact" in words or "timed out" in words:
            raise silence(done)
        raise EngineError(f"{argv[0]} says: {words.strip()[-1000:]}")

    def run(self, argv: commands.Argv) -> process.Finished:
        """Run a command that asks or steers."""
        timeout = self._seconds("SLURMSLICE_ASK_TIMEOUT", ASK_TIMEOUT_S)
        return process.run(argv, timeout=timeout, env=environment.for_questions(self.environ))

    def send(self, argv: commands.Argv, env: Mapping[str, str]) -> process.Finished:
        """Run sbatch, in an environment of its own."""
        timeout = self._seconds("SLURMSLICE_SBATCH_TIMEOUT", SUBMIT_TIMEOUT_S)
        return process.run(argv, timeout=timeout, env=env)

    def _seconds(self, variable: str, usual: float) -> float:
        try:
            return float(self.environ.get(variable, usual))
        except ValueError:
            raise BadInput(f"{variable} is no number of seconds.") from None


def _asked_for_one(argv: commands.Argv) -> bool:
    """Whether squeue was asked for one job: only then an unknown id is an error of the whole."""
    return "--jobs" in argv and "," not in argv[-1]


def silence(done: process.Finished) -> NoAnswer:
    """Why a command that did not do well is no answer, in one line."""
    program = done.argv[0]
    lines = (done.stderr.strip() or done.stdout.strip())[-1000:].splitlines()
    bare = (line.removeprefix(f"{program}: ").removeprefix("error: ").strip() for line in lines)
    said = "; ".join(dict.fromkeys(filter(None, bare)))
    if done.missing:
        hint = "Load the cluster's slurm module."
        return NoAnswer(f"{program} cannot be started here: {said}", hint)
    again = "Try again when Slurm answers."
    if done.timed_out:
        return NoAnswer(f"{program} did not answer in time.", again)
    return NoAnswer(f"{program}: {said or f'exit {done.returncode}'}", again)
