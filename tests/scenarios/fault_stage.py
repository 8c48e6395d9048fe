"""A place to play one fault of a steward: a run of a few slices, and what is known of it.

What is known comes from the slices' own start and end lines, from sacct and squeue. ``status`` is
only asked for what it tells.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.scenarios.unattended import Line, equal, overlaps
from tests.support.notes import noted
from tests.support.site import Finished, Site, events, until, witness, witnessed, write

UNFINISHED = ("", "PENDING", "RUNNING", "REQUEUED")

MINUTES = 420.0
"""The longest time, seconds, in which a run must go on after a fault."""

FAILS_ONCE = witnessed(
    "if [ $SLICE = 0 ] && [ ! -e failed ]; then\n"
    "  until [ -e fail ]; do note alive; sleep 0.5; done; touch failed; exit 75\n"
    "fi\n"
    "until [ $SLICE = 0 ] || [ -e go ]; do note alive; sleep 0.5; done"
)
"""Slice 0 fails once, when the file ``fail`` is there. The others wait for the file ``go``."""

STALLS = """\
#!/bin/bash
for stall in {folder}/stall.{name} {folder}/stall.{name}-$1; do
  while [ -e $stall ]; do : >{folder}/inside; sleep 0.2; done
done
PATH={path}; exec {name} "$@"
"""
"""A program of Slurm that waits while its file ``stall`` is there, or that of its first word."""


@dataclass
class Stage:
    """The folder of one case.

    Attributes:
        site: the cluster.
        folder: the folder.
        name: the name of the case, and of its run.
        reserved: the nodes on which no slice runs; the first is for the steward of this case.
        slices: the number of slices.
        lines: what was judged.
        steward: the job of the first steward.
        mails_before: the number of mails that the cluster had sent before.
        began: the start of the case, for sacct.
    """

    site: Site
    folder: Path
    name: str
    reserved: tuple[str, ...]
    slices: int = 6
    lines: list[Line] = field(default_factory=list)
    steward: str = ""
    mails_before: int = 0
    began: str = field(default_factory=lambda: time.strftime("%Y-%m-%dT%H:%M:%S"))

    # -- play --------------------------------------------------------------------------------

    def start(
        self,
        *options: str,
        work: tuple[str, ...] = ("--shell", FAILS_ONCE),
        place: str = "",
        minutes: int = 30,
    ) -> None:
        """Start the unattended run, and wait until each slice runs.

        Args:
            options: more options of the run.
            work: the command, as the end of the line.
            place: the options of the steward's job.
            minutes: the time limit of a slice.
        """
        self.mails_before = len(self.mails())
        for program in ("squeue", "scontrol", "sacct"):
            text = STALLS.format(folder=self.folder, name=program, path=self.site.path)
            write(self.site, self.folder / program, text)
            self.do("chmod", "+x", program)
        self.do("ln", "-s", str(self.site.python.parent.parent), "venv")
        made = self.slurmslice(
            "run", "--unattended", "-a", f"0-{self.slices - 1}", "--name", self.name,
            "--mem", "100M", "-t", str(minutes), "-x", ",".join(self.reserved),
            "--steward-sbatch", place or self.elsewhere,
            "--retry", "--on", "exit:75=again", *options, *work,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        self.steward = str(noted(made.stderr, "steward-submitted")[0]["job"])
        self.until(lambda: len(witness(self.folder)) == self.slices, "the start of all slices")

    @property
    def elsewhere(self) -> str:
        """The options of a steward that leaves the reserved nodes free."""
        return f"-x {','.join(self.reserved)}"

    def unattended(self, *options: str) -> int:
        """Type the line again that starts a steward; return its exit code."""
        return self.slurmslice("run", self.name, "--unattended", *options).returncode

    def do(self, *argv: str) -> Finished:
        """Run a program as the user."""
        return self.site.run(*argv, cwd=self.folder)

    def slurmslice(self, *words: str) -> Finished:
        """Run slurmslice as the user, with the programs of Slurm that may stall."""
        python = str(self.folder / "venv" / "bin" / "python")
        env = {"PATH": f"{self.folder}:{self.site.path}"}
        return self.site.run(python, "-m", "slurmslice", *words, cwd=self.folder, env=env)

    def put(self, *names: str) -> None:
        """Make files that the slices and the programs wait for."""
        for name in names:
            write(self.site, self.folder / name, "")

    def take(self, *names: str) -> None:
        """Remove such files."""
        for name in names:
            (self.folder / name).unlink(missing_ok=True)

    def fail(self) -> None:
        """Let slice 0 fail, and wait until it has."""
        self.put("fail")
        self.until((self.folder / "failed").exists, "the failure of slice 0")

    def stall(self, program: str) -> None:
        """Let slice 0 fail, and stop the round that follows inside this program."""
        self.put(f"stall.{program}")
        self.fail()
        self.until((self.folder / "inside").exists, f"a round inside {program}")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition; at the deadline, name it with the steward's log."""
        until(lambda: bool(condition()), lambda: f"{what}:\n{self.log}", MINUTES)

    # -- look --------------------------------------------------------------------------------

    @property
    def log(self) -> str:
        """The steward's log."""
        path = self.folder / "slurmslice-runs" / self.name / "steward" / "log"
        return path.read_text() if path.exists() else ""

    def mails(self) -> list[str]:
        """List the mails that the cluster has sent, of all runs; later ones last."""
        path = self.site.cluster.layout.mails if self.site.cluster else Path("/nonexistent")
        lines = path.read_text().splitlines() if path.exists() else []
        return lines[self.mails_before :]

    @property
    def told(self) -> dict[str, Any]:
        """What ``status`` tells of the steward."""
        found: dict[str, Any] = self.site.status(self.folder, self.name)["steward"]
        return found

    def said(self) -> str:
        """Return what ``status`` says of the steward, for a person."""
        done = self.site.slurmslice("status", self.name, cwd=self.folder)
        return done.stdout + done.stderr

    def jobs(self, *, stewards: bool = False) -> list[str]:
        """List the jobs of the run in the queue, one for each task: id, state, start."""
        told = self.do("squeue", "-h", "-r", "-o", "%j|%i %T %S").stdout.splitlines()
        return [
            line.partition("|")[2]
            for line in told
            if self._is_own(line.partition("|")[0], stewards)
        ]

    def attempts(self) -> list[str]:
        """List the states of all tasks of the run in accounting, attempts that restarted too.

        A task that was held while it ran is not listed by time (seen), so jobs are asked by id.
        """
        listed = self._accounted("-S", self.began)
        ids = {job.partition("_")[0] for name, job, _ in listed if self._is_own(name)}
        rows = self._accounted("-j", ",".join(sorted(ids))) if ids else []
        return [state.split()[0] for name, _, state in rows if self._is_own(name)]

    def _accounted(self, *which: str) -> list[list[str]]:
        words = ("sacct", "-D", "-X", "-n", "-P", "-o", "JobName,JobID,State", *which)
        return [line.split("|") for line in self.do(*words).stdout.splitlines()]

    def _is_own(self, name: str, stewards: bool = False) -> bool:
        end = "(-[a-z0-9]+-steward|: .*)" if stewards else "-[a-z0-9]+"  # a mail's name at its end
        return re.fullmatch(re.escape(self.name) + end, name) is not None

    def script_pid(self, job: str) -> int:
        """Return the process of the batch script of a job; 0 if there is none."""
        mark = f"/job{int(job):05}/slurm_script".encode()
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and mark in (entry / "cmdline").read_bytes():
                    return int(entry.name)
            except OSError:
                continue
        return 0

    # -- judge -------------------------------------------------------------------------------

    def equal(self, what: str, expected: object, seen: object) -> None:
        """Judge that two values are equal."""
        self.lines.append(equal(what, expected, seen))

    def true(self, what: str, seen: object, good: bool) -> None:
        """Judge that something is true."""
        self.lines.append(Line(what, "true", seen, good))

    def goes_on(self, since: float) -> None:
        """Judge that slice 0 is repaired while the others run, and that the run then ends."""
        self.until(lambda: len(witness(self.folder)["0"]) == 2, "the repair")
        self.true("repaired", f"{time.time() - since:.0f} s after the fault", True)
        self.put("go")
        self.ends(self.slices + 1)
        self.until(lambda: self._steward_end() not in UNFINISHED, "the end of the steward in sacct")
        self.equal("the end of the steward in sacct", "COMPLETED", self._steward_end())

    def _steward_end(self) -> str:
        """Return the newest steward's state in accounting, which is seconds behind the queue."""
        newest = events(self.folder, self.name, "steward_submitted")[-1]["job"]
        rows = self._accounted("-j", str(newest))
        return rows[-1][2].split()[0] if rows else ""

    def ends(self, attempts: int, *, done: int | None = None) -> None:
        """Judge the end of the run: nothing is in the queue, and each slice was done once."""
        done = self.slices if done is None else done
        self.until(lambda: not self.jobs() + self.jobs(stewards=True), "an empty queue")
        seen = witness(self.folder)
        ends = [sum(end for *_, end in spans) for spans in seen.values()]
        self.equal("slices done, by their own lines", done, sum(ends))
        self.equal("two attempts at the same time", [], overlaps(self.folder))
        self.equal("slices done twice", 0, sum(number > 1 for number in ends))
        self.equal("tasks in sacct", attempts, len(self.attempts()))
