"""The texts of the configuration files, made from the settings. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .layout import Layout, node_names
from .record import Record


@dataclass(frozen=True)
class Machine:
    """Facts about the machine and its release of Slurm."""

    host: str
    """Its name, as `hostname -s` gives it."""
    name_is_loopback: bool
    """True if that name resolves to 127.0.0.1."""
    cgroup_version: int
    slurm_version: tuple[int, int]

    @property
    def communication(self) -> list[str]:
        """Let the daemons listen only on loopback, if the machine's name resolves to it.

        These parameters use the address of that name, not the addresses in the configuration.
        They also apply to srun. If connections come from another address (as with Debian's
        127.0.1.1), no step would start. Seen in 22.05.
        """
        if not self.name_is_loopback:
            return []
        return ["CommunicationParameters=NoCtldInAddrAny,NoInAddrAny"]


CLUSTER_NAME = "slurmslice"
DATABASE = "slurm_acct_db"
DATABASE_USER = "slurm"


def slurm_conf(layout: Layout, record: Record, machine: Machine) -> str:
    """Write slurm.conf(5)."""
    settings = record.settings
    lines = [
        *_general(layout, record, machine),
        *_jobs(record),
        *_accounting(layout, record),
        *_nodes_and_partitions(layout, record, machine),
        *settings.extra,
    ]
    return "\n".join(lines) + "\n"


def _general(layout: Layout, record: Record, machine: Machine) -> list[str]:
    settings = record.settings
    return [
        f"ClusterName={CLUSTER_NAME}",
        f"SlurmctldHost={machine.host}(127.0.0.1)",
        *machine.communication,
        f"SlurmctldPort={record.slurmctld_port}",
        "SlurmUser=root",
        "AuthType=auth/munge",
        # cred_expire is also how long a requeued job waits before it may start again.
        f"AuthInfo=socket={layout.munge_socket},cred_expire={settings.requeue_wait}",
        f"StateSaveLocation={layout.state}",
        f"SlurmctldPidFile={layout.pid_file('slurmctld')}",
        f"SlurmctldLogFile={layout.log_file('slurmctld')}",
        f"SlurmdPidFile={layout.pid_file('%n')}",
        f"SlurmdLogFile={layout.log_file('%n')}",
        f"SlurmdSpoolDir={layout.spool / '%n'}",
        # A node may claim more CPUs and memory than the machine has.
        "SlurmdParameters=config_overrides",
        f"SlurmdTimeout={settings.slurmd_timeout}",
        # A node that was killed or silent returns when its slurmd registers.
        "ReturnToService=2",
        "SwitchType=switch/none",
        "MpiDefault=none",
        f"MailProg={layout.mail_program}",
    ]


def _jobs(record: Record) -> list[str]:
    settings = record.settings
    return [
        f"MaxArraySize={settings.max_array_size}",
        f"MaxJobCount={settings.max_job_count}",
        f"MinJobAge={settings.min_job_age}",
        f"KillWait={settings.kill_wait}",
        "JobRequeue=1",
        "ProctrackType=proctrack/cgroup",
        "TaskPlugin=task/cgroup",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_CPU_Memory",
        f"DefMemPerCPU={settings.def_mem_per_cpu}",
        "PreemptType=preempt/partition_prio",
        f"PreemptMode={settings.preempt_mode}",
        # Start jobs at once: a test cannot wait a minute for the next round of scheduling.
        "SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=5,"
        "bf_interval=5",
    ]


def _accounting(layout: Layout, record: Record) -> list[str]:
    # One sample a second: short tasks get a MaxRSS too.
    gather = ["JobAcctGatherType=jobacct_gather/linux", "JobAcctGatherFrequency=1"]
    if not record.settings.accounting:
        return [*gather, "AccountingStorageType=accounting_storage/none"]
    return [
        *gather,
        "AccountingStorageType=accounting_storage/slurmdbd",
        "AccountingStorageHost=127.0.0.1",
        f"AccountingStoragePort={record.slurmdbd_port}",
        # Up to 22.05 at least, AuthInfo does not apply to connections to slurmdbd.
        f"AccountingStoragePass={layout.munge_socket}",
        "AccountingStorageEnforce=associations,limits,qos",
    ]


def _nodes_and_partitions(layout: Layout, record: Record, machine: Machine) -> list[str]:
    settings = record.settings
    names = node_names(layout.folder, settings)
    size = f"CPUs={settings.cpus} RealMemory={settings.memory_mb}"
    nodes = [
        f"NodeName={name} NodeHostname={machine.host} NodeAddr=127.0.0.1"
        f" Port={record.node_port(index)} {size} State=UNKNOWN"
        for index, name in enumerate(names)
    ]
    here = f"Nodes={','.join(names)} State=UP"
    return [
        *nodes,
        f"PartitionName=main Default=YES PriorityTier=10 PreemptMode=OFF {here}",
        f"PartitionName=scavenge PriorityTier=1 PreemptMode={settings.preempt_mode} {here}",
        f"PartitionName=short MaxTime=5 PriorityTier=10 PreemptMode=OFF {here}",
    ]


def cgroup_conf(machine: Machine) -> str:
    """Write cgroup.conf(5): memory limits that the kernel enforces.

    The plugin is named and not detected, because a machine may mount both versions. Without
    systemd (IgnoreSystemd), slurmd itself must enable the controllers of v2.
    """
    lines = ["CgroupMountpoint=/sys/fs/cgroup", "ConstrainRAMSpace=yes", "ConstrainSwapSpace=yes"]
    if machine.slurm_version >= (21, 8):
        lines.append(f"CgroupPlugin=cgroup/v{machine.cgroup_version}")
    if machine.cgroup_version == 2:
        enable = "EnableControllers" if machine.slurm_version >= (23, 2) else "CgroupAutomount"
        lines += ["IgnoreSystemd=yes", f"{enable}=yes"]
    return "\n".join(lines) + "\n"


def mail_program(layout: Layout) -> str:
    """Write the program for MailProg: a test must not send mail, but it may ask what was sent."""
    return f'#!/bin/sh\nprintf "%s\\n" "$*" >>{layout.mails}\n'


def slurmdbd_conf(layout: Layout, record: Record, machine: Machine) -> str:
    """Write slurmdbd.conf(5). slurmdbd reads it from the folder of slurm.conf."""
    lines = [
        "AuthType=auth/munge",
        f"AuthInfo=socket={layout.munge_socket}",
        *machine.communication,
        "DbdHost=localhost",
        f"DbdPort={record.slurmdbd_port}",
        "SlurmUser=root",
        f"PidFile={layout.pid_file('slurmdbd')}",
        f"LogFile={layout.log_file('slurmdbd')}",
        "StorageType=accounting_storage/mysql",
        "StorageHost=127.0.0.1",
        f"StoragePort={record.mariadb_port}",
        f"StorageUser={DATABASE_USER}",
        f"StoragePass={record.password}",
        f"StorageLoc={DATABASE}",
    ]
    return "\n".join(lines) + "\n"


def mariadb_conf(layout: Layout, record: Record) -> str:
    """Write the option file of mariadbd(8): little memory, loopback, safe after a kill."""
    folder = layout.mariadb
    lines = [
        "[mariadbd]",
        "user=mysql",
        f"datadir={folder / 'data'}",
        f"tmpdir={folder}",
        f"socket={layout.mariadb_socket}",
        f"pid-file={layout.pid_file('mariadbd')}",
        f"log-error={layout.log_file('mariadbd')}",
        f"port={record.mariadb_port}",
        "bind-address=127.0.0.1",
        "skip-name-resolve",
        "performance-schema=off",
        "innodb-buffer-pool-size=64M",
        "innodb-log-file-size=16M",
        # slurmdbd needs a long wait. Data survives a crash of the daemon, not of the machine.
        "innodb-lock-wait-timeout=900",
        "innodb-flush-log-at-trx-commit=2",
    ]
    return "\n".join(lines) + "\n"
