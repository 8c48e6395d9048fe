"""MariaDB's data and slurmdbd's records: database, cluster, account, users, limits."""

from __future__ import annotations

import shutil
import subprocess

from .config import CLUSTER_NAME, DATABASE, DATABASE_USER
from .daemons import ask, demand, environment, find_program
from .errors import ClusterError
from .layout import Layout
from .record import Record


def create_data(layout: Layout) -> bool:
    """Make MariaDB's system tables if they do not exist; return True if they were made.

    An incomplete folder is never used, because the last step is a rename.
    """
    data, new = layout.mariadb / "data", layout.mariadb / "data.new"
    if data.exists():
        return False
    shutil.rmtree(new, ignore_errors=True)
    done = subprocess.run(
        [
            find_program(layout, "mariadb-install-db") or "mariadb-install-db",
            "--no-defaults",
            f"--datadir={new}",
            "--user=mysql",
            "--skip-test-db",
            # The machine may be unable to look up its own name.
            "--force",
        ],
        # Two at the same time would remove each other's temporary tables from /tmp (seen).
        env={**environment(layout), "TMPDIR": str(layout.mariadb)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise ClusterError(f"mariadb-install-db failed:\n{done.stdout[-2000:]}")
    new.rename(data)
    return True


def create_database(layout: Layout, record: Record) -> None:
    """Make slurmdbd's database and its user. Root connects by the socket, without a password."""
    user = f"'{DATABASE_USER}'@'127.0.0.1'"
    sql = (
        f"CREATE DATABASE IF NOT EXISTS {DATABASE};"
        f"CREATE USER IF NOT EXISTS {user};"
        f"ALTER USER {user} IDENTIFIED BY '{record.password}';"
        f"GRANT ALL ON {DATABASE}.* TO {user};"
    )
    demand(layout, "mariadb", "--no-defaults", f"--socket={layout.mariadb_socket}", "-e", sql)


def create_cluster(layout: Layout) -> None:
    """Add the cluster to slurmdbd, before slurmctld asks for the associations of the cluster."""
    if not demand(layout, "sacctmgr", "-nP", "list", "cluster", "format=cluster").strip():
        demand(layout, "sacctmgr", "-i", "add", "cluster", CLUSTER_NAME)


def create_associations(layout: Layout, record: Record, user: str) -> None:
    """Let the ordinary user submit. Root can submit, because it belongs to the account root."""
    account = record.settings.account
    if not demand(layout, "sacctmgr", "-nP", "list", "account", account).strip():
        demand(layout, "sacctmgr", "-i", "add", "account", account)
    where = ("where", f"user={user}", f"account={account}")
    if not demand(layout, "sacctmgr", "-nP", "list", "associations", *where).strip():
        demand(layout, "sacctmgr", "-i", "add", "user", user, f"account={account}")
    demand(layout, "sacctmgr", "-i", "modify", "user", user, "set", f"defaultaccount={account}")


def set_limits(layout: Layout, account: str, user: str, limits: dict[str, int | None]) -> None:
    """Set limits of the user's association, sacctmgr(1). The value None removes a limit."""
    pairs = [f"{name}={-1 if value is None else value}" for name, value in limits.items()]
    who = ("where", f"user={user}", f"account={account}")
    done = ask(layout, "sacctmgr", "-i", "modify", "user", *who, "set", *pairs)
    if done.returncode != 0:
        raise ClusterError(f"sacctmgr: {(done.stderr or done.stdout).strip()}")
