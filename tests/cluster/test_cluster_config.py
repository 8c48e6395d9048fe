"""The texts of the configuration files, which depend on settings, folder and releases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.slurm_cluster import DEFAULT_FOLDER, ClusterError, Settings, config
from tests.support.slurm_cluster.layout import Layout, node_names
from tests.support.slurm_cluster.record import Record

ELSEWHERE = Path("/var/tmp/elsewhere")
MACHINE = config.Machine("host", True, 1, (20, 11))


def conf(folder: Path, settings: Settings) -> list[str]:
    text = config.slurm_conf(Layout(folder), Record(settings, 20000, "secret"), MACHINE)
    return text.splitlines()


def test_settings_reach_slurm_conf() -> None:
    lines = conf(ELSEWHERE, Settings(nodes=1, max_array_size=50, extra=("EnforcePartLimits=ALL",)))
    assert "MaxArraySize=50" in lines
    assert lines[-1] == "EnforcePartLimits=ALL"
    assert sum(line.startswith("NodeName=") for line in lines) == 1


def test_without_accounting() -> None:
    lines = conf(ELSEWHERE, Settings(accounting=False))
    assert [line for line in lines if line.startswith("AccountingStorage")] == [
        "AccountingStorageType=accounting_storage/none"
    ]


def test_nodes_are_named_plainly_in_the_default_folder_only() -> None:
    assert node_names(DEFAULT_FOLDER, Settings()) == ["n1", "n2", "n3", "n4"]
    assert not set(node_names(ELSEWHERE, Settings())) & {"n1", "n2", "n3", "n4"}
    assert node_names(ELSEWHERE, Settings(nodes=1, node_prefix="m")) == ["m1"]


@pytest.mark.parametrize(
    ("cgroup_version", "slurm_version", "expected"),
    [
        (1, (20, 11), set()),
        (1, (22, 5), {"CgroupPlugin=cgroup/v1"}),
        (2, (22, 5), {"CgroupPlugin=cgroup/v2", "IgnoreSystemd=yes", "CgroupAutomount=yes"}),
        (2, (24, 11), {"CgroupPlugin=cgroup/v2", "IgnoreSystemd=yes", "EnableControllers=yes"}),
    ],
)
def test_cgroup_conf(
    cgroup_version: int, slurm_version: tuple[int, int], expected: set[str]
) -> None:
    machine = replace(MACHINE, cgroup_version=cgroup_version, slurm_version=slurm_version)
    always = set(config.cgroup_conf(MACHINE).splitlines())
    assert set(config.cgroup_conf(machine).splitlines()) - always == expected


@pytest.mark.parametrize("name_is_loopback", [True, False])
def test_daemons_listen_on_loopback_if_the_name_is_loopback(name_is_loopback: bool) -> None:
    machine = replace(MACHINE, name_is_loopback=name_is_loopback)
    record = Record(Settings(), 20000, "secret")
    for write in (config.slurm_conf, config.slurmdbd_conf):
        text = write(Layout(ELSEWHERE), record, machine)
        assert ("CommunicationParameters=NoCtldInAddrAny,NoInAddrAny" in text) == name_is_loopback


def test_settings_of_another_version_of_this_code() -> None:
    kept = {"nodes": 2, "extra": ["A=1"], "gone_since": True}
    assert Settings.from_dict(kept) == Settings(nodes=2, extra=("A=1",))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ClusterError, match="at least 5"):
        Settings(requeue_wait=3)
    with pytest.raises(ClusterError, match="too long"):
        Layout(Path("/var/tmp") / ("x" * 80))
