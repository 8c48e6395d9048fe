"""A probe: one small job that finds out if stewards can work on this cluster (docs/adr/0030)."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slurmslice.actions.site_rules import rules_in_force
from slurmslice.engines.protocol import Engine
from slurmslice.engines.stewards import StewardOrder, Stewards
from slurmslice.errors import EngineError, NoAnswerError
from slurmslice.plan.planned_submission import new_token
from slurmslice.run.steward_record import NAME_END
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.script.template_files import templates_folder
from slurmslice.status.identity import JobIdentity
from slurmslice.system import files
from slurmslice.system.escaping import escape

LIMIT_S = 120.0
"""Seconds until the probe is cancelled."""

NEEDED = ("python", "submit", "requeue")
"""The facts that a steward depends on, in the order in which the job finds them out."""


@dataclass(frozen=True, slots=True)
class Probe:
    """The result of a probe.

    Attributes:
        job: the job id.
        node: the node that it ran on; empty if it did not run.
        facts: for each fact of ``NEEDED`` that it found out, an empty text, or what is wrong.
        waited_for: why it was still waiting at the end of its time; empty if it was not.
    """

    job: str
    node: str
    facts: Mapping[str, str]
    waited_for: str = ""

    @property
    def is_good(self) -> bool:
        """Tell if a steward can work here."""
        return all(self.facts.get(name) == "" for name in NEEDED)


def probe_steward(
    engine: Engine,
    stewards: Stewards,
    environ: Mapping[str, str],
    options: ResourceRequest,
    clock: Callable[[], float] = time.time,
) -> Probe:
    """Submit one job, wait for what it finds out, and remove it and its folder.

    The folder is in the current directory, because nodes see that.

    Args:
        engine: the cluster.
        stewards: its stewards.
        environ: the person's environment.
        options: sbatch's options for the job; those of the site replace them.
        clock: epoch seconds.

    Raises:
        EngineError: Slurm refused the job, or did not answer.
    """
    folder = Path(tempfile.mkdtemp(prefix=".slurmslice-probe-", dir=Path.cwd()))
    try:
        name = f"slurmslice-probe-{new_token()}{NAME_END}"
        order = _order(folder, name, options, environ)
        job = JobIdentity(stewards.submit(order), name)
        try:
            return _wait(engine, stewards, job, folder, clock)
        finally:
            with contextlib.suppress(EngineError):
                engine.cancel(job, None)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _order(
    folder: Path, name: str, options: ResourceRequest, environ: Mapping[str, str]
) -> StewardOrder:
    script = folder / "probe.sh"
    files.replace_file(script, (templates_folder() / "probe.sh").read_bytes())
    own = {
        "job-name": name,
        "output": str(folder / "log").replace("%", "%%"),
        "requeue": "",
        "export": "ALL",
        "ntasks": "1",
        "cpus-per-task": "1",
        "mem": "512M",
        "time": "2",
    }
    asked = ResourceRequest.of(own).overridden_by(options)
    asked = asked.overridden_by(rules_in_force().steward_sbatch)
    return StewardOrder(script, (str(folder), sys.executable), asked, environ)


def _wait(
    engine: Engine, stewards: Stewards, job: JobIdentity, folder: Path, clock: Callable[[], float]
) -> Probe:
    """Wait until the job has written all facts, has ended, or its time is over."""
    deadline, known = clock() + LIMIT_S, False
    while True:
        facts, waits = _read(folder / "facts"), ""
        node = facts.pop("node", "")
        with contextlib.suppress(NoAnswerError):
            report = stewards.look(job)
            waits = report.reason or report.state if report and not node else ""
            known = known or report is not None
            if (report is None and known) or (report and report.state.final):
                facts["end"] = ""  # it writes nothing more
        if "end" in facts or clock() > deadline:
            found = {name: facts[name] for name in NEEDED if name in facts}
            return Probe(job.job, node, found, waits if not node else "")
        engine.wait(1.0)


def _read(path: Path) -> dict[str, str]:
    """Read the facts; the job may be writing the last line."""
    try:
        text = files.read_file(path).decode("utf-8", "replace")
    except OSError:
        return {}
    pairs = (line.partition(" ") for line in text.split("\n")[:-1])
    return {name: escape(said.strip()) for name, _, said in pairs if name}
