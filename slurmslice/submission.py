"""A submission before it is made: what would be sent, read from the script as it stands now.

What is in force is read from the script's directives, hand edits included, and from the options
given beside it, never from memory (promise 7).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from slurmslice import directives
from slurmslice.asked import job_name
from slurmslice.engines import Order
from slurmslice.errors import BadInput, DamagedRun
from slurmslice.journal import Intent
from slurmslice.ledger import Fate
from slurmslice.plan import Batch, batch, grouped_by_changes
from slurmslice.ranges import ArrayExpression, compress, parse_array
from slurmslice.run import Run
from slurmslice.rundir import digest, read_or_damaged

Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """One submission that could be made.

    Attributes:
        number: the number that it gets.
        token, job_name: what it will be found by.
        batch: rows and indices; ``batch.changes`` is the request that differs from the script's.
        overrides: all sbatch options given beside the script.
        options: every directive in force, overrides included.
        table_rows: the rows of its task table (all of a table-form script's, in the first).
    """

    number: int
    token: str
    job_name: str
    batch: Batch
    overrides: Options
    options: Options
    table_rows: Sequence[int]

    @property
    def argument(self) -> str | None:
        """The script's argument: none for the first submission."""
        return f"{self.number:03d}" if self.number > 1 else None

    def order(self, run: Run) -> Order:
        """As the engine gets it."""
        return Order(
            number=self.number,
            job_name=self.job_name,
            token=self.token,
            script=run.place.script,
            folder=run.place.submission(self.number),
            array=self.batch.array,
            overrides=self.overrides,
            argument=self.argument,
            needs=directives.needs(self.options),
        )

    def intent(self, run: Run, at: float, table_sha256: str = "") -> Intent:
        """As the journal gets it."""
        return Intent(
            number=self.number,
            token=self.token,
            job_name=self.job_name,
            array=str(self.batch.array),
            rows=str(compress(self.batch.rows)),
            overrides=self.overrides,
            changes=self.batch.changes,
            script_sha256=digest(read_or_damaged(run.place.script)),
            table_sha256=table_sha256,
            at=at,
        )


def script_options(run: Run) -> Options:
    """The directives of the run's script as it stands now.

    Raises:
        DamagedRun: there is no script.
        BadInput: a directive cannot be understood.
    """
    script = read_or_damaged(run.place.script).decode("utf-8", "surrogateescape")
    return directives.read(script)


def job_name_of(run: Run, options: Options) -> str:
    """The job name that the script gives; a person may have changed it."""
    return dict(options).get("job-name", run.asked.job_name)


def untouched(run: Run) -> bool:
    """Whether no submission was ever taken, so that the script alone says what goes in."""
    taken = {Fate.SUBMITTED, Fate.INTENDED}
    return all(submission.fate not in taken for submission in run.ledger.submissions.values())


def by_script(run: Run, options: Options, name: str) -> Draft:
    """The first submission exactly as the script has it: what ``sbatch script.sh`` does."""
    array = _script_array(options)
    rows = tuple(_row_of(run, index) for index in array)
    everything = range(len(run.table))
    whole = Batch(rows, array)
    return Draft(1, run.asked.token, name, whole, (), options, everything)


def drafts(run: Run, rows: Sequence[int], changes: Mapping[str, str]) -> list[Draft]:
    """The submissions that would carry these rows, one for each distinct request.

    Slices keep the request of their last attempt unless ``changes`` says otherwise; ``2x`` in
    them multiplies what is in force for that slice.

    Raises:
        BadInput: the script or the changes cannot be understood, or too many for one array.
    """
    options = script_options(run)
    _check_place(run, options)
    if untouched(run):
        request = directives.change(options, changes)
        return [_first(run, options, rows, request)] if rows else []
    wanted = {row: _request(run, options, row, changes) for row in rows}
    number = run.ledger.next_number
    return [
        _later(run, options, members, request, number + position)
        for position, (members, request) in enumerate(grouped_by_changes(rows, wanted))
    ]


def _check_place(run: Run, options: Options) -> None:
    """Refuse a script that writes into another folder than this run's: all tasks would fail.

    Raises:
        BadInput: the run was moved or copied, or ``--output`` was edited.
    """
    output = dict(options).get("output", "").replace("%%", "%")
    folder, ours = os.path.dirname(output), run.place.submission(1) / "tasks"
    if not os.path.isdir(folder) or not os.path.samefile(folder, ours):
        raise BadInput(
            f"The script's --output leads to {folder!r}, and the run is in {run.place.path}.",
            f"If it was moved, change _run= and --output in {run.place.script}.",
        )


def _request(run: Run, options: Options, row: int, changes: Mapping[str, str]) -> Options:
    kept = run.ledger.changes_of(row)
    new = directives.change(directives.in_force(options, kept), changes)
    return tuple({**dict(kept), **dict(new)}.items())


def _first(run: Run, options: Options, wanted: Collection[int], request: Options) -> Draft:
    """The script as it stands, with as few options beside it as can be."""
    number = run.ledger.next_number
    name = job_name_of(run, options)
    token = run.asked.token if number == 1 else new_token()
    draft = by_script(run, options, name)
    chosen = set(wanted)
    pairs = [
        (index, row)
        for index, row in zip(draft.batch.array, draft.batch.rows, strict=True)
        if row in chosen
    ]
    if not pairs:
        raise BadInput(
            f"None of these slices is in the script's --array={draft.batch.array}.",
            f"Edit that line of {run.place.script}, or name others.",
        )
    array = compress([index for index, _ in pairs], _throttle(run, draft.batch.array))
    rows = tuple(row for _, row in pairs)
    overrides: dict[str, str] = {}
    if str(array) != str(draft.batch.array):
        overrides["array"] = str(array)
    if number > 1 or token not in name:
        name = job_name(name.removesuffix(f"-{run.asked.token}"), token)
        overrides["job-name"] = name
    if number > 1:
        overrides["output"] = output_pattern(run, number)
    sent = (*overrides.items(), *request)
    in_force = directives.in_force(options, sent)
    part = Batch(rows, array, request)
    return Draft(number, token, name, part, sent, in_force, draft.table_rows)


def _later(run: Run, options: Options, rows: Sequence[int], request: Options, number: int) -> Draft:
    token = new_token()
    name = job_name(run.asked.name, token)
    throttle = _throttle(run, _script_array(options))
    part = batch(run.table, rows, direct=run.asked.direct, throttle=throttle, changes=request)
    overrides = (
        ("array", str(part.array)),
        ("job-name", name),
        ("output", output_pattern(run, number)),
        *request,
    )
    in_force = directives.in_force(options, overrides)
    return Draft(number, token, name, part, overrides, in_force, part.rows)


def _throttle(run: Run, array: ArrayExpression) -> int | None:
    """The throttle in force: the newest ``throttle N``, else the script's."""
    return run.ledger.throttle if run.ledger.throttled else array.throttle


def _script_array(options: Options) -> ArrayExpression:
    text = dict(options).get("array")
    if text is None:
        raise BadInput(
            "The script has no #SBATCH --array line.", "Put it back: it says which slices go in."
        )
    return parse_array(text)


def _row_of(run: Run, index: int) -> int:
    row = run.table.row_of(str(index)) if run.asked.direct else index
    if row is None or row >= len(run.table):
        raise BadInput(
            f"The script's --array names index {index}, and this run has no slice for it.",
            f"Edit that line of {run.place.script}.",
        )
    return row


def output_pattern(run: Run, number: int) -> str:
    """Where tasks' own output goes: sbatch's ``--output``, in which ``%`` is doubled."""
    return tasks_pattern(str(run.place.submission(number)))


def tasks_pattern(folder: str) -> str:
    """``--output`` for a submission's folder (sbatch(1), filename pattern)."""
    return folder.replace("%", "%%") + "/tasks/%a.log"


def new_token() -> str:
    """Eight random characters that no shell, file system or Slurm takes amiss."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"
    return "".join(secrets.choice(alphabet) for _ in range(8))


def check_table(run: Run, number: int) -> None:
    """Refuse a first task table that was changed since the run was made (promise 2).

    Raises:
        DamagedRun: it differs from the slice table.
    """
    if run.asked.direct or number != 1:
        return
    path = run.place.task_table(number)
    if digest(read_or_damaged(path)) != run.asked.slices_sha256:
        raise DamagedRun(
            f"{path} was changed since the run was made.",
            f"A task table never changes: `cp {run.place.slices} {path}` puts it back. To leave "
            "slices out, edit the script's #SBATCH --array line or use --only.",
        )
