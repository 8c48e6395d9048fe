"""An unattended run of slices that fail in many ways, on a cluster with a sick and a dead node.

``python -m tests.scenarios.unattended FOLDER --seed 1``. A seed deals the kinds of slices. The
judge is not slurmslice: the slices' own start and end lines, sacct, Slurm's mail program and the
process table. It prints a table, and exits 1 if something is not as it must be.

``--minutes 5`` lets the long slices run for more than four minutes. ``--usual-timings`` lets a
requeued job wait for two minutes, the default of Slurm. ``--ahead 200`` submits so many tasks of
another user first, half a minute each. ``--release 24.11`` plays it on another release of Slurm.
"""

from __future__ import annotations

import argparse
import itertools
import json
import pwd
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support import versions
from tests.support.notes import noted
from tests.support.site import (
    Site,
    accounted,
    empty_folder,
    events,
    install,
    witness,
    witnessed,
    write,
)
from tests.support.slurm_cluster import Cluster, Settings, cgroups, processes, roots

SHARES = {
    "memory": 20,
    "time": 15,
    "once": 10,
    "fails": 5,
    "hangs": 3,
    "leaks": 1,
    "corrupt": 15,
    "long": 30,
}
"""How many of 300 slices are of each kind. The others are done after a second."""

WORK = """\
[ "$SLURMD_NODENAME" != {sick} ] || exit 1
stay() { for ((i = 0; i < $1; i++)); do sleep 1; ((i % 5)) || note alive; done; }
case $SLICE_KIND in
  memory) head -c 150M /dev/zero | tail >/dev/null; [ "${PIPESTATUS[1]}" = 0 ] || exit 9 ;;
  time) stay {slow} ;;
  once) [ "$SLICE_ATTEMPT" -gt 1 ] || exit 75 ;;
  fails) exit 3 ;;
  hangs) stay 100000 ;;
  leaks) tail /dev/zero; exit 9 ;;
  corrupt) exit 1 ;;
  long) stay {long} ;;
  *) sleep 1 ;;
esac"""

DONE_KINDS = ("memory", "time", "once", "long", "plain")
RESTARTED = ("NODE_FAIL", "REQUEUED")
DEADLINE_S = 45 * 60


@dataclass
class Watch:
    """Looks once a second for processes of the user that belong to no job.

    Attributes:
        user: the user id.
        folder: the folder of the cluster; a process without it in its environment is not ours.
        found: the command lines, with the number of seconds in which each was seen.
        looks: the number of looks.
    """

    user: int
    folder: Path
    found: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the watch."""
        self._stop.set()
        self._thread.join()

    def _look_on(self) -> None:
        while not self._stop.wait(1):
            self.looks += 1
            for entry in Path("/proc").iterdir():
                with suppress(OSError):
                    if entry.name.isdecimal() and entry.stat().st_uid == self.user:
                        self._look_at(entry)

    def _look_at(self, entry: Path) -> None:
        groups = (entry / "cgroup").read_text()
        words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        ours = bytes(self.folder) in (entry / "environ").read_bytes()
        if ours and "/job_" not in groups and words:
            self.found[words.strip()] += 1


def deal(slices: int, seed: int) -> dict[str, str]:
    """Return the kind of each slice, by key."""
    kinds = [
        kind for kind, of_300 in SHARES.items() for _ in range(max(1, round(of_300 * slices / 300)))
    ]
    kinds += ["plain"] * (slices - len(kinds))
    random.Random(seed).shuffle(kinds)
    return {f"s{number:03}": kind for number, kind in enumerate(kinds)}


def start(site: Site, folder: Path, kinds: Mapping[str, str], sick: str, minutes: int) -> str:
    """Start the unattended run as a login that ends at once; return the steward's job.

    Args:
        site: the site.
        folder: the working directory.
        kinds: the kind of each slice, by key.
        sick: the node on which each slice fails.
        minutes: the time limit. A long slice needs 5/6 of it, and some need 5/4.
    """
    work = WORK.replace("{sick}", sick)
    work = work.replace("{long}", str(50 * minutes)).replace("{slow}", str(75 * minutes))
    rows = "".join(f"{key}\t{kind}\n" for key, kind in kinds.items())
    write(site, folder / "slices.tsv", f"name\tkind\n{rows}")
    begun = site.run(  # a real start: a server of commands would be a process of the user
        str(site.python), "-m", "slurmslice", "run", "--unattended",
        "--table", "slices.tsv", "--key", "name", "--name", "x",
        "--mem", "100M", "-t", str(minutes), "-c", "1", "--retry", "--on", "exit:75=again",
        "--mail", "--mail-user", "ada@lab.invalid",
        "--shell", witnessed(work), cwd=folder,
    )  # fmt: skip
    if begun.returncode:
        sys.exit(begun.stderr)
    return str(noted(begun.stderr, "steward-submitted")[0]["job"])


def submit_ahead(cluster: Cluster, tasks: int) -> None:
    """Submit tasks of another user, which are before the run in the queue."""
    if tasks:
        words = ("sbatch", "-a", f"0-{tasks - 1}", "--mem", "100M", "-o", "/dev/null")
        done = cluster.run([*words, "--wrap", "sleep 30"], user="root")
        if done.returncode:
            sys.exit(done.stderr)


def wait(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition, until the deadline of the scenario."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain for {what}")
        time.sleep(2)


def kill_node(cluster: Cluster, folder: Path, sick: str, slices: int) -> str:
    """Kill a node on which slices run, in the middle of the run; return it."""

    def busy() -> list[str]:
        return [node for node in cluster.nodes if node != sick and cgroups.job_pids(node)]

    wait(lambda: len(witness(folder)) > slices // 3 and bool(busy()), "the middle of the run")
    node = busy()[-1]
    cluster.kill(node)
    processes.kill(cgroups.job_pids(node), f"the jobs of {node}")
    return node


@dataclass(frozen=True)
class Line:
    """One line of the judgement: what must be true, what was seen."""

    what: str
    expected: object
    seen: object
    good: bool

    def __str__(self) -> str:
        mark = "ok " if self.good else "NOT"
        return f"{mark} {self.what}: {self.seen}" + (
            "" if self.good else f" (must: {self.expected})"
        )


def equal(what: str, expected: object, seen: object) -> Line:
    """Return a line whose two values must be equal."""
    return Line(what, expected, seen, expected == seen)


def overlaps(folder: Path) -> list[str]:
    """Return the slices of which two attempts ran at the same time."""
    return [
        key
        for key, spans in witness(folder).items()
        for (_, last, _), (first, _, _) in itertools.pairwise(spans)
        if first < last
    ]


def judge(
    site: Site, folder: Path, kinds: Mapping[str, str], steward: str, sick: str
) -> Iterator[Line]:
    """Yield what must be true at the end of the run."""
    jobs = [str(one["job"]) for one in events(folder, "x", "submitted")]
    seen = witness(folder)
    done = {key for key, spans in seen.items() if any(ended for *_, ended in spans)}
    possible = {key for key, kind in kinds.items() if kind in DONE_KINDS}
    yield equal("done by their own end lines", len(possible), len(done))
    yield equal("the right ones", [], sorted(possible ^ done))
    status = site.status(folder, "x", "--slices")
    told = {one["key"] for one in status["slices"] if one["state"] == "COMPLETED"}
    yield equal("COMPLETED in status, or done, but not both", [], sorted(done ^ told))
    yield equal("two attempts at the same time", [], overlaps(folder))
    first_repair = events(folder, "x", "submitted")[1]["at"]
    long_end = max(seen[key][-1][1] for key, kind in kinds.items() if kind in ("long", "hangs"))
    yield Line("the first repair starts before the long slices end", f"< {long_end:.0f}",
               f"{long_end - first_repair:.0f} s earlier", first_repair < long_end)  # fmt: skip
    excluded = events(folder, "x", "node_excluded")
    yield equal("nodes excluded by their failures", [sick], failing_nodes(excluded))
    yield equal("held", [], events(folder, "x", "held"))
    yield judge_memory(site, folder, jobs)
    mails = [
        line
        for line in site.cluster.layout.mails.read_text().splitlines()  # type: ignore[union-attr]
        if f"Job_id={steward} " in line or any(f"Job_id={job}" in line for job in jobs)
    ]
    yield equal("mails", 1, len(mails))
    yield Line(
        "the mail",
        f"{len(done)} of {len(kinds)} done",
        mails,
        f"{len(done)} of {len(kinds)} done" in mails[0],
    )
    left = site.run("squeue", "-h", "-r", cwd=folder).stdout
    yield equal("left in the queue", "", left)
    yield judge_hours(site, folder, jobs)


def failing_nodes(excluded: list[dict[str, Any]]) -> list[str]:
    """Return the nodes that are excluded because slices failed on them: a dead node is another."""
    return sorted({one["node"] for one in excluded if one["cause"] == "failures"})


def judge_memory(site: Site, folder: Path, jobs: list[str]) -> Line:
    """Return whether the leak alone was tried with eight times its memory, and nobody with more."""
    asked = Counter(accounted(site, folder, jobs, "ReqMem").values())
    good = asked["800M"] == 1 and not set(asked) - {"100M", "400M", "800M"}
    return Line("tasks by requested memory", "once 800M, nothing above", dict(asked), good)


def judge_hours(site: Site, folder: Path, jobs: list[str]) -> Line:
    """Return whether the CPU hours that are told equal those of sacct within one per cent."""
    words = ("sacct", "-D", "-X", "-n", "-P", "-o", "State,CPUTimeRAW", "-j", ",".join(jobs))
    rows = [line.split("|") for line in site.run(*words, cwd=folder).stdout.splitlines()]
    real = sum(int(seconds) for _, seconds in rows) / 3600
    restarted = sum(int(seconds) for state, seconds in rows if state in RESTARTED) / 3600
    told = site.run(str(site.python), "-c", HOURS, cwd=folder).stdout
    good = bool(told) and abs(float(told) - real) <= real / 100
    must = f"{real:.3f}, as in sacct, of which {restarted:.3f} of attempts that Slurm restarted"
    return Line("CPU hours of all attempts, as told", must, told.strip(), good)


HOURS = """\
from pathlib import Path
from slurmslice.actions.open_run import open_run
from slurmslice.plan.attempt_costs import AttemptCosts
from slurmslice.run.directory import RunDirectory
run = open_run(RunDirectory(Path("slurmslice-runs/x").resolve()), read_only=True)
costs = AttemptCosts(run)
print((costs.all_attempts() + costs.restarted()).cpu_s / 3600)
"""


def main() -> int:
    """Run the scenario, and print the judgement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="the folder of the cluster")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--minutes", type=int, default=2, help="the time limit of a slice")
    parser.add_argument("--usual-timings", action="store_true")
    parser.add_argument("--ahead", type=int, default=0, metavar="TASKS")
    parser.add_argument("--release", choices=roots.SUITES, help="of Slurm; else the machine's own")
    wish = parser.parse_args()
    settings = Settings(nodes=6, min_job_age=300, requeue_wait=120 if wish.usual_timings else 20)
    settings = of_release(settings, wish.release)
    cluster = Cluster(wish.folder, settings, say=lambda text: print(text, flush=True))
    cluster.up()
    try:
        site = Site(install(cluster, wish.folder), cluster.layout.home, cluster.run, cluster)
        with empty_folder(site) as folder:
            submit_ahead(cluster, wish.ahead)
            return play(site, cluster, folder, deal(wish.slices, wish.seed), wish.minutes)
    finally:
        cluster.down()


def of_release(settings: Settings, release: str | None) -> Settings:
    """Return the settings of a cluster with a release of Slurm; None for the machine's own."""
    if release is None:
        return settings
    root = roots.make(release, roots.CACHE, lambda text: print(text, flush=True))
    return replace(settings, root=str(root), user=versions.USER)


def play(site: Site, cluster: Cluster, folder: Path, kinds: Mapping[str, str], minutes: int) -> int:
    """Run all slices; return 1 if something was not as it must be."""
    sick = cluster.nodes[2]
    began = time.time()
    steward = start(site, folder, kinds, sick, minutes)
    watch = Watch(pwd.getpwnam(cluster.user).pw_uid, cluster.layout.folder)
    dead = kill_node(cluster, folder, sick, len(kinds))
    print(f"{sick} is sick; {dead} was killed after {time.time() - began:.0f} s", flush=True)
    wait(lambda: bool(events(folder, "x", "steward_ended")), "the end of the steward")
    watch.stop()  # it would see this squeue too
    wait(lambda: not site.run("squeue", "-h", cwd=folder).stdout, "an empty queue")
    lines = [equal(f"processes outside of jobs, in {watch.looks} looks", {}, dict(watch.found))]
    lines += judge(site, folder, kinds, steward, sick)
    print(site.slurmslice("status", "x", cwd=folder).stdout)
    run_dir = folder / "slurmslice-runs" / "x"
    journal = map(json.loads, (run_dir / "journal.jsonl").read_text().splitlines())
    print("journal:", dict(Counter(one["event"] for one in journal)))
    print("steward:", *(run_dir / "steward" / "log").read_text().splitlines()[-60:], sep="\n  ")
    print("\n".join(map(str, lines)))
    return 0 if all(line.good for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
