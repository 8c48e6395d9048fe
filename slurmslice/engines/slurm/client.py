"""Run Slurm's commands, each with a time limit and a clean environment."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from slurmslice.engines.slurm import (
    account_limits,
    cluster_records,
    commands,
    environment,
    job_records,
)
from slurmslice.engines.slurm.versions import parse_release
from slurmslice.errors import BadInputError, EngineError, NoAnswerError, UnusableSlurmError
from slurmslice.sbatch.option_table import Option, Release
from slurmslice.sbatch.sbatch_help import parse_sbatch_help
from slurmslice.status.identity import JobIdentity
from slurmslice.status.states import State
from slurmslice.system import process

SBATCH_TIMEOUT_S = 180.0
"""sbatch itself retries a full queue for 120 s, so a limit below 150 s would cut it short."""
QUERY_TIMEOUT_S = 120.0
HELP_TIMEOUT_S = 10.0
"""sbatch --help asks no controller, and a person waits for it after a misspelt option."""
ACCOUNTING_DISABLED = "accounting storage is disabled"
"""sacct's text on a cluster without accounting."""
INVALID_JOB_ID = "Invalid job id specified"
ASK_AGAIN_S = 5.0
"""Seconds in which a failed query for the settings is not repeated."""
_USUAL_FILES = ("/etc/slurm/slurm.conf", "/etc/slurm-llnl/slurm.conf")
_NECESSARY = frozenset({"sbatch", "squeue", "scontrol"})
"""Commands without which no run can go on."""
_NOT_RUNNABLE = {126, 127}
"""Exit codes of a shell that cannot start the program behind a wrapper (bash(1))."""
_KNOWS_NO_OPTION = re.compile(
    r"(?:unrecogni[sz]ed|unknown|invalid|illegal|no such|unexpected) (?:option|argument)"
    r"|invalid (?:job )?format specification|^usage: ",
    re.IGNORECASE | re.MULTILINE,
)
_ALREADY_ENDED = (INVALID_JOB_ID, "already complet", "already finished")


class SlurmClient:
    """Runs the commands of one cluster, and keeps answers that do not change.

    Args:
        environ: the caller's environment.

    Attributes:
        accounting_off: sacct has said that accounting is disabled.
        lasting_fault: a command that the engine cannot do without does not work here, and waiting
            is no help; None if there is none.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.accounting_off = False
        self.lasting_fault: UnusableSlurmError | None = None
        self._answered: set[str] = set()
        self._settings: dict[str, str] = {}
        self._no_settings: tuple[float, NoAnswerError] | None = None
        self._had_configuration = False
        self._limit_tables: tuple[str, str] | None = None

    @property
    def clusters(self) -> str | None:
        """SLURM_CLUSTERS of the caller's environment."""
        return self.environ.get("SLURM_CLUSTERS")

    @property
    def known_release(self) -> Release | None:
        """Slurm's release, if the settings were fetched before; runs no command."""
        return parse_release(self._settings.get("SLURM_VERSION", ""))

    def fetch_release(self) -> Release | None:
        """Return Slurm's release; None if its version cannot be read.

        Raises:
            NoAnswerError: the controller does not answer.
        """
        return parse_release(self.cluster_config().get("SLURM_VERSION", ""))

    def cluster_config(self) -> dict[str, str]:
        """Return the settings of ``scontrol show config``, fetched once.

        Raises:
            NoAnswerError: the controller does not answer, or did not just before: scontrol waits
                for a minute or more, so one command asks only once.
        """
        if self._no_settings and time.monotonic() - self._no_settings[0] < ASK_AGAIN_S:
            raise self._no_settings[1]
        if not self._settings:
            try:
                self._settings = cluster_records.parse_config(self.query(commands.SHOW_CONFIG))
            except NoAnswerError as error:
                self._no_settings = time.monotonic(), error
                raise
        return self._settings

    def limit_tables(self) -> tuple[str, str]:
        """Return sacctmgr's tables of the user's and all accounts' associations, and of all QOS.

        They are fetched once.

        Both are empty if the cluster does not enforce their limits, or sacctmgr does not answer.
        """
        if self._limit_tables is None:
            if not account_limits.enforces_limits(self.cluster_config()):
                return "", ""
            try:
                user = pwd.getpwuid(os.getuid()).pw_name
                queries = (
                    commands.sacctmgr_associations(user),
                    commands.sacctmgr_accounts(self.cluster_config().get("ClusterName", "")),
                    commands.sacctmgr_qos(),
                )
                with ThreadPoolExecutor() as pool:  # each query of slurmdbd takes 0.3 s
                    users, accounts, qualities = pool.map(self.query, queries)
            except (KeyError, NoAnswerError):
                return "", ""
            self._limit_tables = f"{users}\n{accounts}", qualities
        return self._limit_tables

    def sbatch_options(self) -> Mapping[str, Option]:
        """Return the options that this cluster's sbatch lists, with its plugins', by long name.

        Raises:
            NoAnswerError: sbatch is missing, failed, took too long, or listed no options.
        """
        self._check_configuration()
        timeout = min(self._timeout_s("SLURMSLICE_ASK_TIMEOUT", QUERY_TIMEOUT_S), HELP_TIMEOUT_S)
        # sbatch cuts the options of plugins at the width of the terminal.
        env = {**environment.for_queries(self.environ), "COLUMNS": "80"}
        done = process.run_program(commands.SBATCH_HELP, timeout=timeout, env=env)
        options = parse_sbatch_help(done.stdout) if done.returncode == 0 else {}
        if not options:
            raise no_answer_error(done)
        return options

    def query(self, argv: commands.Argv) -> str:
        """Run a command and return its answer.

        Raises:
            NoAnswerError: the command failed, took too long, or is missing.
        """
        done = self.run_command(argv)
        if done.returncode == 0:
            return done.stdout
        text = done.stderr.strip() or done.stdout.strip()
        if argv[0] == "sacct" and ACCOUNTING_DISABLED in text:
            self.accounting_off = True
        if argv[0] == "squeue" and _names_one_job(argv) and INVALID_JOB_ID in text:
            return ""  # the controller has forgotten the job
        raise no_answer_error(done)

    def query_queue(self, argv: commands.Argv) -> list[job_records.JobRecord]:
        """Run squeue and return all records of its answer.

        Raises:
            NoAnswerError: as ``query``, or the answer cannot be read.
        """
        return job_records.parse_squeue_records(self.query(argv))

    def expand(self, nodes: str) -> frozenset[str]:
        """Return the names in a list of nodes (``n[1-3],m4``).

        Raises:
            NoAnswerError: scontrol, which expands it, failed.
        """
        names = self.query(commands.scontrol_hostnames(nodes)) if "[" in nodes else nodes
        return frozenset(name for line in names.splitlines() for name in line.split(",") if name)

    def control_job(self, job: JobIdentity, argv: commands.Argv) -> None:
        """Run a command that changes an array. Nothing happens if another job has its id now.

        Args:
            job: the array.
            argv: the command.

        Raises:
            NoAnswerError: the owner of the id is unknown, or Slurm did not get the command.
            EngineError: Slurm refuses the command.
        """
        records = self._records_with_id(job)
        if not records or any(_is_own(record, job) for record in records):
            self._run_control(argv)

    def running_tasks(self, job: JobIdentity) -> set[int]:
        """Return the indices of an array's tasks that run now.

        Raises:
            NoAnswerError: the queue did not answer.
        """
        return {
            index
            for record in self._records_with_id(job)
            if _is_own(record, job) and record.report.state is State.RUNNING
            for index in record.indices or ()
        }

    def _records_with_id(self, job: JobIdentity) -> list[job_records.JobRecord]:
        records = self.query_queue(commands.squeue((job.job,), ended=False))
        return [record for record in records if record.job == job.job]

    def run_command(self, argv: commands.Argv) -> process.ProgramResult:
        """Run any command but sbatch.

        Raises:
            BadInputError: SLURMSLICE_ASK_TIMEOUT is no number.
            UnusableSlurmError: SLURM_CONF names no file.
        """
        self._check_configuration()
        timeout = self._timeout_s("SLURMSLICE_ASK_TIMEOUT", QUERY_TIMEOUT_S)
        env = environment.for_queries(self.environ)
        return self._noting_faults(process.run_program(argv, timeout=timeout, env=env))

    def run_sbatch(self, argv: commands.Argv, env: Mapping[str, str]) -> process.ProgramResult:
        """Run sbatch with this environment; the job inherits it.

        Raises:
            BadInputError: SLURMSLICE_SBATCH_TIMEOUT is no number.
        """
        timeout = self._timeout_s("SLURMSLICE_SBATCH_TIMEOUT", SBATCH_TIMEOUT_S)
        return self._noting_faults(process.run_program(argv, timeout=timeout, env=env))

    def _noting_faults(self, done: process.ProgramResult) -> process.ProgramResult:
        """Note a command that cannot work here, and return its result.

        A command that has answered before may do so again: perhaps its file system is away.
        """
        program = done.argv[0]
        options = " ".join(word for word in done.argv if word.startswith("-"))
        if done.returncode == 0:
            self._answered |= {program, f"{program} {options}"}
        elif program in _NECESSARY and f"{program} {options}" not in self._answered:
            error = unusable_error(done, self._path_of(program))
            if error and (error.fields["options"] or self._is_missing_alone(program)):
                self.lasting_fault = error
        return done

    def _path_of(self, program: str) -> str | None:
        return shutil.which(program, path=self.environ.get("PATH", os.defpath))

    def _is_missing_alone(self, program: str) -> bool:
        """Tell if a program never ran here, while those that did are still there."""
        ran = {name for name in self._answered if " " not in name}
        return program not in ran and all(map(self._path_of, ran))

    def _check_configuration(self) -> None:
        """Check SLURM_CONF, because each of Slurm's commands waits 60 s for a missing file.

        The file may disappear later, with its file system. Then waiting may help.
        """
        path = self.environ.get("SLURM_CONF")
        if path is None or (os.path.exists(path) and not os.path.isdir(path)):
            self._had_configuration = True
            return
        usual = next(filter(os.path.exists, _USUAL_FILES), _USUAL_FILES[0])
        error = UnusableSlurmError(
            f"SLURM_CONF names no file: {path!r}. Slurm's commands would wait for it.",
            f"For the cluster's own configuration: unset SLURM_CONF\n"
            f"To name its file: export SLURM_CONF={usual}",
            code="slurm-conf-missing",
            variable="SLURM_CONF",
            path=path,
        )
        if not self._had_configuration:
            self.lasting_fault = error
        raise error

    def _run_control(self, argv: commands.Argv) -> None:
        done = self.run_command(argv)
        text = done.stderr + done.stdout
        if done.returncode == 0 or any(part in text for part in _ALREADY_ENDED):
            return
        if done.returncode is None or "Unable to contact" in text or "timed out" in text:
            raise no_answer_error(done)
        said = text.strip()[-1000:]
        raise EngineError(
            f"{argv[0]} failed: {said}", code="slurm-error", command=argv[0], said=said
        )

    def _timeout_s(self, variable: str, default: float) -> float:
        try:
            return float(self.environ.get(variable, default))
        except ValueError:
            raise BadInputError(
                f"{variable} is not a number of seconds.", code="bad-environment", variable=variable
            ) from None


def _names_one_job(argv: commands.Argv) -> bool:
    """True if squeue was asked about one job: only then an unknown id fails the whole query."""
    return "--jobs" in argv and "," not in argv[-1]


def unusable_error(done: process.ProgramResult, path: str | None) -> UnusableSlurmError | None:
    """Make the error of a command that cannot work, however long one waits; None if it may.

    Args:
        done: its result, not a success.
        path: its path; None if it is not on PATH.
    """
    program, text = done.argv[0], (done.stderr.strip() or done.stdout.strip())[-1000:]
    if done.missing and path is None:
        return UnusableSlurmError(
            f"{program} is not on PATH.",
            "Load the cluster's slurm module. To use this machine: --engine local",
            code="slurm-command-not-found",
            command=program,
            path=None,
            options=False,
        )
    options = program == "squeue" and bool(_KNOWS_NO_OPTION.search(text))
    if not (done.missing or done.returncode in _NOT_RUNNABLE or options):
        return None
    return UnusableSlurmError(
        f"{path or program} does not work as Slurm's {program} does: {text}",
        f"If it is a program of the site, put the folder of Slurm's own {program} first on PATH.",
        command=program,
        path=path,
        options=options,
    )


def no_answer_error(done: process.ProgramResult) -> NoAnswerError:
    """Make the error of a failed command; Slurm's messages become one line without repetition."""
    program = done.argv[0]
    lines = (done.stderr.strip() or done.stdout.strip())[-1000:].splitlines()
    bare = (line.removeprefix(f"{program}: ").removeprefix("error: ").strip() for line in lines)
    text = "; ".join(dict.fromkeys(filter(None, bare)))
    if done.missing:
        hint = "Load the cluster's slurm module."
        return NoAnswerError(
            f"{program} cannot be started here: {text}",
            hint,
            code="slurm-command-not-found",
            command=program,
        )
    hint = "Try again when Slurm answers."
    if done.timed_out:
        return NoAnswerError(
            f"{program} did not answer in time.", hint, code="slurm-timeout", command=program
        )
    return NoAnswerError(
        f"{program}: {text or f'exit {done.returncode}'}", hint, command=program, said=text
    )


def _is_own(record: job_records.JobRecord, job: JobIdentity) -> bool:
    return job_records.is_own_record(record, {job.job: job.name}, {job.job: job})
