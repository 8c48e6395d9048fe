"""Create a run: turn a person's description into a run directory with a script to review."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import slurmslice
from slurmslice import sbatch
from slurmslice.actions.find_done import NONE_DONE, DoneBefore
from slurmslice.engines.protocol import Engine, QueueCapacity, TaskLimits
from slurmslice.errors import BadInputError, NoAnswerError
from slurmslice.plan.batches import can_be_direct, make_batch, rows_that_fit
from slurmslice.plan.planned_submission import new_token, task_output_pattern
from slurmslice.run.create_directory import check_run_path, create_run_directory
from slurmslice.run.directory import RunDirectory, sha256_hex
from slurmslice.sbatch.array_expression import ArrayExpression, compress_indices, parse_array
from slurmslice.sbatch.options import FIRST_ONLY
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.script import render
from slurmslice.script.source_line import LIBRARY_NAME
from slurmslice.script.template_files import OwnTemplate
from slurmslice.slices.log_names import MAX_LOGS_PER_FOLDER
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import Command, ShellText
from slurmslice.spec.interpreters import find_interpreter
from slurmslice.spec.packing import (
    Packing,
    check_packing,
    check_throttle,
    fit_time_limit,
    spread_over_tasks,
    task_request,
    throttle_in_tasks,
    with_cpu_per_slice,
)
from slurmslice.spec.per_slice_options import PerSliceOptions
from slurmslice.spec.recorded_environment import RecordedEnvironment
from slurmslice.spec.run_spec import RunRecord, RunSpec

DEFAULT_MAX_ARRAY_SIZE = 1001
"""Slurm's default of MaxArraySize (slurm.conf(5))."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,99}", re.ASCII)


@dataclass(frozen=True)
class RunInputs:
    """The inputs of a new run.

    Attributes:
        spec: the person's description.
        table: the slices.
        environ: the environment with the variables that the script pins.
        template: the template of the script; None for slurmslice's own.
        done: the slices that were done before.
        files: further files for the run directory, by name.
    """

    spec: RunSpec
    table: SliceTable
    environ: Mapping[str, str] = field(default_factory=dict)
    template: OwnTemplate | None = None
    done: DoneBefore = NONE_DONE
    files: Mapping[str, bytes] = field(default_factory=dict)


def default_name(command: Command) -> str:
    """Return the stem of the command's program, ``x`` for ``python x.py``; else ``run``.

    An interpreter's options are skipped. If it runs a module or a text, its own name is used.
    """
    if isinstance(command, ShellText):
        words = command.text.split() or ["run"]
    else:
        words = list(command.words)
    program = interpreter_script(words) or words[0]
    stem = re.sub(r"[^A-Za-z0-9._+@-]+", "-", Path(program).stem).strip("-.")
    return stem[:40] if _NAME.fullmatch(stem[:40]) else "run"


def interpreter_script(words: Sequence[str]) -> str | None:
    """Return an interpreter's script, ``x.py`` for ``python -u x.py``; None for other programs."""
    known = find_interpreter(words[0])
    if known is None or not known[1].runs_files:
        return None
    return next((word for word in words[1:] if not word.startswith("-")), None)


def check_run_name(name: str) -> str:
    """Check a run's name, which names its folder and begins its jobs' names; return it.

    Raises:
        BadInputError: a character is not a letter, a digit or one of ``._+@-``; the first one is
        not a letter or digit; or the name has more than 100 characters.
    """
    if not _NAME.fullmatch(name):
        raise BadInputError(
            f"{name!r} is not a valid name of a run.",
            "Use up to 100 letters, digits and ._+@-; the first must be a letter or a digit.",
            code="bad-run-name",
            name=name,
        )
    return name


def make_record(new: RunInputs, engine: Engine) -> tuple[RunRecord, str | None]:
    """Return the record of the run, and the reason if the engine gave no limits (else None).

    Raises:
        BadInputError: the engine can never satisfy the request, or two options exclude each other.
    """
    spec, table = new.spec, new.table
    groups: Mapping[ResourceRequest, Sequence[int]] = {NO_REQUEST: range(len(table))}
    if spec.per_slice:
        groups = PerSliceOptions(spec.per_slice, table).group_rows()
    done = frozenset(new.done.rows)
    left = {own: [row for row in rows if row not in done] if done else rows
            for own, rows in groups.items()}  # fmt: skip
    own, alike = next(((own, rows) for own, rows in left.items() if rows), (NO_REQUEST, ()))
    request = with_cpu_per_slice(spec.request.filled_in(own), spec.packing)
    check_packing(request, spec.packing)
    check_throttle(spec.throttle, spec.packing.at_once)
    limits, queue_capacity, cluster, silence = _ask_engine(engine, request.verify())
    packing = _packing(new, limits)
    direct, first = _first(table, alike, packing.pack, queue_capacity, grows=spec.open)
    asked = {one.name: getattr(spec, one.name) for one in dataclasses.fields(spec)}
    record = RunRecord(
        **asked | {"packing": packing},
        token=new_token(),
        engine=engine.name,
        cluster=cluster,
        slices=len(table),
        slices_sha256=sha256_hex(table.data),
        direct=direct,
        first=str(compress_indices(first)),
        done_before=str(compress_indices(new.done.rows)) if done else "",
        first_sha256="" if direct else sha256_hex(table.part(first)),
        first_request=request,
        template=_name_and_digest(new.template),
        recorded_environment=RecordedEnvironment.of(new.environ),
        created_at=time.time(),
        version=slurmslice.__version__,
        library_sha256=sha256_hex(render.library_bytes()),
    )
    return record, silence


def _first(
    table: SliceTable,
    alike: Sequence[int],
    pack: int,
    queue_capacity: QueueCapacity,
    *,
    grows: bool,
) -> tuple[bool, Sequence[int]]:
    """Return the form (True: direct) and the rows of the first submission.

    The direct form has an upper limit of keys, so it is not for a run that grows.
    """
    direct = not grows and can_be_direct(table, queue_capacity.max_array_size, pack)
    most = min(queue_capacity.max_array_size, queue_capacity.max_tasks_per_array)
    some = rows_that_fit(table, alike, direct=direct, pack=pack, most=most)
    return direct, make_batch(table, some, direct=direct, pack=pack, throttle=None).rows


def _packing(new: RunInputs, limits: TaskLimits) -> Packing:
    """Return the requested packing, reduced to fit the partition's time limit."""
    packing = fit_time_limit(new.spec.packing, limits.max_time_s)
    if new.spec.pack != "auto":
        return packing
    # Prefer several short tasks in parallel to a long one.
    fit = limits.at_once and limits.at_once // packing.at_once
    return spread_over_tasks(packing, len(new.table), fit)


def _ask_engine(
    engine: Engine, request: ResourceRequest
) -> tuple[TaskLimits, QueueCapacity, str, str | None]:
    """Return the engine's limits, its intake and its name; and the reason if it did not answer."""
    try:
        return engine.limits(request), engine.queue_capacity(request), engine.cluster(), None
    except NoAnswerError as why:
        size = DEFAULT_MAX_ARRAY_SIZE
        return TaskLimits(size), QueueCapacity(size, size), "", why.message


def render_run_script(
    record: RunRecord, new: RunInputs, path: Path, *, with_library: bool = False
) -> str:
    """Render the run's script, as it is written to ``path/script.sh``.

    Args:
        record: the run's record.
        new: the inputs of the run.
        path: its run directory.
        with_library: replace the line that sources the library by the library itself.

    Raises:
        BadInputError: sbatch cannot express the path, or bash cannot read the shell text.
    """
    check_run_path(path)
    found = render.ScriptContent(
        record=record,
        directives=_directives(record, new.table, path).removesuffix("\n"),
        run_dir=str(path),
        environment=render.pinned_variables(new.environ, record.env),
        columns=new.table.columns,
        log_folders=record.direct and len(new.table) > MAX_LOGS_PER_FOLDER,
        whole=len(parse_array(record.first)) == len(new.table),
    )
    text = render.render_script(found, new.template)
    return (
        found.source_line.with_library(text, render.library_bytes().decode())
        if with_library
        else text
    )


def _name_and_digest(template: OwnTemplate | None) -> str:
    """Return a template's name and the start of its digest; empty for slurmslice's own."""
    return f"{template.path.name} ({sha256_hex(template.text.encode())[:12]})" if template else ""


def _directives(record: RunRecord, table: SliceTable, path: Path) -> str:
    """Return the script's ``#SBATCH`` lines: all options of each submission of its slices."""
    rows = parse_array(record.first).indices
    indices = (
        compress_indices([int(table.keys[row]) for row in rows])
        if record.direct
        else ArrayExpression((range(-(-len(rows) // record.packing.pack)),))
    )
    limit = throttle_in_tasks(record.throttle, record.packing.at_once)
    return sbatch.format_directives(
        (
            ("job-name", record.job_name),
            ("array", str(replace(indices, throttle=limit))),
            *task_request(record.first_request, record.packing).without(FIRST_ONLY).options,
            ("output", task_output_pattern(str(path / "submissions" / "001"))),
            ("open-mode", "append"),
        )
    )


def create_run(record: RunRecord, new: RunInputs, path: Path) -> RunDirectory:
    """Create the run directory, whole or not at all.

    Raises:
        BadInputError: it cannot be created there.
    """
    return create_run_directory(path, record, new.table, run_files(record, new, path))


def run_files(record: RunRecord, new: RunInputs, path: Path) -> dict[str, bytes]:
    """Return the script of a run, its library, and its further files, by name."""
    data = render_run_script(record, new, path).encode("utf-8", "surrogateescape")
    return {**new.files, "script.sh": data, LIBRARY_NAME: render.library_bytes()}
