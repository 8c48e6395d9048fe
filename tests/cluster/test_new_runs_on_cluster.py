"""New runs on a real cluster: ``submit`` of new ones, output names, combined sources, slots."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.errors import error_code
from tests.support.site import Site, accounted, events, jobs_in, side_by_side, until, write

pytestmark = pytest.mark.slurm

TABLE = "name,part,mem\nhalo,a,50\nvoid,b,51\nweb,a,52\n"
SMALL = ("--mem", "50M", "-t", "5")


def submit(site: Site, folder: Path, *words: str) -> list[str]:
    """Submit a new run; return the printed job ids."""
    sent = site.slurmslice("submit", *SMALL, "--name", "r", "--parsable", *words, cwd=folder)
    assert sent.returncode == 0, sent.stderr
    return sent.stdout.split("\n")[:-1]


def until_done(site: Site, folder: Path, slices: int) -> None:
    """Wait until all slices are done."""
    until(
        lambda: site.status(folder, "r")["counts"] == {"COMPLETED": slices},
        lambda: str(site.status(folder, "r")["counts"]),
    )


def log(site: Site, folder: Path, key: str, *options: str) -> str:
    """Return what ``logs`` prints of a slice."""
    return site.slurmslice("logs", "r", key, *options, cwd=folder).stdout


def test_new_runs(site: Site, workplace: Path) -> None:
    """Each scene is a run of its own; they run side by side."""
    side_by_side(site, workplace, lambda site, folder, scene: scene(site, folder), SCENES)


def prints_the_ids_of_its_jobs(site: Site, folder: Path) -> None:
    """One line for each job, which squeue knows. Typed again, nothing more is submitted."""
    write(site, folder / "t.csv", TABLE)
    words = ("--table", "t.csv", "--key", "name", "--mem", "{mem}M", "--hold", "--", "true")
    jobs = submit(site, folder, *words)
    known = site.run("squeue", "-h", "-o", "%F", "-j", ",".join(jobs), cwd=folder).stdout
    assert (len(set(jobs)), set(known.split())) == (3, set(jobs))
    assert {str(one["job"]) for one in events(folder, "r", "submitted")} == set(jobs)
    assert submit(site, folder, *words) == jobs
    assert len(events(folder, "r", "intent")) == 3
    changed = site.slurmslice("submit", "--name", "r", "-a", "0-1", "--", "true", cwd=folder)
    assert (changed.returncode, changed.stdout) == (2, "")
    assert error_code(changed.stderr) == "run-differs"
    assert len(set(site.run("squeue", "-h", "-o", "%F", "-j", ",".join(jobs), cwd=folder)
                   .stdout.split())) == 3  # fmt: skip


def names_its_output(site: Site, folder: Path) -> None:
    """The names have the ids and the node that accounting knows, also in packs of two."""
    write(site, folder / "t.csv", TABLE)
    (job,) = submit(
        site, folder, "--table", "t.csv", "--key", "name", "--pack", "2",
        "-o", "out/{part}/{name}-%x-%A_%2a-%j-%N.txt", "-e", "err.{name}",
        "--", "bash", "-c", 'echo "of $0"; echo "err of $0" >&2', "{name}",
    )  # fmt: skip
    until_done(site, folder, 3)
    until(lambda: len(accounted(site, folder, [job], "NodeList")) == 2, "accounting")
    raw, nodes = (accounted(site, folder, [job], field) for field in ("JobIDRaw", "NodeList"))
    status = {
        one["key"]: one["job"].partition("_")[2] for one in site.status(folder, "r")["slices"]
    }
    for row, (name, part) in enumerate((("halo", "a"), ("void", "b"), ("web", "a"))):
        task = (job, status[name])
        path = folder / f"out/{part}/{name}-r-{job}_{row:02}-{raw[task]}-{nodes[task]}.txt"
        assert path.read_text() == f"of {name}\n"
        assert (folder / f"err.{name}").read_text() == f"err of {name}\n"
        assert log(site, folder, name) == f"of {name}\nerr of {name}\n"
        assert str(path) in log(site, folder, name, "--path").splitlines()


def shares_output_only_if_meant(site: Site, folder: Path) -> None:
    """Two slices with one file are refused; with --open-mode=append all text is kept."""
    line = ("--mem", "50M", "-a", "0-2", "--", "echo", "all of {}")
    for names in (("-o", "all"), ("-o", "%x-%A"), ("-o", "s-%a", "-e", "%u%N")):
        done = site.slurmslice("submit", *names, *line, cwd=folder)
        assert (done.returncode, error_code(done.stderr)) == (2, "file-shared"), names
    write(site, folder / "t.csv", TABLE)
    table = (*SMALL, "--table", "t.csv", "-o", "of-{part}", "--", "true")
    done = site.slurmslice("submit", *table, cwd=folder)
    assert (done.returncode, error_code(done.stderr)) == (2, "file-shared")
    assert not (folder / "slurmslice-runs").exists()
    submit(site, folder, "-o", "all", "-e", "/dev/null", "--open-mode=append", *line)
    until_done(site, folder, 3)
    assert sorted((folder / "all").read_text().splitlines()) == [f"all of {n}" for n in range(3)]


COMBINED: dict[str, tuple[object, ...]] = {
    # The options, the command's words, and the text of each slice by its key.
    "files": ("--glob *.h5 --grid lr=0.1,1", "{stem} {lr} {item}", {
        "a.h5,lr=0.1": "a 0.1 a.h5", "a.h5,lr=1": "a 1 a.h5",
        "b.h5,lr=0.1": "b 0.1 b.h5", "b.h5,lr=1": "b 1 b.h5",
    }),
    "table": ("--table t.csv --key name --grid n=7,8", "{name} {part} {n}", {
        f"{name},n={n}": f"{name} {part} {n}"
        for name, part in (("halo", "a"), ("void", "b"), ("web", "a")) for n in (7, 8)
    }),
    "list": ("--slices-from list --zip a=1,2 --zip b=3,4", "{item}/{a}{b}", {
        f"{item},a={a},b={b}": f"{item}/{a}{b}" for item in ("x", "y z") for a, b in ("13", "24")
    }),
    "zip": ("--zip a=1,2 --zip b=3,4 --grid c=5", "{a}{b}{c}", {
        "a=1,b=3,c=5": "135", "a=2,b=4,c=5": "245",
    }),
    "comma": (r"--grid box=1\,2,3 --grid n=\\", "{box} {n}", {
        "box=1,2,n=\\": "1,2 \\", "box=3,n=\\": "3 \\",
    }),
    "computed": ("--table t.csv --grid n=1,2 --column i={{name}}{{n|int*5}} --key i", "{} {part}", {
        f"{name}{n}": f"{name}{n} {part}"
        for name, part in (("halo", "a"), ("void", "b"), ("web", "a")) for n in (5, 10)
    }),
}  # fmt: skip
"""Sources that combine."""


def combines(site: Site, folder: Path, options: str, words: str, said: dict[str, str]) -> None:
    """Run each combination; its log is found by its key."""
    fill(site, folder)
    submit(site, folder, *options.split(), "--pack", "3", "--", "echo", *words.split(" "))
    until_done(site, folder, len(said))
    assert {key: log(site, folder, key).rstrip("\n") for key in said} == said


NOT_COMBINED: dict[str, tuple[object, ...]] = {
    "two-sources": ("one-source", "--glob *.h5 --table t.csv"),
    "range": ("one-source", "-a 0-1 --grid n=1,2"),
    "zip": ("uneven-zip", "--zip a=1,2 --zip b=3"),
    "one-column-twice": ("duplicate-column", "--table t.csv --grid part=1"),
    "keys": ("duplicate-key", "--table t.csv --key part"),
    "computed-keys": ("duplicate-key", "--table t.csv --grid n=1,2 --column id={{part}} --key id"),
    "no-such-key": ("unknown-column", "--table t.csv --grid n=1 --key id"),
    "no-files": ("no-match", "--glob *.none --grid n=1"),
}


def does_not_combine(site: Site, folder: Path, code: str, options: str) -> None:
    """A wrong combination is refused before a run is made."""
    fill(site, folder)
    done = site.slurmslice("submit", *options.split(), *SMALL, "--", "echo", "{}", cwd=folder)
    assert (done.returncode, error_code(done.stderr)) == (2, code), done.stderr
    assert not (folder / "slurmslice-runs").exists()


def fill(site: Site, folder: Path) -> None:
    """Make two files, a list and a table."""
    write(site, folder / "list", "x\ny z\n")
    write(site, folder / "t.csv", TABLE)
    site.run("touch", "a.h5", "b.h5", cwd=folder)


def test_sources_combine(site: Site, workplace: Path) -> None:
    """The values of each combination reach its command; a wrong one makes nothing."""
    site.run("mkdir", "good", "bad", cwd=workplace)
    side_by_side(site, workplace / "good", combines, COMBINED)
    side_by_side(site, workplace / "bad", does_not_combine, NOT_COMBINED)
    assert jobs_in(site, workplace / "bad") == []


SLOTS = """\
echo "$SLURM_JOB_ID $SLICE_SLOT $SLICE start" >>slots
sleep 0.$((RANDOM % 5 + 1))
echo "$SLURM_JOB_ID $SLICE_SLOT $SLICE end" >>slots
"""


def each_slot_is_taken_once(site: Site, folder: Path, at_once: int, seen: set[str]) -> None:
    """In each task, the slots are 0 … P-1, and no two slices have one at the same time."""
    options = ("-a", "0-7", "--pack", "4", "--at-once", str(at_once))
    submit(site, folder, *options, "--shell", SLOTS)
    until_done(site, folder, 8)
    taken: dict[str, dict[str, str]] = defaultdict(dict)
    used: dict[str, set[str]] = defaultdict(set)
    for line in (folder / "slots").read_text().splitlines():
        job, slot, key, what = line.split(" ")
        used[job].add(slot)
        if what == "start":
            assert slot not in taken[job], line
            taken[job][slot] = key
        else:
            assert taken[job].pop(slot) == key, line
    assert list(used.values()) == [seen, seen]


def test_slots_of_packs(site: Site, workplace: Path) -> None:
    """One after another, some at once, and all at once."""
    side_by_side(site, workplace, each_slot_is_taken_once, {
        str(n): (n, {str(slot) for slot in range(n)}) for n in (1, 3, 4)
    })  # fmt: skip


SCENES: dict[str, tuple[object, ...]] = {
    scene.__name__: (scene,)
    for scene in (prints_the_ids_of_its_jobs, names_its_output, shares_output_only_if_meant)
}
