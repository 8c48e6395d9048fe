"""Send a mail: by the SMTP server of the settings, else by sendmail(8)."""

from __future__ import annotations

import contextlib
import os
import shutil
import smtplib
import socket
import ssl
from collections.abc import Collection
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from slurmslice.errors import BadInputError, MailError
from slurmslice.notify.end_message import EndMessage
from slurmslice.run.site_rules import MAIL_WAYS
from slurmslice.settings.mail_settings import MailSettings
from slurmslice.system.deadline import raise_after
from slurmslice.system.process import run_program
from slurmslice.system.users import user_name

_TIMEOUT_S = 30.0
_CONVERSATION_S = 60.0
_FOLDERS = ("/usr/sbin", "/usr/lib", "/sbin")


def mail_way(settings: MailSettings, allowed: Collection[str] = MAIL_WAYS) -> str:
    """Name the way of mail: ``smtp``, ``sendmail``, or empty if this machine has none.

    Args:
        settings: the person's settings.
        allowed: the ways that the site allows.
    """
    return next(iter(mail_ways(settings, allowed)), "")


def mail_ways(settings: MailSettings, allowed: Collection[str] = MAIL_WAYS) -> list[str]:
    """List the ways of mail of this machine, the one that is used first; ``mail_way`` names it."""
    there = {"smtp": bool(settings.smtp_host), "sendmail": _sendmail() is not None}
    return [way for way, is_there in there.items() if is_there and way in allowed]


def send_mail(
    message: EndMessage, to: str, settings: MailSettings, allowed: Collection[str] = MAIL_WAYS
) -> None:
    """Send one mail with a text and its HTML.

    Args:
        message: the message.
        to: the addresses, separated by commas.
        settings: the way of mail.
        allowed: the ways that the site allows.

    Raises:
        MailError: this machine has no way of mail, or it did not accept the mail.
    """
    try:
        mail = _compose(message, to, settings)
        match mail_way(settings, allowed):
            case "smtp":
                _by_smtp(mail, settings)
            case "sendmail":
                _by_sendmail(mail)
            case _:
                raise no_way_error(allowed)
    except (ValueError, AttributeError, LookupError) as why:  # of email and smtplib, for odd texts
        raise MailError(f"[mail] or the address cannot be used ({type(why).__name__}).") from why


def no_way_error(allowed: Collection[str]) -> MailError:
    """Return the error if this machine has none of the ways that the site allows."""
    if set(allowed) != set(MAIL_WAYS):
        ways = ", ".join(allowed) or "none"
        return MailError(f"Of the ways of mail that the site allows ({ways}), none works here.")
    return MailError(
        "There is no way of mail: [mail] names no SMTP server, and there is no sendmail.",
        "Set smtp-host in [mail] of ~/.config/slurmslice/config.toml.",
    )


def _compose(message: EndMessage, to: str, settings: MailSettings) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = message.subject
    mail["From"] = settings.sender or f"{user_name(os.getuid())}@{socket.getfqdn()}"
    mail["To"] = to
    mail["Date"] = formatdate(localtime=True)
    mail["Message-ID"] = make_msgid()
    mail.set_content(message.text.encode("utf-8", "replace").decode())
    mail.add_alternative(message.html.encode("utf-8", "replace").decode(), subtype="html")
    return mail


def _by_smtp(mail: EmailMessage, settings: MailSettings) -> None:
    """Send a mail to the server of the settings.

    A socket's own time-out begins again with each byte. So one deadline holds for all steps.
    """
    try:
        with raise_after(_CONVERSATION_S):
            refused = _converse(mail, settings)
    except (OSError, smtplib.SMTPException) as why:
        raise MailError(f"The mail was not accepted by {settings.smtp_host}: {why}.") from why
    if refused:
        raise MailError(f"{settings.smtp_host} refused the address {', '.join(refused)}.")


def _converse(mail: EmailMessage, settings: MailSettings) -> dict[str, tuple[int, bytes]]:
    """Send a mail, and return the addresses that the server refused, with its answers."""
    with contextlib.closing(_connect(settings)) as server:
        if settings.user:
            server.login(settings.user, settings.password())
        refused = server.send_message(mail)
        with contextlib.suppress(OSError, smtplib.SMTPException):  # it has the mail
            server.quit()
    return refused


def _connect(settings: MailSettings) -> smtplib.SMTP:
    """Connect to the SMTP server. A name and password never leave without TLS, except to here."""
    host = settings.smtp_host
    if settings.security == "none":
        if settings.user and host not in {"localhost", "127.0.0.1", "::1"}:
            raise BadInputError(
                f"[mail] would send the password to {host} without encryption.",
                'Set security = "starttls" or "tls".',
                code="password-unprotected",
            )
        return smtplib.SMTP(host, settings.smtp_port or 25, timeout=_TIMEOUT_S)
    context = ssl.create_default_context(cafile=settings.ca_file or None)
    if settings.security == "tls":
        return smtplib.SMTP_SSL(
            host, settings.smtp_port or 465, timeout=_TIMEOUT_S, context=context
        )
    server = smtplib.SMTP(host, settings.smtp_port or 587, timeout=_TIMEOUT_S)
    server.starttls(context=context)
    return server


def _by_sendmail(mail: EmailMessage) -> None:
    argv = (_sendmail() or "sendmail", "-i", "-t")
    done = run_program(argv, timeout=_TIMEOUT_S, data=bytes(mail))
    if done.returncode != 0:
        why = done.stderr.strip() or f"exit {done.returncode}"
        raise MailError(f"sendmail did not accept the mail: {why}.")


def _sendmail() -> str | None:
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_FOLDERS))
    return shutil.which("sendmail", path=path)
