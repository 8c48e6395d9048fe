"""Fixtures that tests share: a run on a fake cluster, and the real cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import coverage
import pytest
from hypothesis import settings

from slurmslice.actions.create import RunInputs, create_run, make_record
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.script.template_files import OwnTemplate
from slurmslice.slices.slice_table import SliceTable
from slurmslice.slices.sources.array_range import slices_from_range
from slurmslice.spec.command import CommandWords
from slurmslice.spec.packing import Packing
from slurmslice.spec.run_spec import RunSpec
from tests.support.fakes import Clock, FakeEngine
from tests.support.site import NoSiteError, Site, beside, empty_folder, find_site
from tests.support.typed import Typed, on_the_fake_cluster

NewRun = Callable[..., Run]

# No test may depend on how fast the machine is.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


# Not of scope "function": hypothesis repeats tests within one such fixture, and warns of that.
@pytest.fixture(scope="class")
def unmeasured() -> Iterator[None]:
    """Do not measure the coverage of a test, nor of its commands.

    It repeats the same lines hundreds of times, and would take more than twice as long.
    """
    measured = coverage.Coverage.current()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        if measured:
            measured.stop()
        yield
        if measured:
            measured.start()


@pytest.fixture
def engine() -> FakeEngine:
    """A fake cluster."""
    return FakeEngine()


@pytest.fixture
def clock(engine: FakeEngine) -> Clock:
    """A clock that advances while the engine waits."""
    clock = Clock()

    def tick() -> None:
        clock.now += 1

    engine.on_wait = tick
    return clock


@pytest.fixture
def interrupted(engine: FakeEngine) -> None:
    """End ``run`` at its first wait, as Ctrl-C does."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    engine.on_wait = interrupt


@pytest.fixture
def new_run(tmp_path: Path, engine: FakeEngine, clock: Clock) -> Callable[..., Run]:
    """Make a run on the fake cluster: slices by range or a table, and sbatch options."""

    def build(slices: str | SliceTable = "0-9", **options: str) -> Run:
        table, throttle = slices_from_range(slices) if isinstance(slices, str) else (slices, None)
        spec = RunSpec(
            name="demo",
            command=CommandWords(("true", "{}")),
            source="a test",
            throttle=throttle,
            request=ResourceRequest.of((n.replace("_", "-"), v) for n, v in options.items()),
            work_dir=str(tmp_path),
        )
        new = RunInputs(spec, table, os.environ | {"PATH": "/usr/bin:/bin"})
        record, _ = make_record(new, engine)
        return Run(create_run(record, new, tmp_path / "runs" / "demo"), engine, clock)

    return build


@pytest.fixture
def make_run(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., tuple[Run, FakeEngine]]:
    """Make a run on a fake cluster of its own: so many slices, and how they are packed."""

    def build(
        slices: int,
        packing: Packing,
        options: tuple[tuple[str, str], ...] = (),
        setup: str = "",
        template: OwnTemplate | None = None,
    ) -> tuple[Run, FakeEngine]:
        folder = tmp_path_factory.mktemp("run")
        spec = RunSpec(
            name="packed",
            command=CommandWords(("true", "{}")),
            source="a test",
            request=ResourceRequest(options),
            setup=setup,
            work_dir=str(folder),
            packing=packing,
        )
        table = SliceTable([f"k{n}" for n in range(slices)])
        new, engine = (
            RunInputs(spec, table, os.environ | {"PATH": "/usr/bin:/bin"}, template),
            FakeEngine(),
        )
        record, _ = make_record(new, engine)
        return Run(create_run(record, new, folder / "packed"), engine, Clock()), engine

    return build


@pytest.fixture
def site_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of the site's file, which does not exist yet."""
    path = tmp_path / "site.toml"
    monkeypatch.setattr("slurmslice.actions.site_rules.SITE_FILE", path)
    monkeypatch.setattr("slurmslice.system.config_files.SITE_FILE", path)
    return path


@pytest.fixture
def reopen(engine: FakeEngine, clock: Clock) -> Callable[[Run], Run]:
    """The same run as another process finds it."""
    return lambda run: Run(run.directory, engine, clock)


@pytest.fixture
def typed(
    engine: FakeEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Typed:
    """The command line, on the fake cluster."""
    return on_the_fake_cluster(engine, tmp_path, monkeypatch, capsys)


# -- the real cluster ------------------------------------------------------------------------


LONGEST = (
    "large_on_cluster", "trouble_on_cluster", "main_job_on_cluster", "outages_on_cluster",
    "bring_up", "check_on_cluster", "full_queue_on_cluster", "packs_on_cluster",
    "library_on_cluster", "slice_variables_on_cluster", "once_on_cluster", "steward_on_cluster",
)  # fmt: skip
"""The test files that take longest. They begin first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files first, so that no worker has one left when the others have ended.

    They mostly wait for Slurm, while the workers of other files use the CPUs.
    """
    ranks = {f"test_{name}": rank for rank, name in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(ranks)))


MEMORY = Path("/dev/shm")
"""A file system in memory, on Linux."""

ROOM_BYTES = 4 * 2**30
"""Free bytes of it that are more than enough for the files of all tests."""


def pytest_configure(config: pytest.Config) -> None:
    """Put the tests' files into memory, and restore the default signals for their programs.

    Tests make and remove a million small files. On a disk that takes a quarter of their CPU time,
    and they wait for it as long as they work. pytest reads ``PYTEST_DEBUG_TEMPROOT``.
    """
    if _has_room(MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
    # Under nohup these are ignored, by all children too, and tests of signals would wait in vain.
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _has_room(folder: Path) -> bool:
    """Return whether a folder has room for all tests, and programs may be started from it."""
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        return False
    found = os.statvfs(folder)
    return not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize >= ROOM_BYTES


_WHY_NOT = "No Slurm cluster"


def _folders() -> tuple[str, str]:
    """Return the folder of our own cluster, and that of the first worker of pytest-xdist.

    Each worker has its own cluster. All use the slurmslice that is installed in the first folder.
    """
    first = os.environ.get("SLURMSLICE_TEST_CLUSTER", "/var/tmp/slurmslice-cluster")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
    return (first if worker == "gw0" else f"{first}-{worker}"), first


@pytest.fixture(scope="session")
def site(request: pytest.FixtureRequest) -> Site:
    """Slurm and an ordinary user; without one the test is skipped, or fails if it is required."""
    wish = os.environ.get("SLURMSLICE_TEST_SLURM", "auto")
    # What is brought up, and the packages that are installed for it, are named to the person.
    capture = request.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            return find_site(wish, *_folders())
    except NoSiteError as why:
        if wish == "require":
            pytest.fail(f"A Slurm cluster is required: {why}")
        pytest.skip(f"{_WHY_NOT}: {why}")


@pytest.fixture
def workplace(site: Site) -> Iterator[Path]:
    """An empty folder of the ordinary user. The nodes see it too."""
    with empty_folder(site) as folder:
        yield folder


LAST_LOG_LINES = 60
"""Lines of each daemon's log that a failed test shows."""

CHEAP = "PartitionName=cheap PriorityTier=1 PreemptMode=CANCEL Nodes=ALL State=UP"


@pytest.fixture(scope="session")
def rough(site: Site) -> Iterator[Site]:
    """A second cluster, which tests may disturb. A requeued job waits five seconds, not twenty.

    Preempted jobs of its partition ``cheap`` are cancelled.
    """
    if site.cluster is None:
        pytest.skip("daemons are stopped on a cluster of our own only")
    with beside(site, "trouble", requeue_wait=5, extra=(CHEAP,)) as other:
        yield other


@pytest.fixture
def roughly(rough: Site) -> Iterator[Path]:
    """An empty folder of the ordinary user of that cluster."""
    with empty_folder(rough) as folder:
        yield folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the daemons of its cluster last wrote, if a test on a cluster fails."""
    report = yield
    used = getattr(item, "funcargs", {})
    if report.failed and report.when == "call":
        for name in ("site", "rough"):
            if name in used and used[name].cluster:
                logs = used[name].cluster.last_log_lines(LAST_LOG_LINES)
                report.sections.extend((f"end of {log}", lines) for log, lines in logs)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report the tests that did not run without a cluster, or the number of those that ran."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", [])]
    if why := next((text for text in skipped if _WHY_NOT in text), ""):
        why = why[why.index(_WHY_NOT) :].removesuffix("')")
        terminalreporter.write_line(
            f"!!! {len(skipped)} TESTS DID NOT RUN, those on a real cluster among them. {why}",
            red=True,
            bold=True,
        )
        return
    ran = sum(
        "slurm" in report.keywords and report.when == "call"
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport)
    )
    if ran:
        terminalreporter.write_line(f"{ran} tests ran on a real Slurm cluster.")
