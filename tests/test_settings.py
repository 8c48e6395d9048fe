"""Settings files: the same as typing it, one over the other, and errors that say where."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.cli.run import command as run_command
from slurmslice.cli.settings import known_keys
from slurmslice.errors import BadInput
from slurmslice.settings import Key, Keys, Kind, Setting, Value, chosen, merged
from slurmslice.settings.reading import read
from tests.test_on_this_machine import Here
from tests.test_readme import README

REAL = known_keys()
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
    ("text", "told"),
    [
        ('slcies = "0-9"', ("slcies", "Did you mean slices, above every [table]?")),
        ('mem = "4G"', ("mem is not known", "Did you mean mem, in [sbatch]?")),
        ("max-attempts = 3", ("Did you mean max-attempts, in [policy]?",)),
        ("[sbatch]\nmme = 4", ("[sbatch] mme", "Did you mean mem, in [sbatch]?")),
        ("[sbatch]\nsetup = 'x'", ("Did you mean setup, above every [table]?",)),
        ("[sbatch]\njob-name = 'x'", ("Did you mean job-name, above every [table]?",)),
        ("[policy]\nmax-atempts = 3", ("Did you mean max-attempts, in [policy]?",)),
        ("[profile.big]\nmen = '4G'", ("[profile.big] men", "mem, in [profile.big.sbatch]?")),
        ("[profile.big.sbatch]\nmme = 4", ("[profile.big.sbatch] mme",)),
        ("dry-run = true", ("dry-run is not known",)),
        ("[wholly-other]\nx = 1", ("wholly-other", "slurmslice run --help")),
        ("throttle = true", ("throttle is true; it takes a text or a number",)),
        ("throttle = [1]", ("throttle is a list;",)),
        ("null = 1", ("null is 1; it takes true or false",)),
        ("command = [['x']]", ("command is a list with a list in it; it takes a list of words",)),
        ("command = 5", ("command is 5; it takes a list of words, or a text for the shell",)),
        ('shell = "a\\u0000b"', ("shell is 'a\\x00b'",)),
        ("grid = {a = [true]}", ("grid is a table;",)),
        ('grid = {a = ["1,2", 3]}', ("grid is a table;",)),
        ("sbatch = 1", ("[sbatch] is 1; it takes a table",)),
        ("profile = 'big'", ("profile is 'big'; it takes a table",)),
        ("[profile]\nmem = '4G'", ("profile.mem is '4G'; it takes a table",)),
        ("[sbatch]\nmem = true", ("[sbatch] mem is true; it takes a text or a number",)),
        ("[sbatch]\nmem = '4Q'", ("[sbatch] mem: --mem: '4Q' is not an amount",)),
        ("[sbatch]\nhold = 'x'", ("[sbatch] hold: --hold takes no value",)),
        ("[sbatch]\noutput = 'x'", ("[sbatch] output", "slurmslice logs KEY")),
        ("slices = '1'\narray = '2'", ("array says what slices says",)),
        ("shell = 'a'\ncommand = 'b'", ("command says what shell says",)),
        ("[sbatch]\nmem = 1\n\n[sbatch", (f"{FILE}, line 4: ",)),
        ("slices = [\n1,\n", (f"{FILE}, line 2: ",)),
        (f"throttle = {'[' * 3000}{']' * 3000}", ("too deep to be read",)),
        ("[sbatch]\nmem = 4G", (f"{FILE}, line 2: ", 'mem = "4G"')),
    ],
)
def test_what_cannot_stand_is_told(text: str, told: tuple[str, ...]) -> None:
    """The file, the key with its table, or the line; and what would be right."""
    with pytest.raises(BadInput) as why:
        said(text)
    for part in (FILE, *told):
        assert part in str(why.value)


def test_bytes_that_are_no_text_are_told() -> None:
    """The line of the first byte that is not UTF-8; a byte order mark is none."""
    with pytest.raises(BadInput, match=r"line 2: this is not UTF-8"):
        read(b"slices = '1'\nname = '\xff'\n", FILE, KEYS)
    assert read(b"\xef\xbb\xbfslices = '1'\n", FILE, KEYS).always


def test_a_profile_that_is_not_there_is_told() -> None:
    """With the nearest, and with where sbatch's option of that name can be said."""
    with pytest.raises(BadInput, match=r"no \[profile.bgi\] in .*Did you mean big\?.*\[sbatch\]"):
        said("[profile.big]\nthrottle = 1\n[profile.small]", "bgi")


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
    assert "From slurmslice.toml: slices, command, engine" in done.stderr
    assert "qos" in done.stderr.partition("config.toml: ")[2]
    assert here.counts("echo") == {"COMPLETED": 4}
    assert "3" in here("logs", "3").stdout
    again = here("run")
    assert again.returncode == 0
    assert "going on with" in again.stderr


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
    assert "slices" not in done.stderr.partition("From slurmslice.toml")[2].splitlines()[0]
    assert "--profile describes a new one" in here("run", "x", "--profile", "y").stderr


@pytest.mark.parametrize("verb", ["run", "render"])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("throttle = 'many'", ("slurmslice.toml: throttle: 'many'",)),
        ("throttle = 2.5", ("slurmslice.toml: throttle: '2.5'",)),
        ("engine = 'slrum'", ("slurmslice.toml: engine: ", "'local'")),
        ("slcies = '0-3'", ("slurmslice.toml: slcies", "Did you mean slices")),
        (f"throttle = {'[' * 3000}{']' * 3000}", ("too deep to be read",)),
        ("[sbatch]\nmem = 4G", ("slurmslice.toml, line 2",)),
        ("[profile.other]\nmme = 1", ("[profile.other] mme",)),
        ("slices = '0-1'", ("There is no command",)),
    ],
)
def test_bad_settings_are_told_and_nothing_is_made(
    here: Here, verb: str, text: str, told: tuple[str, ...]
) -> None:
    """Exit 2 with the file and the key; profiles that are not chosen are read too."""
    write(here, text)
    done = here(verb)
    assert done.returncode == 2, done.stderr
    for part in told:
        assert part in done.stderr
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
    assert done.returncode == 2
    assert "no [profile.task] in a settings file" in done.stderr


def test_the_readme_shows_settings_that_are_valid(here: Here) -> None:
    """The example says a whole run, alone and with its profile."""
    shown = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert shown
    write(here, shown[1])
    for profile, told in (((), "99 slices"), (("--profile", "try"), "2 slices")):
        done = here("run", "--engine", "local", "--dry-run", *profile)
        assert done.returncode == 0, done.stderr
        assert told in done.stderr
