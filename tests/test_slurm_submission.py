"""sbatch: what it is told, and what became of it. Each doubt must stay a doubt (promise 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.engines import Order, Receipt
from slurmslice.engines.slurm import SlurmEngine, environment
from slurmslice.engines.slurm.outcomes import outcome
from slurmslice.errors import BadInput, EngineError, Full, Refused, TooMany, Unsure
from slurmslice.process import Finished
from slurmslice.ranges import parse_array
from slurmslice.resources import ResourceRequest
from tests.recorded import calls, load, program, replay, seen_environment
from tests.requested import a_request


def an_order(folder: Path, *overrides: tuple[str, str], **more: Any) -> Order:
    """An order for a script that need not exist."""
    fields: dict[str, Any] = {
        "number": 1, "job_name": "demo-k7m2", "token": "k7m2", "script": folder / "sc ript.sh",
        "folder": folder, "array": parse_array("0-3"), "overrides": ResourceRequest(overrides),
        "arguments": (), "request": a_request(),
    }  # fmt: skip
    return Order(**{**fields, **more})


def an_engine(folder: Path, **environ: str) -> SlurmEngine:
    """An engine that finds its programs in a folder."""
    return SlurmEngine({"PATH": f"{folder}:/usr/bin:/bin", **environ})


# -- refusals, as recorded -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("sbatch-partition", "sinfo -s"),
        ("sbatch-account", "sacctmgr"),
        ("sbatch-qos", "sacctmgr"),
        ("sbatch-feature", "sinfo"),
        ("sbatch-array", "MaxArraySize"),
        ("sbatch-memory", "slurmslice doctor"),
        ("sbatch-node", "sinfo -N"),
        ("sbatch-time", "slurmslice doctor"),
        ("sbatch-option", ""),
        ("sbatch-mem-rivals", ""),
        ("sbatch-name-long", ""),
        ("sbatch-qos-size", ""),  # the same text as a submit limit's, but a size: for good
    ],
)
def test_refused_for_good_with_slurms_own_words(tmp_path: Path, name: str, hint: str) -> None:
    """A refusal that trying again does not change is told as Slurm tells it."""
    replay(tmp_path, "sbatch", name)
    with pytest.raises(Refused) as caught:
        an_engine(tmp_path).submit(an_order(tmp_path))
    assert load(name).done.stderr.strip() in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "name",
    ["sbatch-assoc-limit", "sbatch-qos-limit", "sbatch-controller-down", "sbatch-munge-down"],
)
def test_refused_for_now(tmp_path: Path, name: str) -> None:
    """A submit limit, or a controller that was not reached: surely not taken, later perhaps."""
    replay(tmp_path, "sbatch", name)
    with pytest.raises(Full) as caught:
        an_engine(tmp_path).submit(an_order(tmp_path))
    assert load(name).done.stderr.strip() in caught.value.message


def test_a_lost_answer_is_a_doubt(tmp_path: Path) -> None:
    """This very submission was taken: its job ran once the controller went on (recorded)."""
    replay(tmp_path, "sbatch", "sbatch-socket-timeout")
    with pytest.raises(Unsure, match="Socket timed out"):
        an_engine(tmp_path).submit(an_order(tmp_path))


# -- outcomes that a real one does not give on demand ----------------------------------------

FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (f"echo '{FAILED}Zero Bytes were transmitted or received' >&2; exit 1", Unsure),
        (
            f"echo '{FAILED}Unable to contact slurm controller (receive failure)' >&2; exit 1",
            Unsure,
        ),
        (f"echo '{FAILED}Unable to contact slurm controller (send failure)' >&2; exit 1", Unsure),
        (f"echo '{FAILED}Unexpected message received' >&2; exit 1", Unsure),
        (f"echo '{FAILED}Unable to contact slurm controller' >&2; exit 1", Full),
        (f"echo '{FAILED}Resource temporarily unavailable' >&2; exit 1", TooMany),
        (f"echo '{FAILED}System submissions disabled' >&2; exit 1", Full),
        (f"echo '{FAILED}Unspecified error' >&2; exit 1", Refused),
        ("echo 'sbatch: error: no project given'; exit 1", Refused),
        ("echo 'your quota is used up' >&2; exit 1", Unsure),
        ("exit 1", Unsure),
        ("exit 0", Unsure),
        ("echo; exit 0", Unsure),
        ("echo 'job 12'; exit 0", Unsure),
        ("echo -12; exit 0", Unsure),
        ("echo '12 13'; exit 0", Unsure),
        ("echo 12; echo 13; exit 0", Unsure),
        ("echo 12; exit 1", Unsure),
        (f"echo 12; echo '{FAILED}Unspecified error' >&2; exit 1", Unsure),
        ("kill -9 $$", Unsure),
        ("kill -TERM $$", Unsure),
        (f"echo '{FAILED}Invalid qos specification' >&2; kill -9 $$", Unsure),
    ],
)
def test_what_cannot_be_known_stays_a_doubt(
    tmp_path: Path, body: str, error: type[EngineError]
) -> None:
    """Only a refusal that Slurm itself speaks is one; all else may have been taken."""
    program(tmp_path, "sbatch", body)
    with pytest.raises(error) as caught:
        an_engine(tmp_path).submit(an_order(tmp_path))
    assert type(caught.value) is error


def test_a_time_out_is_a_doubt(tmp_path: Path) -> None:
    """An sbatch that took too long may have been heard, even if it had said something."""
    program(tmp_path, "sbatch", "echo 12; sleep 30")
    engine = an_engine(tmp_path, SLURMSLICE_SBATCH_TIMEOUT="0.3")
    with pytest.raises(Unsure, match="in time"):
        engine.submit(an_order(tmp_path))


def test_a_time_out_that_is_no_number_is_told(tmp_path: Path) -> None:
    """A setting that cannot be read is named before anything is sent."""
    program(tmp_path, "sbatch", "echo 12")
    with pytest.raises(BadInput, match="SLURMSLICE_SBATCH_TIMEOUT"):
        an_engine(tmp_path, SLURMSLICE_SBATCH_TIMEOUT="soon").submit(an_order(tmp_path))
    assert calls(tmp_path, "sbatch") == []


def test_no_sbatch_is_surely_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login node without Slurm's commands on PATH: told, and no doubt is left behind."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Full, match="sbatch cannot be started") as caught:
        SlurmEngine({"PATH": str(tmp_path)}).submit(an_order(tmp_path))
    assert "slurm module" in caught.value.hint


@pytest.mark.parametrize(
    ("body", "receipt"),
    [
        ("echo 419", Receipt("419")),
        ("echo '419;halo'", Receipt("419", "halo")),
        ("echo Welcome to halo; echo '419;halo'; echo; echo bye",
         Receipt("419", "halo", ("Welcome to halo", "bye"))),
        ("echo 419; echo 'sbatch: lua: cheap today' >&2",
         Receipt("419", None, ("sbatch: lua: cheap today",))),
        ("echo 'Submitted batch job 419 on cluster halo'", Receipt("419", "halo")),
        ("echo 419; echo 419", Receipt("419")),
        ("printf '\\xff\\n419\\n'", Receipt("419", None, ("\udcff",))),
    ],
)  # fmt: skip
def test_a_job_id_is_taken_from_its_own_line(tmp_path: Path, body: str, receipt: Receipt) -> None:
    """A site's wrapper prints lines around it; they are shown, not misread."""
    program(tmp_path, "sbatch", body)
    assert an_engine(tmp_path).submit(an_order(tmp_path)) == receipt


def test_the_recorded_success() -> None:
    """``--parsable`` alone."""
    assert outcome(load("sbatch-ok").done) == Receipt("38")


@given(
    st.one_of(st.none(), st.integers(-64, 255)),
    st.text(st.sampled_from("0123;\nsbatch: erovd")),
    st.text(),
    st.booleans(),
)
def test_any_answer_is_an_outcome(
    code: int | None, stdout: str, stderr: str, missing: bool
) -> None:
    """Whatever sbatch does, one of four things became of it."""
    done = Finished(("sbatch",), None if missing else code, stdout, stderr, missing)
    try:
        receipt = outcome(done)
    except (Refused, Full, Unsure):
        return
    assert receipt.job.isdecimal()
    assert code == 0


# -- what it is told -------------------------------------------------------------------------


def test_the_first_submission_is_the_script_alone(tmp_path: Path) -> None:
    """``sbatch --parsable script.sh``: the script says everything (promise 7)."""
    program(tmp_path, "sbatch", 'echo 1; printf "%s|" "$@" >&2')
    receipt = an_engine(tmp_path).submit(an_order(tmp_path))
    assert receipt.notes == (f"--parsable|{tmp_path}/sc ript.sh|",)


def test_a_later_one_adds_only_what_differs(tmp_path: Path) -> None:
    """Options as words of their own, whatever they hold; an empty value stays behind its ``=``."""
    program(tmp_path, "sbatch", 'echo 1; printf "%s|" "$@" >&2')
    overrides = (("array", "3,17"), ("comment", ""), ("job-name", "a $(x) `y` ;b"), ("hold", ""))
    order = an_order(tmp_path, *overrides, arguments=("002",))
    assert an_engine(tmp_path).submit(order).notes == (
        "--parsable|--array=3,17|--comment=|--job-name=a $(x) `y` ;b|--hold|"
        f"{tmp_path}/sc ript.sh|002|",
    )


def test_variables_that_outrank_the_script_are_dropped_and_told(tmp_path: Path) -> None:
    """SBATCH_* of options in force, and what a surrounding job left; the rest is the person's."""
    program(tmp_path, "sbatch", "echo 1")
    mine = {"SBATCH_ACCOUNT": "mine", "SLURM_CONF": "/etc/s.conf", "SLURM_CLUSTERS": "halo",
            "LC_ALL": "de_DE.UTF-8", "HOME": "/home/me"}  # fmt: skip
    others = {"SBATCH_ARRAY_INX": "7-8", "SBATCH_PARTITION": "x", "SBATCH_TIMELIMIT": "1",
              "SBATCH_MEM_PER_NODE": "1", "SBATCH_EXCLUSIVE": "user",
              "SLURM_JOB_ID": "5", "SLURM_MEM_PER_NODE": "9"}  # fmt: skip
    request = a_request(
        options=(("partition", "main"), ("mem-per-cpu", "1G"), ("oversubscribe", ""))
    )
    engine = an_engine(tmp_path, **mine, **others)
    receipt = engine.submit(an_order(tmp_path, request=request))
    seen = seen_environment(tmp_path, "sbatch")
    assert mine.items() <= seen.items()
    assert not others.keys() & seen.keys()
    assert "SLURM_TIME_FORMAT" not in seen  # the job would inherit it
    told = "\n".join(receipt.notes)
    assert "SBATCH_ARRAY_INX, SBATCH_EXCLUSIVE, SBATCH_MEM_PER_NODE" in told
    assert "2 SLURM_ variables" in told
    assert "ACCOUNT" not in told


def test_an_account_in_the_script_outranks_the_environment() -> None:
    """The reviewed script is what runs."""
    kept, dropped = environment.for_sbatch({"SBATCH_ACCOUNT": "other"}, ["account"])
    assert (kept, dropped) == ({}, ("SBATCH_ACCOUNT",))


def test_nothing_dropped_nothing_told() -> None:
    """No note where there is nothing to say."""
    assert environment.told(environment.for_sbatch({"HOME": "/"}, ["mem"])[1]) == ()


def test_questions_get_times_as_numbers_and_nothing_cut() -> None:
    """Users' own formats are dropped; times are epoch seconds, expressions whole."""
    mine = {"SACCT_FORMAT": "x", "SQUEUE_FORMAT2": "x", "SINFO_SORT": "x", "SLURM_BITSTR_LEN": "9",
            "SLURM_TIME_FORMAT": "relative", "SLURM_EXIT_ERROR": "0", "LC_ALL": "fr_FR",
            "SLURM_CONF": "/s.conf", "SLURM_JWT": "t", "HOME": "/h",
            "SLURMSLICE_RUNS": "/r"}  # fmt: skip
    assert environment.for_questions(mine) == {
        "SLURM_CONF": "/s.conf", "SLURM_JWT": "t", "HOME": "/h", "SLURMSLICE_RUNS": "/r",
        "LC_ALL": "C", "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0",
    }  # fmt: skip
