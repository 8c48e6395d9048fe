"""The files that a person names for the output of slices: ``--output`` and ``--error``. Pure.

A name has ``%`` patterns (sbatch(1), FILENAME PATTERN) and placeholders as in the command.
``docs/adr/0036`` has the reasons.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import repeat

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import Placeholder, check_command_word, variable_name, word_parts
from slurmslice.spec.run_spec import RunSpec
from slurmslice.system.shell_quoting import quote

OUTPUT_OPTIONS = ("output", "error")
"""The options that name a file, and the fields of ``RunSpec``."""

NOWHERE = "/dev/null"

_PATTERN = re.compile(r"%(\d*)(.?)", re.DOTALL)
_NUMBERS: Mapping[str, str] = {
    "A": '"$_job"',
    "a": '"$_number"',
    "b": '"$((_number % 10))"',
    "j": '"$_job_id"',
}
"""The patterns that are numbers, with variables of the library (``templates/slurmslice.sh``)."""
_TEXTS: Mapping[str, str] = {"N": '"${_host%%.*}"', "u": '"${SLURM_JOB_USER:-$USER}"'}
_KNOWN = frozenset({*_NUMBERS, *_TEXTS, "x", "%"})
_OF_SLICE = frozenset("abj")
_MOST_PADDING = 10
_LONGEST = 1000
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_output_names(spec: RunSpec, table: SliceTable) -> None:
    """Refuse names of files that cannot be, or that would lose the output or the data of a slice.

    Raises:
        BadInputError: a pattern, a placeholder or a value is impossible in a name; two slices have
            one file; or an option does not go together with a name.
    """
    names = {option: getattr(spec, option) for option in OUTPUT_OPTIONS if getattr(spec, option)}
    if not names:
        if spec.open_mode:
            raise BadInputError(
                "--open-mode is for the files of --output and --error.",
                "Add -o FILE, or leave it out: logs in the run directory are never overwritten.",
                code="option-needs-another",
                option="open-mode",
            )
        return
    if spec.keep_logs != "all":
        raise BadInputError(
            f"--keep-logs {spec.keep_logs} and --{next(iter(names))} do not go together: "
            "slurmslice does not remove files that you name.",
            "Leave out one of them.",
            code="options-conflict",
            option="keep-logs",
            value=spec.keep_logs,
        )
    for option, name in names.items():
        _check_name(option, name, table)
    _check_paths(spec, table, names)


def _check_name(option: str, name: str, table: SliceTable) -> None:
    """Refuse a name with an obvious mistake."""
    try:
        check_command_word(name, table.columns)
    except BadInputError as why:
        raise why.inside(f"--{option}", option=option) from why
    last = os.path.basename(name)
    if _CONTROL.search(name) or "\\" in name or last in {"", ".", ".."}:
        raise _bad_name(option, name, "cannot be the name of a file here.")
    for part in word_parts(name):
        for found in () if isinstance(part, Placeholder) else _PATTERN.finditer(part):
            if found[2] not in _KNOWN or int(found[1] or 0) > _MOST_PADDING:
                raise _bad_name(option, name, f"has {found[0]}, which is not known here.")


def _bad_name(option: str, name: str, why: str) -> BadInputError:
    return BadInputError(
        f"--{option} {name!r} {why}",
        "A name is a path with %A %a %b %j %u %x %N (%% is a percent sign), {} and {column}.",
        code="bad-output-name",
        option=option,
        value=name,
    )


def _check_paths(spec: RunSpec, table: SliceTable, names: Mapping[str, str]) -> None:
    """Refuse paths that two slices share, and paths that a value makes dangerous."""
    if spec.open_mode != "append" and any(map(_is_constant, names.values())) and len(table) > 1:
        _refuse_constant(spec, names)
    if len(names) == 1 and _is_numbered(*names.values()):
        return
    owners: dict[str, int] = {}
    for option, name in names.items():
        for row, path in enumerate(expand_output_name(spec, table, name)):
            values = (table.keys[row], *table.column_values(row))
            if fault := _path_fault(name, path, values, spec.work_dir):
                raise BadInputError(
                    f"Slice {values[0]!r}: the name {path[:200]!r} of --{option} {fault}.",
                    "Use another column in the name, %a, or a suffix: {}.log",
                    code="output-path",
                    option=option,
                    key=values[0],
                    path=path,
                )
            whole = os.path.normpath(os.path.join(spec.work_dir, path))
            owner = owners.setdefault(whole, row)
            if owner != row and spec.open_mode != "append" and path != NOWHERE:
                raise _shared(option, path, (table.keys[owner], table.keys[row]))


def _is_constant(name: str) -> bool:
    parts = list(word_parts(name))
    has_placeholder = any(isinstance(part, Placeholder) for part in parts)
    return name != NOWHERE and not has_placeholder and not _kinds(name) & _OF_SLICE


def _is_numbered(name: str) -> bool:
    """Tell if the number of the slice alone makes each path."""
    is_plain = all(isinstance(part, str) for part in word_parts(name))
    return is_plain and "a" in _kinds(name) and len(name) < _LONGEST - 200


def _kinds(text: str) -> set[str]:
    return {found[2] for found in _PATTERN.finditer(text)}


def _refuse_constant(spec: RunSpec, names: Mapping[str, str]) -> None:
    option, name = next((o, n) for o, n in names.items() if _is_constant(n))
    raise _shared(option, name, ())


def _shared(option: str, path: str, keys: Sequence[str]) -> BadInputError:
    whose = f"Slices {keys[0]!r} and {keys[1]!r}" if keys else "All slices"
    return BadInputError(
        f"{whose} would write to the same file: {path!r} (--{option}).",
        "Put %a, {} or more columns into the name. If they may share a file, add "
        "--open-mode=append.",
        code="file-shared",
        option=option,
        keys=tuple(keys),
        path=path,
    )


def _path_fault(name: str, path: str, values: Collection[str], work_dir: str) -> str:
    """Return why a path cannot be used, as a predicate; empty if it can.

    Args:
        name: the name with its placeholders.
        path: the path of a slice.
        values: the key and the columns of the slice.
        work_dir: the folder in which a relative path begins.
    """
    if _CONTROL.search(path):
        return "has a control character"
    if len(os.fsencode(path)) > _LONGEST:
        return f"is longer than {_LONGEST} bytes"
    if ".." in path.split("/") and ".." not in name.split("/"):
        return "leads out of its folder by .. in a value"
    if path.endswith("/"):
        return "is a folder"
    if path in values and os.path.isfile(os.path.join(work_dir, path)):
        return "is a file that the slice works on"
    return ""


def expand_output_name(spec: RunSpec, table: SliceTable, name: str) -> Iterator[str]:
    """Yield the name of the file of each slice, in the order of the table.

    What only the task knows (%A, %N, and %j of a pack) is a pattern in it.
    """
    whole = [_expanded(spec, table, part) for part in word_parts(name)]
    rows: Iterable[tuple[str, ...]] = zip(*whole, strict=False)
    return ("".join(parts) for _, parts in zip(range(len(table)), rows, strict=False))


def _expanded(spec: RunSpec, table: SliceTable, part: str | Placeholder) -> Iterable[str]:
    if isinstance(part, Placeholder):
        return table.values(part.name)
    if not _kinds(part) & _OF_SLICE:
        return repeat(_with_numbers(part, 0, spec.name, alone=False))
    numbers = map(int, table.keys) if spec.numbers else range(len(table))
    alone = spec.pack != "auto" and spec.packing.pack == 1
    return (_with_numbers(part, number, spec.name, alone=alone) for number in numbers)


def _with_numbers(text: str, number: int, name: str, *, alone: bool) -> str:
    """Return a text with the patterns for a slice. %j stays if slices share a task."""

    def filled(found: re.Match[str]) -> str:
        width = int(found[1] or 0)
        match found[2]:
            case "a":
                return f"{number:0{width}d}"
            case "b":
                return f"{number % 10:0{width}d}"
            case "j" if alone:
                return f"%j of {number}"
            case "x":
                return name
            case "%":
                return "%"
            case _:
                return found[0]

    return _PATTERN.sub(filled, text)


def output_names_to_bash(spec: RunSpec) -> str:
    """Return the body of the script's function that names the files; empty if none is named."""
    names = {"_stdout": spec.output, "_stderr": spec.error}
    lines = [_assignment(spec, variable, name) for variable, name in names.items() if name]
    return "\n".join(f"  {line}" for line in lines) if len(lines) > 1 else "".join(lines)


def _assignment(spec: RunSpec, variable: str, name: str) -> str:
    """Return a line of bash: literals are printf's format, and values are its arguments."""
    parts = [part for part in word_parts(name) if part]
    folder = os.path.join(spec.work_dir, "")
    form, values = "", list[str]()
    for part in parts:
        text, more = _printf(part, spec.name)
        form, values = form + text, values + more
    if name.startswith("/"):
        folder = ""
    elif isinstance(parts[0], Placeholder):  # its value may be an absolute path
        line = " ".join(["printf -v", variable, "--", quote(form), *values])
        return f"{line}\n  [[ ${variable} == /* ]] || {variable}={quote(folder)}${variable}"
    return " ".join(["printf -v", variable, "--", quote(_literal(folder) + form), *values])


def _printf(part: str | Placeholder, run: str) -> tuple[str, list[str]]:
    """Return the format of a part of a name, and its arguments."""
    if isinstance(part, Placeholder):
        return "%s", [f'"${{{variable_name(part.name)}}}"']
    form, values, end = "", list[str](), 0
    for found in _PATTERN.finditer(part):
        form += _literal(part[end : found.start()])
        end, kind, width = found.end(), found[2], int(found[1] or 0)
        if kind in _NUMBERS:
            form, values = form + (f"%0{width}d" if width else "%s"), [*values, _NUMBERS[kind]]
        elif kind in _TEXTS:
            form, values = form + "%s", [*values, _TEXTS[kind]]
        else:
            form += _literal(run if kind == "x" else "%")
    return form + _literal(part[end:]), values


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "%%")
