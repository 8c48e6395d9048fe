"""The engine and the directives on a real cluster."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from slurmslice import sbatch
from slurmslice.engines.protocol import SubmitRequest
from slurmslice.engines.slurm import SlurmEngine, versions
from slurmslice.errors import (
    BadInputError,
    NoAnswerError,
    SubmissionRejectedError,
    SubmissionUnknownError,
    SubmitLimitError,
)
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.sbatch.option_table import Release
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.recorded import getopt
from tests.support.errors import raises_error
from tests.support.requested import a_request
from tests.support.site import Site

pytestmark = pytest.mark.slurm
DEADLINE_S = 90.0


@pytest.fixture(scope="module")
def environ(site: Site) -> dict[str, str]:
    """Return the environment for Slurm's commands."""
    own = site.cluster.env if site.cluster else {}
    conf = {name: text for name, text in own.items() if name in {"PATH", "SLURM_CONF"}}
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SLURM_CONF") if name in os.environ}
    return {**kept, **conf}


@pytest.fixture
def slurm(environ: dict[str, str]) -> SlurmEngine:
    """Make an engine on the real cluster."""
    return SlurmEngine(environ)


@pytest.fixture
def say(environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs one of Slurm's commands."""

    def run(*argv: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, env={**environ, **more}, capture_output=True, text=True, timeout=60
        )

    return run


@pytest.fixture(scope="module")
def release(environ: dict[str, str]) -> Release:
    """Return the release of this Slurm."""
    shown = subprocess.run(["sbatch", "--version"], env=environ, capture_output=True, text=True)
    found = versions.parse_release(shown.stdout.split()[-1])
    assert found is not None, shown
    return found


Say = Callable[..., subprocess.CompletedProcess[str]]
Submit = Callable[..., SubmitRequest]


@pytest.fixture
def order(tmp_path: Path, say: Say) -> Iterator[Callable[..., SubmitRequest]]:
    """Return a function that makes an order for a script; its jobs end with the test."""
    token = secrets.token_hex(4)
    name = f"real test-{token}"

    def build(body: str, array: str = "0-1", **options: str) -> SubmitRequest:
        pairs = [("job-name", name), ("array", array), ("output", "/dev/null")]
        pairs += [(key.replace("_", "-"), value) for key, value in options.items()]
        script = tmp_path / "script.sh"
        script.write_text(f"#!/bin/bash\n{sbatch.format_directives(pairs)}{body}\n")
        request = ResourceRequest.from_script(script.read_text())
        return SubmitRequest(
            1, name, token, script, tmp_path, parse_array(array), NO_REQUEST, (), request
        )

    yield build
    say("scancel", f"--name={name}")


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition; fail after the deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"no {what} after {DEADLINE_S} s"
        time.sleep(0.5)


def accounting_reports(slurm: SlurmEngine, job: str, name: str) -> dict[int, TaskReport]:
    """Return accounting's reports of a job, by array index."""
    reports = slurm.observe([JobIdentity(job, name)]).accounting.reports
    return {index: report for (_, index), report in reports.items()}


# -- directives ------------------------------------------------------------------------------


def test_the_option_table_agrees_with_sbatch(say: Say, release: Release) -> None:
    """Each name of our table: this release has it or lacks it, with a value or without."""
    wrong = []
    for name in sbatch.known_options():
        said = getopt.ask(lambda argv: say(*argv), name)
        option = sbatch.find_option(name)
        if name == "extra" and release < (23, 2):
            continue  # it abbreviates --extra-node-info there
        expected = None if lacks(name, release) else getopt.takes_in(option, release)
        may_lack = option.since is not None and release < (26, 5)  # not every log names each
        if said is not expected and not (said is None and may_lack):
            wrong.append((name, said, expected))
    assert wrong == []


def lacks(name: str, release: Release) -> bool:
    """Tell if a release lacks an option, by our table."""
    return bool(list(sbatch.options_not_in_release([(name, "")], release)))


def test_letters_are_sbatchs(say: Say) -> None:
    """Each short option is the long one that sbatch takes it for."""
    for name, option in sbatch.known_options().items():
        if option.letter and option.letter not in "hV":  # which end sbatch
            said = say("sbatch", "--test-only", f"-{option.letter}", "--no-such-option").stderr
            assert "invalid option" not in said, (name, option.letter, said)


VALUES = [
    "plain", 'a "b" c', "a # b", "a\\b\\\\", "$(touch x) `y` $HOME", "it's", "-dash",
    " lead trail ", "hetjob packjob", "a=b,c;d|e&f", "é 日本", "[1-3]*?", "#", '"', "\\", "'",
    "%x %%", "{}", "\t",
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES)
def test_sbatch_reads_the_values_of_block(say: Say, tmp_path: Path, value: str) -> None:
    """The job's name and comment are exactly the values written (promise 3)."""
    options = [("job-name", value), ("comment", value), ("hold", ""), ("output", "/dev/null")]
    script = tmp_path / "s.sh"
    script.write_text(f"#!/bin/bash\n{sbatch.format_directives(options)}true\n")
    sent = say("sbatch", "--parsable", str(script))
    assert sent.returncode == 0, sent.stderr
    job = sent.stdout.strip()
    try:
        shown = say("squeue", "-h", "-j", job, "-O", "Name:\x1f,Comment:\x1f").stdout
        assert shown == f"{value}\x1f{value}\x1f\n"
    finally:
        say("scancel", job)


ESCAPED_BLANK = "--comment=a\\ b"
LINES = [
    "--mem=4G", "--mem 4G", "-t 1:00", "-t1:00", "-Hk -t 1:00", "-HOc2", "-koff",
    "--mem=4G # --time=5", "--comment=a#b --mem=4G", '--comment="a # b" --mem=4G',
    "--comment='a \"b'", '--comment="a \\"b\\\\" -H', '--comment=x"y z"w', "--comment=a\\#b",
    '--comment="" --mem=4G', '--comment "" --mem=4G', "--part=main", "--comm=x", "--tasks-per=2",
    "--nice", "--nice 5", "--nice=5 --exclusive=user", "--comment -x --job-name=-y",
    "--mem=1 --mem=2", "--mem-p=3", "--hold=1", "--mem", "-j 3", "--mem=1 : --mem=2",
    "--mem=1 -- --time=2", "-", '--comment="a', ESCAPED_BLANK, "--comment=a\\",
    "--comment\n#SBATCH\n#SBATCH c", "--mem=1\n\n  \n# x\n#SBATCH -t 2",
    "--mem=1\ntrue\n#SBATCH -t 2",
    "--mem=1\n#PBS -l walltime=1:00:00\n#SBATCH --ignore-pbs", "--comment='it'\"'\"'s'",
]  # fmt: skip


@pytest.mark.parametrize("line", LINES)
def test_read_agrees_with_sbatch(say: Say, tmp_path: Path, line: str, release: Release) -> None:
    """We read the same options and values as ``sbatch -v``, and refuse the same lines."""
    script = tmp_path / "s.sh"
    script.write_text(f"#!/bin/bash\n#SBATCH {line}\ntrue\n")
    shown = say("sbatch", "-v", "--test-only", str(script)).stderr
    theirs = dict(re.findall(r"^sbatch: ([\w-]+) +: (.*)$", shown, re.MULTILINE))
    try:
        ours = dict(sbatch.read_directives(script.read_text()))
    except BadInputError:
        assert "defined options" not in shown
        return
    if line == ESCAPED_BLANK and not versions.ESCAPED_BLANK.applies_to(release):
        assert "defined options" not in shown
        return
    assert "defined options" in shown, shown
    assert set(ours) == set(theirs) - {"test-only", "verbose"}
    for name in {"comment", "job-name", "mem", "partition"} & set(ours):
        assert ours[name] == theirs[name]


# -- the engine ------------------------------------------------------------------------------


def test_a_submission_from_submit_to_measure(slurm: SlurmEngine, order: Submit) -> None:
    """A job is submitted, found by its token, polled to its end, and measured."""
    before = time.time()
    asked = order(
        "case $SLURM_ARRAY_TASK_ID in 1) exit 3;; 3) kill -9 $$;; *) sleep 2;; esac",
        "0-4%2",
        mem="100M",
        time="5",
    )
    assert slurm.find_job(asked.token, asked.job_name, before) is None
    job = slurm.submit(asked).job
    sighting = slurm.find_job(asked.token, asked.job_name, before)
    assert sighting is not None
    assert sighting.job == job
    assert sighting.array is not None
    assert list(sighting.array) == [0, 1, 2, 3, 4]
    queue = slurm.observe([JobIdentity(job, asked.job_name)]).queue
    assert queue.answered
    assert set(queue.reports) <= {(job, index) for index in range(5)}
    until(lambda: len(accounting_reports(slurm, job, asked.job_name)) == 5
          and all(r.state.final for r in accounting_reports(slurm, job, asked.job_name).values()),
          "end of all tasks")  # fmt: skip
    ends = accounting_reports(slurm, job, asked.job_name)
    assert [str(ends[i].state) for i in range(5)] == [
        "COMPLETED", "FAILED", "COMPLETED", "FAILED", "COMPLETED",
    ]  # fmt: skip
    assert (ends[1].exit_code, ends[3].signal) == (3, 9)
    assert ends[0].requested_mem_bytes == 100 << 20
    assert before - 60 < (ends[0].submitted_at or 0) <= (ends[0].ended_at or 0) < time.time() + 60
    measured = slurm.fetch_job_steps(
        [JobIdentity(job, asked.job_name)], [(job, index) for index in (0, 2)]
    )
    assert (measured[job, 0].cpu_s or 0) < 60
    assert 0 < (measured[job, 0].max_rss_bytes or 1) < 100 << 20
    assert set(measured) == {(job, 0), (job, 2)}
    assert slurm.observe([JobIdentity(job, "another name")]).accounting.reports == {}


def test_throttle_and_cancel_tasks(slurm: SlurmEngine, order: Submit, say: Say) -> None:
    """Running and pending tasks are cancelled, others stay; cancelling twice is no error."""
    asked = order("sleep 60", "0-20%1")
    job = slurm.submit(asked).job
    names = [JobIdentity(job, asked.job_name)]
    until(lambda: slurm.observe(names).queue.reports[job, 0].state is State.RUNNING, "start")
    slurm.throttle(JobIdentity(job, asked.job_name), 3)

    def running() -> int:
        reports = slurm.observe(names).queue.reports.values()
        return sum(report.state is State.RUNNING for report in reports)

    until(lambda: running() == 3, "three at once")
    slurm.throttle(JobIdentity(job, asked.job_name), 1)
    slurm.cancel(JobIdentity(job, asked.job_name), [1, 7, 14, 15, 16])
    left = set(range(21)) - {1, 7, 14, 15, 16}
    until(lambda: {i for _, i in slurm.observe(names).queue.reports} == left, "five to be gone")
    slurm.cancel(JobIdentity(job, asked.job_name), [1, 7])
    slurm.throttle(JobIdentity(job, asked.job_name), None)
    until(lambda: running() > 3, "no limit")
    slurm.cancel(JobIdentity(job, asked.job_name), None)
    until(lambda: not slurm.observe(names).queue.reports, "all to be gone")
    slurm.cancel(JobIdentity(job, asked.job_name), None)
    slurm.throttle(JobIdentity(job, asked.job_name), 2)
    until(lambda: len(accounting_reports(slurm, job, asked.job_name)) == 17, "accounting to know")
    ends = accounting_reports(slurm, job, asked.job_name)
    assert {ends[i].state for i in (0, 1, 2, 5, 20)} == {State.CANCELLED}
    assert 7 not in ends  # cancelled before its start: no record


@pytest.mark.parametrize(
    "hold", [{"hold": ""}, {"begin": "now+1hour"}, {"dependency": "singleton"}]
)
def test_pending_jobs_are_found(slurm: SlurmEngine, order: Submit, hold: dict[str, str]) -> None:
    """Held, delayed and dependent jobs are only in the queue, with all their indices."""
    asked = order("true", "3,17-29:4,400%2", **hold)
    job = slurm.submit(asked).job
    sighting = slurm.find_job(asked.token, asked.job_name, time.time())
    assert sighting is not None
    if "dependency" not in hold:
        assert (sighting.job, str(sighting.array)) == (job, "3,17-29:4,400%2")
        reports = slurm.observe([JobIdentity(job, asked.job_name)]).queue.reports
        assert [index for _, index in reports] == [3, 17, 21, 25, 29, 400]


def test_refused_submissions_are_not_found(slurm: SlurmEngine, order: Submit) -> None:
    """A refused request leaves a record in some releases; it is no submission."""
    for options in ({"mem": "900G"}, {"partition": "nowhere"}, {"account": "nobodys"}):
        asked = order("true", **options)
        with raises_error(SubmissionRejectedError, "submission-rejected"):
            slurm.submit(asked)
        assert slurm.find_job(asked.token, asked.job_name, time.time()) is None
    time.sleep(6)
    assert slurm.find_job(asked.token, asked.job_name, time.time()) is None


def test_the_environment_does_not_outrank_the_script(
    environ: dict[str, str], order: Submit
) -> None:
    """SBATCH_ARRAY_INX, SBATCH_JOB_NAME and variables of a surrounding job change nothing."""
    left = {"SBATCH_ARRAY_INX": "7-8", "SBATCH_JOB_NAME": "x", "SLURM_MEM_PER_NODE": "5",
            "SLURM_JOB_ID": "1", "SBATCH_WAIT": "1", "SBATCH_REQUEUE": "1"}  # fmt: skip
    slurm = SlurmEngine({**environ, **left})
    asked = order("true", "0-2", hold="", mem_per_cpu="10M")
    receipt = slurm.submit(asked)
    assert any("SBATCH_ARRAY_INX" in str(note.fields) for note in receipt.notes)
    reports = slurm.observe([JobIdentity(receipt.job, asked.job_name)]).queue.reports
    assert [index for _, index in reports] == [0, 1, 2]


def test_unknown_jobs_give_empty_answers(slurm: SlurmEngine) -> None:
    """One or several unknown jobs: both sources answer without reports."""
    unknown = JobIdentity("4000000", "x"), JobIdentity("4000001", "y")
    for jobs in (unknown[:1], unknown):
        seen = slurm.observe(jobs)
        assert seen.queue.answered
        assert seen.queue.reports == {}
        assert seen.accounting.reports == {}


def test_limits_and_cluster_health(slurm: SlurmEngine, say: Say) -> None:
    """MaxArraySize is the controller's; one CPU fits, a million CPUs do not."""
    config = say("scontrol", "show", "config").stdout
    (most,) = re.findall(r"^MaxArraySize\s*= (\d+)", config, re.MULTILINE)
    limits = slurm.limits(a_request())
    assert limits.max_array_size == int(most)
    assert (limits.at_once or 0) > 0
    assert slurm.limits(a_request(cpus=10**6)).at_once == 0
    health = slurm.cluster_health()
    assert health.cluster == slurm.cluster()
    assert health.accounting == "on"
    assert sum(partition.default for partition in health.partitions) == 1
    assert all(p.fitting.now <= p.fitting.when_empty <= p.cpus for p in health.partitions)


# -- outages, by a changed configuration -----------------------------------------------------


@pytest.fixture
def changed_conf(environ: dict[str, str], tmp_path: Path) -> Callable[..., SlurmEngine]:
    """Return a function that makes an engine with a changed slurm.conf."""
    if "SLURM_CONF" not in environ:
        pytest.skip("this machine's own Slurm configuration is not copied")

    def build(pattern: str, line: str, **more: str) -> SlurmEngine:
        text = Path(environ["SLURM_CONF"]).read_text()
        changed = re.sub(pattern, line, text, flags=re.MULTILINE)
        assert changed != text
        conf = tmp_path / "slurm.conf"
        conf.write_text(changed)
        return SlurmEngine({**environ, "SLURM_CONF": str(conf), **more})

    return build


ChangedConf = Callable[..., SlurmEngine]


def test_without_a_controller(changed_conf: ChangedConf, order: Submit) -> None:
    """Nothing is submitted and the queue does not answer; accounting still answers."""
    slurm = changed_conf("^SlurmctldPort=.*", "SlurmctldPort=9\nMessageTimeout=2")
    asked = order("true")
    with raises_error(SubmitLimitError, "slurm-unavailable"):
        slurm.submit(asked)
    with raises_error(NoAnswerError, "no-answer", command="squeue"):
        slurm.find_job(asked.token, asked.job_name, 0)
    seen = slurm.observe([JobIdentity("1", "x")])
    assert seen.accounting.answered
    assert "Unable to contact" in seen.queue.silence
    with raises_error(NoAnswerError, "no-answer"):
        slurm.cancel(JobIdentity("4000000", "x"), None)


def test_a_timeout_is_unknown_and_looked_up(
    environ: dict[str, str], order: Submit, slurm: SlurmEngine
) -> None:
    """A submission cut off by our own timeout may have been accepted, so it is looked up."""
    asked = order("true", hold="")
    hurried = SlurmEngine({**environ, "SLURMSLICE_SBATCH_TIMEOUT": "0.0001"})
    with raises_error(SubmissionUnknownError, "submission-unknown"):
        hurried.submit(asked)
    sighting = slurm.find_job(asked.token, asked.job_name, time.time())
    assert sighting is None or sighting.job.isdecimal()


@pytest.mark.parametrize("off", [True, False])
def test_without_accounting(
    changed_conf: ChangedConf, order: Submit, slurm: SlurmEngine, off: bool
) -> None:
    """If accounting is off or down, ended tasks come from the queue, while it remembers them."""
    if off:
        lost = changed_conf(
            "^AccountingStorageType=.*", "AccountingStorageType=accounting_storage/none"
        )
    else:
        lost = changed_conf("^AccountingStoragePort=.*", "AccountingStoragePort=9")
    asked = order("exit $SLURM_ARRAY_TASK_ID", "0,3")
    job = slurm.submit(asked).job
    names = [JobIdentity(job, asked.job_name)]
    until(lambda: all(r.state.final for r in lost.observe(names).queue.reports.values()), "end")
    seen = lost.observe(names)
    assert (seen.accounting.off, seen.accounting.answered) == (off, False)
    ends = {index: (str(r.state), r.exit_code) for (_, index), r in seen.queue.reports.items()}
    assert ends == {0: ("COMPLETED", 0), 3: ("FAILED", 3)}
    sighting = lost.find_job(asked.token, asked.job_name, time.time())
    assert sighting is not None
    assert sighting.job == job
    assert lost.find_job("nosuchtoken", "x-nosuchtoken", time.time()) is None
