"""A canary, stop rules, steps between runs, growth, and failures, each played to its end.

``python -m tests.scenarios.policies FOLDER [CASE …]`` plays each case on a real cluster and with
``--engine local``, and prints a line for each. It exits 1 if one is wrong. The judge is not
slurmslice: the slices' own start and end lines, their files, and its exit code.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from slurmslice.sbatch.array_expression import parse_array
from slurmslice.status.states import State
from tests.scenarios.unattended import Line, equal, of_release
from tests.support.paths import REPOSITORY
from tests.support.site import (
    Finished,
    Site,
    empty_folder,
    events,
    install,
    until,
    witness,
    witnessed,
    write,
)
from tests.support.slurm_cluster import Cluster, Settings, roots

FAILS_FIRST = "case $SLICE in *{}) [ $SLICE_ATTEMPT -gt 1 ] || exit 75 ;; esac"
"""Each slice whose key ends so exits 75 in its first attempt."""


@dataclass(frozen=True)
class Scene:
    """The place of one case.

    Attributes:
        site: the cluster.
        folder: the working directory.
        engine: ``slurm`` or ``local``.
    """

    site: Site
    folder: Path
    engine: str

    def run(self, *words: str) -> Finished:
        """Type ``slurmslice run``, and wait for its end."""
        given = ("--engine", self.engine, "--interval", "1", *words)
        return self.site.slurmslice("run", *given, cwd=self.folder, timeout=600)

    def starts(self) -> int:
        """Count the starts of slices, by their own lines."""
        return sum(len(spans) for spans in witness(self.folder).values())

    def done(self) -> int:
        """Count the slices that ended well, by their own lines."""
        return sum(any(end for *_, end in spans) for spans in witness(self.folder).values())


def canary(scene: Scene) -> Iterator[Line]:
    """The first three slices fail: no other slice starts."""
    ran = scene.run("-a", "0-49", "--canary", "3", "--name", "x", "--shell", witnessed("exit 1"))
    yield equal("exit code", 6, ran.returncode)
    yield equal("slices used", 3, scene.starts())


def failure_limit(scene: Scene) -> Iterator[Line]:
    """A tenth of the slices needs one repair: a limit of 5 % is not reached."""
    ran = scene.run(
        "-a", "0-199", "--mem", "50M", "-c", "1", "--on", "exit:75=again", "--max-failures", "5%",
        "--name", "x", "--shell", witnessed(FAILS_FIRST.format("0")),
    )  # fmt: skip
    yield equal("exit code", 0, ran.returncode)
    yield equal("done", 200, scene.done())
    yield equal("starts", 220, scene.starts())
    yield equal("held", [], events(scene.folder, "x", "held"))


def failure_limit_reached(scene: Scene) -> Iterator[Line]:
    """A third fails for good, and ten slices run at a time: the rest is held."""
    ran = scene.run(
        "-a", "0-199%10", "--mem", "50M", "-c", "1", "--max-failures", "5%", "--name", "x",
        "--shell", witnessed("sleep 0.5; [ $((SLICE % 3)) != 0 ] || exit 1"),
    )  # fmt: skip
    yield equal("exit code", 6, ran.returncode)
    yield Line("slices used", "fewer than 100", scene.starts(), scene.starts() < 100)


def done_before(scene: Scene) -> Iterator[Line]:
    """Half of the files are there: the other half runs."""
    made = "mkdir out; for i in {0..38..2}; do echo x >out/$i; done; touch -d '1 hour ago' out/*"
    scene.site.run("bash", "-c", made, cwd=scene.folder)
    ran = scene.run(
        "-a", "0-39", "--skip-done", "--check-file", "out/{}", "--name", "x",
        "--shell", witnessed('echo x >"out/$SLICE"'),
    )  # fmt: skip
    yield equal("exit code", 0, ran.returncode)
    yield equal("slices used", list(range(1, 40, 2)), sorted(map(int, witness(scene.folder))))
    yield equal("files", 40, len(list((scene.folder / "out").iterdir())))


def afterwards(scene: Scene) -> Iterator[Line]:
    """The correlation example, from its slices to the picture, in one command."""
    python, here = str(scene.site.python), REPOSITORY / "examples" / "correlation"
    example = scene.folder / "example"
    scene.site.run("mkdir", str(example), cwd=scene.folder)
    for file in sorted(here.glob("*.py")):
        scene.site.run("tee", str(example / file.name), cwd=scene.folder, input=file.read_text())
    scene.site.run(python, f"{example}/make_catalogue.py", "--out", ".", cwd=scene.folder)
    combine = f"{python} {example}/combine.py results --out xi.csv --plot xi.png --expect 99"
    ran = scene.run(
        "-a", "0-98", "--mem", "300M", "-t", "10", "--then", combine, "--name", "x", "--",
        python, f"{example}/correlate.py", "--file_1", "mill2sort-{}.h5",
        "--file_2", "mill2_fof_sorted.h5", "-l", "400", "-n", "0", "--m_factor", "1", "--slicing",
        "--log", "logs/mill2sort-{}.log",
    )  # fmt: skip
    yield equal("exit code", 0, ran.returncode)
    yield equal("results", 99, len(list((scene.folder / "results").glob("*.h5"))))
    yield equal("picture", True, (scene.folder / "xi.png").stat().st_size > 1000)


def after(scene: Scene) -> Iterator[Line]:
    """A run typed meanwhile starts when another one is done, through its repair."""
    first = (
        *("run", "-a", "0-3", "--on", "exit:75=again", "--name", "a", "--shell"),
        witnessed(f"sleep 3; {FAILS_FIRST.format(2)}"),
    )
    python = str(scene.site.python)
    other = scene.site.popen(
        [python, "-m", "slurmslice", *first, "--engine", scene.engine], cwd=scene.folder
    )
    until((scene.folder / "slurmslice-runs" / "a" / "run.json").exists, "the first run")
    ran = scene.run("-a", "10-12", "--after", "a", "--name", "b", "--shell", witnessed(":"))
    yield equal("exit codes", (0, 0), (other.wait(), ran.returncode))
    seen = witness(scene.folder)
    yield equal("attempts of slice 2", 2, len(seen["2"]))
    last = max(spans[-1][1] for key, spans in seen.items() if int(key) < 10)
    begun = min(spans[0][0] for key, spans in seen.items() if int(key) >= 10)
    yield Line("the second begins", "after the first", f"{begun - last:.1f} s later", begun > last)


BAD_CELLS, NO_FILES, SLICES = (20, 2500), (7, 1700, 3999), 4000
"""The rows with a wrong cell, the rows without a file, and the number of rows."""

READS_FILE = witnessed('[ "$SLICE_VALUE" != bad ] && cat "in/$SLICE" >/dev/null || exit 1')


def grows_and_moves(scene: Scene) -> Iterator[Line]:
    """A table arrives in portions; cells are corrected, failures accepted, the rest moves."""
    verb = partial(scene.site.slurmslice, cwd=scene.folder, timeout=600)
    table = ("--table", "files.csv", "--key", "name")
    codes = list[int]()
    for rows in (1500, 3000, SLICES):
        _write_rows(scene, rows, BAD_CELLS)
        if rows == 1500:
            more = ("--open", "--pack", "100", "--mem", "50M", "-c", "1", "--name", "x")
            done = scene.run(*table, *more, "--max-failures", "none", "--shell", READS_FILE)
        else:
            verb("extend", "x", *table)
            done = verb("run", "x", "--interval", "1")
        codes.append(done.returncode)
    _write_rows(scene, SLICES, ())
    verb("extend", "x", *table)
    verb("resubmit", "x", *map(_name, BAD_CELLS))
    verb("run", "x", "--interval", "1")
    verb("accept", "x", *map(_name, NO_FILES), "--reason", "no file")
    verb("extend", "x", "--close")
    codes.append(verb("run", "x", "--interval", "1").returncode)
    yield equal("exit codes: three portions, then the end", [4, 4, 4, 0], codes)
    yield equal("done here", SLICES - len(NO_FILES), scene.done())
    elsewhere = scene.folder / "elsewhere"
    made = f"mkdir -p {elsewhere}/in; cd {elsewhere}/in; touch {' '.join(map(_name, NO_FILES))}"
    scene.site.run("bash", "-c", made, cwd=scene.folder)
    yield equal("exported", 0, verb("export", "x", "--to", "elsewhere/x").returncode)
    there = replace(scene, folder=elsewhere)
    ran = there.run("--from", "x", "--name", "y")
    yield equal("exit code elsewhere", 0, ran.returncode)
    ends = Counter(key for one in (scene, there) for key, spans in witness(one.folder).items()
                   for *_, end in spans if end)  # fmt: skip
    yield equal("slices that ended twice", [], [key for key, times in ends.items() if times > 1])
    yield equal("slices that ended", SLICES, len(ends))


def _name(row: int) -> str:
    return f"n{row:04}"


def _write_rows(scene: Scene, rows: int, bad: Sequence[int]) -> None:
    """Write the table with so many rows, and the files that have arrived by then."""
    cells = (f"{_name(row)},{'bad' if row in bad else row}\n" for row in range(rows))
    write(scene.site, scene.folder / "files.csv", f"name,value\n{''.join(cells)}")
    names = " ".join(_name(row) for row in range(rows) if row not in NO_FILES)
    scene.site.run("bash", "-c", f"mkdir -p in; cd in; touch {names}", cwd=scene.folder)


def repaired_by_cause(scene: Scene) -> Iterator[Line]:
    """Memory and time grow by the defaults; another failure is left."""
    work = """case $SLICE in
      1) head -c 150M /dev/zero | tail >/dev/null; [ "${PIPESTATUS[1]}" = 0 ] || exit 9 ;;
      2) for ((i = 0; i < 25; i++)); do note alive; sleep 3; done ;;
      3) exit 3 ;;
    esac"""
    ran = scene.run(
        "-a", "0-3", "-c", "1", "--mem", "100M", "-t", "1", "--retry", "--name", "x",
        "--shell", witnessed(work),
    )  # fmt: skip
    yield equal("exit code", 1, ran.returncode)
    tries = {key: len(spans) for key, spans in witness(scene.folder).items()}
    memory = 2 if scene.engine == "slurm" else 1  # an ordinary user has no memory limit here
    yield equal("attempts", {"0": 1, "1": memory, "2": 2, "3": 1}, tries)
    yield equal("done", 3, scene.done())


# Each slice writes its kind of end, and comes to that end.
FAILS_IN_FIVE_WAYS = r"""
kind() { echo "$SLICE $1" >>kinds; }
python='/usr/bin/python3 -c'
[ "$SLICE" -lt 300 ] || until [ -e go ]; do sleep 0.5; done
sleep 1
if [ "$SLURMD_NODENAME" = "{sick}" ]; then
  kind sick; echo "OSError: [Errno 5] Input/output error: '/scratch/part-$SLICE'" >&2; exit 5
elif [ "$SLICE" -ge 300 ]; then
  kind key; $python "dict()['rate-$SLICE']"
elif [ $((SLICE % 10)) = 3 ]; then
  kind value; $python "raise ValueError('cannot invert matrix $SLICE of cell $((SLICE * 7))')"
elif [ $((SLICE % 25)) = 7 ]; then
  kind segv; kill -s SEGV $BASHPID
elif [ $((SLICE % 30)) = 14 ]; then
  kind file; cat "/data/in-$SLICE.h5"
elif [ $((SLICE % 100)) = 20 ]; then
  kind time; sleep 200
elif [ $((SLICE % 50)) = 11 ]; then
  kind memory; $python 'bytearray(400 * 2**20)'
fi
"""

KINDS = {"sick": "Errno 5", "key": "KeyError", "value": "ValueError", "segv": "exit:139",
         "file": "No such file", "time": "timeout", "memory": "oom"}  # fmt: skip
"""For each kind of end, a text that its group has as its cause or in its signature."""


def failures_in_groups(scene: Scene) -> Iterator[Line]:
    """300 slices fail in five ways and on a sick node; then 50 others fail in another way."""
    names = scene.site.run("sinfo", "-h", "-N", "-o", "%N", cwd=scene.folder).stdout.split()
    sick = sorted(set(names))[0] if scene.engine == "slurm" else "nowhere"
    verb = partial(scene.site.slurmslice, cwd=scene.folder, timeout=600)
    work = FAILS_IN_FIVE_WAYS.replace("{sick}", sick)
    words = (
        "run", "-a", "0-349%40", "-t", "1", "-c", "1", "--mem", "100M", "--max-failures", "none",
        "--engine", scene.engine, "--interval", "1", "--name", "x", "--shell", work,
    )  # fmt: skip
    argv = [str(scene.site.python), "-m", "slurmslice", *words]
    ran = scene.site.popen(argv, cwd=scene.folder)
    until((scene.folder / "slurmslice-runs" / "x" / "run.json").exists, "the run")
    until(lambda: _ended(scene) >= 297, "all but those that take too long", deadline_s=900)
    before = _groups(verb("failures", "x", "--json"))
    value = next(one for one in before if "ValueError" in one["signature"])
    write(scene.site, scene.folder / "go", "")
    yield equal("exit code", 1, ran.wait())
    kinds = Counter(line.split()[1] for line in _kinds(scene))
    if scene.engine == "local":
        del kinds["memory"]  # an ordinary user has no memory limit there
    groups = _groups(verb("failures", "x", "--json"))
    found = {
        kind: sum(one["count"] for one in groups if word in f"{one['cause']} {one['signature']}")
        for kind, word in KINDS.items()
    }
    yield equal("slices in each group", dict(sorted(kinds.items())), {
        kind: number for kind, number in sorted(found.items()) if number
    })  # fmt: skip
    yield equal("groups", len(kinds), len(groups))
    for one in groups if scene.engine == "slurm" else ():
        if "Errno 5" in one["signature"]:
            yield equal("the sick node", {sick: one["count"]}, one["nodes"])
    again = verb("resubmit", "x", "--group", value["id"])
    failed_again = int(scene.engine == "local")  # there it follows them to their end
    sent = len(parse_array(events(scene.folder, "x", "intent")[-1]["rows"]))
    yield equal("resubmitted", (failed_again, len(value["keys"])), (again.returncode, sent))
    for line in (("failures",), ("explain", value["keys"][0]), ("efficiency",)):
        print(verb(line[0], "x", *line[1:]).stdout)
    yield equal("report", 0, verb("report", "x", "--html", "x.html").returncode)
    shutil.copy(scene.folder / "x.html", f"{tempfile.gettempdir()}/slurmslice-{scene.engine}.html")
    verb("cancel", "x")


def _ended(scene: Scene) -> int:
    counts = scene.site.status(scene.folder, "x")["counts"]
    return sum(number for state, number in counts.items() if State(state).final)


def _kinds(scene: Scene) -> list[str]:
    return (scene.folder / "kinds").read_text().splitlines()


def _groups(told: Finished) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = json.loads(told.stdout)["groups"]
    return groups


CASES: dict[str, Callable[[Scene], Iterator[Line]]] = {
    case.__name__.replace("_", "-"): case for case in (
        canary, failure_limit, failure_limit_reached, done_before, afterwards, after,
        repaired_by_cause, grows_and_moves, failures_in_groups,
    )
}  # fmt: skip


def play(site: Site, name: str, engine: str) -> bool:
    """Play one case, print its line, and tell if it was right."""
    began = time.time()
    with empty_folder(site) as folder:
        scene = Scene(site, folder, engine)
        try:
            lines = list(CASES[name](scene))
        except BaseException as why:  # noqa: BLE001 - pytest.fail of `until` too
            lines = [Line("played", "to its end", f"{type(why).__name__}: {why}", good=False)]
    wrong = [line for line in lines if not line.good]
    seen = "; ".join(f"{line.what}: {line.seen}" for line in lines)
    mark = "wrong" if wrong else "right"
    text = f"{mark} {name}, {engine} ({time.time() - began:.0f} s): {seen}"
    print(text + "".join(f"\n  {line}" for line in wrong), flush=True)
    return not wrong


def main(words: Sequence[str]) -> int:
    """Play the cases one after another; return 1 if one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", help="the folder of the cluster")
    parser.add_argument("cases", nargs="*", choices=[*CASES, []], metavar="CASE")
    parser.add_argument("--release", choices=roots.SUITES, help="of Slurm; else the machine's own")
    wish = parser.parse_intermixed_args(words)
    settings = of_release(Settings(nodes=4), wish.release)
    cluster = Cluster(wish.folder, settings, say=lambda text: print(text, flush=True))
    cluster.up()
    try:
        site = Site(install(cluster, wish.folder), cluster.layout.home, cluster.run, cluster)
        played = [(name, engine) for name in wish.cases or CASES for engine in ("slurm", "local")]
        results = [play(site, *one) for one in played]
        return 0 if all(results) else 1
    finally:
        cluster.down()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
