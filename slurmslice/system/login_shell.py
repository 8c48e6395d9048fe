"""The environment that this user has after a login."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

from slurmslice.system.process import run_program
from slurmslice.system.users import account

_TIMEOUT_S = 30.0
_MARK = "slurmslice-login-environment"
_SHELLS = frozenset({"bash", "zsh", "ksh", "mksh", "sh", "dash"})
"""Shells with the options of sh(1). For users of others, bash reads its own start files."""


@cache
def login_environment() -> Mapping[str, str]:
    """Start this user's login shell without a terminal, and return its variables.

    Whatever its start files print is ignored. The result is empty if the shell fails or takes too
    long.
    """
    user = account(os.geteuid())
    if user is None:
        return {}
    shell = user.pw_shell if os.path.basename(user.pw_shell) in _SHELLS else "bash"
    env = {"PATH": f"/usr/local/bin:{os.defpath}", "TERM": "dumb", "SHELL": user.pw_shell}
    home = os.environ.get("HOME") or user.pw_dir
    env |= {"HOME": home, "USER": user.pw_name, "LOGNAME": user.pw_name}
    text = f"printf '\\0{_MARK}\\0'; exec env -0"
    done = run_program((shell, "-l", "-c", text), timeout=_TIMEOUT_S, env=env)
    _, mark, variables = done.stdout.partition(f"\0{_MARK}\0")
    if done.returncode != 0 or not mark:
        return {}
    pairs = (one.partition("=") for one in variables.split("\0"))
    return {name: value for name, equals, value in pairs if equals}
