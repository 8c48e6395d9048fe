"""Mail leaves by SMTP or sendmail; the message is right, and no value is more than text in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from slurmslice.cli.output.probes import address
from slurmslice.errors import BadInputError, MailError
from slurmslice.notify.address import check_address
from slurmslice.notify.end_message import EndMessage
from slurmslice.notify.send_mail import mail_way, send_mail
from slurmslice.sbatch.resource_request import NO_REQUEST
from slurmslice.settings.mail_settings import MailSettings, parse_mail_table, read_mail_settings
from slurmslice.settings.settings_file import KnownKeys
from slurmslice.settings.toml_reader import parse_settings
from slurmslice.system.users import user_name
from tests.support.mail_server import MailServer, make_certificate

MESSAGE = EndMessage("x: 2 of 3 done, 1 failed", "Failures:\n  1  exit:3: <b>é\udcff\n.\nend\n")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(params=["starttls", "tls"])
def server(certificate: Path, request: pytest.FixtureRequest) -> Iterator[MailServer]:
    with MailServer(certificate, tls=request.param == "tls").open() as opened:
        yield opened


def settings(server: MailServer, **others: object) -> MailSettings:
    """Return the settings for a server, which is trusted."""
    usual: dict[str, object] = {
        "smtp_host": "localhost",
        "smtp_port": server.port,
        "security": "tls" if server.tls else "starttls",
        "ca_file": str(server.certificate),
        "sender": "me@here",
    }
    return MailSettings(**usual | others)  # type: ignore[arg-type]


def test_a_mail_has_a_text_and_the_same_as_html(server: MailServer) -> None:
    """Values are escaped in HTML; bytes that are no UTF-8 do not stop it."""
    send_mail(MESSAGE, "ada@lab,bob@lab", settings(server))
    (mail,) = server.mails
    assert (mail["Subject"], mail["To"], mail["From"]) == (
        MESSAGE.subject, "ada@lab, bob@lab", "me@here",
    )  # fmt: skip
    text, html = (part.get_content() for part in mail.iter_parts())
    assert "<b>é?" in text
    assert "&lt;b&gt;é?" in html
    assert text.endswith(".\nend\n")


def test_the_password_comes_from_a_private_file_or_a_command(
    server: MailServer, tmp_path: Path
) -> None:
    """Its first line is sent, after TLS has begun."""
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o600)
    send_mail(MESSAGE, "ada@lab", settings(server, user="ada", password_file=str(file)))
    command = ("echo", "other")
    send_mail(MESSAGE, "ada@lab", settings(server, user="ada", password_command=command))
    assert server.logins == [b"\0ada\0secret", b"\0ada\0other"]
    file.chmod(0o640)
    with pytest.raises(BadInputError) as refused:
        send_mail(MESSAGE, "ada@lab", settings(server, user="ada", password_file=str(file)))
    assert refused.value.code == "no-password"
    assert len(server.mails) == 2


@pytest.mark.parametrize("command", [("false",), ("true",), ("/no/such/program",)])
def test_without_a_password_nothing_is_sent(command: tuple[str, ...]) -> None:
    """A command that fails or prints nothing is told."""
    with pytest.raises(BadInputError) as refused:
        MailSettings(password_command=command).password()
    assert refused.value.code == "no-password"


def test_a_server_that_nobody_vouches_for_gets_nothing(server: MailServer) -> None:
    """Neither mail nor password."""
    with pytest.raises(MailError):
        send_mail(MESSAGE, "ada@lab", settings(server, ca_file="", user="ada"))
    assert (server.mails, server.logins) == ([], [])


def test_a_mail_that_is_refused_is_told(server: MailServer) -> None:
    """The error has the server's own words."""
    server.refuses = True
    with pytest.raises(MailError) as refused:
        send_mail(MESSAGE, "ada@lab", settings(server))
    assert "550" in refused.value.message


def test_no_server_answers() -> None:
    """It is an error of the mail, and no traceback."""
    for host in ("localhost", "no.such.host.invalid"):
        with pytest.raises(MailError):
            send_mail(MESSAGE, "a@b", MailSettings(smtp_host=host, smtp_port=1, security="none"))


def test_a_password_does_not_leave_without_encryption() -> None:
    """Only to this machine it may."""
    bare = MailSettings(smtp_host="mail.lab", user="ada", security="none")
    with pytest.raises(BadInputError) as refused:
        send_mail(MESSAGE, "a@b", bare)
    assert refused.value.code == "password-unprotected"


@pytest.fixture
def sendmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a sendmail on PATH that keeps its input, and fails if there is a file ``broken``."""
    program = tmp_path / "bin" / "sendmail"
    program.parent.mkdir()
    program.write_text(
        f"#!/bin/sh\necho $* > {tmp_path}/argv\ncat > {tmp_path}/mail\n"
        f"[ ! -e {tmp_path}/broken ] || {{ echo no space >&2; exit 75; }}\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path


def test_sendmail_is_used_without_a_server(sendmail: Path) -> None:
    """It reads the addresses from the mail."""
    send_mail(MESSAGE, "ada@lab", MailSettings(sender="me@here"))
    assert "To: ada@lab" in (sendmail / "mail").read_text()
    assert (sendmail / "argv").read_text().split() == ["-i", "-t"]
    (sendmail / "broken").touch()
    with pytest.raises(MailError) as refused:
        send_mail(MESSAGE, "ada@lab", MailSettings())
    assert "no space" in refused.value.message


@pytest.fixture
def nameless(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine does not know the user: a container, or its directory of users is away."""

    def unknown(uid: int) -> NoReturn:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr("pwd.getpwuid", unknown)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    user_name.cache_clear()
    yield
    user_name.cache_clear()


@pytest.mark.usefixtures("nameless")
def test_a_user_without_a_name_gets_mail(sendmail: Path) -> None:
    """The number is the sender. A password under ``~`` cannot be had, which is told."""
    send_mail(MESSAGE, "ada@lab", MailSettings())
    assert f"From: {os.getuid()}@" in (sendmail / "mail").read_text()
    with pytest.raises(BadInputError) as refused:
        MailSettings(password_file="~/password").password()
    assert refused.value.code == "no-password"
    assert address(NO_REQUEST) == str(os.getuid())


def test_a_machine_may_have_no_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The error says so."""
    monkeypatch.setattr("slurmslice.notify.send_mail._FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mail_way(MailSettings()) == ""
    with pytest.raises(MailError):
        send_mail(MESSAGE, "ada@lab", MailSettings())
    assert mail_way(replace(MailSettings(), smtp_host="mail.lab")) == "smtp"


@pytest.mark.parametrize("text", ["ada", "ada@lab.org", "ada@lab,bob@lab"])
def test_addresses(text: str) -> None:
    """A name on this machine is one too."""
    check_address(text)


@pytest.mark.parametrize(
    "text",
    ["", "a b@c", "a@b\nBcc: c@d", "a@b,", "<a@b>", "@b", "a@b\0", "a@[b", "=?u?q?x?=@b", "é@b"],
)
def test_a_wrong_address_is_refused(text: str) -> None:
    """No text adds a header or another recipient."""
    with pytest.raises(BadInputError) as refused:
        check_address(text)
    assert refused.value.code == "no-mail-address"


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ({"smtp-hots": "x"}, "unknown-key"),
        ({"smtp-port": 0}, "bad-value"),
        ({"smtp-port": "25"}, "bad-value"),
        ({"security": "ssl"}, "bad-value"),
        ({"password-command": "pass show mail"}, "bad-value"),
        ({"user": 3}, "bad-value"),
        ({"from": "a\nb"}, "bad-value"),
    ],
)
def test_a_wrong_table_is_refused(table: dict[str, object], code: str) -> None:
    """The error names the file and the key."""
    with pytest.raises(BadInputError) as refused:
        parse_mail_table(table, "config.toml")
    assert refused.value.code == code
    assert "config.toml: [mail]" in refused.value.message


@pytest.mark.parametrize(
    "odd",
    [
        {"smtp_host": "a..b"},
        {"smtp_host": "a" * 100 + ".org"},
        {"sender": "a@[b"},
        {"user": "ä", "password_command": ("echo", "ä")},
    ],
)
def test_odd_settings_are_an_error_of_the_mail(server: MailServer, odd: dict[str, object]) -> None:
    """No text of a person ends in a traceback."""
    with pytest.raises(MailError):
        send_mail(MESSAGE, "ada@lab", settings(server, **odd))


def test_a_server_that_has_the_mail_may_end_oddly(server: MailServer) -> None:
    """The mail counts as sent, so it is not sent twice."""
    server.farewell = "421 away"
    send_mail(MESSAGE, "ada@lab", settings(server))
    assert len(server.mails) == 1


@pytest.mark.parametrize("word", [b"", b"EHLO", b"STARTTLS", b"AUTH", b"MAIL", b"DATA"])
def test_a_server_whose_answer_has_no_end_holds_nobody(
    word: bytes, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One deadline holds for all steps: each byte begins the time-out of a socket again."""
    monkeypatch.setattr("slurmslice.notify.send_mail._CONVERSATION_S", 0.3)
    with MailServer(certificate, drips_at=word).open() as server:
        login = {"user": "ada", "password_command": ("echo", "x")}
        with pytest.raises(MailError):
            send_mail(MESSAGE, "ada@lab", settings(server, **login))


def test_a_server_that_has_the_mail_may_say_farewell_for_ever(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail counts as sent."""
    monkeypatch.setattr("slurmslice.notify.send_mail._CONVERSATION_S", 2)
    with MailServer(certificate, drips_at=b"QUIT").open() as server:
        send_mail(MESSAGE, "ada@lab", settings(server))
        assert len(server.mails) == 1


@pytest.mark.parametrize("word", [b"EHLO", b"STARTTLS", b"MAIL", b"RCPT", b"DATA"])
def test_a_server_that_closes_the_connection_has_no_mail(word: bytes, certificate: Path) -> None:
    """That is an error of the mail, at each step."""
    with MailServer(certificate, closes_at=word).open() as server:
        with pytest.raises(MailError):
            send_mail(MESSAGE, "ada@lab", settings(server))
        assert not server.mails


def test_another_users_folder_chooses_no_server(tmp_path: Path) -> None:
    """It would get the password. The person's own file may have the table."""
    text = b'[mail]\nsmtp-host = "x"\n'
    with pytest.raises(BadInputError) as refused:
        parse_settings(text, "slurmslice.toml", KnownKeys({}, {}))
    assert refused.value.code == "mail-in-folder"
    parse_settings(text, "config.toml", KnownKeys({}, {}))


@pytest.mark.parametrize(
    ("text", "code"),
    [("x = " + "[" * 9999, "bad-settings-file"), ("x = " + "1" * 9999, "bad-settings-file"),
     ("[mail", "bad-settings-file"), ("mail = 3", "unknown-key"), (None, "bad-settings-file")],
)  # fmt: skip
def test_settings_that_cannot_be_read_are_an_error_of_the_mail(
    text: str | None, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever tomllib says, or if a folder is in the place of the file."""
    file = tmp_path / "slurmslice" / "config.toml"
    file.parent.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert not read_mail_settings().smtp_host
    file.write_text(text) if text is not None else file.mkdir()
    with pytest.raises(BadInputError) as refused:
        read_mail_settings()
    assert refused.value.code == code
    if text and code == "bad-settings-file":
        with pytest.raises(BadInputError) as refused:
            parse_settings(text.encode(), str(file), KnownKeys({}, {}))
        assert refused.value.code == code
