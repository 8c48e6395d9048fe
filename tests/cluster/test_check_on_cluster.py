"""False successes, and causes of failure that Slurm does not name, on a real Slurm cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.site import Site, beside, empty_folder, marks, settled

pytestmark = pytest.mark.slurm

WORK = """\
echo "$SLICE" >>marks
case $SLICE$MENDED in
  3) ;;
  5) : >out-5 ;;
  7) echo made >out-7; srun --ntasks=1 sh -c 'exit 3' ;;
  9) exit 9 ;;
  *) echo made >"out-$SLICE"; srun --ntasks=1 true ;;
esac
exit $?
"""


def test_false_successes_are_found_and_repaired(site: Site, workplace: Path) -> None:
    """No output, empty output, a failed job step under exit 0: reported, and resubmitted."""
    text = WORK.replace("exit $?", "true")
    args = ["--name", "c", "-a", "0-9", "--check-file", "out-{}", "-t", "1", "--shell"]
    assert site.slurmslice("run", *args, text, "--interval", "1", cwd=workplace).returncode == 1
    record = site.status(workplace, "c")
    told = {s["key"]: (s["state"], s["exit_code"], s["evidence"]) for s in record["slices"]}
    assert {key: said for key, said in told.items() if said[0] != "COMPLETED"} == {
        "3": ("CHECK_FAILED", 0, "check"),
        "5": ("CHECK_FAILED", 0, "check"),
        "7": ("CHECK_FAILED", 0, "accounting"),
        "9": ("FAILED", 9, "accounting"),
    }
    reasons = {s["key"]: s["reason"] for s in record["slices"]}
    assert "out-3 is missing" in reasons["3"]
    assert "out-5 is empty" in reasons["5"]
    assert "step" in reasons["7"]
    assert "out-3" in site.slurmslice("logs", "c", "3", cwd=workplace).stdout
    site.slurmslice("resubmit", "c", "--export", "ALL,MENDED=yes", cwd=workplace)
    assert settled(site, workplace, "c") == {"COMPLETED": 10}
    assert marks(workplace) == {str(i): 2 if i in {3, 5, 7, 9} else 1 for i in range(10)}


STEPS = """\
step() { # in the background, and it has begun
  srun --ntasks=1 bash -c ">up.$SLICE; $1" &
  until [ -e "up.$SLICE" ]; do sleep 0.2; done
}
case $SLICE in
  0) srun --ntasks=1 bash -c 'kill -SEGV $$' ;;
  1) step 'sleep 100'; kill $!; wait ;;
  2) step 'sleep 100' ;;
  3) step 'sleep 100'; scancel "$SLURM_JOB_ID.0"; wait ;;
  4) srun --ntasks=1 bash -c 'exit 200' ;;
  5) srun --ntasks=1 bash -c 'exit 3'; srun --ntasks=1 true ;;
  6) step 'trap "sleep 2; exit 1" TERM; sleep 100 & wait' ;;
  8) srun --ntasks=1 --output=/no/folder/of/mine true ;;
  10) srun -n2 -OK bash -c '[ $SLURM_PROCID = 0 ] || sleep 100; exit 3'; sleep 2 ;;
  *) srun --ntasks=1 bash -c "exit $((SLICE % 2))" ;;
esac
true
"""


def test_job_steps_under_exit_0(site: Site, workplace: Path) -> None:
    """A step that failed by itself counts, even if its record is late; an ended step does not."""
    args = ["--name", "s", "-a", "0-45", "-t", "1", "--interval", "1", "--shell", STEPS]
    assert site.slurmslice("run", *args, cwd=workplace).returncode == 1
    slices = site.status(workplace, "s")["slices"]
    bad = {0, 4, 5, 8, 10, *range(7, 46, 2)}
    assert {int(s["key"]) for s in slices if s["state"] == "CHECK_FAILED"} == bad
    assert {s["state"] for s in slices} == {"CHECK_FAILED", "COMPLETED"}
    reasons = [s["reason"].removeprefix("exit 0, but a job step ") for s in slices[:11]]
    assert reasons.pop(4) in {"exited 200", "exited 72"}  # older releases may report it so
    assert reasons[:4] == ["ended by signal 11", *["exit 0"] * 3]
    assert reasons[4:] == ["exited 3", "exit 0", "exited 1", "did not start", "exited 1",
                           "ended by signal 15"]  # fmt: skip


def test_an_older_start_does_not_make_a_slice_fail(site: Site, workplace: Path) -> None:
    """Its step failed, Slurm requeued it, and the newer start succeeded."""
    text = 'srun --ntasks=1 bash -c "exit $((3 - 3 * ${SLURM_RESTART_COUNT:-0}))"; '
    text += '[ "${SLURM_RESTART_COUNT:-0}" = 1 ] || { scontrol requeue "$SLURM_JOB_ID"; sleep 60; }'
    args = ["--name", "o", "-a", "0-1", "-t", "2", "--interval", "1", "--shell", text]
    assert site.slurmslice("run", *args, "--requeue", cwd=workplace).returncode == 0
    told = site.status(workplace, "o")
    assert told["counts"] == {"COMPLETED": 2}
    assert {s["restarts"] for s in told["slices"]} == {1}


def test_a_pack_whose_slices_fail_their_check(site: Site, workplace: Path) -> None:
    """The check counts for each slice; in a pack a failed step belongs to no slice."""
    args = ["--name", "p", "-a", "0-7", "--pack", "4", "--at-once", "2", "-t", "1"]
    args += ["--check", '[ "$SLICE" != 6 ]', "--interval", "1"]
    text = 'echo "$SLICE" >>marks; [ "$SLICE" != 2 ]'
    assert site.slurmslice("run", *args, "--shell", text, cwd=workplace).returncode == 1
    record = site.status(workplace, "p")
    assert record["counts"] == {"COMPLETED": 6, "FAILED": 1, "CHECK_FAILED": 1}
    assert [s["state"] for s in record["slices"]][6] == "CHECK_FAILED"
    assert set(marks(workplace).values()) == {1}


def test_a_full_disk_for_the_tasks_log_fails_no_slice(site: Site, workplace: Path) -> None:
    """Its own log shows that it ran, and Slurm that it is done."""
    args = ["--name", "f", "-a", "0-2", "-t", "1", "--setup", "exec {_out}>/dev/full"]
    ran = site.slurmslice("run", *args, "--interval", "1", "--", "true", "{}", cwd=workplace)
    assert ran.returncode == 0, ran.stderr
    assert site.status(workplace, "f")["counts"] == {"COMPLETED": 3}
    log = workplace / "slurmslice-runs/f/submissions/001/tasks/0.log"
    assert "slurmslice start" not in log.read_text()


HUNGRY = "import sys, time; block = bytearray(int(sys.argv[1]) << 20); time.sleep(4)"


def test_a_kill_by_the_accounting_plugin_is_out_of_memory(site: Site) -> None:
    """Accounting says FAILED 0:9, with more memory than requested."""
    if site.cluster is None:
        pytest.skip("another way of limiting memory is for a cluster of our own only")
    plugin = ("TaskPlugin=task/none", "JobAcctGatherParams=OverMemoryKill")
    with beside(site, "memory", nodes=1, extra=plugin) as other, empty_folder(other) as directory:
        args = ["--name", "m", "--mem", "100M", "--slices-from", "-", "--interval", "1", "--"]
        ran = other.slurmslice(
            "run", *args, "/usr/bin/python3", "-c", HUNGRY, "{}", cwd=directory, input="10\n300\n"
        )
        assert ran.returncode == 1, ran.stderr
        fine, hungry = other.status(directory, "m")["slices"]
        assert fine["state"] == "COMPLETED"
        assert (hungry["state"], hungry["signal"]) == ("OUT_OF_MEMORY", 9)
        assert "100 MiB" in hungry["reason"]
        told = other.run(
            "sacct", "-Xnpj", hungry["job"], "--format=State,ExitCode", cwd=directory
        ).stdout
        assert told.strip() == "FAILED|0:9|"
