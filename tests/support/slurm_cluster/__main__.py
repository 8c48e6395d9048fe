"""The command line: `python tests/support/slurm_cluster up|down|status|shell`."""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

if not __package__:
    # Started by its path: search for modules in the repository, not in this package.
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from tests.support.slurm_cluster import DEFAULT_FOLDER, Cluster, ClusterError, Settings, roots

_SOMETHING_IS_DOWN = 3


def _say(message: str) -> None:
    print(message, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python tests/support/slurm_cluster",
        description="A real Slurm cluster on this machine, for tests.",
    )
    parser.add_argument("--dir", type=Path, default=DEFAULT_FOLDER, help="default: %(default)s")
    commands = parser.add_subparsers(dest="command", required=True)
    directory = argparse.ArgumentParser(add_help=False)
    directory.add_argument(
        "--dir", type=Path, default=argparse.SUPPRESS, help="the cluster's folder (see above)"
    )
    up = commands.add_parser(
        "up",
        parents=[directory],
        help="start all daemons that do not run",
        description="Start all daemons that do not run. An option that is not given has its"
        " default, even if the cluster had another value: daemons are restarted to change it.",
    )
    _add_settings(up)
    down = commands.add_parser("down", parents=[directory], help="end every daemon and every job")
    down.add_argument("--remove", action="store_true", help="delete the folder as well")
    make = commands.add_parser(
        "make-root",
        help="make a Debian root with another release of Slurm, for up --root",
        description="Make a Debian root with this release of Slurm, and print its path.",
    )
    make.add_argument("slurm", choices=roots.SUITES, help="the release of Slurm")
    make.add_argument("--cache", type=Path, default=roots.CACHE, help="default: %(default)s")
    commands.add_parser("status", parents=[directory], help="show the daemons that run")
    commands.add_parser("shell", parents=[directory], help="open a shell as the ordinary user")
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add an option for each field of Settings, with the help text of the field."""
    for knob in fields(Settings):
        options: dict[str, Any] = {"dest": knob.name, "default": knob.default}
        if isinstance(knob.default, bool):
            options["action"] = argparse.BooleanOptionalAction
        elif isinstance(knob.default, tuple):
            options |= {"action": "append", "default": [], "metavar": "LINE"}
        else:
            options |= {"type": type(knob.default), "metavar": type(knob.default).__name__.upper()}
        parser.add_argument(
            f"--{knob.name.replace('_', '-')}", help=knob.metadata["help"], **options
        )


def _up(arguments: argparse.Namespace) -> int:
    chosen = {knob.name: getattr(arguments, knob.name) for knob in fields(Settings)}
    settings = replace(Settings(**chosen), extra=tuple(arguments.extra))
    cluster = Cluster(arguments.dir, settings, say=_say)
    cluster.up()
    here = shlex.quote(str(Path(__file__).resolve().parent))
    _say("\nThe cluster is up. To use it:")
    _say(f"  export SLURM_CONF={shlex.quote(cluster.env['SLURM_CONF'])}")
    _say(f"or in a shell as {cluster.user}, its user:")
    _say(f"  python {here} shell --dir {shlex.quote(str(cluster.folder))}")
    return 0


def _make_root(arguments: argparse.Namespace) -> int:
    print(roots.make(arguments.slurm, arguments.cache, _say))
    return 0


def _down(arguments: argparse.Namespace) -> int:
    Cluster(arguments.dir, say=_say).down(remove=arguments.remove)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    cluster = Cluster(arguments.dir)
    running = cluster.running()
    for name in cluster.daemon_names:
        _say(f"{name:12} {running.get(name, 'down')}")
    if "slurmctld" in running:
        _say(cluster.run(["sinfo"], user="root").stdout.rstrip())
    return 0 if set(cluster.daemon_names) <= set(running) else _SOMETHING_IS_DOWN


def _shell(arguments: argparse.Namespace) -> int:
    cluster = Cluster(arguments.dir)
    return cluster.interact(["/bin/bash", "-i"])


def main() -> int:
    """Run the chosen command. If it fails, print the reason on stderr and return 1."""
    arguments = _parser().parse_args()
    commands = {"up": _up, "down": _down, "make-root": _make_root, "status": _status,
                "shell": _shell}  # fmt: skip
    try:
        return commands[arguments.command](arguments)
    except ClusterError as error:
        print(f"cluster: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
