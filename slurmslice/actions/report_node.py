"""Tell the site about a node that a run excludes (``bad-node-command``, docs/adr/0030)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from slurmslice.notes import Note
from slurmslice.run.journal import NodeExcluded, NodeIncluded
from slurmslice.run.run import Run
from slurmslice.system.process import run_hook

_TIMEOUT_S = 30.0


def report_node(run: Run, event: NodeExcluded | NodeIncluded) -> Iterator[Note]:
    """Call the site's program with the decision as JSON on its standard input.

    The run does not depend on it. Yield a note if it fails.
    """
    if isinstance(event, NodeIncluded):
        return
    told = {"run": run.record.name, "path": str(run.directory.path), "cluster": run.record.cluster}
    data = json.dumps(told | asdict(event)).encode()
    command = run.site.bad_node_command
    code, said = run_hook(command, data=data, timeout=_TIMEOUT_S, cwd="/")
    if code != 0:
        why = "did not end in time" if code is None else f"exited {code}"
        message = f"The site's bad-node-command {why}{': ' + said if said else ''}."
        yield Note("bad-node-command-failed", message, {"node": event.node, "exit_code": code})
