"""Runs that grow, are corrected and accepted on a real cluster. The slices' own lines judge."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

from tests.support.errors import error_code
from tests.support.site import (
    WAITS,
    Finished,
    Site,
    done_apart,
    events,
    settled,
    until,
    witness,
    witnessed,
    write,
)

pytestmark = pytest.mark.slurm

SLICES = ("--mem", "50M", "--name", "x")


def states(site: Site, directory: Path) -> dict[str, str]:
    """Return each slice's state."""
    return {slice_["key"]: slice_["state"] for slice_ in site.status(directory, "x")["slices"]}


def begun(directory: Path, *keys: str) -> None:
    """Wait until these slices have begun, by their own lines."""
    until(lambda: set(keys) <= set(witness(directory)), f"{keys} to begin")


def arrive(site: Site, directory: Path, *names: str) -> None:
    """Let files arrive that were written an hour ago."""
    made = "mkdir -p in; cd in; touch -d '1 hour ago' -- \"$@\""
    assert site.run("bash", "-c", made, "-", *names, cwd=directory).returncode == 0


def test_files_arrive_while_slices_run(site: Site, workplace: Path) -> None:
    """Each file is one slice, once. The run and its last step wait for the word that closes it."""
    verb = partial(site.slurmslice, cwd=workplace)
    source = ("--glob", "in/*", "--settled", "10m")
    arrive(site, workplace, "a", "b", "c d")
    write(site, workplace / "in" / "fresh", "half of it")
    then = ("--then", "echo x >>then")
    made = verb("submit", "--open", *source, *SLICES, *then, "--shell", WAITS)
    assert made.returncode == 0, made.stderr
    begun(workplace, "in/a", "in/b", "in/c d")
    assert verb("extend", "x", *source).returncode == 5
    assert "in/fresh" not in states(site, workplace)
    assert verb("extend", "x", "--glob", "in/*", "--key", "{name}").returncode == 2
    assert error_code(verb("extend", "x", "-a", "0-9").stderr) == "other-form"
    arrive(site, workplace, "e", "fresh")
    (workplace / "in" / "a").unlink()
    added = verb("extend", "x", *source)
    assert added.returncode == 0, added.stderr
    begun(workplace, "in/e", "in/fresh")
    write(site, workplace / "go", "")
    assert settled(site, workplace, "x") == {"COMPLETED": 5}
    assert verb("run", "x", "--interval", "1").returncode == 4
    assert not (workplace / "then").exists()
    assert verb("extend", "x", "--close").returncode == 0
    assert verb("run", "x", "--interval", "1").returncode == 0
    assert (workplace / "then").read_text() == "x\n"
    done_apart(workplace, ["in/a", "in/b", "in/c d", "in/e", "in/fresh"], tries=1)
    assert verb("extend", "x", *source).returncode == 5


GROWS_NOT = {
    "count": (
        ("--glob", "in/*"),
        'echo "$SLICE_COUNT"',
        ("--glob", "in/*"),
        "growth-changes-value",
    ),
    "open-count": (
        ("--open", "--glob", "in/*"),
        'echo "$SLICE_COUNT"',
        (),
        "growth-changes-value",
    ),
    "axis": (("--grid", "n=1,2"), "true", ("--grid", "n=1,2", "--grid", "m=1"), "other-columns"),
}
"""The slices of a run, its command, the words of ``extend`` (none: it is not made), the code."""


def test_what_cannot_grow_is_refused(site: Site, workplace: Path) -> None:
    """A command that uses the number of slices, and another axis, which would rename the slices."""
    for name, (source, work, more, code) in GROWS_NOT.items():
        arrive(site, workplace, f"of-{name}")
        words = ("submit", *source, "--mem", "50M", "--name", name, "--shell", work)
        done = site.slurmslice(*words, cwd=workplace)
        assert done.returncode == (0 if more else 2), done.stderr
        if more:
            arrive(site, workplace, f"late-{name}")
            done = site.slurmslice("extend", name, *more, cwd=workplace)
        assert (done.returncode, error_code(done.stderr)) == (2, code), done.stderr
        if more:
            assert len(events(workplace, name, "slices_changed")) == 0


def line(name: str, value: str, work: str = ":") -> str:
    """Return a line of a job file that says its value when it ends."""
    return f"echo begin {name} >>said; {work}; echo {name}={value} >>said\n"


WAIT = "until [ -e go ]; do sleep 0.2; done"


def test_lines_are_corrected_while_others_run(site: Site, workplace: Path) -> None:
    """Each line runs with its newest values: a pending one, a failed one and one that is done."""
    verb = partial(site.slurmslice, cwd=workplace)
    extend = partial(verb, "extend", "x", "--job-file", "jobs")
    lines = [
        line("done", "old"), line("failed", "old", "exit 3"), line("runs", "old", WAIT),
        line("runs2", "old", WAIT), line("pending", "old"), line("last", "old"),
    ]  # fmt: skip
    write(site, workplace / "jobs", "".join(lines))
    made = verb("submit", "--job-file", "jobs", "--throttle", "2", *SLICES)
    assert made.returncode == 0, made.stderr
    until(lambda: states(site, workplace)["2"] == "FAILED", "the second line to fail")
    until(lambda: "begin runs2" in (workplace / "said").read_text(), "two lines to run")
    lines[1], lines[4] = line("failed", "new"), line("pending", "new")
    lines.insert(3, line("inserted", "new"))
    write(site, workplace / "jobs", "".join(lines))
    first = extend()
    assert first.returncode == 0, first.stderr
    lines[0], lines[2] = line("done", "new"), line("runs", "new")
    write(site, workplace / "jobs", "".join(lines))
    before = (workplace / "slurmslice-runs" / "x" / "journal.jsonl").read_text()
    assert error_code(extend().stderr) == "slices-changed"
    assert error_code(extend("--again", "1,3").stderr) == "slices-changed"  # the third one runs
    assert (workplace / "slurmslice-runs" / "x" / "journal.jsonl").read_text() == before
    assert extend("--again", "1", "--keep").returncode == 0
    write(site, workplace / "go", "")
    assert settled(site, workplace, "x") == {"COMPLETED": 6, "FAILED": 1}
    again = verb("resubmit", "x")
    assert again.returncode == 0, again.stderr
    assert settled(site, workplace, "x") == {"COMPLETED": 7}
    said = [one for one in (workplace / "said").read_text().splitlines() if "=" in one]
    assert sorted(said) == sorted([
        "done=old", "done=new", "failed=new", "runs=old", "runs2=old", "pending=new", "last=old",
        "inserted=new",
    ])  # fmt: skip
    assert "begin pending" in (workplace / "said").read_text()
    assert (workplace / "said").read_text().count("begin pending") == 1


def test_accepted_failures_end_a_run(site: Site, workplace: Path) -> None:
    """They stay FAILED; the exit code, the step afterwards and a waiting run take them as done."""
    verb = partial(site.slurmslice, cwd=workplace)
    work = "case $SLICE in 1) exit 7 ;; 3) kill -s SEGV $$ ;; esac"
    ran = verb("run", "-a", "0-4", *SLICES, "--interval", "1", "--then", "echo x >>then",
               "--then-if", "done", "--shell", work)  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    assert not (workplace / "then").exists()
    for words in (("accept", "x", "1"), ("accept", "x", "0", "--reason", "it is done"),
                  ("accept", "x", "9", "--reason", "no such slice")):  # fmt: skip
        assert verb(*words).returncode in {2, 5}
    assert verb("accept", "x", "1,3", "--reason", "corrupt 'input'").returncode == 0
    seen = site.status(workplace, "x")
    assert (seen["counts"], seen["accepted"]) == ({"COMPLETED": 3, "FAILED": 2}, 2)
    assert verb("resubmit", "x").returncode == 5
    assert verb("run", "x", "--interval", "1").returncode == 0
    assert (workplace / "then").read_text() == "x\n"
    assert verb("accept", "x", "3", "--undo").returncode == 0
    assert verb("status", "x", "--exit-code").returncode == 1
    assert verb("resubmit", "x").returncode == 0
    assert len(events(workplace, "x", "intent")) == 2
    assert events(workplace, "x", "intent")[-1]["rows"] == "3"


def colleague(site: Site, workplace: Path) -> Path:
    """Make the half-finished run of another user: two of six slices failed, one was cancelled."""
    place = workplace / "hers"
    site.run("mkdir", "hers", cwd=workplace)
    verb = partial(site.slurmslice, cwd=place)
    work = witnessed(
        'case $SLICE in 2|4) exit 7 ;; 5) sleep 600 ;; esac; echo "$SLICE" >"r.$SLICE"'
    )
    assert verb("submit", "-a", "0-5", *SLICES, "--shell", work).returncode == 0
    until(lambda: states(site, place)["5"] == "RUNNING", "the last one to run")
    early = site.slurmslice("run", "--from", "hers/slurmslice-runs/x", "--name", "y", cwd=workplace)
    assert error_code(early.stderr) == "from-in-flight"
    assert verb("cancel", "x", "5").returncode == 0
    assert settled(site, place, "x") == {"COMPLETED": 3, "FAILED": 2, "CANCELLED": 1}
    return place


def taken_over(site: Site, folder: Path, source: str, name: str) -> Finished:
    """Run what is left of another run, with a command that works."""
    work = witnessed('echo "$SLICE" >"r.$SLICE"')
    words = ("run", "--from", source, "--name", name, "--interval", "1", "--shell", work)
    return site.slurmslice(*words, cwd=folder)


def test_a_half_finished_run_moves(site: Site, workplace: Path) -> None:
    """What is done there is not done again; an export is as good, in another folder."""
    place = colleague(site, workplace)
    exported = site.slurmslice("export", "x", "--to", str(workplace / "out"), cwd=place)
    assert exported.returncode == 0, exported.stderr
    assert site.run("sha256sum", "-c", "SHA256SUMS", cwd=workplace / "out").returncode == 0
    record = place / "slurmslice-runs" / "x" / "run.json"
    before = record.read_bytes()
    assert taken_over(site, workplace, "hers/slurmslice-runs/x", "mine").returncode == 0
    done_apart(workplace, ["2", "4", "5"], tries=1)
    site.run("bash", "-c", "mkdir far; mv out far/; rm -r hers", cwd=workplace)
    far = workplace / "far"
    assert taken_over(site, far, "out:FAIL", "part").returncode == 0
    done_apart(far, ["2", "4"], tries=1)
    for source, code in (("out:DONE_WELL", 2), ("nowhere", 2), ("far", 2), ("/etc/passwd", 2)):
        refused = taken_over(site, far, source, "bad")
        assert (refused.returncode, refused.stderr.count("Traceback")) == (code, 0), refused.stderr
        assert not (far / "slurmslice-runs" / "bad").exists()
    newer = json.loads(before) | {"format": 99}
    site.run("mkdir", "-p", "slurmslice-runs/newer", cwd=far)
    write(site, far / "slurmslice-runs" / "newer" / "run.json", json.dumps(newer))
    for words in (("status", "newer"), ("run", "--from", "slurmslice-runs/newer", "--name", "z")):
        assert error_code(site.slurmslice(*words, cwd=far).stderr) == "newer-run"
