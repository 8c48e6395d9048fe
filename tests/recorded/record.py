"""Record what a release of Slurm answers: ``python -m tests.recorded.record FOLDER [ROOT]``.

It starts a cluster in the folder, and ends it afterwards. With ROOT, Slurm comes from that root
(``python tests/support/slurm_cluster make-root``). It submits jobs that end, wait and are refused
in every way. It writes the answers to slurmslice's own questions to ``tests/recorded/RELEASE``. The
expected results were written by hand, in ``tests/unit/engines/test_slurm_releases.py``.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from slurmslice.engines.slurm import commands, environment
from slurmslice.sbatch import Takes, known_options
from slurmslice.sbatch.option_table import ALIASES
from tests.recorded import HERE, getopt
from tests.support import spank
from tests.support.slurm_cluster import Cluster, Settings

ENDS = """\
#!/bin/bash
case $SLURM_ARRAY_TASK_ID in
  1) exit 3 ;;
  2) exit 143 ;;
  3) exit 200 ;;
  4) kill -9 $$ ;;
  5) head -c 300M /dev/zero | tail ;;
  6 | 7) sleep 600 ;;
esac
"""
STEP = "#!/bin/bash\nsrun sh -c 'exit 3'\nexit 0\n"
WAITS = "#!/bin/bash\nsleep 600\n"
MAKES_ROOM = """\
#!/bin/bash
case $SLURM_ARRAY_TASK_ID in
  0) srun bash -c 'trap "exit 0" TERM; while :; do sleep 0.2; done' ;;
  1) srun sleep 600 ;;
  2) until [ -e over ]; do sleep 0.2; done ;;
esac
"""
REJECTED = {
    "account": ["--account=nosuch"],
    "array": ["--array=0-2000"],
    "feature": ["--constraint=nosuch"],
    "memory": ["--mem=99G"],
    "option": ["--bogus"],
    "partition": ["--partition=nosuch"],
    "qos": ["--qos=nosuch"],
    "time": ["--time=1:2:3:4:5"],
}


class Recorder:
    """Asks a cluster, and writes down what it answers."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        version = cluster.run(["sbatch", "--version"]).stdout.split()[-1]
        self.version = version
        self.folder = HERE / ".".join(version.split(".")[:2])
        self.folder.mkdir(exist_ok=True)

    def ask(self, name: str, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command as slurmslice does, and write its answer to ``NAME.txt``."""
        done = self.cluster.run(argv, env=environment.for_queries({}), timeout=200)
        head = f"# Slurm {self.version}\n# $ {shlex.join(argv)}\n# exit {done.returncode}\n"
        error = f"# stderr\n{done.stderr}" if done.stderr else ""
        (self.folder / f"{name}.txt").write_text(f"{head}{done.stdout}{error}")
        print(f"{self.version} {name}: exit {done.returncode}", flush=True)
        return done

    def write_options(self, found: Mapping[str, Takes | None]) -> None:
        """Write what options take to ``sbatch-getopt.txt``: a name a line."""
        lines = [f"{name} {takes.value if takes else 'unknown'}\n" for name, takes in found.items()]
        head = (
            f"# Slurm {self.version}\n# $ sbatch --test-only --NAME=@@ --no-such-option\n# exit 1\n"
        )
        (self.folder / "sbatch-getopt.txt").write_text(head + "".join(sorted(lines)))

    def submit(self, text: str, name: str, array: str, *options: str) -> str:
        """Submit an array; its job id."""
        argv = ["sbatch", "--parsable", f"--job-name={name}", f"--array={array}", "-o/dev/null"]
        done = self.cluster.run([*argv, *options], input=text)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def rows(self, job: str) -> set[str]:
        """A job's tasks and steps in accounting: ``TASK|STATE``, ``TASK.STEP|STATE``."""
        argv = ["sacct", "-nPj", job, "--format=JobID,State"]
        return set(self.cluster.run(argv).stdout.split("\n"))

    def wait_for(self, job: str, *wanted: str) -> None:
        """Wait until accounting has all of these."""
        self.cluster.wait_until(lambda: set(wanted) <= self.rows(job), 200, f"{wanted}")

    def wait_for_end(self, job: str, *indices: int) -> None:
        """Wait until accounting has none of these tasks running any more."""
        running = {f"{job}_{index}|RUNNING" for index in indices}
        self.cluster.wait_until(lambda: not running & self.rows(job), 200, f"the end of {running}")


def record(recorder: Recorder) -> None:
    """Record everything, on a cluster on which nothing runs."""
    options(recorder)
    of_the_cluster(recorder)
    refused(recorder)
    job, step = ended(recorder)
    waiting(recorder)
    preempted(recorder)
    down(recorder, job)
    assert step


def options(recorder: Recorder) -> None:
    """The options of sbatch: what its help lists, and what getopt takes of all known names."""
    recorder.ask("sbatch-help", commands.SBATCH_HELP)
    with spank.plugin(recorder.cluster):
        recorder.ask("sbatch-help-plugin", commands.SBATCH_HELP)
    found = {name: getopt.ask(recorder.cluster.run, name) for name in (*known_options(), *ALIASES)}
    recorder.write_options(found)


def of_the_cluster(recorder: Recorder) -> None:
    """Its settings, partitions, nodes and limits."""
    recorder.ask("cluster-config", commands.SHOW_CONFIG)
    recorder.ask("cluster-partitions", commands.SHOW_PARTITIONS)
    recorder.cluster.set_limit(MaxSubmitJobs=50, MaxJobs=7)
    recorder.ask("cluster-associations", commands.sacctmgr_associations(recorder.cluster.user))
    recorder.ask("cluster-qos", commands.sacctmgr_qos())
    recorder.cluster.set_limit(MaxSubmitJobs=5, MaxJobs=None)
    recorder.ask("refused-limit", ["sbatch", "--parsable", "--array=0-9", "--wrap=true"])
    recorder.cluster.set_limit(MaxSubmitJobs=None)


def refused(recorder: Recorder) -> None:
    """What sbatch refuses, and what it takes."""
    for name, options in REJECTED.items():
        recorder.ask(f"refused-{name}", ["sbatch", "--parsable", *options, "--wrap=true"])
    ghost(recorder)
    taken = recorder.ask("taken", ["sbatch", "--parsable", "-o/dev/null", "--wrap=true"])
    recorder.wait_for(taken.stdout.strip(), f"{taken.stdout.strip()}|COMPLETED")


def ghost(recorder: Recorder) -> None:
    """The record that a refused job leaves behind, under its name."""
    cluster, name = recorder.cluster, "ghost-m5s8"
    options = ("--parsable", f"--job-name={name}", "--mem=99G")
    assert cluster.run(["sbatch", *options, "--wrap=true"]).returncode != 0
    user = int(cluster.run(["id", "-u"]).stdout)
    question = commands.sacct_by_name(name, user, time.time() - 60)
    cluster.wait_until(lambda: name in cluster.run(question).stdout, 200, "its record")
    recorder.ask("ghost-sacct", question)
    recorder.ask("ghost-squeue", commands.squeue_user(user, ended=True))


def ended(recorder: Recorder) -> tuple[str, str]:
    """Tasks that end in every way, one that is cancelled, and one with a failed step."""
    step = recorder.submit(STEP, "step-h5i7", "0")
    recorder.wait_for(step, f"{step}_0|COMPLETED")
    job = recorder.submit(ENDS, "ends|x-b2c4", "0-7", "--mem=100M", "--time=1")
    recorder.wait_for(job, f"{job}_7|RUNNING", f"{job}_1|FAILED")
    recorder.ask("ends-nodes", commands.sinfo())
    recorder.ask("ends-cancel", commands.scancel(job, [7]))
    user = recorder.cluster.run(["id", "-u"]).stdout.strip()
    recorder.wait_for(job, f"{job}_7|CANCELLED by {user}", f"{job}_6|TIMEOUT")
    recorder.ask("ends-sacct", commands.sacct([step, job]))
    tasks = [(step, 0), *((job, index) for index in range(8))]
    recorder.ask("ends-steps", next(commands.sacct_steps(tasks)))
    recorder.ask("ends-squeue", commands.squeue([step, job], ended=True))
    recorder.ask("ends-throttle", commands.scontrol_throttle(job, 3))
    return job, step


def waiting(recorder: Recorder) -> None:
    """Tasks that wait, some beside others that run; then cancelled."""
    held = recorder.submit(WAITS, "held-d6e8", "0,4,8-12,100%3", "--hold")
    some = recorder.submit(WAITS, "some-f1g3", "0-98:7%3")
    running = [f"{some}_{index}|RUNNING" for index in (0, 7, 14)]
    recorder.wait_for(some, *running)
    recorder.ask("waits-sacct", commands.sacct([held, some]))
    recorder.ask("waits-squeue", commands.squeue([held, some], ended=False))
    recorder.ask("waits-job", commands.scontrol_show_job(held))
    recorder.cluster.run(["scancel", held, some])
    user = recorder.cluster.run(["id", "-u"]).stdout.strip()
    recorder.wait_for(some, *(row.replace("RUNNING", f"CANCELLED by {user}") for row in running))
    recorder.ask("waits-cancelled", commands.sacct([held, some]))


def preempted(recorder: Recorder) -> None:
    """Within a GraceTime: a job step that saves, one that dies, and a script that has none."""
    cluster = recorder.cluster
    grace = ("PreemptMode=CANCEL", "GraceTime=120")
    update = ["scontrol", "update", "partitionname=scavenge", *grace]
    assert cluster.run(update, user="root").returncode == 0
    held = recorder.submit(WAITS, "held-j4k2", "0-1", "--hold")
    job = recorder.submit(MAKES_ROOM, "room-n6p3", "0-2", "--partition=scavenge")
    recorder.wait_for(job, *(f"{job}_{step}|RUNNING" for step in ("0.0", "1.0", "2.batch")))
    everything = ("--nodes=4", "--ntasks=16", "--mem-per-cpu=10")
    first = recorder.submit(WAITS, "first-q8r1", "0", *everything)
    recorder.wait_for_end(job, 0, 1)
    cluster.run(["touch", "over"])
    recorder.wait_for_end(job, 2)
    recorder.ask("room-squeue", commands.squeue_preempted([held, job]))
    recorder.ask("room-steps", next(commands.sacct_steps([(job, index) for index in range(3)])))
    cluster.run(["scancel", held, first])


def down(recorder: Recorder, job: str) -> None:
    """What is said where nobody answers, and of a job that is unknown."""
    recorder.ask("unknown-squeue", commands.squeue(["987654"], ended=True))
    recorder.ask("unknown-sacct", commands.sacct(["987654"]))
    recorder.cluster.stop("slurmdbd")
    recorder.ask("down-sacct", commands.sacct([job]))
    recorder.cluster.stop("slurmctld")
    recorder.ask("down-sbatch", ["sbatch", "--parsable", "--wrap=true"])
    recorder.ask("down-squeue", commands.squeue([job], ended=True))
    recorder.ask("down-config", commands.SHOW_CONFIG)
    recorder.cluster.start("slurmdbd")
    recorder.cluster.start("slurmctld")


def main() -> None:
    """Bring a cluster up, record, and take it down."""
    folder, root = Path(sys.argv[1]), next(iter(sys.argv[2:]), "")
    settings = Settings(root=root, user="games", node_prefix=re.sub(r"\W", "", folder.name))
    cluster = Cluster(folder, settings, say=print)
    try:
        cluster.up()
        record(Recorder(cluster))
    finally:
        cluster.down(remove=True)


if __name__ == "__main__":
    main()
