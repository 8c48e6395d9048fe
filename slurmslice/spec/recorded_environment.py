"""The environment of a run's first attempt: names and salted digests of its variables. Pure.

Every later attempt gets these variables with these values (docs/adr/0016). No value is kept.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from slurmslice.sbatch.resource_request import ResourceRequest

_DIGITS = 12
"""Hexadecimal digits of a digest: too few to find a value by trying all of them."""

_OF_SLURM = ("SLURM", "SBATCH_", "SRUN_", "SACCT_", "SQUEUE_", "SINFO_", "SCONTROL_", "SCANCEL_")
"""Slurm's and slurmslice's own. The engine decides which of them reach a task."""

_OF_A_SESSION = frozenset(
    {
        # where the shell is, and which shell it is
        *("_", "PWD", "OLDPWD", "SHLVL", "HOST", "HOSTNAME", "MAIL", "PPID", "MOTD_SHOWN"),
        # its terminal and its windows
        *("TERM", "TERMCAP", "COLORTERM", "COLUMNS", "LINES", "DISPLAY", "WAYLAND_DISPLAY"),
        *("WINDOW", "WINDOWID", "STY", "XAUTHORITY", "XMODIFIERS", "SESSION_MANAGER"),
        *("DESKTOP_SESSION", "LC_TERMINAL", "LC_TERMINAL_VERSION", "LS_COLORS", "LSCOLORS"),
        # what a person at a prompt sees and types
        *("PS1", "PS2", "PS4", "PROMPT", "PROMPT_COMMAND", "EDITOR", "VISUAL", "PAGER", "MANPATH"),
        *("INFOPATH", "LESS", "LESSOPEN", "LESSCLOSE", "CONDA_PROMPT_MODIFIER"),
        "VIRTUAL_ENV_PROMPT",
        # tickets, agents and sockets of one login
        *("KRB5CCNAME", "DBUS_SESSION_BUS_ADDRESS", "GPG_AGENT_INFO", "GPG_TTY", "INVOCATION_ID"),
        *("JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "MANAGERPID", "CRONTAB", "PYTEST_CURRENT_TEST"),
        # scratch folders of one login or one job
        *("TMPDIR", "TMP", "TEMP"),
    }
)
_OF_A_SESSION_PREFIXES = (
    *("SSH_", "XDG_", "TMUX", "TERM_", "VSCODE_", "ITERM_", "KONSOLE_", "VTE_", "HIST", "SUDO_"),
    *("GNOME_", "GTK_", "KDE_", "QT_", "DEBUGINFOD_", "MEMORY_PRESSURE_", "LISTEN_"),
    # a module system's own notes; LOADEDMODULES, which the script sets, has what counts
    *("__LMOD_", "_ModuleTable", "__MODULES_", "_LMFILES_"),
    # an MPI launch
    *("PMI_", "PMIX_", "OMPI_COMM_WORLD_"),
    *_OF_SLURM,
)
"""A later attempt may have other values of these, or none: they belong to one login or one job."""

_SECRET = re.compile(r"secret|token|passw|passphrase|credential|api_?key|private_?key", re.I)


def belongs_to_session(name: str) -> bool:
    """Tell if a variable describes a login, a terminal or a job, and not the work of a slice."""
    return name in _OF_A_SESSION or name.startswith(_OF_A_SESSION_PREFIXES)


@dataclass(frozen=True)
class RecordedEnvironment:
    """The variables of an environment, without those of a session.

    Attributes:
        salt: random text, one for each run.
        digests: the salted digest of each value, by name. It is empty if the name sounds like a
            secret: then only its presence is known.
    """

    salt: str
    digests: Mapping[str, str]

    @classmethod
    def of(cls, environ: Mapping[str, str], salt: str | None = None) -> Self:
        """Record an environment, with a new salt if none is given."""
        salt = secrets.token_hex(8) if salt is None else salt
        names = sorted(name for name in environ if not belongs_to_session(name))
        return cls(salt, {name: _digest(salt, name, environ[name]) for name in names})

    def has(self, name: str, environ: Mapping[str, str]) -> bool:
        """Tell if an environment has a variable with the recorded value."""
        return name in environ and self.digests[name] == _digest(self.salt, name, environ[name])

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {"salt": self.salt, "digests": dict(self.digests)}

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Self:
        """Read the JSON form.

        Raises:
            TypeError: it is not one.
        """
        salt, digests = value.get("salt"), value.get("digests")
        if not (isinstance(salt, str) and isinstance(digests, dict)):
            raise TypeError("an environment has a salt and digests")
        return cls(salt, {str(name): str(digest) for name, digest in digests.items()})


def _digest(salt: str, name: str, value: str) -> str:
    if _SECRET.search(name):
        return ""
    data = "\0".join((salt, name, value)).encode("utf-8", "surrogateescape")
    return hashlib.sha256(data).hexdigest()[:_DIGITS]


@dataclass(frozen=True)
class NextEnvironment:
    """The environment of a later attempt.

    Attributes:
        environ: the variables.
        missing: names that are recorded and set nowhere here.
        different: names that have another value here.
        left_out: names that the caller has and the first attempt did not have.
    """

    environ: Mapping[str, str]
    missing: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @cached_property
    def unlike(self) -> bool:
        """True if it is not the recorded environment."""
        return bool(self.missing or self.different)


def next_environment(
    recorded: RecordedEnvironment,
    caller: Mapping[str, str],
    login: Callable[[], Mapping[str, str]],
    *,
    settled: Set[str] = frozenset(),
    carried: Set[str] | None = None,
) -> NextEnvironment:
    """Make the environment of a later attempt from the caller's and that of a login shell.

    A value is taken from wherever it is the recorded one.

    Args:
        recorded: the environment of the first attempt.
        caller: the caller's environment.
        login: returns the environment of a new login; called only if the caller lacks something.
        settled: names that the script sets itself.
        carried: the names that ``--export`` passes on; None for all.
    """
    wanted = [
        name
        for name in recorded.digests
        if name not in settled and (carried is None or name in carried)
    ]
    environ = {
        name: value
        for name, value in caller.items()
        if name in recorded.digests or name in settled or _may_pass(name, caller)
    }
    lacking = [name for name in wanted if not recorded.has(name, caller)]
    fresh = login() if lacking else {}
    found = {name: fresh[name] for name in lacking if recorded.has(name, fresh)}
    unlike = [name for name in lacking if name not in found]
    return NextEnvironment(
        {**environ, **found},
        tuple(name for name in unlike if name not in caller),
        tuple(name for name in unlike if name in caller),
        tuple(sorted(caller.keys() - environ.keys())),
    )


def _may_pass(name: str, caller: Mapping[str, str]) -> bool:
    """Tell if a variable of a session may reach the next attempt: not from job to job.

    Slurm's own variables pass here: the engine decides about them.
    """
    return belongs_to_session(name) and ("SLURM_JOB_ID" not in caller or name.startswith(_OF_SLURM))


def carried_names(request: ResourceRequest) -> frozenset[str] | None:
    """Return the variables that a submission passes on to its tasks (sbatch(1), ``--export``).

    Returns:
        their names; None if it passes on all of them.
    """
    words = [word.strip() for word in request.get("export", "ALL").split(",")]
    if "ALL" in words:
        return None
    return frozenset(word for word in words if "=" not in word and word not in {"NONE", "NIL"})


def exported_environment(
    request: ResourceRequest, environ: Mapping[str, str], login: Callable[[], Mapping[str, str]]
) -> dict[str, str]:
    """Return the environment that sbatch passes on to tasks (sbatch(1), ``--export``).

    Args:
        request: the request.
        environ: the environment of the submission.
        login: returns the environment of a new login, which Slurm uses unless it passes on all.
    """
    names, words = carried_names(request), request.get("export", "ALL").split(",")
    pairs = (word.strip().partition("=") for word in words)
    given = {name: value for name, equals, value in pairs if equals}
    if names is None:
        return {**environ, **given}
    kept = {name: environ[name] for name in names if name in environ}
    return {**({} if "NIL" in words else login()), **kept, **given}


_ASSIGNMENT = re.compile(r"^\s*(?:export\s+|declare\s+-x\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$")


def settled_names(script: str) -> frozenset[str]:
    """Return the variables that a script sets before its command, whatever they were before."""
    before, _, _ = script.partition("\nrun_slice()")
    return frozenset(name for name, value in _assignments(before) if not _mentions(name, value))


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        if found := _ASSIGNMENT.match(line):
            yield found[1], found[2]


def _mentions(name: str, value: str) -> bool:
    return re.search(rf"\$\{{?{name}\b", value) is not None
