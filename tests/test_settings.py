"""Settings files: the same as typing it, one over the other, and errors that say where."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.cli.asking import setting_keys
from slurmslice.cli.run import command as run_command
from slurmslice.errors import BadInput
from slurmslice.settings import Key, Keys, Kind, Setting, Value, chosen, merged
from slurmslice.settings.reading import read
from tests.errors import error_code, raises_error
from tests.notes import noted
from tests.test_on_this_machine import Here
from tests.test_readme import README

REAL = setting_keys()
KEYS = Keys(
    {**REAL.top, "grid": Key("grid", Kind.TEXTS), "no-check": Key("no_check", Kind.FLAG)},
    REAL.policy,
)
FILE = "slurmslice.toml"


def said(text: str, profile: str | None = None) -> dict[str, Value]:
    """What one file says, by option."""
    layer = merged(chosen([read(text.encode(), FILE, KEYS)], profile))
    return {option: setting.value for option, setting in layer.items()}


@pytest.mark.parametrize(
    ("text", "option", "value"),
    [
        ('slices = "0-98%10"', "slices", "0-98%10"),
        ('array = "0-98"', "slices", "0-98"),
        ("slices = 7", "slices", "7"),
        ("slices-from = 'keys.txt'", "slices_from", "keys.txt"),
        ("null = true", "null", True),
        ("null = false", "null", False),
        ("throttle = 5", "throttle", "5"),
        ("throttle = false", "throttle", False),
        ('job-name = "x"', "name", "x"),
        ('command = ["./x", "{}", 3, 1e-5, 1_0.50]', "words", ("./x", "{}", "3", "1e-5", "10.50")),
        ("command = 'zcat $SLICE | wc'", "shell", "zcat $SLICE | wc"),
        ("shell = 'true'", "shell", "true"),
        ('grid = ["lr=0.1,0.01", "seed=0-4"]', "grid", ("lr=0.1,0.01", "seed=0-4")),
        ('grid = "lr=0.1"', "grid", ("lr=0.1",)),
        ('[grid]\nlr = [0.1, 1e-5]\nseed = "0-4"', "grid", ("lr=0.1,1e-5", "seed=0-4")),
        ("[policy]\nmax-attempts = 3", "max_attempts", "3"),
        ('[sbatch]\nmem = "4G"', "--mem", "4G"),
        ("[sbatch]\nmem = 4_000", "--mem", "4000"),
        ('[sbatch]\ntime = "1:00:00"', "--time", "1:00:00"),
        ("[sbatch]\ntime = 01:00:00", "--time", "01:00:00"),
        ("[sbatch]\nbegin = 2030-01-01T08:00:00", "--begin", "2030-01-01T08:00:00"),
        ("[sbatch]\ncpus-per-task = 4", "--cpus-per-task", "4"),
        ("[sbatch]\ncpus_per_task = 4", "--cpus-per-task", "4"),
        ("[sbatch]\nexclusive = true", "--exclusive", ""),
        ("[sbatch]\nexclusive = 'user'", "--exclusive", "user"),
        ("[sbatch]\nrequeue = true", "--requeue", ""),
        ("[sbatch]\nmem = false", "--mem", False),
        ("[sbatch]\nprofile = 'task'", "--profile", "task"),
    ],
)
def test_a_value_is_the_text_that_would_be_typed(text: str, option: str, value: Value) -> None:
    """Numbers, dates and flags become what sbatch and the options take; nothing else is said."""
    assert said(text) == {option: value}


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_words_come_out_as_they_went_in(words: list[str]) -> None:
    """A word is data, whatever it holds."""
    toml = json.dumps(words, ensure_ascii=False).replace("\x7f", "\\u007F")
    assert said(f"command = {toml}") == {"words": tuple(words)}


@pytest.mark.parametrize(
    ("text", "key", "nearest", "table"),
    [
        ('slcies = "0-9"', "slcies", "slices", "[table]"),
        ('mem = "4G"', "mem", "mem", "[sbatch]"),
        ("max-attempts = 3", "max-attempts", "max-attempts", "[policy]"),
        ("[sbatch]\nmme = 4", "[sbatch] mme", "mem", "[sbatch]"),
        ("[sbatch]\nsetup = 'x'", "[sbatch] setup", "setup", "[table]"),
        ("[sbatch]\njob-name = 'x'", "[sbatch] job-name", "job-name", "[table]"),
        ("[policy]\nmax-atempts = 3", "[policy] max-atempts", "max-attempts", "[policy]"),
        ("[profile.big]\nmen = '4G'", "[profile.big] men", "mem", "[profile.big.sbatch]"),
        ("[profile.big.sbatch]\nmme = 4", "[profile.big.sbatch] mme", "mem", ""),
        ("dry-run = true", "dry-run", None, ""),
        ("[wholly-other]\nx = 1", "wholly-other", None, "slurmslice run --help"),
    ],
)
def test_a_key_that_is_not_known_is_told(
    text: str, key: str, nearest: str | None, table: str
) -> None:
    """With its table, and with the nearest key and the table in which that one stands."""
    where = {"path": FILE, "where": f"{FILE}: {key}", "nearest": nearest}
    with raises_error(BadInput, "unknown-key", **where) as why:
        said(text)
    assert table in why.value.hint


@pytest.mark.parametrize(
    ("text", "key", "kind"),
    [
        ("throttle = true", "throttle", Kind.TEXT),
        ("throttle = [1]", "throttle", Kind.TEXT),
        ("null = 1", "null", Kind.FLAG),
        ("command = [['x']]", "command", Kind.WORDS),
        ("command = 5", "command", Kind.WORDS),
        ('shell = "a\\u0000b"', "shell", Kind.TEXT),
        ("grid = {a = [true]}", "grid", Kind.TEXTS),
        ('grid = {a = ["1,2", 3]}', "grid", Kind.TEXTS),
        ("sbatch = 1", "[sbatch]", "a table"),
        ("profile = 'big'", "profile", "a table"),
        ("[profile]\nmem = '4G'", "profile.mem", "a table"),
        ("[sbatch]\nmem = true", "[sbatch] mem", Kind.TEXT),
    ],
)
def test_a_value_of_another_kind_is_told(text: str, key: str, kind: str) -> None:
    """With the key and what it takes."""
    with raises_error(BadInput, "bad-value", where=f"{FILE}: {key}", takes=str(kind)):
        said(text)


@pytest.mark.parametrize(
    ("text", "code", "fields"),
    [
        ("[sbatch]\nmem = '4Q'", "bad-memory", {"where": f"{FILE}: [sbatch] mem"}),
        ("[sbatch]\nhold = 'x'", "unexpected-value", {"where": f"{FILE}: [sbatch] hold"}),
        ("[sbatch]\noutput = 'x'", "option-not-allowed", {"where": f"{FILE}: [sbatch] output"}),
        ("slices = '1'\narray = '2'", "duplicate-setting", {"key": "array", "other": "slices"}),
        ("shell = 'a'\ncommand = 'b'", "duplicate-setting", {"key": "command", "other": "shell"}),
        ("[sbatch]\nmem = 1\n\n[sbatch", "bad-settings-file", {"path": FILE, "line": 4}),
        ("slices = [\n1,\n", "bad-settings-file", {"path": FILE, "line": 2}),
        (f"throttle = {'[' * 3000}{']' * 3000}", "bad-settings-file", {"path": FILE}),
        ("[sbatch]\nmem = 4G", "bad-settings-file", {"path": FILE, "line": 2}),
    ],
)
def test_what_cannot_stand_is_told(text: str, code: str, fields: dict[str, object]) -> None:
    """The key with its table, or the line of the file."""
    with raises_error(BadInput, code, **fields) as why:
        said(text)
    assert FILE in why.value.message


def test_bytes_that_are_no_text_are_told() -> None:
    """The line of the first byte that is not UTF-8; a byte order mark is none."""
    with raises_error(BadInput, "not-utf8", path=FILE, line=2):
        read(b"slices = '1'\nname = '\xff'\n", FILE, KEYS)
    assert read(b"\xef\xbb\xbfslices = '1'\n", FILE, KEYS).always


def test_a_profile_that_is_not_there_is_told() -> None:
    """With the nearest, and with where sbatch's option of that name can be said."""
    with raises_error(BadInput, "unknown-profile", profile="bgi", nearest="big") as why:
        said("[profile.big]\nthrottle = 1\n[profile.small]", "bgi")
    assert "[sbatch]" in why.value.hint


def test_every_option_of_run_is_a_key() -> None:
    """What can be typed can be said, under each of its long names, but for this one call's."""
    options = [p for p in run_command.params if isinstance(p, click.Option)]
    flags = {flag[2:] for option in options for flag in option.opts if flag.startswith("--")}
    assert {*REAL.top, *REAL.policy} == flags - {"dry-run", "profile"} | {"command"}
    assert {"max-attempts", "interval"} <= set(REAL.policy)
    assert {"slices", "array", "slices-from", "shell", "setup", "engine"} <= set(REAL.top)


# -- which of several counts -----------------------------------------------------------------

GROUPS = (
    ("slices", "slices_from", "grid"),
    ("words", "shell"),
    ("--mem", "--mem-per-cpu", "--mem-per-gpu"),
    ("--exclusive", "--oversubscribe"),
    ("--requeue", "--no-requeue"),
)
ALONE = ("setup", "name", "throttle", "--time", "max_attempts")
VALUES = st.one_of(st.just(False), st.text("0123456789", min_size=1)).map(Setting)


@given(
    st.sampled_from(GROUPS).flatmap(
        lambda group: st.lists(
            st.dictionaries(st.sampled_from([*group, *ALONE]), VALUES, max_size=4), max_size=5
        )
    )
)
def test_the_highest_layer_that_says_something_counts(layers: list[dict[str, Setting]]) -> None:
    """Of options that exclude one another, what the last layer says that gives one of them.

    A layer that only leaves some out (false) takes these from below and no others.
    """
    result = merged(layers)
    for group in (*GROUPS, *((name,) for name in ALONE)):
        expected: dict[str, Value] = {}
        for layer in layers:
            mine = {name: layer[name].value for name in group if name in layer}
            left_out = {name for name, value in mine.items() if value is False}
            kept = {} if mine.keys() - left_out else expected
            expected = {**kept, **mine}
        assert {name: result[name].value for name in group if name in result} == expected


def test_what_goes_with_other_slices_goes_with_them() -> None:
    """How a list is read goes with it; a throttle in the range outranks one from below."""
    low = {name: Setting("x") for name in ("slices_from", "null", "key", "throttle", "column")}
    assert merged([low, {"slices": Setting("0-9")}]).keys() == {"throttle", "column", "slices"}
    assert "throttle" not in merged([low, {"slices": Setting("0-9%3")}])
    both = {"slices": Setting("0-9%3"), "throttle": Setting("7")}
    assert merged([low, both])["throttle"].value == "7"
    assert "slices_from" in merged([low, {"null": Setting(True)}])


# -- on the command line ---------------------------------------------------------------------

PROJECT = """\
slices = "0-3%2"
command = ["echo", "{}"]
engine = "local"

[sbatch]
mem-per-cpu = "50M"
time = "0:05:00"

[policy]
interval = 0.3

[profile.big]
name = "big"
[profile.big.sbatch]
mem = "80M"
"""


@pytest.fixture
def here(tmp_path: Path) -> Here:
    """A folder whose settings say a whole run, and a user's settings below."""
    place = Here(tmp_path)
    write(place, PROJECT, '[sbatch]\ntime = "9:00:00"\nqos = "low"\n[profile.big]\nthrottle = 1\n')
    return place


def write(place: Here, project: str, user: str = "") -> None:
    """Write the two files."""
    config = place.folder / "config" / "slurmslice" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(user)
    (place.folder / FILE).write_text(project)


def script(place: Here, *args: str) -> set[str]:
    """The directives that ``render`` writes, and the line of the command."""
    done = place("render", "--print", *args)
    assert done.returncode == 0, done.stderr
    ours = ("#SBATCH --output", "#SBATCH --open-mode")
    lines = re.findall(r"^(?:#SBATCH .*|  exec -- .*)$", done.stdout, re.MULTILINE)
    return {re.sub(r"(job-name=\w+)-\w+", r"\1", x) for x in lines if not x.startswith(ours)}


def test_run_alone_does_what_the_folder_says(here: Here) -> None:
    """``slurmslice run`` with nothing else: every slice done; the person is told what counted."""
    done = here("run")
    assert done.returncode == 0, done.stderr
    told = {Path(str(one["file"])).name: one["keys"] for one in noted(done.stderr, "settings-read")}
    assert told["slurmslice.toml"][:3] == ["slices", "command", "engine"]
    assert "[sbatch] qos" in told["config.toml"]
    assert here.counts("echo") == {"COMPLETED": 4}
    assert "3" in here("logs", "3").stdout
    again = here("run")
    assert again.returncode == 0
    assert noted(again.stderr, "run-continued") == [{"run": "echo"}]
    assert here.counts("echo") == {"COMPLETED": 4}


def test_what_is_typed_counts_over_profile_project_and_user(here: Here) -> None:
    """Each layer in its place; of memory, slices and command only the highest that says one."""
    base = {'  exec -- echo "${SLICE}"', "#SBATCH --qos=low", "#SBATCH --time=0:05:00"}
    assert script(here) == {
        *base, "#SBATCH --mem-per-cpu=50M", "#SBATCH --array=0-3%2", "#SBATCH --job-name=echo",
    }  # fmt: skip
    assert script(here, "--profile", "big") == {
        *base, "#SBATCH --mem=80M", "#SBATCH --array=0-3%1", "#SBATCH --job-name=big",
    }  # fmt: skip
    typed = ("--mem-per-gpu", "9M", "-a", "5-6", "-J", "z", "--qos", "high", "--", "true")
    assert script(here, "--profile", "big", *typed) == {
        "#SBATCH --time=0:05:00", "#SBATCH --qos=high", "#SBATCH --mem-per-gpu=9M",
        "#SBATCH --array=5-6%1", "#SBATCH --job-name=z", "  exec -- true",
    }  # fmt: skip


def test_what_is_false_is_left_out(here: Here) -> None:
    """A layer can take away what a lower one says, and a flag said with true is given."""
    (here.folder / "keys").write_bytes(b"a\0b c\0")
    write(
        here,
        "slices-from = 'keys'\nnull = true\n" + PROJECT.partition("\n")[2]
        + "[profile.bare]\nnull = false\nslices = '7'\n[profile.bare.sbatch]\nqos = false\n"
        "exclusive = true\ntime = false\n",
        "[sbatch]\nqos = 'low'\n",
    )  # fmt: skip
    assert {"#SBATCH --array=0-1", "#SBATCH --qos=low"} <= script(here)
    assert script(here, "--profile", "bare") == {
        "  exec -- echo \"${SLICE}\"", "#SBATCH --job-name=echo", "#SBATCH --array=7",
        "#SBATCH --mem-per-cpu=50M", "#SBATCH --exclusive",
    }  # fmt: skip


def test_policy_is_for_a_run_that_is_there_as_well(here: Here) -> None:
    """``run RUN`` takes ``[policy]`` and nothing that describes another run."""
    (here.folder / "twice.sh").write_text("[[ -e $1 ]] || { touch $1; exit 1; }\n")
    assert here("render", "-a", "0-1", "-J", "x", "--", "bash", "twice.sh", "{}").returncode == 0
    write(here, PROJECT + "\n[profile.y]\n", "[policy]\nmax-attempts = 2\n")
    done = here("run", "x")
    assert done.returncode == 0, done.stderr
    assert here.counts("x") == {"COMPLETED": 2}
    told = {Path(str(one["file"])).name: one["keys"] for one in noted(done.stderr, "settings-read")}
    assert told == {
        "config.toml": ["[policy] max-attempts"],
        "slurmslice.toml": ["[policy] interval"],
    }
    done = here("run", "x", "--profile", "y")
    assert (done.returncode, error_code(done.stderr)) == (2, "run-and-new-run")
    assert "--profile" in done.stderr


@pytest.mark.parametrize("verb", ["run", "render"])
@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("throttle = 'many'", "bad-value", "slurmslice.toml: throttle"),
        ("throttle = 2.5", "bad-value", "slurmslice.toml: throttle"),
        ("engine = 'slrum'", "bad-value", "slurmslice.toml: engine"),
        ("slcies = '0-3'", "unknown-key", "slurmslice.toml: slcies"),
        (f"throttle = {'[' * 3000}{']' * 3000}", "bad-settings-file", "slurmslice.toml"),
        ("[sbatch]\nmem = 4G", "bad-settings-file", "slurmslice.toml, line 2"),
        ("[profile.other]\nmme = 1", "unknown-key", "slurmslice.toml: [profile.other] mme"),
        ("slices = '0-1'", "no-command", ""),
    ],
)
def test_bad_settings_are_told_and_nothing_is_made(
    here: Here, verb: str, text: str, code: str, where: str
) -> None:
    """Exit 2 with the file and the key; profiles that are not chosen are read too."""
    write(here, text)
    done = here(verb)
    assert (done.returncode, error_code(done.stderr)) == (2, code), done.stderr
    assert where in done.stderr
    assert not (here.folder / "slurmslice-runs").exists()


def test_files_are_for_run_and_render(here: Here) -> None:
    """No other verb reads them, nor does help: one that is wrong hinders nobody there."""
    assert here("render", "-J", "x").returncode == 0
    write(here, "[[[", "[[[")
    assert here("run", "x").returncode == 2
    for words in (
        ("status", "x"), ("submit", "x", "--dry-run"), ("runs",), ("run", "--help"), (),
        ("doctor", "--engine", "local"), ("cancel", "x", "--dry-run"),
    ):  # fmt: skip
        assert here(*words).returncode == 0, words


def test_a_profile_without_any_file_is_told(tmp_path: Path) -> None:
    """``--profile`` is never ignored."""
    done = Here(tmp_path)("run", "--profile", "task", "-a", "0-1", "--", "true")
    assert (done.returncode, error_code(done.stderr)) == (2, "unknown-profile")
    assert "[profile.task]" in done.stderr


def test_the_readme_shows_settings_that_are_valid(here: Here) -> None:
    """The example says a whole run, alone and with its profile."""
    shown = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert shown
    write(here, shown[1])
    for profile, slices in (((), 99), (("--profile", "try"), 2)):
        done = here("run", "--engine", "local", "--dry-run", *profile)
        assert done.returncode == 0, done.stderr
        assert [one["slices"] for one in noted(done.stderr, "preview")] == [slices]
