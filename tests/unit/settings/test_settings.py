"""Settings files: they equal typed options, override one another, and errors name their source."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.cli.commands.run import command as run_command
from slurmslice.cli.options.new_run_options import setting_keys
from slurmslice.errors import BadInputError
from slurmslice.settings.settings_file import (
    KnownKeys,
    Setting,
    SettingKey,
    SettingValue,
    ValueKind,
    choose_layers,
    merge_layers,
)
from slurmslice.settings.toml_reader import parse_settings
from tests.local.test_local_runs import Here
from tests.support.errors import error_code, raises_error
from tests.support.notes import noted
from tests.support.paths import REPOSITORY

REAL = setting_keys()
KEYS = KnownKeys(
    {
        **REAL.top,
        "grid": SettingKey("grid", ValueKind.TEXTS),
        "no-check": SettingKey("no_check", ValueKind.FLAG),
    },
    REAL.policy,
    REAL.then,
)
FILE = "slurmslice.toml"


def said(text: str, profile: str | None = None) -> dict[str, SettingValue]:
    """The settings of one file, by option."""
    layer = merge_layers(choose_layers([parse_settings(text.encode(), FILE, KEYS)], profile))
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
        (
            '[policy.on]\noom = "again"\ncheck = ["again", "leave"]',
            "on",
            ("oom=again", "check=again; leave"),
        ),
        (
            '[causes.licence]\nmatch = "no = free"\n[causes.quota]\nmatch = "x"',
            "cause",
            ("licence=no = free", "quota=x"),
        ),
        ('[then]\ncommand = "plot"', "then", "plot"),
        ('[then]\nif = "95%"', "then_if", "95%"),
        ('[then]\nsbatch = "--mem=1G"', "then_sbatch", "--mem=1G"),
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
        ("[policy]\nmail = true", "mail", True),
    ],
)
def test_value_becomes_the_typed_text(text: str, option: str, value: SettingValue) -> None:
    """Numbers, dates and flags become the text of options; nothing else is set."""
    assert said(text) == {option: value}


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"))))
def test_words_are_unchanged(words: list[str]) -> None:
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
        ("mail = true", "mail", "mail", "[policy]"),
        ("[wholly-other]\nx = 1", "wholly-other", None, "slurmslice run --help"),
    ],
)
def test_unknown_key_is_refused(text: str, key: str, nearest: str | None, table: str) -> None:
    """The error names the key with its table; the hint names the nearest key and its table."""
    where = {"path": FILE, "where": f"{FILE}: {key}", "nearest": nearest}
    with raises_error(BadInputError, "unknown-key", **where) as why:
        said(text)
    assert table in why.value.hint


@pytest.mark.parametrize(
    ("text", "key", "kind"),
    [
        ("throttle = true", "throttle", ValueKind.TEXT),
        ("throttle = [1]", "throttle", ValueKind.TEXT),
        ("null = 1", "null", ValueKind.FLAG),
        ("command = [['x']]", "command", ValueKind.WORDS),
        ("command = 5", "command", ValueKind.WORDS),
        ('shell = "a\\u0000b"', "shell", ValueKind.TEXT),
        ("grid = {a = [true]}", "grid", ValueKind.TEXTS),
        ('grid = {a = ["1,2", 3]}', "grid", ValueKind.TEXTS),
        ("sbatch = 1", "[sbatch]", "a table"),
        ("profile = 'big'", "profile", "a table"),
        ("[profile]\nmem = '4G'", "profile.mem", "a table"),
        ("[sbatch]\nmem = true", "[sbatch] mem", ValueKind.TEXT),
    ],
)
def test_value_of_wrong_type_is_refused(text: str, key: str, kind: str) -> None:
    """The error names the key and the type that it needs."""
    with raises_error(BadInputError, "bad-value", where=f"{FILE}: {key}", takes=str(kind)):
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
def test_invalid_settings_are_refused(text: str, code: str, fields: dict[str, object]) -> None:
    """The error names the key with its table, or the line of the file."""
    with raises_error(BadInputError, code, **fields) as why:
        said(text)
    assert FILE in why.value.message


def test_invalid_utf8_is_refused() -> None:
    """The error names the line of the first invalid byte; a byte order mark is valid."""
    with raises_error(BadInputError, "not-utf8", path=FILE, line=2):
        parse_settings(b"slices = '1'\nname = '\xff'\n", FILE, KEYS)
    assert parse_settings(b"\xef\xbb\xbfslices = '1'\n", FILE, KEYS).always


def test_unknown_profile_is_refused() -> None:
    """The error names the nearest profile; the hint explains sbatch's option of that name."""
    with raises_error(BadInputError, "unknown-profile", profile="bgi", nearest="big") as why:
        said("[profile.big]\nthrottle = 1\n[profile.small]", "bgi")
    assert "[sbatch]" in why.value.hint


ONLY_TYPED = {"from", "dry-run", "new-env", "include-node", "profile", "cause"}


def test_every_option_of_run_is_a_key() -> None:
    """Each long name of an option is a key, except options of a single call.

    ``--cause NAME=PATTERN`` is a table ``[causes.NAME]``. ``--then`` is ``command`` in ``[then]``.
    """
    options = [p for p in run_command.params if isinstance(p, click.Option)]
    flags = {flag[2:] for option in options for flag in option.opts if flag.startswith("--")}
    then = {"then" if key == "command" else f"then-{key}" for key in REAL.then}
    assert {*REAL.top, *REAL.policy, *then} == flags - ONLY_TYPED | {"command", "causes"}
    assert {"max-attempts", "interval"} <= set(REAL.policy)
    assert {"slices", "array", "slices-from", "shell", "setup", "engine"} <= set(REAL.top)


# -- merging ---------------------------------------------------------------------------------

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
def test_highest_layer_with_a_setting_decides(layers: list[dict[str, Setting]]) -> None:
    """Of options that exclude one another, the last layer that sets one of them decides.

    A layer that only sets some to false removes these and keeps the others.
    """
    result = merge_layers(layers)
    for group in (*GROUPS, *((name,) for name in ALONE)):
        expected: dict[str, SettingValue] = {}
        for layer in layers:
            mine = {name: layer[name].value for name in group if name in layer}
            removed = {name for name, value in mine.items() if value is False}
            kept = {} if mine.keys() - removed else expected
            expected = {**kept, **mine}
        assert {name: result[name].value for name in group if name in result} == expected


def test_slices_replace_settings_of_lower_slices() -> None:
    """Options that describe the list go with it; a range's throttle overrides a lower one."""
    low = {name: Setting("x") for name in ("slices_from", "null", "key", "throttle", "column")}
    assert merge_layers([low, {"slices": Setting("0-9")}]).keys() == {
        "throttle",
        "column",
        "slices",
    }
    assert "throttle" not in merge_layers([low, {"slices": Setting("0-9%3")}])
    both = {"slices": Setting("0-9%3"), "throttle": Setting("7")}
    assert merge_layers([low, both])["throttle"].value == "7"
    assert "slices_from" in merge_layers([low, {"null": Setting(True)}])


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
    """A folder whose settings describe a whole run, above a user's settings."""
    directory = Here(tmp_path)
    write(
        directory, PROJECT, '[sbatch]\ntime = "9:00:00"\nqos = "low"\n[profile.big]\nthrottle = 1\n'
    )
    return directory


def write(directory: Here, project: str, user: str = "") -> None:
    """Write the settings of the project and of the user."""
    config = directory.folder / "config" / "slurmslice" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(user)
    (directory.folder / FILE).write_text(project)


def script(directory: Here, *args: str) -> set[str]:
    """The directives that ``render`` writes, and the line with the command."""
    done = directory("render", "--print", *args)
    assert done.returncode == 0, done.stderr
    ours = ("#SBATCH --output", "#SBATCH --open-mode")
    lines = re.findall(r"^(?:#SBATCH .*|  exec -- .*)$", done.stdout, re.MULTILINE)
    return {re.sub(r"(job-name=\w+)-\w+", r"\1", x) for x in lines if not x.startswith(ours)}


def test_run_without_options_uses_the_folder_settings(here: Here) -> None:
    """``slurmslice run`` alone completes every slice, and notes name the settings that it used."""
    done = here("run")
    assert done.returncode == 0, done.stderr
    used = {Path(str(one["file"])).name: one["keys"] for one in noted(done.stderr, "settings-read")}
    assert used["slurmslice.toml"][:3] == ["slices", "command", "engine"]
    assert "[sbatch] qos" in used["config.toml"]
    assert here.counts("echo") == {"COMPLETED": 4}
    assert "3" in here("logs", "3").stdout
    again = here("run")
    assert again.returncode == 0
    assert noted(again.stderr, "run-continued") == [{"run": "echo"}]
    assert here.counts("echo") == {"COMPLETED": 4}


def test_typed_options_override_profile_project_and_user(here: Here) -> None:
    """Layers override in order; memory, slices and command come from the highest that sets one."""
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


def test_layers_add_to_an_option_that_sbatch_joins(here: Here) -> None:
    """Mail types of all layers count, as those of a script and of sbatch's command line do."""
    write(
        here,
        "[sbatch]\nmail-type = 'END'\n[profile.quiet.sbatch]\nmail-type = false\n",
        "[sbatch]\nmail-type = 'FAIL'\n",
    )
    own = ("-a", "0", "--mail-type=BEGIN", "--", "true")
    assert "#SBATCH --mail-type=FAIL,END,BEGIN" in script(here, *own)
    assert "#SBATCH --mail-type=BEGIN" in script(here, "--profile", "quiet", *own)


def test_false_removes_an_option(here: Here) -> None:
    """A layer can remove an option of a lower one with false, and give a flag with true."""
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


def test_policy_applies_to_an_existing_run(here: Here) -> None:
    """``run RUN`` uses ``[policy]``, but no setting that describes another run."""
    (here.folder / "twice.sh").write_text("[[ -e $1 ]] || { touch $1; exit 1; }\n")
    assert here("render", "-a", "0-1", "-J", "x", "--", "bash", "twice.sh", "{}").returncode == 0
    write(here, PROJECT + "\n[profile.y]\n", "[policy]\nmax-attempts = 2\n")
    done = here("run", "x")
    assert done.returncode == 0, done.stderr
    assert here.counts("x") == {"COMPLETED": 2}
    used = {Path(str(one["file"])).name: one["keys"] for one in noted(done.stderr, "settings-read")}
    assert used == {
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
def test_invalid_settings_create_no_run(
    here: Here, verb: str, text: str, code: str, where: str
) -> None:
    """Exit code 2 with the file and the key; profiles that are not chosen are checked too."""
    write(here, text)
    done = here(verb)
    assert (done.returncode, error_code(done.stderr)) == (2, code), done.stderr
    assert where in done.stderr
    assert not (here.folder / "slurmslice-runs").exists()


def test_only_run_and_render_read_settings(here: Here) -> None:
    """No other command reads settings, nor does help, so an invalid file does no harm there."""
    assert here("render", "-J", "x").returncode == 0
    write(here, "[[[", "[[[")
    assert here("run", "x").returncode == 2
    for words in (
        ("status", "x"), ("submit", "x", "--dry-run"), ("runs",), ("run", "--help"), (),
        ("doctor", "--engine", "local"), ("cancel", "x", "--dry-run"),
    ):  # fmt: skip
        assert here(*words).returncode == 0, words


def test_profile_without_settings_is_refused(tmp_path: Path) -> None:
    """``--profile`` is never ignored."""
    done = Here(tmp_path)("run", "--profile", "task", "-a", "0-1", "--", "true")
    assert (done.returncode, error_code(done.stderr)) == (2, "unknown-profile")
    assert "[profile.task]" in done.stderr


def test_documented_settings_are_valid(here: Here) -> None:
    """The example of the page describes a whole run, alone and with its profile."""
    page = (REPOSITORY / "docs" / "reference" / "settings.md").read_text()
    shown = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert shown
    write(here, shown[1])
    for profile, slices in (((), 99), (("--profile", "try"), 2)):
        done = here("run", "--engine", "local", "--dry-run", *profile)
        assert done.returncode == 0, done.stderr
        assert [one["slices"] for one in noted(done.stderr, "preview")] == [slices]
