"""Asking Slurm: its commands, each with a time limit and a clean environment, and their words."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from slurmslice import process
from slurmslice.engines.slurm import capacity, cluster_records, commands, environment, job_records
from slurmslice.engines.slurm.versions import Release, parse_release
from slurmslice.errors import BadInput, EngineError, NoAnswer

SBATCH_TIMEOUT_S = 180.0
"""sbatch itself tries a full queue again for 120 s: less than 150 s would cut it short."""
QUERY_TIMEOUT_S = 120.0
ACCOUNTING_DISABLED = "accounting storage is disabled"
"""What sacct says where there is none."""
INVALID_JOB_ID = "Invalid job id specified"
_GONE = (INVALID_JOB_ID, "already complet", "already finished")


class SlurmClient:
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

    def cluster_config(self) -> dict[str, str]:
        """What ``scontrol show config`` says.

        Raises:
            NoAnswer: the controller does not answer.
        """
        if not self._settings:
            self._settings = cluster_records.parse_config(self.query(commands.SHOW_CONFIG))
        return self._settings

    @property
    def known_release(self) -> Release | None:
        """Slurm's release where the settings were asked for already; asks nothing."""
        return parse_release(self._settings.get("SLURM_VERSION", ""))

    def fetch_release(self) -> Release | None:
        """Slurm's release. As ``config``."""
        return parse_release(self.cluster_config().get("SLURM_VERSION", ""))

    def limit_tables(self) -> tuple[str, str]:
        """The user's associations and the qualities of service, asked once, both at a time.

        Empty where their limits are not enforced, or cannot be asked.
        """
        if self._own_texts is None:
            if not capacity.enforces_limits(self.cluster_config()):
                return "", ""
            try:
                user = pwd.getpwuid(os.getuid()).pw_name
                with ThreadPoolExecutor() as both:  # slurmdbd takes 0.3 s to answer anything
                    questions = commands.sacctmgr_associations(user), commands.sacctmgr_qos()
                    own, qualities = both.map(self.query, questions)
            except (KeyError, NoAnswer):
                return "", ""
            self._own_texts = own, qualities
        return self._own_texts

    def query(self, argv: commands.Argv) -> str:
        """What a command answers.

        Raises:
            NoAnswer: it failed, took too long, or is not there.
        """
        done = self.run_command(argv)
        if done.returncode == 0:
            return done.stdout
        said = done.stderr.strip() or done.stdout.strip()
        if argv[0] == "sacct" and ACCOUNTING_DISABLED in said:
            self.accounting_off = True
        if argv[0] == "squeue" and _asked_for_one(argv) and INVALID_JOB_ID in said:
            return ""  # the controller has forgotten it
        raise no_answer_error(done)

    def control_job(self, job: str, name: str, argv: commands.Argv) -> None:
        """Tell an array something, unless the queue has its id under another name only."""
        rows = job_records.parse_squeue_records(self.query(commands.squeue((job,), ended=False)))
        names = {row.name for row in rows if row.job == job}
        if not names or any(job_records.is_same_job_name(name, theirs) for theirs in names):
            self._tell(argv)

    def _tell(self, argv: commands.Argv) -> None:
        done = self.run_command(argv)
        words = done.stderr + done.stdout
        if done.returncode == 0 or any(gone in words for gone in _GONE):
            return
        if done.returncode is None or "Unable to contact" in words or "timed out" in words:
            raise no_answer_error(done)
        raise EngineError(
            f"{argv[0]} says: {words.strip()[-1000:]}", code="slurm-error", command=argv[0]
        )

    def run_command(self, argv: commands.Argv) -> process.Finished:
        """Run a command that asks or steers."""
        timeout = self._seconds("SLURMSLICE_ASK_TIMEOUT", QUERY_TIMEOUT_S)
        return process.run(argv, timeout=timeout, env=environment.for_queries(self.environ))

    def run_sbatch(self, argv: commands.Argv, env: Mapping[str, str]) -> process.Finished:
        """Run sbatch, in an environment of its own."""
        timeout = self._seconds("SLURMSLICE_SBATCH_TIMEOUT", SBATCH_TIMEOUT_S)
        return process.run(argv, timeout=timeout, env=env)

    def _seconds(self, variable: str, usual: float) -> float:
        try:
            return float(self.environ.get(variable, usual))
        except ValueError:
            raise BadInput(
                f"{variable} is no number of seconds.", code="bad-environment", variable=variable
            ) from None


def _asked_for_one(argv: commands.Argv) -> bool:
    """Whether squeue was asked for one job: only then an unknown id is an error of the whole."""
    return "--jobs" in argv and "," not in argv[-1]


def no_answer_error(done: process.Finished) -> NoAnswer:
    """Why a command that did not do well is no answer, in one line."""
    program = done.argv[0]
    lines = (done.stderr.strip() or done.stdout.strip())[-1000:].splitlines()
    bare = (line.removeprefix(f"{program}: ").removeprefix("error: ").strip() for line in lines)
    said = "; ".join(dict.fromkeys(filter(None, bare)))
    if done.missing:
        hint = "Load the cluster's slurm module."
        return NoAnswer(
            f"{program} cannot be started here: {said}",
            hint,
            code="slurm-command-not-found",
            command=program,
        )
    again = "Try again when Slurm answers."
    if done.timed_out:
        return NoAnswer(
            f"{program} did not answer in time.", again, code="slurm-timeout", command=program
        )
    return NoAnswer(f"{program}: {said or f'exit {done.returncode}'}", again, command=program)
