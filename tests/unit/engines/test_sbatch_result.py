"""sbatch: its command line, its environment and its results; no guess about them (promise 4)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.engines.protocol import SubmitRequest, SubmitResult
from slurmslice.engines.slurm import SlurmEngine, environment
from slurmslice.engines.slurm.sbatch_result import parse_sbatch_result
from slurmslice.errors import (
    BadInputError,
    EngineError,
    SubmissionRejectedError,
    SubmissionUnclearError,
    SubmissionUnknownError,
    SubmitLimitError,
    TooManyTasksError,
)
from slurmslice.notes import Note
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.system.process import ProgramResult
from tests.recorded import calls, load, program, replay, seen_environment
from tests.support.errors import raises_error
from tests.support.requested import a_request


def an_order(folder: Path, *overrides: tuple[str, str], **more: Any) -> SubmitRequest:
    """Make an order for a script that need not exist."""
    fields: dict[str, Any] = {
        "number": 1, "job_name": "demo-k7m2", "token": "k7m2", "script": folder / "sc ript.sh",
        "folder": folder, "array": parse_array("0-3"), "overrides": ResourceRequest(overrides),
        "arguments": (), "request": a_request(),
    }  # fmt: skip
    return SubmitRequest(**{**fields, **more})


def an_engine(folder: Path, **environ: str) -> SlurmEngine:
    """Make an engine that finds its programs in a folder."""
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
        ("sbatch-qos-size", ""),  # like a submit limit, but a size limit: final
    ],
)
def test_final_refusals_hold_slurms_text(tmp_path: Path, name: str, hint: str) -> None:
    """A final refusal holds Slurm's text and a hint."""
    replay(tmp_path, "sbatch", name)
    said = load(name).done.stderr.strip()
    with raises_error(SubmissionRejectedError, "submission-rejected", said=said) as caught:
        an_engine(tmp_path).submit(an_order(tmp_path))
    assert hint in caught.value.hint
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("environ", "options", "named"),
    [
        ({"SBATCH_PARTITION": "no such"}, (), ["SBATCH_PARTITION"]),
        ({"SBATCH_QOS": "x", "SBATCH_ACCOUNT": "y"}, (), ["SBATCH_ACCOUNT", "SBATCH_QOS"]),
        ({"SBATCH_PARTITION": "x"}, (("partition", "main"),), []),  # the request outranks it
        ({"SBATCH_TIMELIMIT": "5", "SLURM_JOB_ID": "1"}, (), ["SBATCH_TIMELIMIT"]),
        ({"SBATCH_TIMELIMIT": "5"}, (("time", "9"),), []),
        ({"SBATCH_OUTPUT": "x", "SBATCH_WAIT": ""}, (), []),  # not passed on
        ({}, (), []),
    ],
)
def test_variables_that_decide_are_named_in_a_refusal(
    tmp_path: Path, environ: dict[str, str], options: tuple[tuple[str, str], ...], named: list[str]
) -> None:
    """A variable of a forgotten ~/.bashrc may be the cause; Slurm's text does not name it."""
    replay(tmp_path, "sbatch", "sbatch-partition")
    engine, order = an_engine(tmp_path, **environ), an_order(tmp_path, *options)
    for action in (engine.submit, engine.test_submission):
        with raises_error(SubmissionRejectedError, "submission-rejected") as caught:
            action(order)
        assert caught.value.fields.get("variables", []) == named
        assert all(f"{name}=" in caught.value.hint for name in named)
        assert "SBATCH_" not in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "Batch job submission failed: Job dependency problem",
        "Job dependency can't be resolved",
        "Invalid --dependency specification: afterok:x",
    ],
)
def test_a_refused_dependency_can_be_dropped(tmp_path: Path, text: str) -> None:
    """Slurm refuses a dependency on an unknown job; the suggestion can be typed as it is."""
    program(tmp_path, "sbatch", f'echo "sbatch: error: {text}" >&2; exit 1')
    engine = an_engine(tmp_path)
    with raises_error(SubmissionRejectedError, "submission-rejected") as caught:
        engine.submit(an_order(tmp_path))
    suggestion = engine.suggest_change(caught.value.message)
    assert suggestion == engine.suggest_change("DependencyNeverSatisfied") == "-d none"
    assert suggestion in caught.value.hint


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("sbatch-assoc-limit", "too-many-tasks"),
        ("sbatch-qos-limit", "too-many-tasks"),
        ("sbatch-controller-down", "slurm-unavailable"),
        ("sbatch-munge-down", "slurm-unavailable"),
    ],
)
def test_temporary_refusals(tmp_path: Path, name: str, code: str) -> None:
    """A submit limit or an unreachable controller: certainly not submitted, maybe later."""
    replay(tmp_path, "sbatch", name)
    with raises_error(SubmitLimitError, code, said=load(name).done.stderr.strip()):
        an_engine(tmp_path).submit(an_order(tmp_path))


def test_a_lost_answer_is_unknown(tmp_path: Path) -> None:
    """This submission was accepted: its job ran after the controller resumed (recorded)."""
    replay(tmp_path, "sbatch", "sbatch-socket-timeout")
    with raises_error(SubmissionUnknownError, "submission-unknown"):
        an_engine(tmp_path).submit(an_order(tmp_path))


# -- results that a real sbatch does not give on demand --------------------------------------

FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            f"echo '{FAILED}Zero Bytes were transmitted or received' >&2; exit 1",
            SubmissionUnknownError,
        ),
        (
            f"echo '{FAILED}Unable to contact slurm controller (receive failure)' >&2; exit 1",
            SubmissionUnknownError,
        ),
        (
            f"echo '{FAILED}Unable to contact slurm controller (send failure)' >&2; exit 1",
            SubmissionUnknownError,
        ),
        (f"echo '{FAILED}Unexpected message received' >&2; exit 1", SubmissionUnknownError),
        (f"echo '{FAILED}Unable to contact slurm controller' >&2; exit 1", SubmitLimitError),
        (f"echo '{FAILED}Resource temporarily unavailable' >&2; exit 1", TooManyTasksError),
        (f"echo '{FAILED}System submissions disabled' >&2; exit 1", SubmitLimitError),
        (f"echo '{FAILED}Unspecified error' >&2; exit 1", SubmissionRejectedError),
        ("echo 'sbatch: error: no project given'; exit 1", SubmissionRejectedError),
        ("echo 'your quota is used up' >&2; exit 1", SubmissionUnclearError),
        ("exit 1", SubmissionUnclearError),
        ("exit 0", SubmissionUnclearError),
        ("echo; exit 0", SubmissionUnclearError),
        ("echo 'job 12'; exit 0", SubmissionUnclearError),
        ("echo -12; exit 0", SubmissionUnclearError),
        ("echo '12 13'; exit 0", SubmissionUnclearError),
        ("echo 12; echo 13; exit 0", SubmissionUnknownError),
        ("echo 12; exit 1", SubmissionUnknownError),
        (f"echo 12; echo '{FAILED}Unspecified error' >&2; exit 1", SubmissionUnknownError),
        ("kill -9 $$", SubmissionUnknownError),
        ("kill -TERM $$", SubmissionUnknownError),
        (f"echo '{FAILED}Invalid qos specification' >&2; kill -9 $$", SubmissionUnknownError),
    ],
)
def test_results_that_are_not_certain_are_unknown(
    tmp_path: Path, body: str, error: type[EngineError]
) -> None:
    """Only a refusal in Slurm's own words is certain; any other result may be a submission."""
    program(tmp_path, "sbatch", body)
    with pytest.raises(error) as caught:
        an_engine(tmp_path).submit(an_order(tmp_path))
    assert type(caught.value) is error


def test_a_timeout_is_unknown(tmp_path: Path) -> None:
    """A slow sbatch may have reached the controller, even if it has printed something."""
    program(tmp_path, "sbatch", "echo 12; sleep 30")
    engine = an_engine(tmp_path, SLURMSLICE_SBATCH_TIMEOUT="0.3")
    with raises_error(SubmissionUnknownError, "submission-unknown"):
        engine.submit(an_order(tmp_path))


def test_an_invalid_timeout_is_reported(tmp_path: Path) -> None:
    """An invalid setting is reported before anything is submitted."""
    program(tmp_path, "sbatch", "echo 12")
    with raises_error(BadInputError, "bad-environment", variable="SLURMSLICE_SBATCH_TIMEOUT"):
        an_engine(tmp_path, SLURMSLICE_SBATCH_TIMEOUT="soon").submit(an_order(tmp_path))
    assert calls(tmp_path, "sbatch") == []


def test_a_missing_sbatch_is_certainly_not_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without Slurm's commands on PATH the error is certain and has a hint."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with raises_error(SubmitLimitError, "slurm-command-not-found", command="sbatch") as caught:
        SlurmEngine({"PATH": str(tmp_path)}).submit(an_order(tmp_path))
    assert "slurm module" in caught.value.hint


@pytest.mark.parametrize(
    ("body", "receipt"),
    [
        ("echo 419", SubmitResult("419")),
        ("echo '419;halo'", SubmitResult("419", "halo")),
        ("echo Welcome to halo; echo '419;halo'; echo; echo bye",
         SubmitResult("419", "halo", (Note("sbatch-said", "Welcome to halo"),
                                 Note("sbatch-said", "bye")))),
        ("echo 419; echo 'sbatch: lua: cheap today' >&2",
         SubmitResult("419", None, (Note("sbatch-said", "sbatch: lua: cheap today"),))),
        ("echo 'Submitted batch job 419 on cluster halo'", SubmitResult("419", "halo")),
        ("echo 419; echo 419", SubmitResult("419")),
        ("printf '\\xff\\n419\\n'", SubmitResult("419", None, (Note("sbatch-said", "\udcff"),))),
    ],
)  # fmt: skip
def test_the_job_id_is_read_from_its_own_line(
    tmp_path: Path, body: str, receipt: SubmitResult
) -> None:
    """Lines printed by a site's wrapper become notes."""
    program(tmp_path, "sbatch", body)
    assert an_engine(tmp_path).submit(an_order(tmp_path)) == receipt


def test_a_recorded_success() -> None:
    """The answer to ``--parsable``."""
    assert parse_sbatch_result(load("sbatch-ok").done) == SubmitResult("38")


@given(
    st.one_of(st.none(), st.integers(-64, 255)),
    st.text(st.sampled_from("0123;\nsbatch: erovd")),
    st.text(),
    st.booleans(),
)
def test_any_answer_is_one_of_four_results(
    code: int | None, stdout: str, stderr: str, missing: bool
) -> None:
    """Each answer is accepted, refused, refused for now, or unknown."""
    done = ProgramResult(("sbatch",), None if missing else code, stdout, stderr, missing)
    try:
        receipt = parse_sbatch_result(done)
    except (SubmissionRejectedError, SubmitLimitError, SubmissionUnknownError):
        return
    assert receipt.job.isdecimal()
    assert code == 0


# -- command line and environment ------------------------------------------------------------


def test_the_first_submission_is_only_the_script(tmp_path: Path) -> None:
    """``sbatch --parsable script.sh``: the script holds all options (promise 7)."""
    program(tmp_path, "sbatch", 'echo 1; printf "%s|" "$@" >&2')
    (note,) = an_engine(tmp_path).submit(an_order(tmp_path)).notes
    assert note.message == f"--parsable|{tmp_path}/sc ript.sh|"


def test_a_later_submission_adds_overrides(tmp_path: Path) -> None:
    """Each option is one word, with any value; an empty value follows its ``=``."""
    program(tmp_path, "sbatch", 'echo 1; printf "%s|" "$@" >&2')
    overrides = (("array", "3,17"), ("comment", ""), ("job-name", "a $(x) `y` ;b"), ("hold", ""))
    order = an_order(tmp_path, *overrides, arguments=("002",))
    (note,) = an_engine(tmp_path).submit(order).notes
    assert note.message == (
        "--parsable|--array=3,17|--comment=|--job-name=a $(x) `y` ;b|--hold|"
        f"{tmp_path}/sc ript.sh|002|"
    )


def test_variables_that_outrank_the_script_are_dropped_and_reported(tmp_path: Path) -> None:
    """SBATCH_* of options in force and SLURM_* of a surrounding job are dropped, others count."""
    program(tmp_path, "sbatch", "echo 1")
    mine = {"SBATCH_ACCOUNT": "mine", "SLURM_CONF": "/etc/s.conf", "SLURM_CLUSTERS": "halo",
            "LC_ALL": "de_DE.UTF-8", "HOME": "/home/me"}  # fmt: skip
    others = {"SBATCH_ARRAY_INX": "7-8", "SBATCH_PARTITION": "x", "SBATCH_TIMELIMIT": "1",
              "SBATCH_MEM_PER_NODE": "1", "SBATCH_EXCLUSIVE": "user", "SBATCH_WAIT": "",
              "SLURM_JOB_ID": "5", "SLURM_MEM_PER_NODE": "9"}  # fmt: skip
    request = a_request(
        options=(
            ("partition", "main"), ("mem-per-cpu", "1G"), ("oversubscribe", ""), ("time", "9"),
        )
    )  # fmt: skip
    engine = an_engine(tmp_path, **mine, **others)
    receipt = engine.submit(an_order(tmp_path, request=request))
    seen = seen_environment(tmp_path, "sbatch")
    assert mine.items() <= seen.items()
    assert not others.keys() & seen.keys()
    assert "SLURM_TIME_FORMAT" not in seen  # the job would inherit it
    # A wrapper's notes, such as bash's warning about a missing locale, do not matter here.
    notes = {note.code: note.fields for note in receipt.notes if note.code != "sbatch-said"}
    assert notes == {
        "variables-used": {"names": ["SBATCH_ACCOUNT"]},
        "variables-dropped": {
            "names": [name for name in sorted(others) if name.startswith("SBATCH_")],
        },
        "job-variables-dropped": {"variables": 2},
    }


def test_an_account_in_the_script_outranks_the_environment() -> None:
    """The reviewed script runs unchanged."""
    kept, dropped = environment.for_sbatch({"SBATCH_ACCOUNT": "other"}, ["account"])
    assert (kept, dropped) == ({}, ("SBATCH_ACCOUNT",))


@pytest.mark.parametrize(
    ("variables", "option", "value"),
    [
        ({"SBATCH_TIMELIMIT": "7"}, "time", "7"),
        ({"SBATCH_MEM_PER_NODE": "7G"}, "mem", "7G"),
        ({"SBATCH_MEM_PER_CPU": "7G"}, "mem-per-cpu", "7G"),
        ({"SBATCH_MEM_PER_GPU": "7G"}, "mem-per-gpu", "7G"),
        ({"SBATCH_QOS": "long"}, "qos", "long"),
        ({"SBATCH_REQUEUE": ""}, None, None),
        ({"SBATCH_EXPORT": "NONE"}, None, None),
        ({"SBATCH_NO_REQUEUE": "yes"}, None, None),
    ],
)
def test_a_variable_counts_if_the_script_does_not_set_its_option(
    variables: dict[str, str], option: str | None, value: str | None
) -> None:
    """Exactly as for ``sbatch script.sh``; the estimate knows the common ones."""
    kept, dropped = environment.for_sbatch(variables, ["cpus-per-task", "comment"])
    assert (kept, dropped) == (variables, ())
    notes = environment.variable_notes(kept, dropped)
    assert [(note.code, note.fields["names"]) for note in notes] == [
        ("variables-used", list(variables))
    ]
    added, has_unknown = environment.added_options(variables, [])
    assert (dict(added), has_unknown) == ({option: value} if option else {}, option is None)


@pytest.mark.parametrize(
    ("variable", "script"),
    [
        ("SBATCH_TIMELIMIT", "time"), ("SBATCH_MEM_PER_NODE", "mem-per-cpu"),
        ("SBATCH_MEM_PER_GPU", "mem"), ("SBATCH_REQUEUE", "no-requeue"),
        ("SBATCH_EXPORT", "export"), ("SBATCH_WAIT", "comment"), ("SBATCH_ARRAY_INX", "comment"),
        ("SBATCH_ERROR", "comment"), ("SBATCH_DEBUG", "comment"), ("SBATCH_CLUSTERS", "comment"),
    ],
)  # fmt: skip
def test_a_variable_of_an_option_in_force_is_dropped(variable: str, script: str) -> None:
    """The script counts, and what slurmslice sets itself cannot be set by a variable."""
    kept, dropped = environment.for_sbatch({variable: "1", "HOME": "/"}, [script])
    assert (kept, dropped) == ({"HOME": "/"}, (variable,))
    (note,) = environment.variable_notes(kept, dropped)
    assert (note.code, note.fields["names"]) == ("variables-dropped", [variable])


def test_a_value_that_sbatch_refuses_is_not_understood() -> None:
    """sbatch itself refuses the variable; the estimate does not fail before it."""
    added, has_unknown = environment.added_options({"SBATCH_TIMELIMIT": "bogus"}, [])
    assert (dict(added), has_unknown) == ({}, True)


def test_no_note_without_variables() -> None:
    """Without dropped variables there is no note; sbatch does not read SBATCH_TIME."""
    kept, dropped = environment.for_sbatch({"HOME": "/", "SBATCH_TIME": "9"}, ["mem"])
    assert environment.variable_notes(kept, dropped) == ()


def test_environment_of_queries() -> None:
    """The user's formats are dropped; times are epoch seconds, lists are complete."""
    mine = {"SACCT_FORMAT": "x", "SQUEUE_FORMAT2": "x", "SINFO_SORT": "x", "SLURM_BITSTR_LEN": "9",
            "SLURM_TIME_FORMAT": "relative", "SLURM_EXIT_ERROR": "0", "LC_ALL": "fr_FR",
            "SLURM_CONF": "/s.conf", "SLURM_JWT": "t", "HOME": "/h",
            "SLURMSLICE_RUNS": "/r"}  # fmt: skip
    assert environment.for_queries(mine) == {
        "SLURM_CONF": "/s.conf", "SLURM_JWT": "t", "HOME": "/h", "SLURMSLICE_RUNS": "/r",
        "LC_ALL": "C", "SLURM_TIME_FORMAT": "%s", "SLURM_BITSTR_LEN": "0",
    }  # fmt: skip
