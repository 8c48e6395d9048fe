"""Where runs are (here, in the folders above, in this user's index), and settings files."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from slurmslice import files
from slurmslice.cli.console import note
from slurmslice.command import join, quote
from slurmslice.errors import BadInput, SlurmsliceError
from slurmslice.rundir import RunDirectory

FOLDER = "slurmslice-runs"


def new_run(name: str, run_dir: str | None) -> Path:
    """Where a run of this name goes; absolute, so that the script can name it."""
    if run_dir:
        return Path(os.path.abspath(run_dir))
    return Path(os.path.abspath(os.environ.get("SLURMSLICE_RUNS") or FOLDER)) / name


def find(
    name: str | None, *, changing: bool, keys_of: str = "", keys: Sequence[str] = ()
) -> RunDirectory:
    """The run that a person means.

    Without a name, verbs that read take the newest; verbs that change take the only one. So it is
    with a name that no run here has, among the runs that this user made elsewhere; which it is, is
    said.

    Args:
        name: its name or directory; None where none was given.
        changing: the verb changes the run.
        keys_of: the verb, where it takes slices' keys too, which may stand in a name's place.
        keys: what follows the name.

    Raises:
        BadInput: there is none, or several where one must be named.
    """
    if name is None:
        return _unnamed(changing)
    for path in _near(name):
        if _is_run(path):
            return RunDirectory(Path(os.path.abspath(path)))
    if elsewhere := earlier(name):
        return RunDirectory(_of_those(name, elsewhere, changing))
    hint = f"Runs here: {_known()}. A path of a run directory will do too."
    if keys_of:
        hint = _as_slices((name, *keys), keys_of) or f"{hint} Slices are named after their run."
    message = f"There is no run {name!r} here, in the folders above or among your earlier runs."
    raise BadInput(message, hint, code="no-such-run", run=name)


def is_named(name: str) -> bool:
    """Whether a run has this name or path, here or among this user's runs elsewhere."""
    return any(map(_is_run, _near(name))) or bool(earlier(name))


def _is_run(path: Path) -> bool:
    try:
        return (path / "run.json").exists()
    except OSError as why:
        if why.errno == errno.ENAMETOOLONG:  # a slice's key, in a run's place
            return False
        raise


def _known() -> str:
    return ", ".join(path.name for path in here()) or "there is none here"


def _as_slices(keys: Sequence[str], verb: str) -> str:
    """What to type where these are slices of a newer run here; empty where they are not."""
    for path in here()[:_MOST_OPENED]:
        place = RunDirectory(path)
        with contextlib.suppress(SlurmsliceError):
            place.table(place.record().slices_sha256).select(keys)
            those = "Is it a slice?" if len(keys) == 1 else "Are these slices?"
            return f"{those} slurmslice {verb} {quote(path.name)} -- {join(keys)}"
    return ""


_MOST_OPENED = 5


def _unnamed(changing: bool) -> RunDirectory:
    runs = here()
    if not runs:
        there = "; `slurmslice runs` lists those that you made elsewhere." if earlier() else "."
        hint = f"Name one, or go to the folder it was made in{there}"
        raise BadInput("There is no run here.", hint, code="no-run-here")
    if changing and len(runs) > 1:
        raise BadInput(
            f"There are {len(runs)} runs here: {_known()}.",
            "Name the one you mean.",
            code="ambiguous-run",
            runs=len(runs),
        )
    if len(runs) > 1:
        message = f"Of {len(runs)} runs here the newest: {runs[0].name}"
        note("newest-run", message, run=runs[0].name, runs=len(runs))
    return RunDirectory(runs[0])


def _near(name: str) -> Iterator[Path]:
    """Where a run of this name, or at this path, is looked for first."""
    yield Path(name)
    if os.sep not in name:
        yield from (folder / name for folder in _folders())


def earlier(name: str | None = None) -> list[Path]:
    """The runs that this user made anywhere, the newest first; those of a name where one is given.

    What is there no more is not among them.
    """
    found: dict[str, tuple[float, Path]] = {}
    for path in _indexed():
        if name is not None and path.name != name:
            continue
        with contextlib.suppress(OSError):  # it is there no more, or may not be looked at
            made = (path / "run.json").stat().st_mtime
            found.setdefault(os.path.realpath(path), (made, path))
    return [path for _, path in sorted(found.values(), reverse=True)]


_MOST_PATHS = 20


def _of_those(name: str, runs: list[Path], changing: bool) -> Path:
    """The newest of these runs, said which it is; to be changed, only where it is the only one."""
    what = f"There is no run {name!r} here or in the folders above"
    paths = [quote(str(path)) for path in runs[:_MOST_PATHS]]
    if len(runs) > len(paths):
        paths.append(f"… and {len(runs) - len(paths)} more")
    if changing and len(runs) > 1:
        raise BadInput(
            f"{what}, and {len(runs)} that you made elsewhere have this name.",
            "Type the path of the one you mean:\n  " + "\n  ".join(paths),
            code="ambiguous-run",
            run=name,
            runs=len(runs),
        )
    which = "this is" if len(runs) == 1 else f"of {len(runs)} elsewhere the newest is"
    others = f" (the others: {', '.join(paths[1:])})" if len(runs) > 1 else ""
    note("run-elsewhere", f"{what}: {which} {paths[0]}{others}", path=runs[0], runs=len(runs))
    return runs[0]


def _folders() -> Iterator[Path]:
    if os.environ.get("SLURMSLICE_RUNS"):
        yield Path(os.environ["SLURMSLICE_RUNS"])
    cwd = Path.cwd()
    yield from (folder / FOLDER for folder in (cwd, *cwd.parents))


def here() -> list[Path]:
    """The runs of the nearest folder that has any, newest first; absolute paths."""
    for folder in _folders():
        # A hidden one is the draft of a process that was killed while it made a run.
        found = (path.parent for path in folder.glob("*/run.json"))
        runs = [path for path in found if not path.name.startswith(".")]
        if runs:
            runs.sort(key=lambda path: (path / "run.json").stat().st_mtime, reverse=True)
            return [Path(os.path.abspath(path)) for path in runs]
    return []


def remember(path: Path) -> None:
    """Add a run to the user's index; one that cannot be written is no reason to stop."""
    index = _index()
    try:
        if path in _indexed():
            return
        index.parent.mkdir(parents=True, exist_ok=True)
        with open(files.opened(index, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "ab") as file:
            file.write(os.fsencode(path) + b"\n")
    except OSError:
        return


def _indexed() -> list[Path]:
    try:
        lines = files.read(_index()).splitlines()
    except OSError:
        return []
    return [Path(os.fsdecode(line)) for line in reversed(lines)]


def _index() -> Path:
    """Of this user's runs, the newest last (XDG Base Directory: state)."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return Path(state) / "slurmslice" / "runs"


def settings_files() -> list[Path]:
    """Those that there are, the lowest first: the user's, and that of the folder we are in.

    Source: XDG Base Directory Specification.
    """
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    there = (Path(home) / "slurmslice" / "config.toml", Path("slurmslice.toml"))
    return [file for file in there if file.exists()]
