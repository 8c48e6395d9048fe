"""The description of a run by a person, and its record: the contents of ``run.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

import slurmslice
from slurmslice.errors import DamagedRunError
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.sbatch.options import FIRST_ONLY
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.sbatch.units import round_up_to_minutes
from slurmslice.spec.command import Command, ShellText, command_placeholders, slice_command_line
from slurmslice.spec.output_check import NO_CHECK, OutputCheck
from slurmslice.spec.packing import NO_PACKING, Packing
from slurmslice.spec.per_slice_options import options_with_columns
from slurmslice.spec.recorded_environment import RecordedEnvironment
from slurmslice.spec.slice_numbers import SliceNumbers
from slurmslice.spec.then_rule import ThenRule
from slurmslice.system.json_fields import decode, encode
from slurmslice.system.shell_quoting import quote

RUN_FORMAT = 1
"""The version of the format; it grows when older run directories can no longer be read."""


NO_LIMIT = 0
"""The value of ``max_failures`` that switches the circuit breaker off."""

FailureLimit = int | str
"""A number of slices, or a share of all slices (``5%``)."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """The description of a run by a person.

    ``slurmslice.cli.options.new_run_options`` fills each field from the option of ``run`` with the
    same name. Every field is written to ``run.json`` and read back. Templates can use it as
    ``run.FIELD``. A new option needs nothing else.

    Attributes:
        name: the run's name; the names of its jobs begin with it; checked.
        command: the command that runs for each slice; checked.
        source: the source of the slices, for a person.
        numbers: the numbers of the slices if they are from a range; else None.
        work_dir: the working directory of the command; absolute.
        request: sbatch options as typed; a value may name columns.
        throttle: the maximum number of slices at once; None for no limit.
        pack: ``--pack`` as typed; None if it was not given.
        packing: the number of slices in an array task, and how many of them run at once.
        setup: shell text that runs once per task, before the command.
        check: the condition after an exit code of 0 of the command; checked.
        allow_failed_steps: a slice succeeds if its command exits 0, even if a job step (srun)
            failed.
        keep_logs: ``failed`` removes the log of a slice that is done; ``all`` keeps it.
        output: the name of the file for the standard output of a slice; checked
            (``slurmslice.spec.output_names``). Empty: its log in the run directory.
        error: the same for its standard error; empty: the same file as its standard output.
        open_mode: ``append`` or ``truncate`` for these files; empty for slurmslice's own rule.
        env: the variables whose values the script keeps (``NAME``, ``NAME=VALUE``); checked.
        same_code: a later attempt is refused if the code has changed.
        max_failures: the number or the share of slices that may fail for good before the rest is
            held; ``NO_LIMIT`` for any number. None: the rest is held if the newest failures have a
            common cause.
        cancel_rest: after ``max_failures`` the rest is cancelled, not held.
        skip_done: slices whose check files are there when the run is made are not submitted.
        canary: the slices to submit first, a number of them or keys; empty or ``none`` for none.
        max_attempts: the number of attempts of each slice; None if not recorded yet (after
            ``render``).
        retry: failed slices are repaired by cause, with the default ladders.
        on: the person's rules for causes, ``CAUSE=STEPS``; checked.
        cause: the person's named causes, ``NAME=TEXT``; checked.
        budget: the budget of automatic attempts, as typed; checked; empty for none.
        allow_changed: a slice is repaired also if its code has changed since its last attempt.
        continue_on: the causes after which a slice continues from its checkpoint; checked.
        checkpoint: the path of its checkpoint, with ``{}`` and ``{column}``; checked.
        max_continues: the most continuations of a slice.
        mail: one mail tells the end of the run; ``request`` has its address (``mail-user``).
        on_end: shell text that runs at the end of the run, with its status as JSON on stdin.
        after: the directory of the run that this one waits for; empty for none.
        then: the step after the run; None for none.
        form: the slice option, as ``FormSlices.form`` has it.
        open: the run is not over before a person closes it, because slices may be added.
    """

    name: str
    command: Command
    source: str
    work_dir: str
    numbers: SliceNumbers | None = None
    request: ResourceRequest = NO_REQUEST
    throttle: int | None = None
    pack: str | None = None
    packing: Packing = NO_PACKING
    setup: str = ""
    check: OutputCheck = NO_CHECK
    allow_failed_steps: bool = False
    keep_logs: str = "all"
    output: str = ""
    error: str = ""
    open_mode: str = ""
    env: tuple[str, ...] = ()
    same_code: bool = False
    max_failures: FailureLimit | None = None
    cancel_rest: bool = False
    canary: str = ""
    skip_done: bool = False
    max_attempts: int | None = 1
    retry: bool = False
    on: tuple[str, ...] = ()
    cause: tuple[str, ...] = ()
    budget: str = ""
    allow_changed: bool = False
    continue_on: str = ""
    checkpoint: str = ""
    max_continues: int = 20
    mail: bool = False
    on_end: str = ""
    after: str = ""
    then: ThenRule | None = None
    form: str = ""
    open: bool = False

    @property
    def output_options(self) -> str:
        """The files for the output of slices as options, for a person; empty if none is named."""
        names = ("output", "error", "open_mode")
        given = [(name.replace("_", "-"), getattr(self, name)) for name in names]
        return " ".join(f"--{name}={quote(value)}" for name, value in given if value)

    @cached_property
    def per_slice(self) -> ResourceRequest:
        """The options whose values name columns."""
        return options_with_columns(self.request)


@dataclass(frozen=True, kw_only=True)
class RunRecord(RunSpec):
    """The record of a run: the description, and the facts of its creation. It never changes.

    ``packing`` was reduced to the limits at the time of creation.

    Attributes:
        token: the first submission's token, a part of the script's job name.
        engine: ``slurm`` or ``local``.
        cluster: the cluster or machine of the run; empty if the engine did not answer.
        slices: the number of slices.
        slices_sha256: digest of ``slices.tsv``.
        direct: the array index is the key (``slurmslice.plan.batches``).
        first: the rows of the script's own array, by index (an array expression).
        done_before: the rows that were done before the run (an array expression); empty if none.
        first_sha256: digest of that submission's task table; empty in the direct form.
        first_request: the request of the first slice; the script's directives are made from it.
        template: name and digest of the person's template of the script; empty for slurmslice's
            own.
        library_sha256: digest of ``slurmslice.sh`` as it was written.
        recorded_environment: the variables at the time of creation: names and digests.
        created_at: epoch seconds.
        version: the version of slurmslice that created the run.
    """

    token: str
    engine: str
    cluster: str
    slices: int
    slices_sha256: str
    direct: bool
    first: str
    done_before: str
    first_sha256: str
    first_request: ResourceRequest
    template: str
    library_sha256: str
    recorded_environment: RecordedEnvironment
    created_at: float
    version: str

    @property
    def job_name(self) -> str:
        """Return the first submission's job name: the run's name and the token."""
        return job_name(self.name, self.token)

    @cached_property
    def done_rows(self) -> frozenset[int]:
        """Return the rows that were done before the run."""
        return frozenset(parse_array(self.done_before) if self.done_before else ())

    @cached_property
    def first_options(self) -> ResourceRequest:
        """Return the options that only first submissions have: they are not in the script."""
        return self.first_request.only(FIRST_ONLY)

    def with_rounded_time(self, request: ResourceRequest, *, minutes: bool) -> ResourceRequest:
        """Round the time limit of a slice's request up to whole minutes, if the engine does so.

        In a pack the script enforces a slice's limit to the second.

        Args:
            request: the request.
            minutes: the engine counts whole minutes.

        Raises:
            BadInputError: the time limit cannot be read.
        """
        if not minutes or self.packing.pack > 1 or "time" not in request:
            return request
        return request.overridden_by({"time": round_up_to_minutes(request["time"])})

    def to_bytes(self) -> bytes:
        """Return the file's bytes; bytes that are not UTF-8 are kept as escaped surrogates."""
        record = {"format": RUN_FORMAT} | {name: encode(value) for name, value in self._fields()}
        return json.dumps(record, indent=1).encode("ascii") + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> RunRecord:
        """Read a record from the file's bytes.

        Raises:
            DamagedRunError: the bytes are not a record, or a newer slurmslice wrote them.
        """
        try:
            record = json.loads(data)
            if record.pop("format") > RUN_FORMAT:
                raise newer_run(where, str(record["version"]))
            same = record["version"] == slurmslice.__version__
            if not (same or record.keys() == cls.__dataclass_fields__.keys()):
                raise newer_run(where, str(record["version"]))
            found: RunRecord = decode(cls, record)
        except (ValueError, TypeError, KeyError, AttributeError) as why:
            raise DamagedRunError(
                f"{where} is damaged ({type(why).__name__}: {why}).",
                path=where,
            ) from why
        return found

    def _fields(self) -> list[tuple[str, object]]:
        return [(name, getattr(self, name)) for name in self.__dataclass_fields__]

    def differences(self, other: RunRecord) -> list[str]:
        """List the differences to another run, one line each; empty if both runs are the same."""
        mine, theirs = self._essence(), other._essence()
        return [
            f"{what}: {mine[what]} exists, {theirs[what]} is requested"
            for what in mine
            if mine[what] != theirs[what]
        ]

    def _essence(self) -> dict[str, str]:
        options = ResourceRequest(tuple(sorted(self.request.options)))
        return {
            "engine": self.engine,
            "command": command_with_placeholders(self.command),
            "slices": f"{self.slices} from {self.source} ({self.slices_sha256[:8]})",
            "options": str(options) or "none",
            "packing": f"--pack={self.pack or 1} --at-once={self.packing.at_once}",
            "setup": repr(self.setup),
            "kept logs": self.keep_logs,
            "output": self.output_options or "in the run directory",
            "kept variables": ", ".join(map(repr, self.env)) or "none",
            "check": self.check.shown or "none",
            "checkpoint": self.checkpoint or "none",
            "failed job steps": "are allowed" if self.allow_failed_steps else "count",
            "template": self.template or "slurmslice's own",
            "run to wait for": self.after or "none",
            "step afterwards": then_words(self.then),
            "more slices": "may be added" if self.open else "are not expected",
            "folder": self.work_dir,
        }


def newer_run(where: str, version: str) -> DamagedRunError:
    """Return the error of a run that another release wrote, and this one cannot read."""
    return DamagedRunError(
        f"slurmslice {version} wrote {where}, and slurmslice {slurmslice.__version__} cannot read "
        "it.",
        f"Install slurmslice {version}, as in: uv tool install slurmslice=={version}",
        code="newer-run",
        path=where,
        version=version,
    )


def then_words(rule: ThenRule | None) -> str:
    """Return the step after a run as options, for a person; ``none`` if there is none."""
    if rule is None:
        return "none"
    own = f" --then-sbatch {quote(str(rule.request))}" if rule.request else ""
    return f"--then {quote(rule.command)} --then-if {rule.condition}{own}"


def job_name(name: str, token: str) -> str:
    """Return a job's name: the run's name for the person, and the token that makes it unique."""
    return f"{name}-{token}"


def command_with_placeholders(command: Command) -> str:
    """Return the command with its placeholders, for a person."""
    if isinstance(command, ShellText):
        return command.text
    return slice_command_line(
        command, "{}", {name: f"{{{name}}}" for name in command_placeholders(command)}
    )
