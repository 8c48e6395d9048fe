"""Make a run: from what a person asked to a run directory with a script to review."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import slurmslice
from slurmslice import directives, script
from slurmslice.asked import Asked
from slurmslice.check import NO_CHECK, Check
from slurmslice.command import Command, ShellText
from slurmslice.engines import Engine, Intake, Limits, Needs
from slurmslice.errors import BadInput, NoAnswer
from slurmslice.lognames import FOLDER_LIMIT
from slurmslice.packing import (
    Packing,
    check,
    check_throttle,
    fitted,
    of_task,
    spread,
    tasks_at_once,
    told,
)
from slurmslice.plan import batch, is_direct, portion
from slurmslice.ranges import ArrayExpression, compress, parse_array
from slurmslice.requests import Requests, names_columns
from slurmslice.rundir import RunDirectory, check_path, create, digest
from slurmslice.slices import SliceTable
from slurmslice.submission import new_token, tasks_pattern
from slurmslice.template import OwnTemplate

DEFAULT_MAX_ARRAY_SIZE = 1001
"""What Slurm has where nothing is configured (slurm.conf(5), MaxArraySize)."""

_INTERPRETERS = re.compile(r"(python|pypy|Rscript|julia|perl|ruby|bash|sh|zsh|node|java)[\d.]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class Wanted:
    """A run that a person asks for.

    Attributes:
        name: its name; empty for the program's.
        command: what to do to each slice; checked.
        table: the slices.
        source: how they were given, for a person.
        throttle: most at once; None for no limit.
        options: sbatch options, checked, long names.
        setup: shell text that runs once a task.
        work_dir: where the command runs; absolute.
        max_attempts: attempts a slice gets from ``run``.
        environ: the environment of which the pinned variables are taken.
        packing: how array tasks are to carry slices.
        pack_asked: ``--pack`` as it was typed; empty for none.
        breaker: hold the rest where the first slices that end all fail.
        template: what the script is made from; None for slurmslice's own.
        check: what must hold once the command has exited 0; checked.
        steps_count: a job step that fails makes its slice fail.
    """

    name: str
    command: Command
    table: SliceTable
    source: str
    throttle: int | None
    options: tuple[tuple[str, str], ...]
    setup: str
    work_dir: str
    max_attempts: int
    environ: Mapping[str, str]
    packing: Packing = field(default_factory=Packing)
    pack_asked: str = ""
    breaker: bool = True
    template: OwnTemplate | None = None
    check: Check = NO_CHECK
    steps_count: bool = True


def default_name(command: Command) -> str:
    """The stem of the program that is run: ``x`` of ``python x.py``; ``run`` where there is none.

    An interpreter's options are passed over; one that is given a module or a text names itself.
    """
    if isinstance(command, ShellText):
        words = command.text.split() or ["run"]
    else:
        words = list(command.words)
    program = interpreted(words) or words[0]
    stem = re.sub(r"[^A-Za-z0-9._+@-]+", "-", Path(program).stem).strip("-.")
    return stem[:40] if _NAME.fullmatch(stem[:40]) else "run"


def interpreted(words: Sequence[str]) -> str | None:
    """What an interpreter is given: ``x.py`` of ``python -u x.py``; None of any other program."""
    if not _INTERPRETERS.fullmatch(Path(words[0]).name):
        return None
    return next((word for word in words[1:] if not word.startswith("-")), None)


def check_name(name: str) -> str:
    """A run's name: it is a folder's and part of its jobs' names.

    Raises:
        BadInput: it holds anything but letters, digits and ``._+@-``, or begins otherwise.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"{name!r} is no name for a run.",
            "Use letters, digits and ._+@- (100 at most), beginning with a letter or a digit.",
        )
    return name


def describe(wanted: Wanted, engine: Engine) -> tuple[Asked, str | None]:
    """The run as it would be made, and why the engine could not be asked about it, if so.

    Raises:
        BadInput: it asks for what the engine can never do, or what cannot stand together.
    """
    named = tuple((n, value) for n, value in wanted.options if names_columns(value))
    groups = Requests(named, wanted.table).grouped() if named else {(): range(len(wanted.table))}
    own, alike = next(iter(groups.items()))
    options = told(tuple({**dict(wanted.options), **dict(own)}.items()), wanted.packing)
    check(options, wanted.packing)
    check_throttle(wanted.throttle, wanted.packing.at_once)
    limits, intake, cluster, silence = _asked_of(engine, directives.needs(options))
    packing = _packing(wanted, limits)
    direct, first = _first(wanted.table, alike, packing.pack, intake)
    asked = Asked(
        name=check_name(wanted.name or default_name(wanted.command)),
        token=new_token(),
        engine=engine.name,
        cluster=cluster,
        command=wanted.command,
        source=wanted.source,
        slices=len(wanted.table),
        slices_sha256=digest(wanted.table.data),
        direct=direct,
        first=str(compress(first)),
        first_sha256="" if direct else digest(wanted.table.part(first)),
        options=options,
        per_slice=named,
        packing=packing,
        throttle=wanted.throttle,
        setup=wanted.setup,
        check=wanted.check,
        steps_count=wanted.steps_count,
        work_dir=wanted.work_dir,
        max_attempts=wanted.max_attempts,
        created_at=time.time(),
        version=slurmslice.__version__,
        pack_asked=wanted.pack_asked,
        breaker=wanted.breaker,
        template=_template(wanted.template),
        library_sha256=digest(script.library()),
    )
    return asked, silence


def _first(
    table: SliceTable, alike: Sequence[int], pack: int, intake: Intake
) -> tuple[bool, Sequence[int]]:
    """Whether the array's indices are the keys, and the rows of the first submission."""
    direct = is_direct(table, intake.max_array_size, pack)
    most = min(intake.max_array_size, intake.per_array)
    some = portion(table, alike, direct=direct, pack=pack, most=most)
    return direct, batch(table, some, direct=direct, pack=pack, throttle=None).rows


def _packing(wanted: Wanted, limits: Limits) -> Packing:
    """As it is wanted, cut to what the partition's time limit lets in."""
    packing = fitted(wanted.packing, limits.max_time_s)
    if wanted.pack_asked != "auto":
        return packing
    # Short tasks beside one another, rather than a long one.
    fit = limits.at_once and limits.at_once // packing.at_once
    return spread(packing, len(wanted.table), fit)


def _asked_of(engine: Engine, needs: Needs) -> tuple[Limits, Intake, str, str | None]:
    """The engine's limits, its intake and its name; and why it could not be asked, if so."""
    try:
        return engine.limits(needs), engine.intake(needs), engine.cluster(), None
    except NoAnswer as why:
        size = DEFAULT_MAX_ARRAY_SIZE
        return Limits(size), Intake(size, size), "", why.message


def render(asked: Asked, wanted: Wanted, path: Path, *, with_library: bool = False) -> str:
    """The run's script, as it stands in ``path/script.sh``.

    Args:
        asked: the run as it would be made.
        wanted: the run as it is asked for.
        path: its run directory.
        with_library: put the library into the script, in place of the line that sources it.

    Raises:
        BadInput: the path cannot be expressed, or the shell text is no shell.
    """
    check_path(path)
    spec = script_spec(asked, wanted, path)
    text = script.render(spec, wanted.template)
    if not with_library:
        return text
    return spec.source_line.with_library(text, script.library().decode())


def script_spec(asked: Asked, wanted: Wanted, path: Path) -> script.ScriptSpec:
    """The values of the run's script."""
    return script.ScriptSpec(
        name=asked.name,
        directives=directives.block(_directives(asked, wanted.table, path)).removesuffix("\n"),
        run_dir=str(path),
        work_dir=asked.work_dir,
        environment=script.pinned(wanted.environ),
        cpus=_asked_cpus(asked.options),
        setup=asked.setup,
        command=asked.command,
        direct=asked.direct,
        columns=wanted.table.columns,
        log_folders=asked.direct and len(wanted.table) > FOLDER_LIMIT,
        whole=len(parse_array(asked.first)) == len(wanted.table),
        slices=len(wanted.table),
        version=asked.version,
        pack=asked.packing.pack,
        at_once=asked.packing.at_once,
        slice_time_s=asked.packing.slice_time_s,
        check=asked.check,
        differing=tuple(name for name, _ in asked.per_slice),
    )


def _template(own: OwnTemplate | None) -> str:
    """A template's name and digest; empty for slurmslice's own."""
    return f"{own.path.name} ({digest(own.text.encode())[:12]})" if own else ""


def _asked_cpus(options: tuple[tuple[str, str], ...]) -> int | None:
    """What ``--cpus-per-task`` asks for; None where it is not given."""
    cpus = dict(options).get("cpus-per-task")
    return int(cpus) if cpus is not None else None


def _directives(asked: Asked, table: SliceTable, path: Path) -> tuple[tuple[str, str], ...]:
    """The script's directives: they say all that its own submission needs."""
    rows = parse_array(asked.first).indices
    indices = (
        compress([int(table.keys[row]) for row in rows])
        if asked.direct
        else ArrayExpression((range(-(-len(rows) // asked.packing.pack)),))
    )
    limit = tasks_at_once(asked.throttle, asked.packing.at_once)
    return (
        ("job-name", asked.job_name),
        ("array", str(replace(indices, throttle=limit))),
        *of_task(asked.options, asked.packing),
        ("output", tasks_pattern(str(path / "submissions" / "001"))),
        ("open-mode", "append"),
    )


def make(asked: Asked, wanted: Wanted, path: Path) -> RunDirectory:
    """Make the run directory: whole, or not at all.

    Raises:
        BadInput: it cannot be made there.
    """
    text = render(asked, wanted, path)
    data = text.encode("utf-8", "surrogateescape")
    return create(path, asked, wanted.table, data, script.library())
