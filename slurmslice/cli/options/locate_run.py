"""Locations of runs (here, in parent folders, in this user's index) and of settings files."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from slurmslice.cli.output.console import emit_note
from slurmslice.cli.output.typed_line import line_with_run
from slurmslice.errors import BadInputError, SlurmsliceError
from slurmslice.run.directory import RunDirectory
from slurmslice.system import files
from slurmslice.system.shell_quoting import quote

RUNS_FOLDER = "slurmslice-runs"


def new_run_path(name: str, run_dir: str | None) -> Path:
    """Return the absolute path of a new run with this name; the script uses this path."""
    if run_dir:
        return Path(os.path.abspath(run_dir))
    return Path(os.path.abspath(os.environ.get("SLURMSLICE_RUNS") or RUNS_FOLDER)) / name


def find_run(name: str | None, *, changing: bool) -> RunDirectory:
    """Find a run by name.

    Without a name, a reading command takes the newest run; a changing command takes the only
    one. The same rule applies to a name of this user's runs in other places. A note names the
    chosen run.

    Args:
        name: the run's name or directory; None if none was given.
        changing: the command changes the run.

    Raises:
        BadInputError: there is no such run; or there are several, and one must be named.
    """
    if name is None:
        return _unnamed(changing)
    for path in _possible_paths(name):
        if _is_run(path):
            return RunDirectory(Path(os.path.abspath(path)))
    if elsewhere := earlier_runs(name):
        return RunDirectory(_choose_elsewhere(name, elsewhere, changing))
    raise _no_such_run(name, f"{_RUNS_HERE.format(_names_here())}.")


def find_run_and_keys(
    words: Sequence[str], *, changing: bool
) -> tuple[RunDirectory, tuple[str, ...]]:
    """Find the run of a command that takes ``[RUN] [KEY]...``, and the keys.

    The first word names the run. If there is no such run, all words are slices of the run that
    ``find_run`` takes without a name.

    Args:
        words: the words.
        changing: the command changes the run.

    Raises:
        BadInputError: the first word is neither; the hint names the run that has these slices.
    """
    if not words or is_run_name(words[0]):
        name, *keys = words or (None,)
        return find_run(name, changing=changing), tuple(map(str, keys))
    runs = runs_here()
    if runs and not (changing and len(runs) > 1) and _has_slices(runs[0], words):
        return _unnamed(changing), tuple(words)
    hint = f"{_RUNS_HERE.format(_names_here())}. Name the run before its slices."
    raise _no_such_run(words[0], _slices_hint(runs, words) or hint)


_RUNS_HERE = "Runs here: {}. You can also type the path of a run directory"


def _no_such_run(name: str, hint: str) -> BadInputError:
    message = f"There is no run {name!r} here, in the folders above, or among your earlier runs."
    if is_sbatch_script(name):
        hint = f"To make a run of this sbatch script: slurmslice import {quote(name)}"
    return BadInputError(message, hint, code="no-such-run", run=name)


def is_sbatch_script(path: str) -> bool:
    """Tell if a file is a script with ``#SBATCH`` lines."""
    try:
        start = next(files.read_chunks(Path(path)), b"") if os.path.isfile(path) else b""
    except OSError:
        return False
    return start.startswith(b"#!") and b"\n#SBATCH" in start


def is_run_name(name: str) -> bool:
    """Tell if a run has this name or path, here or among this user's runs elsewhere."""
    return any(map(_is_run, _possible_paths(name))) or bool(earlier_runs(name))


def typed_run() -> str:
    """Return the first typed word that names a run; ``RUN`` if there is none. For suggestions."""
    words = (word for word in sys.argv[2:] if not word.startswith("-"))
    return next((quote(word) for word in words if is_run_name(word)), "RUN")


def typed_engine(args: Sequence[str]) -> str:
    """Return the engine that a line names, itself or by its run; empty if it names none.

    Args:
        args: the words after the verb and before ``--``; they may contain mistakes.
    """
    if engine := typed_value(args, "--engine"):
        return engine
    with contextlib.suppress(SlurmsliceError, OSError):
        for word in args:
            for path in () if word.startswith("-") else filter(_is_run, _possible_paths(word)):
                return RunDirectory(path).read_record().engine
    return ""


def typed_value(args: Sequence[str], option: str) -> str:
    """Return the value of an option in words that may contain mistakes; empty without it."""
    for word, following in itertools.pairwise((*args, "")):
        name, _, value = word.partition("=")
        if name == option:
            return value or following
    return ""


def _is_run(path: Path) -> bool:
    try:
        return (path / "run.json").exists()
    except OSError as why:
        if why.errno == errno.ENAMETOOLONG:  # the word is a slice's key, not a run
            return False
        raise


def _names_here() -> str:
    return ", ".join(path.name for path in runs_here()) or "none"


def _has_slices(path: Path, keys: Sequence[str]) -> bool:
    directory = RunDirectory(path)
    try:
        directory.read_present_table().select(keys)
    except SlurmsliceError:
        return False
    return True


def _slices_hint(runs: Sequence[Path], keys: Sequence[str]) -> str:
    """Return a hint if these words are slices of a recent run here; else an empty text."""
    for path in runs[:_MOST_OPENED]:
        if _has_slices(path, keys):
            question = "Is it a slice?" if len(keys) == 1 else "Are these slices?"
            return f"{question} Type {line_with_run(path.name)}"
    return ""


_MOST_OPENED = 5


def _unnamed(changing: bool) -> RunDirectory:
    runs = runs_here()
    if not runs:
        rest = "; `slurmslice runs` lists your runs in other places." if earlier_runs() else "."
        hint = f"Name a run, or change to the folder in which you made it{rest}"
        raise BadInputError("There is no run here.", hint, code="no-run-here")
    if changing and len(runs) > 1:
        raise BadInputError(
            f"There are {len(runs)} runs here: {_names_here()}.",
            "Name one of them.",
            code="ambiguous-run",
            runs=len(runs),
        )
    if len(runs) > 1:
        message = f"There are {len(runs)} runs here; the newest is used: {runs[0].name}"
        emit_note("newest-run", message, run=runs[0].name, runs=len(runs))
    return RunDirectory(runs[0])


def _possible_paths(name: str) -> Iterator[Path]:
    """Yield the possible paths of a run's name or path, without the user's index."""
    yield Path(name)
    if os.sep not in name:
        yield from (folder / name for folder in _folders())


def earlier_runs(name: str | None = None) -> list[Path]:
    """Return this user's existing runs in all folders, the newest first.

    Args:
        name: only runs with this name; None for all.
    """
    found: dict[str, tuple[float, Path]] = {}
    for path in _indexed():
        if name is not None and path.name != name:
            continue
        with contextlib.suppress(OSError):  # deleted or not readable
            made = (path / "run.json").stat().st_mtime
            found.setdefault(os.path.realpath(path), (made, path))
    return [path for _, path in sorted(found.values(), reverse=True)]


_MOST_PATHS = 20


def _choose_elsewhere(name: str, runs: list[Path], changing: bool) -> Path:
    """Return the newest of these runs, with a note; refuse if a change could mean several."""
    absent = f"There is no run {name!r} here or in the folders above"
    paths = [quote(str(path)) for path in runs[:_MOST_PATHS]]
    if len(runs) > len(paths):
        paths.append(f"… and {len(runs) - len(paths)} more")
    if changing and len(runs) > 1:
        raise BadInputError(
            f"{absent}; {len(runs)} runs in other places have this name.",
            "Type the path of one of them:\n  " + "\n  ".join(paths),
            code="ambiguous-run",
            run=name,
            runs=len(runs),
        )
    several = "" if len(runs) == 1 else f"the newest of {len(runs)} in other places, "
    others = f" (the others: {', '.join(paths[1:])})" if len(runs) > 1 else ""
    message = f"{absent}; using {several}{paths[0]}{others}"
    emit_note("run-elsewhere", message, path=runs[0], runs=len(runs))
    return runs[0]


def _folders() -> Iterator[Path]:
    if os.environ.get("SLURMSLICE_RUNS"):
        yield Path(os.environ["SLURMSLICE_RUNS"])
    cwd = Path.cwd()
    yield from (folder / RUNS_FOLDER for folder in (cwd, *cwd.parents))


def runs_here() -> list[Path]:
    """Return the runs of the nearest folder with runs, newest first; absolute paths."""
    for folder in _folders():
        # A hidden folder is the incomplete run of a process that was killed.
        found = (path.parent for path in folder.glob("*/run.json"))
        runs = [path for path in found if not path.name.startswith(".")]
        if runs:
            runs.sort(key=lambda path: (path / "run.json").stat().st_mtime, reverse=True)
            return [Path(os.path.abspath(path)) for path in runs]
    return []


def remember_run(path: Path) -> None:
    """Add a run to the user's index. The index is optional, so errors are ignored."""
    index = _index()
    try:
        if path in _indexed():
            return
        index.parent.mkdir(parents=True, exist_ok=True)
        with open(files.open_regular(index, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
            file.write(os.fsencode(path) + b"\n")
    except OSError:
        return


def _indexed() -> list[Path]:
    try:
        lines = files.read_file(_index()).splitlines()
    except OSError:
        return []
    return [Path(os.fsdecode(line)) for line in reversed(lines)]


def _index() -> Path:
    """The path of the index of this user's runs, the newest last (XDG Base Directory: state)."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "slurmslice" / "runs"
