"""Templates of a person: the documented contract, the refusals, and two examples."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from slurmslice.errors import BadInputError
from slurmslice.script.render import ScriptContent, library_bytes, render_script
from slurmslice.script.template import FILTERS, environment, render_template
from slurmslice.script.template_files import OwnTemplate, find_template
from slurmslice.spec.command import Command, ShellText
from slurmslice.spec.output_check import OutputCheck
from tests.cli.test_bad_input import here  # noqa: F401 - a fixture
from tests.local.test_local_runs import Here
from tests.script.test_packs import POOL
from tests.script.test_script import (
    BASH,
    EXAMPLE,
    PATH,
    TABLE_EXAMPLE,
    Place,
    to_bytes,
    tool,
    words,
)
from tests.support.errors import raises_error
from tests.support.paths import REPOSITORY
from tests.support.scripts import changed

ROOT = REPOSITORY
EXAMPLES = ROOT / "examples/templates"
DOCUMENTED = (ROOT / "docs/reference/templates.md").read_text()
SPECS = (EXAMPLE, TABLE_EXAMPLE, POOL, changed(POOL, command=EXAMPLE.record.command))


def own(text: str, path: Path = Path("/somewhere/mine.sh.j2")) -> OwnTemplate:
    return OwnTemplate(path, text)


def extending(block: str, text: str) -> OwnTemplate:
    """A template that extends the shipped one and fills one block."""
    return own(f'{{% extends "array.sh.j2" %}}{{% block {block} %}}{text}{{% endblock %}}')


def documented(section: str) -> list[str]:
    """Return the names in the first column of a section's table."""
    text = DOCUMENTED.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)


# -- the contract ---------------------------------------------------------------------------


def test_the_documented_names_are_all_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A template gets exactly the names that docs/reference/templates.md promises."""
    got: list[str] = []

    def look(context: dict[str, object], _: OwnTemplate | None) -> str:
        got.extend(context)
        return render_template(context, None)

    monkeypatch.setattr("slurmslice.script.template.render_template", look)
    render_script(EXAMPLE)
    assert sorted(documented("Names")) == sorted(got)


def test_the_documented_filters_and_blocks_are_all_there_are() -> None:
    """docs/reference/templates.md lists exactly the filters and blocks of the shipped template."""
    assert documented("Filters") == list(FILTERS)
    assert documented("Blocks") == list(environment().get_template("array.sh.j2").blocks)


def test_the_documented_examples_are_the_shipped_ones() -> None:
    """A person who copies from the page or from examples/ gets the same, tested text."""
    shown = re.findall(r"```jinja\n(.*?)```", DOCUMENTED, re.DOTALL)
    assert shown == [(EXAMPLES / f"{n}.sh.j2").read_text() for n in ("modules", "apptainer")]


def test_a_template_that_only_extends_changes_nothing() -> None:
    """The shipped script comes out byte for byte, in every form."""
    for spec in SPECS:
        assert render_script(spec, own('{% extends "array.sh.j2" %}')) == render_script(spec)


@pytest.mark.parametrize("block", documented("Blocks"))
def test_every_block_can_be_added_to(block: str) -> None:
    """``super()`` returns the shipped text of a block, so a template can add a line to it."""
    for spec in SPECS:
        text = render_script(spec, extending(block, "\n# more\n{{ super() }}"))
        assert text.replace("# more\n", "", 1).split() == render_script(spec).split()
        assert ("# more\n" in text) is (block not in {"check", "output"})


def test_an_unknown_block_is_an_error() -> None:
    """Jinja2 would ignore a misspelt block, and the run would start without its modules."""
    with pytest.raises(BadInputError, match=r"line 1: array\.sh\.j2 has no block 'setpu'") as told:
        render_script(EXAMPLE, extending("setpu", "module load x"))
    assert told.value.hint == "Did you mean setup?"


def test_blocks_and_macros_print_filtered_values() -> None:
    """A filtered value in a macro or a call block is printed; an unfiltered one is refused."""
    spec = changed(EXAMPLE, name="/a $(b)")
    macro = "{% macro say(x) %}  echo {{ x | quote }}\n{% endmacro %}"
    text = '{% extends "array.sh.j2" %}' + macro + "{% block setup %}{{ say(name) }}{% endblock %}"
    assert "  echo '/a $(b)'\n" in render_script(spec, own(text))
    with pytest.raises(BadInputError, match="without a filter"):
        render_script(spec, own(text.replace(" | quote", "")))


# -- what is refused ------------------------------------------------------------------------


SHIPPED = (ROOT / "templates/array.sh.j2").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/bash\necho {{ name | quote }}\n",
        "#!/bin/bash\n{{ directives | verbatim }}\n",
        "#!/bin/bash\ntrue\n{% include 'array.sh.j2' %}",
        "{{ directives | verbatim }}\n{% include 'array.sh.j2' %}",
        "{% include 'array.sh.j2' %}true\n",
        SHIPPED.replace("\nprepare() {", "\nother() {"),
        SHIPPED.replace("\nrun_slice() {", "\nother() {"),
        SHIPPED.replace("\ncheck_slice() {", "\nother() {"),
        SHIPPED.replace("{{ source | verbatim }}", "source my.sh"),
        SHIPPED.replace("exit 125", ""),
        SHIPPED.replace("{{ directives | verbatim }}", ""),
    ],
)
def test_a_template_must_keep_the_fixed_parts(text: str) -> None:
    """Without the #SBATCH lines, the functions or the source line slices would be lost."""
    for spec in SPECS:
        with pytest.raises(BadInputError) as refused:
            render_script(changed(spec, check=OutputCheck("test $SLICE")), own(text))
        assert refused.value.code == "template-lacks-part"


@pytest.mark.parametrize("line", ["#!/bin/sh", "#!/usr/bin/env zsh", "#!/bin/bash -l", "# mine"])
def test_a_template_begins_as_the_shipped_one(line: str) -> None:
    """The error names the first line, not the lines below it."""
    with pytest.raises(BadInputError) as refused:
        render_script(SPECS[0], own(SHIPPED.replace("#!/bin/bash", line, 1)))
    assert "first line" in str(refused.value.fields["part"])


@pytest.mark.parametrize(
    ("body", "said", "line"),
    [
        ("{{ nmae | quote }}", "'nmae' is undefined", 3),
        ("{{ nmae }}", "'nmae' is undefined", 3),
        ("{{ nmae | body }}", "'nmae' is undefined", 3),
        ("{{ name.nmae | verbatim }}", "has no attribute 'nmae'", 3),
        ("{{ name }}", "prints 'x' without a filter", 3),
        ("\n{% if %}", "Expected an expression", 4),
        ("{{ name | qoute }}", "No filter named 'qoute'", 3),
        ("{{ (1 // 0) | number }}", "division", 3),
        ("{{ columns[3].x.y | quote }}", "has no element 3", 3),
        ("{{ name | number }}", "invalid literal", 3),
        ("{% include 'nowhere.j2' %}", "there is no template 'nowhere.j2'", 3),
    ],
)
def test_a_template_error_names_its_line(body: str, said: str, line: int) -> None:
    """The error gives file, line and cause; for an unknown name it lists the known ones."""
    text = f'{{% extends "array.sh.j2" %}}\n{{% block setup %}}\n{body}\n{{% endblock %}}'
    with pytest.raises(BadInputError) as raised:
        render_script(EXAMPLE, own(text))
    assert f"/somewhere/mine.sh.j2, line {line}: " in raised.value.message
    assert said in raised.value.message
    if "undefined" in said:
        assert "work_dir" in raised.value.hint


def test_an_error_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    """A template can include files beside it, and an error names the included file."""
    (tmp_path / "site.j2").write_text("  umask 027\n")
    text = '{% extends "array.sh.j2" %}{% block setup %}{% include "site.j2" %}{% endblock %}'
    assert "  umask 027\n}" in render_script(EXAMPLE, own(text, tmp_path / "a.sh.j2"))
    (tmp_path / "site.j2").write_text("\n{{ name }}\n")
    with pytest.raises(BadInputError, match=rf"{tmp_path}/site.j2, line 2: "):
        render_script(EXAMPLE, own(text, tmp_path / "a.sh.j2"))


def test_a_template_that_extends_itself_is_refused(tmp_path: Path) -> None:
    """Files that include one another end in an error, not in a crash."""
    (tmp_path / "mine.sh.j2").write_text('\n{% extends "mine.sh.j2" %}')
    with pytest.raises(BadInputError, match=r"mine.sh.j2, line 2: .*recursion"):
        render_script(EXAMPLE, find_template("mine.sh.j2", tmp_path))


@pytest.mark.parametrize(
    ("block", "text"),
    [("setup", "\n  echo 'a\n"), ("command", ""), ("check", ""), ("header", "\nif\n")],
)
def test_a_template_must_give_a_valid_shell_script(block: str, text: str) -> None:
    """A missing quote is found at render, as an error of the template and not of --shell."""
    typed = changed(
        EXAMPLE, setup="true", command=ShellText("echo $SLICE"), check=OutputCheck("test $SLICE")
    )
    with raises_error(BadInputError, "bash-syntax"):
        render_script(typed, extending(block, text))


def test_values_are_data_in_a_template_too() -> None:
    """A value that looks like Jinja2 or bash is printed, never evaluated."""
    evil = "{{ 7 * 7 }}$(touch pwned)"
    spec = changed(EXAMPLE, name=evil, setup=f"echo '{evil}'", work_dir=f"/{evil}")
    text = render_script(spec, extending("setup", "\n{{ super() }}  echo {{ name | quote }}\n"))
    assert f"  echo '{evil}'\n  echo '{evil}'\n" in text
    assert "49" not in text


# -- found by name --------------------------------------------------------------------------


def test_a_template_is_a_file_or_a_name_of_the_project(tmp_path: Path) -> None:
    """A path, NAME or NAME.sh.j2 in templates/; an error lists the templates."""
    folder = tmp_path / "templates"
    with raises_error(BadInputError, "unknown-template"):
        find_template("gpu", tmp_path)
    folder.mkdir()
    (folder / "gpu.sh.j2").write_text("x")
    (tmp_path / "top.j2").write_text("y")
    for given in ("gpu", "gpu.sh.j2", "templates/gpu.sh.j2", str(folder / "gpu.sh.j2")):
        assert find_template(given, tmp_path) == OwnTemplate(folder / "gpu.sh.j2", "x")
    assert find_template("top.j2", tmp_path).text == "y"
    with raises_error(BadInputError, "unknown-template") as caught:
        find_template("cpu", tmp_path)
    assert "gpu" in caught.value.hint
    (folder / "bad.j2").write_bytes(b"\xff")
    with raises_error(BadInputError, "unreadable-file"):
        find_template("bad.j2", tmp_path)


def test_a_template_of_the_same_name_extends_the_shipped_one(tmp_path: Path) -> None:
    """A project's array.sh.j2 does not extend itself."""
    (tmp_path / "array.sh.j2").write_text('{% extends "array.sh.j2" %}')
    assert render_script(EXAMPLE, find_template("array.sh.j2", tmp_path)) == render_script(EXAMPLE)


# -- the two examples, run ------------------------------------------------------------------


@pytest.mark.parametrize("example", ["modules", "apptainer"])
def test_the_examples_make_clean_scripts(tmp_path: Path, example: str) -> None:
    """shellcheck and ``bash -n`` report nothing in any form."""
    paths = []
    for number, spec in enumerate(SPECS):
        paths.append(tmp_path / f"{number}.sh")
        paths[-1].write_text(render_script(spec, find_template(f"{example}.sh.j2", EXAMPLES)))
        subprocess.run([BASH, "-n", str(paths[-1])], check=True)
    done = subprocess.run([tool("shellcheck"), *map(str, paths)], capture_output=True, text=True)
    assert done.stdout == ""


def write(directory: Place, example: str, old: str, new: str, **fields: object) -> None:
    """Render an example with one text replaced."""
    template = find_template(f"{example}.sh.j2", EXAMPLES)
    assert template.text.count(old) == 1
    template = OwnTemplate(template.path, template.text.replace(old, new))
    spec: ScriptContent = changed(
        EXAMPLE,
        run_dir=str(directory.run_dir),
        work_dir=str(directory.work_dir),
        environment=(("PATH", f"{directory.folder}/bin:{PATH}"),),
        **fields,
    )
    directory.make()
    directory.library.write_bytes(library_bytes())
    directory.script.write_bytes(to_bytes(render_script(spec, template)))


def test_the_example_with_modules_runs(tmp_path: Path) -> None:
    """Modules are loaded once per task, before --setup; a failure stops the task."""
    directory = Place(tmp_path)
    module = 'module() { loaded+="$* "; [[ $1 != load || -z $NO_MODULE ]]; }\nexport loaded\n'
    write(directory, "modules", "  module purge", f"{module}  module purge", setup='loaded+="last"',
          command=ShellText('echo "$loaded"'))  # fmt: skip
    assert directory.run().log == b"purge load gcc/13 hdf5/1.14 last\n"
    failed = directory.run(18, NO_MODULE="1")
    assert (failed.code, failed.said.setup_exit, failed.log) == (1, 1, b"")


@pytest.mark.parametrize(("shell", "pack"), [(False, 1), (False, 3), (True, 1), (True, 3)])
def test_the_example_with_apptainer_runs(tmp_path: Path, shell: bool, pack: int) -> None:
    """The command's words reach the container unchanged, with any key."""
    directory = Place(tmp_path)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/apptainer"
    program.write_text('#!/bin/bash\nprintf "%s|" "${@:1:4}"\nshift 4\n"$@"\n')
    program.chmod(0o755)
    image = tmp_path / "tools.sif"
    image.touch()
    show = 'printf "<%s>" "$@"'
    command: Command = (
        ShellText(f"set -- \"$SLICE\" 'a b'\n{show}; exit 3")
        if shell
        else words("sh", "-c", f"{show}; exit 3", "sh", "{}", "a b")
    )
    write(directory, "apptainer", "/project/images/tools.sif", f"'{image}'", command=command,
          direct=False, pack=pack)  # fmt: skip
    directory.make(rows=[("$(touch pwned) 'x",)])
    ran = directory.run(0, "row-40.log")
    head = f"exec|--bind|{directory.work_dir}|{image}|"
    assert ran.log.decode() == f"{head}<$(touch pwned) 'x><a b>"
    assert ran.said.slots[0].exit_code == 3
    image.unlink()
    assert directory.run(0, "row-40.log").said.setup_exit == 1


# -- on the command line --------------------------------------------------------------------


def test_a_run_with_a_template(here: Here) -> None:  # noqa: F811
    """--template takes a name; the same command continues; a changed template is an error."""
    line = ("--engine", "local", "-a", "0-1", "--template", "mine", "--", "true", "{}")
    templates = here.folder / "templates"
    templates.mkdir()
    mine = templates / "mine.sh.j2"
    mine.write_text('{% extends "array.sh.j2" %}{% block header %}\n# ours\n{% endblock %}')
    shown = here("render", "--print", *line)
    assert "\n# ours\n" in shown.stdout, shown.stderr
    assert here("render", *line).returncode == 0
    assert "[run-exists]" in here("render", *line).stderr
    mine.write_text(mine.read_text().replace("ours", "theirs"))
    changed = here("render", *line)
    assert changed.returncode == 2
    assert re.search(r"template: mine.sh.j2 \(\w+\) .* mine.sh.j2 \(\w+\) ", changed.stderr)
    without = here("render", *line[:4], *line[6:])
    assert without.returncode == 2
    assert "slurmslice's own" in without.stderr


def test_a_template_with_an_error_creates_nothing(here: Here) -> None:  # noqa: F811
    """Exit 2, one error with the line, and no folder."""
    (here.folder / "bad.j2").write_text("#!/bin/bash\n{{ nothing }}\n")
    line = ("--engine", "local", "-a", "0-1", "--template", "bad.j2", "--", "true")
    done = here("run", *line)
    assert done.returncode == 2
    assert "bad.j2, line 2: 'nothing' is undefined." in done.stderr
    assert not (here.folder / "slurmslice-runs").exists()
    assert here("run", "x", "--template", "bad.j2").returncode == 2
