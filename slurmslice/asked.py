"""What was asked of a run: the contents of ``run.json``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from slurmslice.check import NO_CHECK, Check
from slurmslice.command import Command, ShellText, Words, placeholders, show
from slurmslice.directives import Options
from slurmslice.errors import BadInput, DamagedRun
from slurmslice.packing import Packing
from slurmslice.units import whole_minutes

FORMAT = 1
"""Grows when a run directory of an older slurmslice can no longer be read."""


@dataclass(frozen=True)
class Asked:
    """One run, as it was asked for. It never changes after the run is made.

    Attributes:
        name: the run's name, and the beginning of its jobs' names.
        token: the first submission's token; it stands in the script's job name.
        engine: ``slurm`` or ``local``.
        cluster: the cluster or machine that it belongs to; empty where none could be asked.
        command: what is done to each slice.
        source: how the slices were given, for a person.
        slices: how many there are.
        slices_sha256: digest of ``slices.tsv``.
        direct: the array index is the key (``slurmslice.plan``).
        first: the rows that the script's own array carries, by index (an array expression).
        first_sha256: digest of that submission's task table; empty in the direct form.
        options: sbatch options for one slice, long names; without the array. Where they differ
            between slices, those of the first.
        per_slice: those of them that name columns, as they were typed.
        packing: how array tasks carry slices.
        throttle: most slices at once; None for no limit.
        setup: shell text that runs once a task, before the command.
        work_dir: where the command runs; absolute.
        max_attempts: attempts a slice gets from ``run``; 1 is no resubmission.
        created_at: epoch seconds.
        version: of the slurmslice that made it.
        pack_asked: ``--pack`` as it was typed; empty for none.
        breaker: what has not started is held when the first slices that end have all failed.
        template: name and digest of the person's template that the script was made from; empty
            for slurmslice's own.
        check: what must hold once the command has exited 0.
        steps_count: a job step (srun) that fails makes a slice fail whose command exits 0.
        library_sha256: digest of ``slurmslice.sh`` as it was written.
    """

    name: str
    token: str
    engine: str
    cluster: str
    command: Command
    source: str
    slices: int
    slices_sha256: str
    direct: bool
    first: str
    first_sha256: str
    options: tuple[tuple[str, str], ...]
    per_slice: tuple[tuple[str, str], ...]
    packing: Packing
    throttle: int | None
    setup: str
    work_dir: str
    max_attempts: int
    created_at: float
    version: str
    pack_asked: str = ""
    breaker: bool = True
    template: str = ""
    check: Check = NO_CHECK
    steps_count: bool = True
    library_sha256: str = ""

    @property
    def job_name(self) -> str:
        """The first submission's job name: the run's name and the token."""
        return job_name(self.name, self.token)

    @property
    def typed(self) -> dict[str, str]:
        """The options as they were typed, by long name."""
        return {**dict(self.options), **dict(self.per_slice)}

    def given(self, options: Options, *, minutes: bool) -> tuple[tuple[str, str], ...]:
        """Return a slice's options as they are counted: Slurm rounds time limits up to minutes.

        In a pack the script itself ends a slice, to the second.

        Args:
            options: the options.
            minutes: the engine counts whole minutes.

        Raises:
            BadInput: a time limit among them is none.
        """
        if not minutes or self.packing.pack > 1:
            return tuple(options)
        return tuple((n, whole_minutes(value) if n == "time" else value) for n, value in options)

    def to_json(self) -> bytes:
        """The file's bytes; any bytes of the values survive as escaped surrogates."""
        record = asdict(self) | {"format": FORMAT, "command": _command_record(self.command)}
        return json.dumps(record, indent=1).encode("ascii") + b"\n"

    @classmethod
    def from_json(cls, data: bytes, where: str) -> Asked:
        """Read it back.

        Raises:
            DamagedRun: the bytes are no such record, or one of a newer slurmslice.
        """
        try:
            record = json.loads(data)
            if record.pop("format") > FORMAT:
                raise DamagedRun(f"{where} was made by a newer slurmslice.", "Update slurmslice.")
            record["command"] = _command(record["command"])
            for field in ("options", "per_slice"):
                record[field] = tuple((name, value) for name, value in record[field])
            record["packing"] = Packing(**record["packing"])
            record["check"] = _check(record.get("check", {"text": "", "files": []}))
            return cls(**record)
        except (ValueError, TypeError, KeyError, AttributeError) as why:
            raise DamagedRun(f"{where} is damaged ({type(why).__name__}: {why}).") from why

    def differences(self, other: Asked) -> list[str]:
        """What makes ``other`` another run than this, a line each; empty where it goes on."""
        mine, theirs = self._essence(), other._essence()
        return [
            f"{what}: {mine[what]} is there, {theirs[what]} is asked"
            for what in mine
            if mine[what] != theirs[what]
        ]

    def _essence(self) -> dict[str, str]:
        options = " ".join(f"--{name}={value}" for name, value in sorted(self.typed.items()))
        return {
            "engine": self.engine,
            "command": show_template(self.command),
            "slices": f"{self.slices} from {self.source} ({self.slices_sha256[:8]})",
            "options": options or "none",
            "packing": f"--pack={self.pack_asked or 1} --at-once={self.packing.at_once}",
            "setup": repr(self.setup),
            "check": self.check.shown or "none",
            "failed job steps": "count" if self.steps_count else "are allowed",
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


def _command_record(command: Command) -> dict[str, object]:
    if isinstance(command, ShellText):
        return {"shell": command.text}
    return {"words": list(command.words)}


def _check(record: dict[str, Any]) -> Check:
    return Check(str(record["text"]), tuple(map(str, record["files"])))


def _command(record: dict[str, object]) -> Command:
    match record:
        case {"shell": str(text)}:
            return ShellText(text)
        case {"words": [*words]}:
            return Words(tuple(map(str, words)))
    raise BadInput("the command is neither words nor a shell text")
