"""Scripts for tests, made from values with the names of the template."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.script.log_sections import find_sections
from slurmslice.script.render import ScriptContent
from slurmslice.spec.command import CommandWords
from slurmslice.spec.packing import Packing
from slurmslice.spec.recorded_environment import RecordedEnvironment
from slurmslice.spec.run_spec import RunRecord

_RECORD = RunRecord(
    name="x", command=CommandWords(("true", "{}")), source="a test", work_dir="/", token="k3v9w2ab",
    engine="slurm", cluster="halo", slices=99, slices_sha256="", direct=True,
    first="0-98", done_before="", first_sha256="", first_request=ResourceRequest(), template="",
    library_sha256="", recorded_environment=RecordedEnvironment("", {}), created_at=0.0,
    version="0.1.0",
)  # fmt: skip
_SCRIPT = ScriptContent(
    record=_RECORD, directives="", run_dir="/", environment=(), columns=(), log_folders=False,
    whole=True,
)  # fmt: skip


def a_script(**given: Any) -> ScriptContent:
    """Return a script with these values, of the template, the run's record or its packing."""
    return changed(_SCRIPT, **given)


def changed(script: ScriptContent, **given: Any) -> ScriptContent:
    """A script with other values."""
    parts: dict[Any, dict[str, Any]] = {Packing: {}, RunRecord: {}, ScriptContent: {}}
    cpus, differing = given.pop("cpus", ...), given.pop("differing", ())
    for name, value in given.items():
        kind = next(kind for kind in parts if name in kind.__dataclass_fields__)
        parts[kind][name] = value
    packing = dataclasses.replace(script.record.packing, **parts[Packing])
    record = dataclasses.replace(script.record, packing=packing, **parts[RunRecord])
    if cpus is not ...:
        request = {"cpus-per-task": str(cpus)} if cpus else {}
        record = dataclasses.replace(record, first_request=ResourceRequest.of(request))
    if differing:
        columns = dict.fromkeys(differing, "{column}")
        record = dataclasses.replace(record, request=ResourceRequest.of(columns))
    return dataclasses.replace(script, record=record, **parts[ScriptContent])


def logged(submission: Path, name: str) -> bytes:
    """Return all that a slice wrote: its sections in the files of tasks, and its own log."""
    shared = sorted(path for path in (submission / "tasks").glob("*.log*") if path.is_file())
    texts = [one.text for path in shared for one in find_sections(path.read_bytes(), name)]
    own = submission / "logs" / name
    return b"".join([*texts, own.read_bytes() if own.exists() else b""])
