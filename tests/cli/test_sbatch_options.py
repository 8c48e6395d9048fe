"""sbatch's options on the command line: known ones, the cluster's own, and any other."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from slurmslice.cli.commands.render import command as render_command
from slurmslice.cli.options.sbatch_options import mark_optional_values
from slurmslice.engines.slurm import SlurmEngine
from slurmslice.errors import BadInputError
from slurmslice.sbatch.resource_request import ResourceRequest
from tests.local.test_local_runs import Here
from tests.recorded import calls, load, program, replay
from tests.support.errors import error_code
from tests.support.requested import a_request

RENDER = ("render", "--print", "--engine", "local", "-a", "0-3")
COMMAND = ("--", "echo", "{}")
PLUGIN = "sbatch-help-plugin"


@pytest.fixture
def here(tmp_path: Path) -> Here:
    """A folder beside which a test puts its own sbatch."""
    directory = Here(tmp_path / "work")
    directory.folder.mkdir()
    (tmp_path / "bin").mkdir()
    directory.env["PATH"] = f"{tmp_path / 'bin'}:/bin"
    return directory


def programs(here: Here) -> Path:
    """The folder of the test's sbatch."""
    return here.folder.parent / "bin"


def options(here: Here, *words: str) -> list[str]:
    """The options in the script that these words make, without slurmslice's own."""
    done = here(*RENDER, *words, *COMMAND)
    assert done.returncode == 0, done.stderr
    ours = ("job-name=", "array=", "output=", "open-mode=")
    lines = re.findall(r"^#SBATCH --(.*)$", done.stdout, re.MULTILINE)
    return [line for line in lines if not line.startswith(ours)]


# -- names -----------------------------------------------------------------------------------


def test_newer_options_are_known_and_no_sbatch_is_asked(here: Here) -> None:
    """Our table has options that simple_slurm lacks."""
    replay(programs(here), "sbatch", PLUGIN)
    typed = ("--stepmgr", "--segment", "4", "--oom-kill-step=1", "--resv-ports")
    assert set(options(here, *typed)) == {"stepmgr", "segment=4", "oom-kill-step=1", "resv-ports"}
    assert calls(programs(here), "sbatch") == []


@pytest.mark.parametrize(
    "typed",
    [("--test-image", "a b", "--test-writable"), ("--test-writable", "--test-image=a b"),
     ("--test-writable", "--mem", "1G", "--test-image", "a b")],
)  # fmt: skip
def test_a_plugins_options_are_found_in_sbatchs_own_help(here: Here, typed: tuple[str]) -> None:
    """sbatch is called once, because a name is unknown. The options are in the script."""
    replay(programs(here), "sbatch", PLUGIN)
    assert {'test-image="a b"', "test-writable"} <= set(options(here, *typed))
    assert calls(programs(here), "sbatch") == ["--help"]


def test_a_plugins_option_may_name_columns(here: Here) -> None:
    """Each slice can request its own image."""
    replay(programs(here), "sbatch", PLUGIN)
    (here.folder / "t.csv").write_text("name,image\na,one\nb,two\n")
    words = ("--table", "t.csv", "--key", "name", "--test-image", "{image}.sqsh")
    done = here("render", "--print", "--engine", "local", *words, "--", "echo", "{name}")
    assert done.returncode == 0, done.stderr
    assert "#SBATCH --test-image=one.sqsh\n" in done.stdout


def test_settings_files_may_hold_options_of_a_plugin(here: Here) -> None:
    """The keys have the same names; true means a flag without a value."""
    replay(programs(here), "sbatch", PLUGIN)
    text = '[sbatch]\ntest-image = "a"\ntest-writable = true\nsegment = 4\n'
    (here.folder / "slurmslice.toml").write_text(text)
    assert set(options(here)) == {"test-image=a", "test-writable", "segment=4"}
    assert calls(programs(here), "sbatch") == ["--help"]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("--test-imge", "--test-image"),
        ("--partion", "--partition"),
        ("--oom-kil-step", "--oom-kill-step"),
    ],
)
def test_a_misspelt_option_gets_the_nearest(here: Here, typed: str, meant: str) -> None:
    """The name is sbatch's, the cluster's or slurmslice's; the hint names --sbatch."""
    replay(programs(here), "sbatch", PLUGIN)
    done = here(*RENDER, typed, "x", *COMMAND)
    assert done.returncode == 2
    assert meant in done.stderr
    assert "--sbatch NAME=VALUE" in done.stderr


@pytest.mark.parametrize(
    ("words", "is_told"),
    [(("run", "--engine", "local"), False), (("render", "--engine=local"), False),
     (("run", "--engine", "slurm"), True), (("run",), True)],
)  # fmt: skip
def test_a_run_on_this_machine_does_not_need_sbatchs_options(
    here: Here, words: tuple[str, ...], is_told: bool
) -> None:
    """A misspelt option: the complaint of an sbatch that is not needed would mislead."""
    program(programs(here), "sbatch", "echo 'error: no configuration' >&2; exit 1")
    done = here(*words, "-a", "0-3", "--no-such-thing", *COMMAND)
    assert done.returncode == 2
    assert ("no configuration" in done.stderr) == is_told


def test_a_run_of_this_machine_does_not_need_sbatchs_options(here: Here) -> None:
    """The engine of the run that was named counts."""
    assert here("render", "--engine", "local", "-a", "0-3", "--name", "x", *COMMAND).returncode == 0
    program(programs(here), "sbatch", "echo 'error: no configuration' >&2; exit 1")
    for verb in ("run", "submit", "resubmit"):
        done = here(verb, "x", "--no-such-thing")
        assert done.returncode == 2
        assert "no configuration" not in done.stderr


@pytest.mark.parametrize(
    ("settings", "words", "is_told"),
    [
        ('engine = "local"', (), False),
        ('[profile.here]\nengine = "local"', ("--profile", "here"), False),
        ('[profile.here]\nengine = "local"', (), True),
        ('engine = "local"', ("--engine=slurm",), True),
        ('engine = "local"\nno-such-key = 1', (), True),
        ("engine = 3", (), True),
    ],
)
def test_the_engine_of_the_settings_counts(
    here: Here, settings: str, words: tuple[str, ...], is_told: bool
) -> None:
    """Also that of a profile. A typed engine counts more; a file with an error has none."""
    program(programs(here), "sbatch", "echo 'error: no configuration' >&2; exit 1")
    (here.folder / "slurmslice.toml").write_text(settings + "\n")
    done = here("run", "-a", "0-3", *words, "--no-such-thing", *COMMAND)
    assert done.returncode == 2
    assert error_code(done.stderr) == "unknown-option"
    assert ("no configuration" in done.stderr) == is_told


def test_a_misspelt_setting_gets_the_nearest(here: Here) -> None:
    """The cluster's own options are also compared."""
    replay(programs(here), "sbatch", PLUGIN)
    (here.folder / "slurmslice.toml").write_text('[sbatch]\ntest-imge = "a"\n')
    done = here(*RENDER, *COMMAND)
    assert done.returncode == 2
    assert "test-image" in done.stderr


@pytest.mark.parametrize(
    ("body", "reason"),
    [(None, "cannot be started"), ("exit 1", "exit 1"), ("echo garbage", "garbage"),
     ("echo 'sbatch: error: no configuration' >&2; exit 1", "no configuration"),
     ("exec sleep 60", "in time")],
)  # fmt: skip
def test_without_an_answer_the_error_says_so(here: Here, body: str | None, reason: str) -> None:
    """No sbatch, a failure, unreadable output or a time-out: the error says so."""
    if body is None:
        here.env["PATH"] = str(programs(here))
    else:
        program(programs(here), "sbatch", body)
    here.env["SLURMSLICE_ASK_TIMEOUT"] = "0.5"
    done = here("render", "--engine", "slurm", "-a", "0-3", "--test-image", "a", *COMMAND)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "--sbatch NAME=VALUE" in done.stderr


def test_keys_with_a_dash_get_a_hint_of_their_own(here: Here) -> None:
    """``resubmit RUN -7`` and ``--7`` may be keys; the hint has the form with ``--``."""
    for word in ("-7", "--7"):
        done = here("resubmit", "run", word)
        assert done.returncode == 2
        assert f"resubmit run -- {word}" in done.stderr


# -- --sbatch --------------------------------------------------------------------------------


def test_any_option_passes_with_sbatch(here: Here) -> None:
    """It may be unknown, known, or have the name of an own option; sbatch is not called."""
    replay(programs(here), "sbatch", PLUGIN)
    typed = ("container-image=nvcr.io#a:1=2", "profile=task", "zork", "--my_opt=x y", "c=2")
    words = [word for text in typed for word in ("--sbatch", text)]
    assert options(here, "--mem", "1G", *words) == [
        "mem=1G", 'container-image="nvcr.io#a:1=2"', "profile=task", "zork", 'my_opt="x y"',
        "cpus-per-task=2",
    ]  # fmt: skip
    assert calls(programs(here), "sbatch") == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *((text, "option-not-allowed") for text in (
            "array=3", "J=x", "output=x", "wrap=x", "W", "test-only", "open-mode=append", "parsable"
        )),
        ("a b=1", "bad-option-name"), ("=1", "bad-option-name"), ("mem=4Q", "bad-memory"),
        ("hold=1", "unexpected-value"), ("zork=a\nb", "control-character"),
    ],
)  # fmt: skip
def test_options_that_slurmslice_sets_itself_are_refused(here: Here, text: str, code: str) -> None:
    """A text that would become several options in the script is refused too."""
    done = here(*RENDER, "--sbatch", text, *COMMAND)
    assert done.returncode == 2
    assert f"[{code}]" in done.stderr


@pytest.mark.parametrize("verb", ["submit", "resubmit", "run"])
def test_a_change_passes_too(here: Here, verb: str) -> None:
    """Verbs that change a request accept ``--sbatch``, and refuse the same options."""
    made = here("render", "--engine", "local", "-a", "0-1", "--name", "r", "--", "false")
    assert made.returncode == 0, made.stderr
    refused = here(verb, "r", "--sbatch", "output=x")
    assert refused.returncode == 2
    assert "[option-not-allowed]" in refused.stderr
    done = here(verb, "r", "--dry-run", "--sbatch", "container-image=x", "--sbatch", "mem=1M")
    assert done.returncode == (5 if verb == "resubmit" else 0), done.stderr  # nothing failed
    twice = here(verb, "r", "--dry-run", "--mem", "2M", "--sbatch", "mem=1M")
    assert "[options-conflict]" in twice.stderr


# -- the same option twice -------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed",
    [
        ("--sbatch", "mem=100M", "--mem", "200M"), ("--mem", "200M", "--sbatch", "mem=100M"),
        ("-c", "1", "--sbatch", "cpus-per-task=2"), ("--cpus-per-task=1", "--sbatch", "c=2"),
        ("--exclusive=user", "--sbatch", "exclusive"), ("--requeue", "--no-requeue"),
        ("--test-image=a", "--sbatch", "test-image=b"), ("--requeue", "--sbatch", "no-requeue"),
        ("--exclusive", "-s"), ("--mem=1G", "--sbatch", "mem-per-cpu=1G"), ("--throttle", "2"),
    ],
)  # fmt: skip
def test_two_values_of_one_option_are_refused(here: Here, typed: tuple[str, ...]) -> None:
    """No order of the words, and no spelling of the option, drops a value silently."""
    replay(programs(here), "sbatch", PLUGIN)
    done = here(*RENDER[:-1], "0-3%3", *typed, *COMMAND)
    assert done.returncode == 2, done.stdout
    assert "[options-conflict]" in done.stderr


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (("--mem=1G", "--sbatch", "mem=1G"), "mem=1G"), (("--mem=1G", "--mem=2G"), "mem=2G"),
        (("--sbatch", "mem=1G", "--sbatch", "mem=2G"), "mem=2G"),
        (("--contiguous", "--sbatch", "contiguous"), "contiguous"),
        (("--mail-type=END", "--mail-type", "FAIL"), "mail-type=END,FAIL"),
        (("--mail-type=END", "--sbatch", "mail-type=FAIL"), "mail-type=END,FAIL"),
        (("--sbatch", "signal=B:USR1", "--sbatch", "signal=USR2"), "signal=B:USR2"),
    ],
)  # fmt: skip
def test_equal_or_repeated_values_are_one(here: Here, typed: tuple[str, ...], kept: str) -> None:
    """A value that is given twice is no conflict. It has the value that sbatch would give it."""
    assert options(here, *typed, "--throttle", "2") == [kept]


def test_a_typed_option_replaces_its_opposite_in_a_settings_file(here: Here) -> None:
    """It is no conflict, because the sources have an order."""
    (here.folder / "slurmslice.toml").write_text("throttle = 3\n[sbatch]\nno-requeue = true\n")
    done = here(*RENDER[:-1], "0-3%2", "--sbatch", "requeue", *COMMAND)
    assert done.returncode == 0, done.stderr
    assert "--no-requeue" not in done.stdout
    assert "--array=0-3%2\n" in done.stdout


# -- bare options ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "spelt"),
    [
        (["--exclusive", "run"], ["--exclusive=", "run"]),
        (["--nice=-5", "run"], ["--nice=-5", "run"]),
        (["-k", "run"], ["--no-kill=", "run"]),
        (["-Hk", "run"], ["-H", "--no-kill=", "run"]),
        (["-koff", "-kH"], ["-koff", "-kH"]),
        (["--comment", "--exclusive"], ["--comment", "--exclusive"]),
        (["-p", "-k", "-k"], ["-p", "-k", "--no-kill="]),
        (["-pk", "-k"], ["-pk", "--no-kill="]),
        (["--comment=--x", "--requeue"], ["--comment=--x", "--requeue="]),
        (["-", "--zork", "-é"], ["-", "--zork", "-é"]),
    ],
)
def test_an_optional_value_follows_an_equals_sign(typed: list[str], spelt: list[str]) -> None:
    """In ``--exclusive run``, ``run`` is a word of its own, as for sbatch."""
    context = click.Context(render_command)
    assert mark_optional_values(render_command.get_params(context), typed) == spelt


def test_a_bare_option_leaves_the_next_word_alone(here: Here) -> None:
    """``submit --exclusive RUN`` finds the run."""
    here("render", "--engine", "local", "-a", "0-1", "--name", "r", "--", "true")
    done = here("submit", "--dry-run", "--exclusive", "r")
    assert done.returncode == 0, done.stderr


# -- releases --------------------------------------------------------------------------------


@pytest.fixture
def slurm(tmp_path: Path) -> SlurmEngine:
    """An engine on the recorded cluster of 22.05."""
    replay(tmp_path, "scontrol", "config")
    program(tmp_path, "sinfo", "exit 1")
    return SlurmEngine({"PATH": f"{tmp_path}:/usr/bin:/bin"})


def asks(*pairs: tuple[str, str]) -> ResourceRequest:
    """A request with these options."""
    return a_request(options=pairs)


def test_an_option_that_the_release_lacks_is_refused(slurm: SlurmEngine, tmp_path: Path) -> None:
    """The error has name and release, and comes before anything is made or submitted."""
    replay(tmp_path, "sbatch", "sbatch-help")
    with pytest.raises(BadInputError) as caught:
        slurm.limits(asks(("mem", "1G"), ("segment", "4")))
    assert (caught.value.code, caught.value.fields["option"]) == (
        "option-not-in-release",
        "segment",
    )
    assert "22.05" in caught.value.message


def test_an_option_that_sbatch_lists_is_never_refused(slurm: SlurmEngine, tmp_path: Path) -> None:
    """A plugin or a patched sbatch may have an option of a later release."""
    text = load("sbatch-help").text + "      --segment=N   a plugin's\n"
    (tmp_path / "help").write_text(text)
    program(tmp_path, "sbatch", f"cat {tmp_path}/help")
    assert slurm.limits(asks(("segment", "4"))).impossible_reason == ""
    assert calls(tmp_path, "sbatch") == ["--help"]


def test_a_value_that_the_release_lacks_is_refused(slurm: SlurmEngine, tmp_path: Path) -> None:
    """Help lists ``--requeue``, but 22.05 takes no value with it."""
    replay(tmp_path, "sbatch", "sbatch-help")
    with pytest.raises(BadInputError) as caught:
        slurm.limits(asks(("requeue", "expedite")))
    assert caught.value.code == "option-not-in-release"
    slurm.limits(asks(("requeue", "")))


def test_known_options_need_no_call_of_sbatch(slurm: SlurmEngine, tmp_path: Path) -> None:
    """sbatch is not called for known options and for those of a plugin."""
    slurm.limits(asks(("mem", "1G"), ("prefer", "a"), ("container-image", "x")))
    assert calls(tmp_path, "sbatch") == []
