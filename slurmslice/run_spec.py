"""A run as a person asks for it, and the record of it: the contents of ``run.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property

from slurmslice.check import NO_CHECK, Check
from slurmslice.command import Command, ShellText, placeholders, show
from slurmslice.errors import DamagedRun
from slurmslice.json_fields import decode, encode
from slurmslice.packing import NO_PACKING, Packing
from slurmslice.requests import naming_columns
from slurmslice.resources import NO_REQUEST, ResourceRequest
from slurmslice.units import whole_minutes

FORMAT = 1
"""Grows when a run directory of an older slurmslice can no longer be read."""


NO_LIMIT = 0
"""The value of ``max_failures`` that switches the circuit breaker off."""


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """The description of a run by a person.

    A field with the name of an option of ``run`` is filled from it (``cli.asking``). Every field
    is written to ``run.json``, read back, and found by the script's template as ``run.FIELD``. A
    new option needs nothing else.

    Attributes:
        name: the run's name, and the beginning of its jobs' names; checked.
        command: what is done to each slice; checked.
        source: how the slices were given, for a person.
        work_dir: where the command runs; absolute.
        request: sbatch options as they were typed; a value may name columns.
        throttle: most slices at once; None for no limit.
        pack: ``--pack`` as it was typed; None if it was not.
        packing: how array tasks carry slices.
        setup: shell text that runs once a task, before the command.
        check: what must hold once the command has exited 0; checked.
        allow_failed_steps: a job step (srun) that fails is no failure of a slice whose command
            exits 0.
        max_failures: slices that may fail for good before the rest is held; ``NO_LIMIT``: any
            number; None: the rest is held after the first slices that ended have all failed.
        max_attempts: attempts that each slice gets; None: not recorded yet (made by ``render``).
    """

    name: str
    command: Command
    source: str
    work_dir: str
    request: ResourceRequest = NO_REQUEST
    throttle: int | None = None
    pack: str | None = None
    packing: Packing = NO_PACKING
    setup: str = ""
    check: Check = NO_CHECK
    allow_failed_steps: bool = False
    max_failures: int | None = None
    max_attempts: int | None = 1

    @cached_property
    def per_slice(self) -> ResourceRequest:
        """The options whose values name columns."""
        return naming_columns(self.request)


@dataclass(frozen=True, kw_only=True)
class RunRecord(RunSpec):
    """A run as it was made: the description, and what was fixed then. It never changes.

    ``packing`` is cut to the limits that held when the run was made.

    Attributes:
        token: the first submission's token; it stands in the script's job name.
        engine: ``slurm`` or ``local``.
        cluster: the cluster or machine that it belongs to; empty if none could be asked.
        slices: how many there are.
        slices_sha256: digest of ``slices.tsv``.
        direct: the array index is the key (``slurmslice.plan``).
        first: the rows that the script's own array carries, by index (an array expression).
        first_sha256: digest of that submission's task table; empty in the direct form.
        first_request: what the first slice asks for, as the script's directives say.
        template: name and digest of the person's template that the script was made from; empty
            for slurmslice's own.
        library_sha256: digest of ``slurmslice.sh`` as it was written.
        created_at: epoch seconds.
        version: of the slurmslice that made it.
    """

    token: str
    engine: str
    cluster: str
    slices: int
    slices_sha256: str
    direct: bool
    first: str
    first_sha256: str
    first_request: ResourceRequest
    template: str
    library_sha256: str
    created_at: float
    version: str

    @property
    def job_name(self) -> str:
        """The first submission's job name: the run's name and the token."""
        return job_name(self.name, self.token)

    def counted(self, request: ResourceRequest) -> ResourceRequest:
        """A slice's request as it is counted: Slurm rounds a time limit up to whole minutes.

        In a pack the script itself ends a slice, to the second, and so does this machine.

        Raises:
            BadInput: the time limit is not one.
        """
        if self.engine != "slurm" or self.packing.pack > 1 or "time" not in request:
            return request
        return request.overridden_by({"time": whole_minutes(request["time"])})

    def to_bytes(self) -> bytes:
        """Give the file's bytes; any bytes of the values survive as escaped surrogates."""
        record = {"format": FORMAT} | {name: encode(value) for name, value in self._fields()}
        return json.dumps(record, indent=1).encode("ascii") + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, where: str) -> RunRecord:
        """Read it back.

        Raises:
            DamagedRun: the bytes are no such record, or one of a newer slurmslice.
        """
        try:
            record = json.loads(data)
            if record.pop("format") > FORMAT:
                raise DamagedRun(
                    f"{where} was made by a newer slurmslice.",
                    "Update slurmslice.",
                    code="newer-run",
                    path=where,
                )
            found: RunRecord = decode(cls, record)
        except (ValueError, TypeError, KeyError, AttributeError) as why:
            raise DamagedRun(
                f"{where} is damaged ({type(why).__name__}: {why}).",
                path=where,
            ) from why
        return found

    def _fields(self) -> list[tuple[str, object]]:
        return [(name, getattr(self, name)) for name in self.__dataclass_fields__]

    def differences(self, other: RunRecord) -> list[str]:
        """What makes ``other`` another run than this, a line each; empty if it is the same run."""
        mine, theirs = self._essence(), other._essence()
        return [
            f"{what}: {mine[what]} is there, {theirs[what]} is asked"
            for what in mine
            if mine[what] != theirs[what]
        ]

    def _essence(self) -> dict[str, str]:
        options = ResourceRequest(tuple(sorted(self.request.options)))
        return {
            "engine": self.engine,
            "command": show_template(self.command),
            "slices": f"{self.slices} from {self.source} ({self.slices_sha256[:8]})",
            "options": str(options) or "none",
            "packing": f"--pack={self.pack or 1} --at-once={self.packing.at_once}",
            "setup": repr(self.setup),
            "check": self.check.shown or "none",
            "failed job steps": "are allowed" if self.allow_failed_steps else "count",
            "template": self.template or "slurmslice's own",
            "folder": self.work_dir,
        }


def job_name(name: str, token: str) -> str:
    """A job's name: what a person recognises, and what no other job has."""
    return f"{name}-{token}"


def show_template(command: Command) -> str:
    """The command with its placeholders, for a person."""
    if isinstance(command, ShellText):
        return command.text
    return show(command, "{}", {name: f"{{{name}}}" for name in placeholders(command)})
