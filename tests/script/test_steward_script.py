"""steward.sh, run by real bash: Slurm's programs and a round in Python are played by scripts."""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.script.test_script import tool
from tests.support.paths import REPOSITORY

SCRIPT = REPOSITORY / "templates" / "steward.sh"
LIST = "Dependency=afternotok:7_0?afternotok:7_1?afterany:7?after:7_1+30"
SCONTROL = """\
#!/bin/bash
echo "$@" >>"$CALLS"
case $1 in
requeue) {requeue} ;;
update) {update} ;;
esac
"""


@dataclass
class Stage:
    """A folder with a run and played programs.

    Attributes:
        folder: the folder.
        env: the environment of the job.
    """

    folder: Path
    env: dict[str, str]

    @property
    def run_dir(self) -> Path:
        """The run directory."""
        return self.folder / "run"

    def play(self, name: str, text: str) -> Path:
        """Write a program."""
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def scontrol(self, requeue: str = "exit 0", update: str = "exit 0") -> None:
        """Play scontrol."""
        self.play("scontrol", SCONTROL.replace("{requeue}", requeue).replace("{update}", update))

    def job(
        self, line: str, *, python: str = "", seconds: str = "540"
    ) -> subprocess.CompletedProcess[str]:
        """Run the job; its round writes this line for bash, as Python does."""
        (self.folder / "line").write_text(line)
        played = (
            '#!/bin/bash\nenv >"$CALLS.env"\necho "python $*" >>"$CALLS"\n'
            f'[[ $* = *--chain* ]] || cp "{self.folder}/line" "{self.run_dir}/steward/next"\n'
        )
        path = python or str(self.play("python", played))
        script = self.play("steward.sh", SCRIPT.read_text().replace("again_s=5", "again_s=0"))
        return subprocess.run(
            ["bash", script, self.run_dir, "tok", path, seconds],
            env=self.env, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    @property
    def calls(self) -> list[str]:
        """The programs that were called, with their words."""
        path = Path(self.env["CALLS"])
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """A stage on which scontrol obeys."""
    (tmp_path / "run" / "steward").mkdir(parents=True)
    env = {
        "PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "12", "CALLS": f"{tmp_path}/calls",
        "SLURM_CONF": "/x/slurm.conf", "SLURM_CLUSTERS": "c", "SLURM_RESTART_COUNT": "3",
        "SLURM_MEM_PER_NODE": "9", "SBATCH_PARTITION": "p", "SRUN_CPUS_PER_TASK": "4",
        "SLURMSLICE_KEPT_SBATCH_PARTITION": "theirs", "DATA": "kept",
    }  # fmt: skip
    found = Stage(tmp_path, env)
    found.scontrol()
    found.play("squeue", "#!/bin/bash\nexit 0\n")
    return found


def test_shellcheck_reads_the_script_as_it_is() -> None:
    """Notes included, without any option."""
    done = subprocess.run([tool("shellcheck"), SCRIPT], capture_output=True, text=True)
    assert done.stdout == ""


def test_a_round_then_the_job_is_put_back_to_wait(stage: Stage) -> None:
    """First the requeue, then the update, under the same id."""
    done = stage.job(f"wait StartTime=now+240 {LIST}\n")
    assert done.returncode == 0
    assert stage.calls == [
        f"python -m slurmslice steward {stage.run_dir} tok 12",
        "requeue 12",
        f"update JobId=12 StartTime=now+240 {LIST}",
    ]


def test_variables_of_the_job_are_gone(stage: Stage) -> None:
    """They would be those of the jobs that the round submits. The cluster's own remain."""
    stage.job("end\n")
    lines = Path(f"{stage.env['CALLS']}.env").read_text().splitlines()
    names = {line.partition("=")[0] for line in lines}
    assert {"SLURM_CONF", "SLURM_CLUSTERS", "SLURMSLICE_KEPT_SBATCH_PARTITION", "DATA"} <= names
    others = {n for n in names if n.startswith(("SLURM_", "SBATCH_", "SRUN_"))}
    assert others == {"SLURM_CONF", "SLURM_CLUSTERS"}


def test_at_the_end_the_job_is_not_put_back(stage: Stage) -> None:
    """It ends with 0."""
    assert stage.job("end\n").returncode == 0
    assert len(stage.calls) == 1


@pytest.mark.parametrize(
    "line",
    [
        "", "wait\n", "wait StartTime=now+5;touch${IFS}evil\n", "wait Dependency=$(touch evil)\n",
        "wait StartTime=now+5 Account=x\n", "wait Dependency=afterany:1 JobId=13\n", "END\n",
        "wait StartTime=now+5 Dependency=`touch evil`\n", "wait StartTime=*\n",
        "wait ExcNodeList=n1 StartTime=now+5\n", "wait StartTime=now+5 ExcNodeList=n1 Nice=0\n",
        "wait StartTime=now+5 ExcNodeList=$(touch evil)\n", "wait ExcNodeList=/etc/passwd\n",
        "wait StartTime=now+5 ReqNodeList=n1\n", "wait ExcNodeList=n1 ExcNodeList=n2\n",
    ],
)  # fmt: skip
def test_another_line_is_not_obeyed(line: str, stage: Stage) -> None:
    """Nothing of it is evaluated or passed on: the job pauses."""
    stage.job(line)
    words = stage.calls[-1].split()
    assert words[:2] == ["update", "JobId=12"]
    assert words[2].startswith("StartTime=now+")
    assert words[2].removeprefix("StartTime=now+").isdecimal()
    assert len(words) == 3
    assert not list(stage.folder.rglob("*evil*"))


def test_the_line_of_an_earlier_round_is_not_used(stage: Stage) -> None:
    """A round that is killed leaves none."""
    (stage.run_dir / "steward" / "next").write_text("end\n")
    done = stage.job("", python=str(stage.play("killed", "#!/bin/bash\nkill -9 $$\n")))
    assert done.returncode == 0
    assert stage.calls[-1].startswith("update JobId=12 StartTime=now+")


def test_if_slurm_refuses_the_list_it_gets_a_time(stage: Stage) -> None:
    """24.11 refuses a list with an id that it has forgotten."""
    stage.scontrol(update="[[ $* != *Dependency* ]]; exit")
    stage.job(f"wait {LIST}\n")
    first, second = stage.calls[-2:]
    assert "Dependency" in first
    assert second.startswith("update JobId=12 StartTime=now+")
    assert "Dependency" not in second


@pytest.mark.parametrize("nodes", ["", "n3", "n[1-3,7],m-4.x_1"])
def test_the_job_avoids_nodes(nodes: str, stage: Stage) -> None:
    """In the same update. A list without nodes lets it use all again."""
    stage.job(f"wait StartTime=now+240 {LIST} ExcNodeList={nodes}\n")
    assert stage.calls[-1] == f"update JobId=12 StartTime=now+240 {LIST} ExcNodeList={nodes}"


def test_if_slurm_refuses_the_nodes_it_waits_for_the_list(stage: Stage) -> None:
    """A node may be gone from the cluster."""
    stage.scontrol(update="[[ $* != *ExcNodeList* ]]; exit")
    stage.job(f"wait {LIST} ExcNodeList=n3\n")
    assert stage.calls[-2:] == [
        f"update JobId=12 {LIST} ExcNodeList=n3", f"update JobId=12 {LIST}",
    ]  # fmt: skip


def test_the_requeue_does_not_end_the_script_before_the_update(stage: Stage) -> None:
    """Slurm sends TERM to the job at the requeue."""
    stage.scontrol(requeue="kill -TERM $PPID; kill -TERM $$; sleep 0.1")
    stage.job(f"wait {LIST}\n")
    assert stage.calls[-1] == f"update JobId=12 {LIST}"


@pytest.mark.parametrize(
    ("cause", "ends"),
    [("", True), ("DUE TO SIGNAL Terminated ", True), ("DUE TO JOB REQUEUE ", False),
     ("DUE TO TIME LIMIT ", False), ("DUE TO PREEMPTION ", False)],
)  # fmt: skip
def test_a_cancel_just_before_the_requeue_is_not_lost(cause: str, ends: bool, stage: Stage) -> None:
    """Slurm would put the job back. Its line in the log tells that a person has cancelled it."""
    told = f"slurmstepd-n1: error: *** JOB 12 ON n1 CANCELLED AT 2026-12-01T03:18:45 {cause}***"
    stage.play("scancel", '#!/bin/bash\necho "scancel $*" >>"$CALLS"\n')
    stage.scontrol(requeue=f"echo '{told}' >>{stage.run_dir}/steward/log")
    assert stage.job(f"wait {LIST}\n").returncode == 0
    assert stage.calls[-1] == ("scancel 12" if ends else f"update JobId=12 {LIST}")


@pytest.mark.parametrize(
    ("said", "tries"),
    [
        ("Requested operation is presently disabled for job 12", 1),
        ("Access/permission denied for job 12", 3),
        ("site policy: no requeue", 3),
    ],
)
def test_where_no_job_may_be_put_back_the_next_one_follows(
    said: str, tries: int, stage: Stage
) -> None:
    """No setting of the site is changed. Also if a plugin refuses it in words of its own."""
    stage.scontrol(requeue=f'echo "{said}" >&2; exit 1')
    assert stage.job(f"wait {LIST}\n").returncode == 0
    assert stage.calls[-1] == f"python -m slurmslice steward {stage.run_dir} tok 12 --chain"
    assert stage.calls.count("requeue 12") == tries
    assert not [call for call in stage.calls if call.startswith("update")]


@pytest.mark.parametrize(
    "said",
    ["Unable to contact slurm controller (connect failure)",
     "Unexpected message received for job 12", "Protocol authentication error", ""],
)  # fmt: skip
def test_a_controller_that_is_away_is_asked_again(said: str, stage: Stage) -> None:
    """It has refused nothing, so no other job is submitted. squeue tells it, in whatever words."""
    stage.play("squeue", "#!/bin/bash\nexit 1\n")
    stage.scontrol(
        requeue=f'[[ $(grep -c requeue "$CALLS") = 6 ]] || {{ echo "{said}" >&2; exit 1; }}'
    )
    assert stage.job(f"wait {LIST}\n").returncode == 0
    assert stage.calls[-1] == f"update JobId=12 {LIST}"
    assert not [call for call in stage.calls if "--chain" in call]


def test_the_next_job_is_submitted_when_the_controller_is_back(stage: Stage) -> None:
    """However often that is tried without an answer."""
    stage.play("squeue", "#!/bin/bash\nexit 1\n")
    stage.scontrol(requeue='echo "disabled" >&2; exit 1')
    chained = '#!/bin/bash\necho "$*" >>"$CALLS"\n[[ $(grep -c -- --chain "$CALLS") = 8 ]]\n'
    assert stage.job("", python=str(stage.play("python", chained))).returncode == 0
    assert "--chain" in stage.calls[-1]


def test_where_nothing_can_follow_the_last_words_have_the_lines_to_type(stage: Stage) -> None:
    """Neither this job nor another one: cron is left."""
    stage.scontrol(requeue='echo "disabled" >&2; exit 1')
    python = stage.play("python", "#!/bin/bash\n[[ $* != *--chain* ]]\n")
    done = stage.job("", python=str(python))
    assert done.returncode == 1
    for words in ("--unattended\n", "--unattended --unattended-by cron\n"):
        assert f"slurmslice run {stage.run_dir} {words}" in done.stdout


@pytest.mark.parametrize("text", ["", "#!/nonexistent/python\n", "#!/bin/bash\nexit 1\n"])
def test_without_python_it_says_so_and_tries_again(text: str, stage: Stage) -> None:
    """Python, its interpreter or slurmslice is gone from the node."""
    python = str(stage.play("gone", text)) if text else str(stage.folder / "gone")
    done = stage.job("", python=python)
    assert done.returncode == 0
    assert python in done.stdout
    assert "cannot be started" in done.stdout
    assert stage.calls[-1].startswith("update JobId=12 StartTime=now+")


def test_rounds_in_vain_follow_each_other_slowly(stage: Stage) -> None:
    """2, 4, 8 … 60 minutes, and the newest reason is there for ``status``; a good round ends it."""
    trouble = stage.run_dir / "steward" / "trouble"
    pauses = []
    for _ in range(7):
        stage.job("", python=str(stage.folder / "gone"))
        pauses.append(int(stage.calls[-1].rpartition("+")[2]))
    assert pauses == [120, 240, 480, 960, 1920, 3600, 3600]
    at, _, why = trouble.read_text().splitlines()[-1].partition(" ")
    assert 3000 < int(at) - time.time() <= 3600
    assert "gone" in why
    stage.job(f"wait {LIST}\n")
    assert not trouble.exists()


def test_without_the_run_it_ends(stage: Stage) -> None:
    """The person has removed it."""
    python = stage.play("python", f'#!/bin/bash\nrm -rf "{stage.run_dir}"\nexit 2\n')
    assert stage.job("", python=str(python)).returncode == 0
    assert stage.calls == []


def test_a_round_that_hangs_is_ended(stage: Stage) -> None:
    """By timeout(1), before the time limit of the job; also if Python hangs at its start."""
    python = stage.play("python", "#!/bin/bash\nexec sleep 50\n")
    done = stage.job("", python=str(python), seconds="1")
    assert done.returncode == 0
    assert stage.calls[-1].startswith("update JobId=12 StartTime=now+")
