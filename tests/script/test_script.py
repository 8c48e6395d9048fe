"""The script, run by real bash without Slurm, as Slurm and the local engine run it."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurmslice.errors import BadInputError
from slurmslice.script import template_files
from slurmslice.script.progress_lines import (
    TaskProgress,
    extract_progress_lines,
    parse_progress,
)
from slurmslice.script.render import (
    ScriptContent,
    check_bash_syntax,
    library_bytes,
    pinned_variables,
    render_script,
)
from slurmslice.script.source_line import LIBRARY_NAME
from slurmslice.script.template import environment
from slurmslice.script.template_files import templates_folder
from slurmslice.spec.command import Command, CommandWords, ShellText
from slurmslice.spec.output_check import OutputCheck
from slurmslice.spec.slice_numbers import SliceNumbers
from slurmslice.system.escaping import format_row, slice_table_header
from slurmslice.system.shell_quoting import quote
from tests.support.paths import SNAPSHOTS
from tests.support.scripts import a_script, changed, logged

BASH = os.environ.get("SLURMSLICE_BASH", "bash")
PATH = os.environ["PATH"]

DIRECTIVES = """\
#SBATCH --job-name=x-k3v9w2ab
#SBATCH --array=0-98%10
#SBATCH --mem=4G
#SBATCH --time=1:00:00
#SBATCH --output=/home/ada/sim/slurmslice-runs/x/submissions/001/tasks/%a.log
#SBATCH --open-mode=append"""

EXAMPLE = a_script(
    name="x",
    directives=DIRECTIVES,
    run_dir="/home/ada/sim/slurmslice-runs/x",
    work_dir="/home/ada/sim",
    environment=(
        ("PATH", "/home/ada/venv/bin:/usr/local/bin:/usr/bin:/bin"),
        ("VIRTUAL_ENV", "/home/ada/venv"),
    ),
    cpus=None,
    setup="",
    command=CommandWords(("python", "x.py", "--in", "mill2sort-{}.h5")),
    direct=True,
    columns=(),
    log_folders=False,
    whole=True,
    slices=99,
    version="0.1.0",
    numbers=SliceNumbers(0, 98, 1, one_range=True),
)

TABLE_EXAMPLE = changed(
    EXAMPLE,
    cpus=4,
    setup="module load python/3.11",
    command=ShellText('python x.py --mass "$SLICE_MASS" "$SLICE" |\n  gzip >"out/$SLICE_ROW.gz"\n'),
    direct=False,
    columns=("mass",),
    numbers=None,
)

HOSTILE = [
    "a b",
    "$(touch pwned)",
    "`touch pwned`",
    "'\"",
    "-rf",
    "--",
    "*",
    "~",
    "a\nb\n\n",
    "\t\t",
    "\\x41\\0101\\n\\c%s%%",
    "\udcff\udcfe",
    "é\u202e日本",
    " x ",
    "x" * 5000,
    "{}",
    "${PATH}",
    "!!",
    "#",
    "a;b&c|d>e<f",
    "\x01\x1b[2J\x7f",
]


def to_bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")


class Ran(NamedTuple):
    """The result of one array task."""

    code: int
    stdout: bytes
    stderr: str
    log: bytes
    said: TaskProgress


class Place:
    """A run directory for a script, as the rest of slurmslice creates it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = folder / "a run's $dir"
        self.work_dir = folder / "work dir"
        self.work_dir.mkdir(parents=True)
        self.script = self.run_dir / "script.sh"
        self.library = self.run_dir / LIBRARY_NAME
        self.sessions: set[int] = set()

    def submission(self, number: int = 1) -> Path:
        return self.run_dir / "submissions" / f"{number:03d}"

    def make(
        self,
        number: int = 1,
        rows: Sequence[tuple[str, ...]] | None = None,
        columns: Sequence[str] = (),
    ) -> Path:
        """Make a submission's folder, with a task table if there are rows (key, columns …)."""
        for name in ("tasks", "logs"):
            (self.submission(number) / name).mkdir(parents=True, exist_ok=True)
        if rows is not None:
            header = slice_table_header(columns or [f"column{i}" for i in range(len(rows[0]) - 1)])
            table = [(str(i + 40), *row, f"row-{i + 40}.log") for i, row in enumerate(rows)]
            text = "".join(map(format_row, (header, *table)))
            (self.submission(number) / "tasks.tsv").write_bytes(text.encode())
        return self.submission(number)

    def forget(self) -> None:
        """Remove what the tasks of the first submission wrote."""
        for name in ("tasks", "logs"):
            shutil.rmtree(self.submission() / name, ignore_errors=True)
        (self.submission() / "job").unlink(missing_ok=True)
        self.make()

    def write(self, command: Command, **fields: object) -> None:
        """Render the script of this place and make its first submission."""
        given: dict[str, object] = {
            "command": command,
            "run_dir": str(self.run_dir),
            "work_dir": str(self.work_dir),
            "environment": (("PATH", PATH),),
            **fields,
        }
        self.make()
        self.library.write_bytes(library_bytes())
        self.script.write_bytes(to_bytes(render_script(changed(EXAMPLE, **given))))

    def start(
        self,
        index: int | str = 17,
        job: str = "419",
        argument: str = "",
        stdin: IO[bytes] | int = subprocess.DEVNULL,
        **environ: str,
    ) -> subprocess.Popen[bytes]:
        """Start an array task; its standard output goes to the file of ``--output``."""
        number = int(argument or "1")
        tasks = self.submission(number) / "tasks"
        with (tasks / f"{index}.log").open("ab") as output:
            task = subprocess.Popen(
                [BASH, str(self.script), *([argument] if argument else [])],
                env=self.environ(index, job) | environ,
                cwd="/",
                stdin=stdin,
                stdout=output,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        self.sessions.add(task.pid)
        return task

    def clear(self) -> None:
        """End the remaining processes of the tasks, as Slurm would, also after a failed test."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if os.getsid(process.pid) in self.sessions:
                    process.kill()

    def environ(self, index: int | str, job: str) -> dict[str, str]:
        slurm = {"SLURM_ARRAY_TASK_ID": str(index), "SLURM_ARRAY_JOB_ID": job}
        return {"PATH": PATH, **slurm}

    def end(
        self,
        task: subprocess.Popen[bytes],
        index: int | str = 17,
        log: str | None = None,
        number: int = 1,
        job: str = "419",
    ) -> Ran:
        """Wait for a task and collect its results."""
        stderr = task.communicate(timeout=20)[1].decode()
        stdout = (self.submission(number) / "tasks" / f"{index}.log").read_bytes()
        content = logged(self.submission(number), log or f"{index}.log")
        said = parse_progress(extract_progress_lines((stdout,)), job)
        return Ran(task.returncode, stdout, stderr, content, said)

    def run(self, index: int | str = 17, log: str | None = None, **environ: str) -> Ran:
        """Run an array task of the first submission to its end."""
        return self.end(self.start(index, "419", "", subprocess.DEVNULL, **environ), index, log)

    def by_hand(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Type ``bash script.sh``."""
        return subprocess.run(
            [BASH, str(self.script), *arguments],
            env={"PATH": PATH, **environ},
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
        )


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Place]:
    directory = Place(tmp_path)
    yield directory
    directory.clear()


def wait_for(what: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + 15
    while not what():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process, seconds (proc(5), stat: fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def use_cpu(seconds: float) -> None:
    """Use so much CPU time in this process, so that others could have used as much."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def words(*given: str) -> CommandWords:
    return CommandWords(given)


def tool(name: str) -> str:
    """Return a required program; without it the test is skipped, or fails if it is mandatory."""
    path = shutil.which(name)
    if path is None:
        if os.environ.get("SLURMSLICE_REQUIRE_TOOLS"):
            pytest.fail(f"{name} is not installed, and SLURMSLICE_REQUIRE_TOOLS is set")
        pytest.skip(f"{name} is not installed")
    return path


# -- what it looks like ---------------------------------------------------------------------


@pytest.mark.parametrize(("name", "spec"), [("direct", EXAMPLE), ("table", TABLE_EXAMPLE)])
def test_the_script_is_the_reviewed_one(name: str, spec: ScriptContent) -> None:
    """A person reads the script, so a reviewer sees each change of it (in git diff)."""
    path = SNAPSHOTS / f"{name}.sh"
    if os.environ.get("SLURMSLICE_UPDATE_SNAPSHOTS"):
        path.write_text(render_script(spec))
    assert render_script(spec) == path.read_text()


def variants() -> Iterator[ScriptContent]:
    """The examples cover every branch of the template."""
    commands: tuple[Command, ...] = (words("prog", "-x", "a b", "{}"), ShellText('prog "$SLICE"'))
    for command, direct, setup, cpus in itertools.product(
        commands, (True, False), ("", "module load x\nsource env.sh\n"), (None, 4)
    ):
        for columns, log_folders in (((), direct), (() if direct else ("a", "b_2"), False)):
            yield changed(
                EXAMPLE,
                command=command,
                direct=direct,
                setup=setup,
                cpus=cpus,
                columns=columns,
                log_folders=log_folders,
            )

    checks = (OutputCheck("", ("out/{}.h5",)), OutputCheck("test 1 = 1\ntest 2 = 2", ("{}",)))
    for command, direct, check in itertools.product(commands, (True, False), checks):
        yield changed(EXAMPLE, command=command, direct=direct, check=check)


def test_shellcheck_reports_nothing(tmp_path: Path) -> None:
    """shellcheck, notes included, and ``bash -n`` report nothing for any variant."""
    paths = []
    for number, spec in enumerate(variants()):
        paths.append(tmp_path / f"{number}.sh")
        paths[-1].write_text(render_script(spec))
        subprocess.run([BASH, "-n", str(paths[-1])], check=True)
    done = subprocess.run([tool("shellcheck"), *map(str, paths)], capture_output=True, text=True)
    assert done.stdout == ""


def test_nothing_newer_than_bash_4_2() -> None:
    """Compute nodes have old bashes: CentOS 7 has 4.2."""
    text = "".join(map(render_script, variants()))
    newer = r"wait -[nfp]|@[QEPAKaUuL]\}|mapfile .*-d|EPOCH(SECONDS|REALTIME)|SRANDOM|local -n"
    assert re.findall(newer, text) == []


def test_one_template_in_a_checkout_and_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Templates are found beside the package, or inside it in a wheel."""
    assert (templates_folder() / "array.sh.j2").is_file()
    (tmp_path / "slurmslice/templates").mkdir(parents=True)
    module = tmp_path / "slurmslice/script/template_files.py"
    monkeypatch.setattr(template_files, "__file__", str(module))
    assert templates_folder() == tmp_path / "slurmslice/templates"


def test_a_value_cannot_be_printed_unquoted() -> None:
    """A template without a filter fails, instead of pasting a value into the script."""
    careless = environment().from_string("x={{ value }}")
    with pytest.raises(TypeError, match="without a filter"):
        careless.render(value="$(id)")


def test_values_are_data_in_every_place(directory: Place) -> None:
    """Names, folders and variables with any characters arrive unchanged."""
    evil = "$(touch pwned)`touch pwned`'\"\\ \udcff"
    work_dir = directory.folder / evil
    work_dir.mkdir()
    directory.run_dir = directory.folder / f"runs {evil}"
    directory.script = directory.run_dir / "script.sh"
    directory.library = directory.run_dir / LIBRARY_NAME
    directory.write(
        ShellText('pwd; printf "%s\\n" "$CONDA_X"; ls'),
        name="x\ntouch pwned; $(touch pwned)\u202e",
        work_dir=str(work_dir),
        environment=(("PATH", PATH), ("CONDA_X", evil)),
        version="1\ntouch pwned",
    )
    ran = directory.run()
    assert ran.log == to_bytes(f"{work_dir}\n{evil}\n")
    assert "touch pwned" not in render_script(EXAMPLE)
    assert not list(directory.folder.rglob("pwned"))


@pytest.mark.parametrize(
    "fields",
    [
        {"directives": "#SBATCH --mem=1G\ntouch pwned"},
        {"directives": "#SBATCH --mem=1G\n#SBATCH"},
        {"directives": ""},
        {"columns": ("a;touch pwned",), "direct": False},
        {"environment": (("A B", "x"),)},
        {"work_dir": "/a\0b"},
    ],
)
def test_values_that_a_script_cannot_hold_are_refused(fields: Mapping[str, object]) -> None:
    """A directive over two lines and an invalid variable name are refused at render."""
    with pytest.raises(BadInputError):
        render_script(changed(EXAMPLE, **fields))


def test_only_variables_that_find_programs_are_pinned() -> None:
    """PATH and similar variables are written, and no others: the environment holds secrets."""
    environ = {
        "HOME": "/root",
        "CONDA_PREFIX": "/c",
        "PATH": "/bin",
        "API_TOKEN": "x",
        "LOADEDMODULES": "a:b",
        "CONDA_DEFAULT_ENV": "e",
        "MY_CONDA_X": "no",
        "CONDA_X;id": "no",
    }
    assert pinned_variables(environ) == (
        ("PATH", "/bin"),
        ("LOADEDMODULES", "a:b"),
        ("CONDA_DEFAULT_ENV", "e"),
        ("CONDA_PREFIX", "/c"),
    )


# -- one slice ------------------------------------------------------------------------------


def test_a_slice_of_the_direct_form(directory: Place) -> None:
    """The index is the key; the log has its name; start and end are written."""
    directory.write(words("sh", "-c", 'echo "$1 $SLICE"; echo err >&2; exit 3', "sh", "in-{}.h5"))
    ran = directory.run(17)
    assert ran.code == 3
    assert ran.log == b"in-17.h5 17\nerr\n"
    assert ran.stderr == ""
    slot = ran.said.slots[0]
    assert slot.exit_code == 3
    assert slot.started_at is not None
    assert slot.ended_at is not None
    assert (directory.submission() / "job").read_text() == "419\n"


def test_a_slice_of_the_table_form(directory: Place) -> None:
    """The index selects a line of the table with key, columns and row."""
    directory.write(
        ShellText('echo "$SLICE $SLICE_ROW $SLICE_MASS [$SLICE_SEED]"'),
        direct=False,
        columns=("mass", "seed"),
    )
    directory.make(
        rows=[("a", "1", "2"), ("b", "1.5", ""), ("c", "3", "4")], columns=("mass", "seed")
    )
    ran = directory.run(1, "row-41.log", SLICE_SEED="of the outer environment")
    assert (ran.code, ran.log) == (0, b"b 41 1.5 []\n")


def test_hostile_keys_arrive_byte_for_byte(directory: Place) -> None:
    """Program and environment get exactly the bytes of any key; nothing in it is run."""
    directory.write(
        words("sh", "-c", 'printf "%s\\0" "$@" "$SLICE"', "sh", "{}", "<{}>"), direct=False
    )
    directory.make(rows=[(key,) for key in HOSTILE])
    for index, key in enumerate(HOSTILE):
        ran = directory.run(index, f"row-{index + 40}.log")
        raw = to_bytes(key)
        assert ran.log == raw + b"\0<" + raw + b">\0" + raw + b"\0"
        assert ran.code == 0
    assert not list(directory.folder.rglob("pwned"))


@pytest.fixture(scope="module")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Mapping[str, str]]:
    """Environments by locale; en_US.UTF-8 is built if the system has its source."""
    found: dict[str, Mapping[str, str]] = {name: {"LC_ALL": name} for name in ("C", "C.UTF-8")}
    folder = tmp_path_factory.mktemp("locales")
    make = ["localedef", "-i", "en_US", "-f", "UTF-8", str(folder / "en_US.UTF-8")]
    if shutil.which("localedef") and subprocess.run(make, capture_output=True).returncode == 0:
        found["en_US.UTF-8"] = {"LC_ALL": "en_US.UTF-8", "LOCPATH": str(folder)}
    return found


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    st.lists(
        st.tuples(*[st.binary(max_size=30).map(lambda b: b.replace(b"\0", b"\\"))] * 2),
        min_size=1,
        max_size=6,
    )
)
def test_any_bytes_arrive_in_every_locale(
    directory: Place, locales: Mapping[str, Mapping[str, str]], rows: list[tuple[bytes, bytes]]
) -> None:
    """Keys and columns of any bytes survive, and the command has the original locale."""
    directory.write(
        ShellText('printf "%s\\0" "$SLICE" "$SLICE_COLUMN0" "$LC_ALL"'),
        direct=False,
        columns=("column0",),
    )
    text = [tuple(value.decode("utf-8", "surrogateescape") for value in row) for row in rows]
    directory.make(rows=text)
    for name, environ in locales.items():
        index = len(rows) - 1
        log = f"row-{index + 40}.log"
        (directory.submission() / "logs" / log).unlink(missing_ok=True)
        ran = directory.run(index, log, **environ)
        assert ran.log.split(b"\0")[:-1] == [*rows[index], name.encode()]


def test_command_words_are_never_shell_syntax(directory: Place) -> None:
    """A program named like a keyword or an assignment runs as a program."""
    programs = directory.folder / "bin"
    programs.mkdir()
    for name in ("time", "exit", "X=1", "if", "_slice"):
        program = programs / name
        program.write_text('#!/bin/sh\necho "program $SLICE $*"\n')
        program.chmod(0o755)
        directory.write(words(name, "{}"), environment=(("PATH", f"{programs}:{PATH}"),))
        directory.forget()
        assert directory.run().log == b"program 17 17\n"


@pytest.mark.parametrize(("command", "code"), [(words("no-such-program"), 127), (words("/"), 126)])
def test_a_command_that_cannot_start(directory: Place, command: Command, code: int) -> None:
    """The slice ends with bash's exit code, and its log has the reason."""
    directory.write(command)
    ran = directory.run()
    assert (ran.code, ran.said.slots[0].exit_code) == (code, code)
    assert b"no-such-program: not found" in ran.log or b"/: " in ran.log


def test_shell_text_runs_as_it_is(directory: Place) -> None:
    """Several lines, here-documents, functions, quotes and ``exit`` work as in any script."""
    text = (
        'f() { echo "f $1"; }\nf "$SLICE"\ncat <<EOF\n  indented $SLICE\nEOF\n'
        "cat <<'EOF'\n} $SLICE\nEOF\nset -eu\nfalse || echo '}'\nexit 4"
    )
    directory.write(ShellText(text))
    ran = directory.run()
    assert ran.log == b"f 17\n  indented 17\n} $SLICE\n}\n"
    assert (ran.code, ran.said.slots[0].exit_code) == (4, 4)


@pytest.mark.parametrize(
    "text",
    ["echo 'a", "if true", "}", "echo }; }; touch pwned; {", "cat <<EOF\nx", "cat <<'}'\nx",
     "echo \\", "# only a comment", "f() {", "$(cat <<X\n)", "-x; )"],
)  # fmt: skip
@pytest.mark.parametrize("field", ["command", "setup"])
def test_shell_text_that_breaks_the_script_is_refused(field: str, text: str) -> None:
    """A missing or extra quote or brace is found at render, and cannot break the script."""
    value = ShellText(text) if field == "command" else text
    spec = changed(EXAMPLE, **{field: value})
    if field == "setup" and text.startswith("#"):
        render_script(spec)  # a comment is a setup that does nothing
        return
    with pytest.raises(
        BadInputError, match=rf"Bash cannot read --{'shell' if value is not text else 'setup'}"
    ):
        render_script(spec)


def test_syntax_is_checked_without_running_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check runs nothing, and works with a missing locale or a leading dash."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "xx_YY.UTF-8")
    check_bash_syntax("touch pwned; $(touch pwned)")
    check_bash_syntax("-c")
    assert not list(tmp_path.iterdir())
    with pytest.raises(BadInputError, match="here-document"):
        check_bash_syntax("cat <<EOF\nx")


def test_without_bash_no_syntax_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without bash can still render a script."""
    monkeypatch.setenv("PATH", str(tmp_path))
    check_bash_syntax("'")


def test_the_log_of_many_slices_is_in_a_folder(directory: Place) -> None:
    """More than 1,000 keys: one folder per thousand, created if it is missing."""
    directory.write(words("echo", "{}"), log_folders=True)
    assert directory.run(3017, "3/3017.log").log == b"3017\n"
    assert directory.run(17, "0/17.log").log == b"17\n"


def test_a_later_submission_is_an_argument(directory: Place) -> None:
    """``script.sh 002`` uses table, logs and claim of submission 002."""
    directory.write(words("echo", "{}"), direct=False)
    directory.make(1, [("first",)])
    directory.make(2, [("second",)])
    ran = directory.end(directory.start(0, "420", "002"), 0, "row-40.log", 2, "420")
    assert (ran.code, ran.log) == (0, b"second\n")
    assert (directory.submission(2) / "job").read_text() == "420\n"
    assert not (directory.submission(1) / "job").exists()


def test_the_command_has_no_input_and_no_arguments(directory: Place) -> None:
    """Standard input is empty, and the command does not see the script's arguments."""
    directory.write(ShellText('echo "[$*]"; cat; echo end'))
    directory.make(2)
    ours = directory.folder / "input"
    ours.write_text("not for the command\n")
    with ours.open("rb") as stdin:
        ran = directory.end(directory.start(17, "419", "002", stdin), 17, None, 2)
    assert ran.log == b"[]\nend\n"


def test_python_and_threads(directory: Place) -> None:
    """Output is unbuffered; threads and srun get -c, unless Slurm or the person says otherwise."""
    directory.write(
        ShellText('echo "$PYTHONUNBUFFERED $OMP_NUM_THREADS $SRUN_CPUS_PER_TASK"'), cpus=4
    )
    assert directory.run(1).log == b"1 4 4\n"
    assert directory.run(2, SLURM_CPUS_PER_TASK="8").log == b"1 8 8\n"
    assert directory.run(3, OMP_NUM_THREADS="2").log == b"1 2 4\n"


# -- setup ----------------------------------------------------------------------------------


def test_the_setup_reaches_the_command(directory: Place) -> None:
    """Exports, functions and a cd of the setup hold for the command; its output is in the log."""
    directory.write(
        ShellText('echo "$A $(pwd)"; helper'),
        setup="export A=1\ncd /\nhelper() { echo helped; }\ncat <<EOF\nset up\nEOF\n",
    )
    ran = directory.run()
    assert ran.log == b"set up\n1 /\nhelped\n"
    assert ran.stdout.startswith(b"slurmslice start ")


def test_a_failed_command_inside_the_setup_is_ignored(directory: Place) -> None:
    """The setup runs without -eu, because modules and conda fail with it."""
    directory.write(words("true"), setup='false; echo "$UNSET"; true')
    assert directory.run().code == 0


@pytest.mark.parametrize(
    ("setup", "says", "code"),
    [
        ("false", 1, 1),
        ("(exit 7)", 7, 7),
        ("exit 5", 5, 5),
        ("exit 0", 0, 1),
        ("printf ''; exit 3", 3, 3),
        ("set -e; false; true; false", 1, 1),
        ("exec true", 0, 1),
        ("exec false", 1, 1),
        ("trap 'exit 0' EXIT; false", 0, 1),
        ("cd /no/such/folder 2>/dev/null", 1, 1),
        ("no-such-program 2>/dev/null", 127, 127),
        ("kill -KILL $BASHPID", 137, 137),
        ("kill -USR1 $$; sleep 60", 138, 138),
        ("exit 256", 0, 1),
        ("exit -1", 255, 255),
        ("exit 08", 8, 8),
        ("exit x 2>/dev/null", 2, 2),
    ],
)
def test_a_failed_setup_runs_no_slice(directory: Place, setup: str, says: int, code: int) -> None:
    """The command does not run, no start is written, and the task fails even after ``exit 0``."""
    directory.write(words("touch", "ran"), setup=setup)
    ran = directory.run()
    assert ran.code == code
    assert ran.said == TaskProgress(restart=0, setup_exit=says)
    assert f"setup exited {says}, the command was not run" in ran.stderr
    assert not (directory.work_dir / "ran").exists()
    assert ran.log == b""


@pytest.mark.parametrize("name", ["HUP", "INT", "TERM"])
@pytest.mark.parametrize("trapped", ["", "trap : EXIT; ", "trap 'exit 0' HUP INT TERM; "])
def test_a_signal_during_the_setup(directory: Place, name: str, trapped: str) -> None:
    """scancel during the setup: the task writes the signal, and no slice begins."""
    directory.write(
        words("touch", "ran"), setup=f"{trapped}sh -c 'touch ready; exec sleep 60'; exit 0"
    )
    task = directory.start()
    wait_for((directory.work_dir / "ready").exists)
    os.kill(task.pid, getattr(signal, f"SIG{name}"))
    ran = directory.end(task)
    assert (ran.said.setup_signal, ran.said.slots) == (name, {})
    assert ran.code != 0
    assert not (directory.work_dir / "ran").exists()


def test_a_missing_working_directory(directory: Place) -> None:
    """Bash names the folder, and nothing runs elsewhere."""
    directory.write(words("touch", "ran"), work_dir="/no/such/folder")
    ran = directory.run()
    assert ran.code == 1
    assert ran.said.setup_exit == 1
    assert b"/no/such/folder: No such file or directory" in ran.log


@pytest.mark.parametrize(
    "options", ["set -e", "set -u", "set -eu -o pipefail", "IFS=0123456789", "set -k"]
)
def test_shell_options_of_the_setup_do_not_lose_the_end_line(
    directory: Place, options: str
) -> None:
    """A setup that sets -e or another IFS does not lose the start and end lines."""
    directory.write(words("false"), setup=options)
    ran = directory.run()
    own = ran.said.slots[0]
    assert (ran.code, own.exit_code, own.started_at is None) == (1, 1, False)


def test_a_clean_up_of_the_setup_runs_last(directory: Place) -> None:
    """A scratch folder of the setup is removed after the command, not before."""
    directory.write(
        ShellText('ls "$SCRATCH"'),
        setup='export SCRATCH=$(mktemp -d)\ntouch "$SCRATCH/here"\n'
        "trap 'rm -r \"$SCRATCH\"; echo cleaned' EXIT",
    )
    ran = directory.run()
    assert (ran.code, ran.log) == (0, b"here\ncleaned\n")
    assert ran.said.slots[0].exit_code == 0


# -- the claim ------------------------------------------------------------------------------


def test_a_second_job_of_a_submission_runs_nothing(directory: Place) -> None:
    """Submitted twice, one array runs; each task of the other one writes so and fails."""
    directory.write(ShellText("echo ran $SLURM_ARRAY_JOB_ID"), setup="echo setup")
    first = directory.run(1)
    assert first.log == b"setup\nran 419\n"
    for index in (1, 2):
        ran = directory.end(directory.start(index, "420"), index, job="420")
        assert ran.code == 2
        assert ran.said == TaskProgress(refused="419")
        assert "job names 419, this is job 420" in ran.stderr
        assert b"ran 420" not in ran.log
    assert (directory.submission() / "tasks/2.log").read_bytes().count(b"\n") == 1
    assert (
        parse_progress((directory.submission() / "tasks/1.log").read_bytes(), "419") == first.said
    )


def test_the_claim_works_with_any_shell_options(directory: Place) -> None:
    """The submitting shell may export SHELLOPTS: the task with the claim continues."""
    directory.write(ShellText("echo ran"))
    for index in (1, 2):
        ran = directory.run(index, SHELLOPTS="errexit:nounset:braceexpand")
        assert (ran.code, ran.log) == (0, b"ran\n")


def test_a_fenced_submission_runs_nothing(directory: Place) -> None:
    """No job can run a fenced submission."""
    directory.write(words("touch", "ran"))
    (directory.submission() / "job").write_text("fenced by slurmslice: given up\n")
    ran = directory.run()
    assert (ran.code, ran.said.refused) == (2, "fenced by slurmslice: given up")
    assert not (directory.work_dir / "ran").exists()


def test_a_race_has_one_winner(directory: Place) -> None:
    """Four jobs race with two tasks each: both tasks of exactly one job run."""
    directory.write(ShellText("echo $SLURM_ARRAY_JOB_ID"))
    for _ in range(6):
        tasks = [
            (index, job, directory.start(index, job))
            for index in (1, 2)
            for job in ("5", "6", "7", "8")
        ]
        codes = {(index, job): directory.end(task, index).code for index, job, task in tasks}
        winner = (directory.submission() / "job").read_text().strip()
        assert {task for task, code in codes.items() if code == 0} == {(1, winner), (2, winner)}
        for index in (1, 2):
            assert logged(directory.submission(), f"{index}.log") == f"{winner}\n".encode()
        directory.forget()


def counting_sleeps(directory: Place, then: str = 'exec /bin/sleep "$1"') -> str:
    """Return a PATH with a ``sleep`` that records how long the script waits."""
    programs = directory.folder / "sleeping"
    programs.mkdir()
    slept = quote(str(directory.folder / "slept"))
    (programs / "sleep").write_text(f'#!/bin/sh\necho "$1" >>{slept}\n{then}\n')
    (programs / "sleep").chmod(0o755)
    return f"{programs}:{PATH}"


def test_the_task_waits_for_a_claim_that_is_being_written(directory: Place) -> None:
    """The file is empty for an instant after its creation: that is not a refusal."""
    directory.write(words("true"))
    claim = directory.submission() / "job"
    claim.touch()
    task = directory.start(PATH=counting_sleeps(directory))
    wait_for((directory.folder / "slept").exists)
    claim.write_text("419\n")
    assert directory.end(task).code == 0


def test_a_claim_that_cannot_be_written_leaves_none(directory: Place) -> None:
    """The disk is full for a moment: the claim is made later, and is never empty."""
    directory.write(words("true"))
    blocked = directory.submission() / "job.419.17"
    blocked.mkdir()  # as good as a full disk
    task = directory.start(PATH=counting_sleeps(directory))
    wait_for((directory.folder / "slept").exists)
    assert not (directory.submission() / "job").exists()
    blocked.rmdir()
    assert directory.end(task).code == 0
    assert [path.name for path in directory.submission().glob("job*")] == ["job"]


def test_waiting_for_an_unwritten_claim_has_a_limit(directory: Place) -> None:
    """A claim without an owner stops the task after some tries: better never than twice."""
    directory.write(words("touch", "ran"))
    (directory.submission() / "job").touch()
    ran = directory.run(PATH=counting_sleeps(directory, ""))
    slept = directory.folder / "slept"
    assert (ran.code, ran.said.refused) == (2, "")
    assert "job names no job" in ran.stderr
    assert 5 <= sum(map(float, slept.read_text().split())) <= 30
    assert not (directory.work_dir / "ran").exists()


# -- signals, restarts ----------------------------------------------------------------------

TRAPPING = (
    "trap 'echo got $sig; exit 9' {0}; sig={0}; touch ready-{0}; while :; do sleep 0.02; done"
)


@pytest.mark.parametrize("name", ["HUP", "INT", "TERM", "USR1", "USR2"])
@pytest.mark.parametrize("shell", [False, True])
def test_signals_reach_the_command_and_the_end_is_written(
    directory: Place, name: str, shell: bool
) -> None:
    """scancel, the time limit and --signal=B signal the script; the command can end itself."""
    text = TRAPPING.format(name)
    directory.write(ShellText(text) if shell else words("bash", "-c", text))
    task = directory.start()
    wait_for((directory.work_dir / f"ready-{name}").exists)
    os.kill(task.pid, getattr(signal, f"SIG{name}"))
    ran = directory.end(task)
    assert ran.code == 9
    assert ran.log.endswith(f"got {name}\n".encode())
    own = ran.said.slots[0]
    assert (own.exit_code, own.signal_received) == (9, "" if name.startswith("USR") else name)


def test_a_command_that_a_signal_ends(directory: Place) -> None:
    """The end line and the task's exit code say 128 + the signal."""
    directory.write(words("sh", "-c", "touch ready; exec sleep 30"))
    task = directory.start()
    wait_for((directory.work_dir / "ready").exists)
    os.kill(task.pid, signal.SIGTERM)
    ran = directory.end(task)
    assert (ran.code, ran.said.slots[0].exit_code) == (143, 143)


@pytest.mark.parametrize(("name", "code"), [("TERM", 143), ("USR1", 0)])
def test_a_program_in_a_shell_text_gets_the_signal(directory: Place, name: str, code: int) -> None:
    """The program in the text can end by itself; after TERM the text does not continue."""
    program = (
        f"trap 'sleep 0.2; echo saved; exit' {name}; touch ready; while :; do sleep 0.02; done"
    )
    directory.write(ShellText(f'bash -c "{program}"\necho after'))
    task = directory.start()
    wait_for((directory.work_dir / "ready").exists)
    os.kill(task.pid, getattr(signal, f"SIG{name}"))
    ran = directory.end(task)
    assert ran.code == code
    assert b"saved\n" in ran.log
    assert (b"after\n" in ran.log) == (code == 0)


def test_a_command_that_ignores_a_signal_is_waited_for(directory: Place) -> None:
    """Signals that the command survives, and a stop with a continue, change nothing."""
    directory.write(
        words("bash", "-c", "trap : TERM USR1; echo $$ >pid; touch ready; "
                            "until [ -e go ]; do sleep 0.02; done; exit 5")
    )  # fmt: skip
    task = directory.start()
    wait_for((directory.work_dir / "ready").exists)
    command = int((directory.work_dir / "pid").read_text())
    os.kill(task.pid, signal.SIGUSR1)
    os.kill(command, signal.SIGSTOP)
    wait_for(lambda: psutil.Process(command).status() == psutil.STATUS_STOPPED)
    os.kill(command, signal.SIGCONT)
    (directory.work_dir / "go").touch()
    ran = directory.end(task)
    assert (ran.code, ran.said.slots[0].exit_code) == (5, 5)


def test_waiting_for_a_stopped_command_uses_no_cpu(directory: Place) -> None:
    """While a command is suspended, the script sleeps and uses no CPU."""
    directory.write(words("sh", "-c", "echo $$ >pid; touch ready; sleep 0.1"))
    task = directory.start()
    wait_for((directory.work_dir / "ready").exists)
    command = int((directory.work_dir / "pid").read_text())
    os.kill(command, signal.SIGSTOP)
    wait_for(lambda: psutil.Process(command).status() == psutil.STATUS_STOPPED)
    before = cpu_s(task.pid)
    use_cpu(0.4)
    used = cpu_s(task.pid) - before
    os.kill(command, signal.SIGCONT)
    assert directory.end(task).code == 0
    assert used < 0.1


def test_a_requeue_appends(directory: Place) -> None:
    """Earlier output is kept; the progress of the newest restart counts."""
    directory.write(ShellText("echo run ${SLURM_RESTART_COUNT:-0}; exit ${SLURM_RESTART_COUNT:-3}"))
    first = directory.run()
    again = directory.run(SLURM_RESTART_COUNT="1", SLURMD_NODENAME="n7")
    assert again.log == b"run 0\nrun 1\n"
    assert (first.said.restart, again.said.restart) == (0, 1)
    assert (again.said.slots[0].exit_code, again.said.slots[0].host) == (1, "n7")


# -- by hand, and what is wrong -------------------------------------------------------------


def test_one_slice_by_hand(directory: Place) -> None:
    """A trial before any submission leaves no trace, and prints to the terminal."""
    directory.write(words("sh", "-c", "echo slice {}; exit 3"), setup="echo setup")
    done = directory.by_hand(SLURM_ARRAY_TASK_ID="17")
    assert (done.returncode, done.stdout) == (3, "setup\nslice 17\n")
    assert not (directory.submission() / "job").exists()
    assert not list((directory.submission() / "logs").iterdir())
    assert directory.run().code == 3


def test_by_hand_a_setup_that_fails_runs_nothing(directory: Place) -> None:
    """As in an array, no command runs after a failed setup."""
    directory.write(words("echo", "ran"), setup="(exit 6)")
    done = directory.by_hand(SLURM_ARRAY_TASK_ID="17")
    assert (done.returncode, done.stdout) == (6, "")


@pytest.mark.parametrize("index", [None, "", "x", "007", "-1", "1 2", "a[$(touch pwned)]"])
def test_without_an_index_the_script_says_how_to_run_it(
    directory: Place, index: str | None
) -> None:
    """It exits with 2. One line gives the commands to submit all slices and to try one."""
    directory.write(words("touch", "ran"))
    environ = {} if index is None else {"SLURM_ARRAY_TASK_ID": index}
    done = directory.by_hand(**environ, SLURM_ARRAY_JOB_ID="419")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "sbatch script.sh" in done.stderr
    assert "SLURM_ARRAY_TASK_ID=N bash script.sh" in done.stderr
    assert not list(directory.folder.rglob("ran")) + list(directory.folder.rglob("pwned"))


def test_a_missing_submission_directory(directory: Place) -> None:
    """One line names the missing directory of a moved run."""
    directory.write(words("touch", "ran"))
    done = directory.by_hand("007", SLURM_ARRAY_TASK_ID="1", SLURM_ARRAY_JOB_ID="419")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"there is no {directory.submission(7)}" in done.stderr


@pytest.mark.parametrize("damage", ["beyond", "short", "empty"])
def test_an_index_without_a_line_of_the_table(directory: Place, damage: str) -> None:
    """An index beyond the table, or an incomplete line, runs nothing."""
    directory.write(words("touch", "ran"), direct=False, columns=("mass",))
    directory.make(rows=[("a", "1"), ("b", "2")])
    table = directory.submission() / "tasks.tsv"
    if damage == "short":
        table.write_bytes(table.read_bytes()[: -len("\t2\trow-41.log\n")])
    if damage == "empty":
        table.write_bytes(b"")
    done = directory.by_hand(
        SLURM_ARRAY_TASK_ID="2" if damage == "beyond" else "1",
        SLURM_ARRAY_JOB_ID="419",
        _line="a\tb\tc",
    )
    assert done.returncode == 2
    assert "tasks.tsv has no slice" in done.stderr
    assert not (directory.submission() / "job").exists()
    assert not (directory.work_dir / "ran").exists()


def test_a_log_that_cannot_be_written(directory: Place) -> None:
    """A full or missing disk fails the slice, and the task's own output names the path."""
    directory.write(words("true"))
    (directory.submission() / "logs/17.log").mkdir()
    ran = directory.run(log="none")
    assert (ran.code, ran.said.slots[0].exit_code) == (1, 1)
    assert "17.log: Is a directory" in ran.stderr
