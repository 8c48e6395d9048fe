"""Faults of a steward, each played on a real cluster: what goes on, and what is told.

``python -m tests.scenarios.steward_faults FOLDER [CASE …]``. It prints one line for each case, and
exits 1 if one is wrong. The judge is not slurmslice: the slices' own lines, sacct and squeue.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.scenarios.fault_judges import (
    judge_causes,
    judge_mails,
    judge_next_look,
    judge_stop,
)
from tests.scenarios.fault_stage import FAILS_ONCE, Stage
from tests.support.site import Site, empty_folder, events, install, witnessed, write
from tests.support.slurm_cluster import Cluster, Settings, cgroups, processes

DOOMED = "PartitionName=doomed PriorityTier=1 PreemptMode=CANCEL Nodes=ALL State=UP"
SITE_FILE = "/etc/slurmslice.toml"
SETTINGS = Settings(nodes=6, cpus=8, extra=(DOOMED,))


def cancelled(stage: Stage) -> None:
    """The person cancels a steward that waits: automation stops, and what runs goes on."""
    stage.start()
    stage.do("scancel", stage.steward)
    judge_stop(stage, "CANCELLED")


def cancelled_in_a_round(stage: Stage) -> None:
    """The person cancels a steward that works."""
    stage.start()
    stage.stall("squeue")
    stage.do("scancel", stage.steward)
    stage.take("stall.squeue")
    judge_stop(stage, "CANCELLED")


def cancelled_as_it_is_put_back(stage: Stage) -> None:
    """The person cancels a steward in its last act."""
    stage.start()
    stage.stall("scontrol-requeue")
    stage.do("scancel", stage.steward)
    stage.take("stall.scontrol-requeue")
    judge_stop(stage, "CANCELLED", attempts=stage.slices + 1)


def timed_out(stage: Stage) -> None:
    """A round does not end before the time limit of the steward's job."""
    stage.start(place=f"{stage.elsewhere} -t 1")
    stage.stall("squeue")
    stage.until(lambda: not stage.script_pid(stage.steward), "the end of the round")
    ended = time.time()
    stage.take("stall.squeue")
    judge_next_look(stage)
    stage.goes_on(ended)


def preempted_requeue(stage: Stage) -> None:
    """Slurm needs the steward's node, and puts its job back."""
    preempt(stage, "scavenge", stage.reserved[0])
    stage.goes_on(time.time())


def preempted_cancel(stage: Stage) -> None:
    """Slurm needs the steward's node, and cancels its job: that is told."""
    preempt(stage, "doomed", stage.reserved[1], "--mail", "--mail-user", "ada@lab.invalid")
    judge_stop(stage, "PREEMPTED")
    judge_mails(stage, "steward", "all 6 done Ended")


def preempt(stage: Stage, partition: str, node: str, *options: str) -> None:
    """Let a job of a better partition take the node of a steward that works."""
    stage.start(*options, place=f"-p {partition} -w {node}")
    stage.stall("squeue")
    words = ("-p", "main", "-w", node, "-c", "8", "-t", "1", "-o", "/dev/null")
    stage.do("sbatch", *words, "--wrap", "sleep 15")
    stage.until(lambda: not stage.script_pid(stage.steward), "the preemption")
    stage.take("stall.squeue")


def controller_away_between_rounds(stage: Stage) -> None:
    """slurmctld is away for a minute, and slice 0 fails meanwhile."""
    stage.start()
    with away(stage, "slurmctld"):
        stage.fail()
        time.sleep(60)
    stage.goes_on(time.time())


def controller_away_in_a_round(stage: Stage) -> None:
    """slurmctld is away for a minute while the steward asks it."""
    stage.start()
    stage.stall("squeue")
    with away(stage, "slurmctld"):
        stage.take("stall.squeue")
        time.sleep(60)
    stage.goes_on(time.time())


def controller_away_as_it_is_put_back(stage: Stage) -> None:
    """slurmctld is away as the steward puts itself back, until its job's limit is over."""
    stage.start(place=f"{stage.elsewhere} -t 1")
    stage.stall("scontrol-requeue")
    with away(stage, "slurmctld"):
        stage.take("stall.scontrol-requeue")
        time.sleep(90)
    stage.goes_on(time.time())


def database_away(stage: Stage) -> None:
    """slurmdbd is away for a minute while the steward asks it."""
    stage.start()
    stage.stall("sacct")
    with away(stage, "slurmdbd"):
        stage.take("stall.sacct")
        time.sleep(60)
    stage.goes_on(time.time())


@contextmanager
def away(stage: Stage, daemon: str) -> Iterator[None]:
    """Stop a daemon, and start it again in the end."""
    cluster = stage.site.cluster
    assert cluster is not None
    cluster.stop(daemon)
    try:
        yield
    finally:
        cluster.start(daemon)
        cluster.wait_for_nodes()


def killed(stage: Stage) -> None:
    """The batch script of a steward that works is killed on its node."""
    stage.start("--mail", "--mail-user", "ada@lab.invalid")
    stage.stall("squeue")
    os.kill(stage.script_pid(stage.steward), signal.SIGKILL)
    stage.take("stall.squeue")
    judge_stop(stage, "FAILED")
    judge_mails(stage, "steward Failed", "all 6 done Ended")


def node_killed(stage: Stage) -> None:
    """The node of a steward that works dies: Slurm starts its job on another one."""
    cluster = stage.site.cluster
    assert cluster is not None
    stage.start(place=f"-x {','.join(set(cluster.nodes) - set(stage.reserved))}")
    stage.stall("squeue")
    node = stage.do("squeue", "-h", "-o", "%N", "-j", stage.steward).stdout.strip()
    cluster.kill(node)
    processes.kill(cgroups.job_pids(node), f"the jobs of {node}")
    try:
        stage.take("stall.squeue")
        stage.goes_on(time.time())
    finally:
        cluster.start(node)
        cluster.wait_for_nodes()


def python_away(stage: Stage) -> None:
    """The nodes have no Python for a while: bash says so, and looks again."""
    stage.start()
    (stage.folder / "venv").rename(stage.folder / "elsewhere")
    stage.fail()
    stage.until(lambda: "cannot be started" in stage.log, "a word of bash")
    judge_next_look(stage)
    stage.true("told", "Python", "Python" in stage.said())
    (stage.folder / "elsewhere").rename(stage.folder / "venv")
    stage.goes_on(time.time())


def site_off(stage: Stage) -> None:
    """The site switches unattended runs off: the steward ends, and what runs goes on."""
    stage.start()
    rules = Path(stage.site.python).parents[2] / "site.toml"
    rules.write_text('[site]\nunattended = "off"\ncontact = "hpc@lab.invalid"\n')
    try:
        stage.fail()
        stage.until(lambda: not stage.jobs(stewards=True), "the end of the steward")
        told = stage.told
        stage.equal("told", "ended", told["state"])
        stage.true("the reason", told["reason"], "hpc@lab.invalid" in told["reason"])
        stage.equal("in flight goes on", stage.slices - 1, len(stage.jobs()))
        refused = stage.slurmslice("run", stage.name, "--unattended")
        stage.true("the line again", refused.stderr.splitlines()[0], refused.returncode == 2)
    finally:
        rules.unlink()
    stage.equal("on again: the line", 0, stage.unattended())
    stage.goes_on(time.time())


def edited(stage: Stage) -> None:
    """The program is edited: its slices are not repaired, until the person allows it."""
    write(stage.site, stage.folder / "x.sh", FAILS_ONCE)
    stage.start(work=("--", "bash", "x.sh", "{}"))
    write(stage.site, stage.folder / "new.sh", f"{FAILS_ONCE}\n# edited\n")
    stage.do("mv", "new.sh", "x.sh")
    stage.fail()
    stage.put("go")
    stage.ends(stage.slices, done=stage.slices - 1)
    said = stage.said()
    stage.true("told", "x.sh, --allow-changed", "x.sh" in said and "--allow-changed" in said)
    stage.equal("allowed: the line", 0, stage.unattended("--allow-changed"))
    stage.goes_on(time.time())


def all_time_out(stage: Stage) -> None:
    """Each slice needs twice its time."""
    stage.slices = 24
    stay = "for ((i = 0; i < 35; i++)); do note alive; sleep 3; done"
    stage.start(minutes=1, work=("--shell", witnessed(stay)))
    stage.ends(2 * stage.slices)
    judge_causes(stage, "TIMEOUT")


def all_out_of_memory(stage: Stage) -> None:
    """Each slice needs more than its memory."""
    stage.slices = 24
    eat = 'head -c 150M /dev/zero | tail >/dev/null; [ "${PIPESTATUS[1]}" = 0 ] || exit 9'
    stage.start(work=("--shell", witnessed(eat)))
    stage.ends(2 * stage.slices)
    judge_causes(stage, "OUT_OF_MEMORY")


def started_twice(stage: Stage) -> None:
    """The person types the line twice at once, and submits the steward's script by hand."""
    stage.start()
    with ThreadPoolExecutor(2) as pool:
        codes = list(pool.map(lambda _: stage.unattended(), range(2)))
    stage.equal("the line twice at once", [0, 0], codes)
    stage.equal("stewards", 1, len(stage.jobs(stewards=True)))
    run_dir = stage.folder / "slurmslice-runs" / stage.name
    (intent,) = events(stage.folder, stage.name, "steward_intent")
    script = (str(run_dir / "steward" / "steward.sh"), str(run_dir), intent["token"])
    options = ("--parsable", "--requeue", "-o", "second", "--mem=300M", "-J", intent["job_name"])
    python = str(stage.folder / "venv" / "bin" / "python")
    sent = stage.do("sbatch", *options, stage.elsewhere, *script, python, "540")
    stage.equal("by hand", 0, sent.returncode)
    stage.fail()
    stage.until(lambda: len(stage.jobs(stewards=True)) == 1, "the end of one of both")
    stage.goes_on(time.time())


CASES: dict[str, Callable[[Stage], None]] = {
    case.__name__.replace("_", "-"): case for case in (
        cancelled, cancelled_in_a_round, cancelled_as_it_is_put_back, timed_out,
        preempted_requeue, preempted_cancel,
        controller_away_between_rounds, controller_away_in_a_round,
        controller_away_as_it_is_put_back, database_away, killed, node_killed, python_away,
        site_off, edited,
        all_time_out, all_out_of_memory, started_twice,
    )
}  # fmt: skip
ALONE = {name for name in CASES if name.startswith(("controller", "database", "node", "site"))}
"""The cases that disturb the whole cluster: each is played alone."""


def play(site: Site, cluster: Cluster, name: str) -> bool:
    """Play one case, print its line, and tell if it was right."""
    began = time.time()
    with empty_folder(site) as folder:
        stage = Stage(site, folder, name, tuple(cluster.nodes[-2:]))
        failure = ""
        try:
            CASES[name](stage)
        except BaseException as why:  # noqa: BLE001 - pytest.fail of `until` too
            failure = f"\n  {type(why).__name__}: {why}"
        wrong = [line for line in stage.lines if not line.good]
        right = not failure and not wrong
        seen = "; ".join(f"{line.what}: {line.seen}" for line in stage.lines)
        text = f"{'right' if right else 'wrong'} {name} ({time.time() - began:.0f} s): {seen}"
        text += failure + "".join(f"\n  {line}" for line in wrong)
        if not right:
            text += f"\n  status:\n{stage.said()}\n  log:\n{stage.log}"
        print(text, flush=True)
        return right


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="the folder of the cluster")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--beside", type=int, default=4, help="cases at the same time")
    parser.add_argument("--keep", action="store_true", help="leave the cluster up")
    wish = parser.parse_intermixed_args(words)
    if unknown := set(wish.cases) - CASES.keys():
        parser.error(f"no case {', '.join(sorted(unknown))}")
    return wish


def site_of(cluster: Cluster, folder: str) -> Site:
    """Install slurmslice, with a file of the site that is not this machine's."""
    python = install(cluster, folder)
    (paths,) = python.parents[1].glob("lib/*/site-packages/slurmslice/system/config_files.py")
    paths.write_text(paths.read_text().replace(SITE_FILE, f"{folder}/site.toml"))
    return Site(python, cluster.layout.home, cluster.run, cluster)


def main(words: Sequence[str]) -> int:
    """Play the cases; return 1 if one is wrong."""
    wish = parse(words)
    names = wish.cases or list(CASES)
    cluster = Cluster(wish.folder, SETTINGS, say=lambda text: print(text, flush=True))
    cluster.up()
    try:
        site = site_of(cluster, wish.folder)
        with ThreadPoolExecutor(wish.beside) as pool:
            beside = [name for name in names if name not in ALONE]
            results = list(pool.map(lambda name: play(site, cluster, name), beside))
        results += [play(site, cluster, name) for name in names if name in ALONE]
    finally:
        if not wish.keep:
            cluster.down()
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
