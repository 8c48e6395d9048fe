"""The end of a run is told once: who is told, when, what, and what a failure leads to."""

from __future__ import annotations

import json
from typing import Any

import pytest

from slurmslice.errors import LockedError, MailError, SubmissionRejectedError
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

NEW = ("run", "-a", "0-2", "--name", "x")
LINE = (*NEW, "-c", "2", "-t", "60", "--mem", "1G", "--mail", "--mail-user", "ada@lab")
COMMAND = ("--", "true", "{}")


class Mails(list[tuple[str, str, str]]):
    """The mails that were sent: address, subject and text. Each fails while ``broken``."""

    broken = False


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> Mails:
    """Keep the mails instead of sending them."""
    kept = Mails()

    def send(message: object, to: str, *_: object) -> None:
        if kept.broken:
            raise MailError("the server is away")
        kept.append((to, message.subject, message.text))  # type: ignore[attr-defined]

    monkeypatch.setattr("slurmslice.notify.notify_end.send_mail", send)
    return kept


def test_one_mail_when_all_is_done(typed: Typed, engine: FakeEngine, mails: Mails) -> None:
    """Later commands do not repeat it."""
    engine.on_wait = engine.end_all
    typed(*LINE, *COMMAND)
    assert typed.code == 0
    for verb in ("run", "tick", "status", "watch"):
        typed(verb, "x")
    ((to, subject, text),) = mails
    assert (to, subject) == ("ada@lab", "x: all 3 done")
    assert str(typed.folder / "runs" / "x") in text


def test_the_mail_counts_accepted_failures_apart(
    typed: Typed, engine: FakeEngine, mails: Mails
) -> None:
    """Its counts have their reason, and its list of failures does not have them."""
    typed(*LINE, *COMMAND)
    engine.end_all()
    engine.end("100", 2, State.FAILED, exit_code=1)
    typed("accept", "x", "2", "--reason", "corrupt input")
    typed("tick", "x", "--exit-code")
    ((_, subject, text),) = mails
    assert (typed.code, subject) == (0, "x: 2 of 3 done, 1 accepted")
    assert "corrupt input" in text
    assert "Failures:" not in text


@pytest.mark.parametrize(
    ("ways", "words", "noted"),
    [
        ([], (), True),
        (["sendmail"], (), False),
        ([], ("--unattended",), False),  # Slurm mails it
        ([], ("--dry-run",), True),
    ],
)
def test_a_missing_way_of_mail_is_told_before(
    ways: list[str], words: tuple[str, ...], noted: bool, typed: Typed,
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Not only at the end, when nobody looks."""
    monkeypatch.setattr("slurmslice.notify.send_mail.mail_ways", lambda *_: ways)
    typed(*LINE, *words, *COMMAND)
    assert (typed.noted("mail-has-no-way") != []) == noted


def test_what_the_mail_tells(typed: Typed, engine: FakeEngine, mails: Mails) -> None:
    """Counts, use, causes with keys and nodes, the reason to leave them, and what to type."""
    typed(*LINE, "--retry", "--max-attempts", "2", *COMMAND)
    hour: dict[str, Any] = {"started_at": 1000, "ended_at": 4600, "elapsed_s": 3600.0}
    engine.end("100", 0, State.COMPLETED, **hour)
    engine.end("100", 1, State.OUT_OF_MEMORY, **hour, requested_mem_bytes=1 << 30)
    engine.end("100", 2, State.FAILED, exit_code=3, **hour)
    typed("tick", "x")
    assert mails == []
    engine.end("101", 1, State.COMPLETED, **hour)
    typed("tick", "x")
    ((_, subject, text),) = mails
    assert subject == "x: 2 of 3 done, 1 failed"
    assert "8.0 CPU hours, of which repairs 2.0 CPU hours" in text
    assert "exit:3: 2" in text
    assert "slurmslice resubmit x" in text


@pytest.mark.parametrize(
    ("before", "used"),
    [({}, "6.0"), ({"100": 1800.0}, "7.0"), ({"99": 1800.0}, "6.0"), (None, "6.0")],
)
def test_the_use_includes_what_was_restarted(
    before: dict[str, float] | None, used: str, typed: Typed, engine: FakeEngine, mails: Mails
) -> None:
    """Slurm restarts a task after the death of a node. Without its answer that is left out."""
    typed(*LINE, *COMMAND)
    engine.before_restarts = before
    for index in range(3):
        engine.end("100", index, State.COMPLETED, started_at=1000, ended_at=4600, elapsed_s=3600.0)
    typed("tick", "x")
    assert f"Used: {used} CPU hours" in mails[0][2]


def test_a_new_end_is_told_again(typed: Typed, engine: FakeEngine, mails: Mails) -> None:
    """A person has submitted failed slices again."""
    typed(*LINE, *COMMAND)
    engine.end_all(State.FAILED)
    typed("tick", "x")
    assert len(mails) == 1
    typed("resubmit", "x")
    engine.end_all()
    typed("tick", "x")
    assert [subject for _, subject, _ in mails] == ["x: 0 of 3 done, 3 failed", "x: all 3 done"]


def test_a_mail_that_fails_is_tried_again(typed: Typed, engine: FakeEngine, mails: Mails) -> None:
    """The run keeps its exit code; the next command that follows it sends the mail."""
    engine.on_wait, mails.broken = engine.end_all, True
    typed(*LINE, *COMMAND)
    assert (typed.code, typed.noted("end-not-told")) == (0, [{"way": "mail"}])
    mails.broken = False
    typed("tick", "x")
    typed("tick", "x")
    assert len(mails) == 1


def test_a_held_run_is_told(typed: Typed, engine: FakeEngine, mails: Mails) -> None:
    """The run stopped by its own rule: what runs goes on, and a person must decide."""
    typed(*LINE, "--max-failures", "1", *COMMAND)
    engine.end("100", 0, State.FAILED, exit_code=1)
    typed("tick", "x")
    ((_, subject, text),) = mails
    assert subject.endswith("stopped")
    assert "--max-failures 1" in text
    engine.end_all()
    typed("tick", "x")
    assert len(mails) == 1


def test_a_run_that_cannot_go_on_is_told(typed: Typed, engine: FakeEngine, mails: Mails) -> None:
    """Slurm rejects its slices for good."""

    def reject(_: object) -> None:
        raise SubmissionRejectedError("no such account")

    engine.on_submit = reject
    typed(*LINE, *COMMAND)
    ((_, subject, text),) = mails
    assert subject == "x: 0 of 3 done, stopped"
    assert "no such account" in text


def test_a_command_reads_the_status(typed: Typed, engine: FakeEngine) -> None:
    """It runs once, in the working directory, with the JSON of status on its standard input."""
    engine.on_wait = engine.end_all
    typed(*NEW, "--on-end", "cat >> told; pwd > where", *COMMAND)
    assert typed.noted("end-told") == [{"way": "on-end"}]
    typed("tick", "x")
    assert json.loads((typed.folder / "told").read_text())["counts"] == {"COMPLETED": 3}
    assert (typed.folder / "where").read_text().strip() == str(typed.folder)


def test_a_command_that_fails_is_run_again(typed: Typed, engine: FakeEngine) -> None:
    """Its words are told; the run keeps its exit code."""
    engine.on_wait = engine.end_all
    fails = "[ -e ok ] || { echo no network >&2; exit 3; }; echo x >> told"
    typed(*NEW, "--on-end", fails, *COMMAND)
    assert (typed.code, typed.noted("end-not-told")) == (0, [{"way": "on-end"}])
    assert "no network" in typed.stderr
    (typed.folder / "ok").touch()
    typed("tick", "x")
    typed("tick", "x")
    assert (typed.folder / "told").read_text() == "x\n"


@pytest.mark.parametrize("address", [(), ("--mail-user", "a b")])
def test_mail_without_an_address_makes_no_run(typed: Typed, address: tuple[str, ...]) -> None:
    """The error comes before anything is made."""
    typed(*NEW, "--mail", *address, *COMMAND)
    assert (typed.code, typed.error) == (2, "no-mail-address")
    assert not (typed.folder / "runs" / "x").exists()


@pytest.mark.parametrize("text", ["yes | head -c 20000000 >&2; exit 3", "sleep 60 & exit 3"])
def test_a_command_may_say_much_and_leave_processes(
    typed: Typed, engine: FakeEngine, text: str
) -> None:
    """Its output is in no memory, and only the command itself is waited for."""
    engine.on_wait = engine.end_all
    typed(*NEW, "--on-end", text, *COMMAND)
    assert (typed.code, typed.noted("end-not-told")) == (0, [{"way": "on-end"}])


def test_a_kill_while_a_command_runs_tells_the_end_again(
    typed: Typed, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C ends the command, and the next follower calls it."""

    def interrupted_hook(*_: object, **__: object) -> tuple[int, str]:
        raise KeyboardInterrupt

    engine.on_wait = engine.end_all
    with monkeypatch.context() as patch:
        patch.setattr("slurmslice.notify.notify_end.run_hook", interrupted_hook)
        typed(*NEW, "--on-end", "echo x >> told", *COMMAND)
    typed("tick", "x")
    assert (typed.folder / "told").read_text() == "x\n"


def test_no_end_is_told_while_a_repair_is_due(
    typed: Typed, engine: FakeEngine, mails: Mails, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All slices have failed, and Ctrl-C came before the repair."""
    typed(*LINE, "--retry", *COMMAND)
    engine.end_all(State.OUT_OF_MEMORY)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("slurmslice.actions.follow.follow_step", interrupt)
        typed("run", "x")
    assert typed.code == 130
    assert mails == []


def test_a_command_learns_why_it_is_called(typed: Typed, engine: FakeEngine) -> None:
    """The run stopped by its own rule, and is not finished."""
    typed(*NEW, "--max-failures", "1", "--on-end", "cat > told", *COMMAND)
    engine.end("100", 0, State.FAILED, exit_code=1)
    typed("tick", "x")
    told = json.loads((typed.folder / "told").read_text())
    assert told["finished"] is False
    assert "--max-failures 1" in told["stopped"]


def test_a_preview_says_how_the_end_is_told(typed: Typed) -> None:
    """The address and the command, on one line each."""
    said = typed(*LINE, "--on-end", "./tell\nme", "--dry-run", *COMMAND)
    assert "mail to ada@lab" in said
    assert "./tell" in said


@pytest.mark.parametrize(
    ("options", "warns"),
    [((), True), (("--mail-type", "END"), False), (("--mail",), False), (("--on-end", "x"), True)],
)
def test_a_preview_says_that_an_address_alone_sends_no_mail(
    options: tuple[str, ...], warns: bool, typed: Typed
) -> None:
    """Unless Slurm mails by itself."""
    said = typed(*NEW, "--mail-user", "ada@lab", *options, "--dry-run", *COMMAND)
    assert typed.code == 0
    assert ("add --mail" in said) is warns


def test_a_lock_that_another_process_holds_changes_no_exit_code(
    typed: Typed, engine: FakeEngine, mails: Mails, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next command that follows the run sends the mail."""

    def locked(*_: object) -> None:
        raise LockedError("another slurmslice holds the lock")

    engine.on_wait = engine.end_all
    with monkeypatch.context() as patch:
        patch.setattr("slurmslice.notify.notify_end._tell", locked)
        typed(*LINE, *COMMAND)
    assert (typed.code, len(typed.noted("end-not-told")), mails) == (0, 1, [])
    typed("tick", "x")
    assert len(mails) == 1
