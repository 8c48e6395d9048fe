"""A mail server on loopback, with TLS and a login if asked; it keeps what it gets."""

from __future__ import annotations

import base64
import contextlib
import io
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import IO


@dataclass
class MailServer:
    """A server that listens while it is open.

    Attributes:
        certificate: the file of its certificate and key.
        tls: it speaks TLS from the beginning.
        refuses: it refuses each mail.
        farewell: its answer to QUIT.
        drips_at: the word to which its answer has no end for seconds; empty for the greeting.
        closes_at: the word at which it closes the connection.
        port: its port.
        mails: the mails that it accepted.
        logins: the names and passwords, as base64 decodes them.
    """

    certificate: Path
    tls: bool = False
    refuses: bool = False
    farewell: str = "221 bye"
    drips_at: bytes | None = None
    closes_at: bytes | None = None
    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    logins: list[bytes] = field(default_factory=list)

    @contextmanager
    def open(self) -> Iterator[MailServer]:
        """Serve until the end of the block."""
        kept = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with (
                    contextlib.suppress(OSError),  # the client does not trust the certificate
                    contextlib.closing(_Session(kept, self.request)) as session,
                ):
                    session.run()

        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
            server.daemon_threads = True
            self.port = server.server_address[1]
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            yield self
            server.shutdown()

    def context(self) -> ssl.SSLContext:
        """Return the server's side of TLS."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        return context


class _Session:
    """One connection: RFC 5321, with STARTTLS (RFC 3207) and AUTH PLAIN (RFC 4954)."""

    def __init__(self, server: MailServer, connection: socket.socket) -> None:
        self.server, self.socket, self.secure = server, connection, False
        self.lines: IO[bytes] = io.BytesIO()
        if server.tls:
            self.protect()
        self.lines = self.socket.makefile("rb")

    def protect(self) -> None:
        """Begin TLS."""
        self.socket = self.server.context().wrap_socket(self.socket, server_side=True)
        self.secure = True

    def run(self) -> None:
        """Answer each line."""
        self.drip(b"", "220-wait")
        self.say("220 here")
        while line := self.lines.readline():
            word, _, rest = line.strip().partition(b" ")
            if word.upper() == self.server.closes_at:
                return
            said = self.answer(word.upper(), rest)
            self.drip(word.upper(), f"{said[:3]}-wait")
            self.say(said)
            if word.upper() == b"STARTTLS":
                self.lines.close()
                self.protect()
                self.lines = self.socket.makefile("rb")

    def drip(self, word: bytes, line: str) -> None:
        """Say a line again and again if it is time for that."""
        for _ in range(200 if word == self.server.drips_at else 0):
            self.say(line)
            time.sleep(0.02)

    def close(self) -> None:
        """Close the connection."""
        self.lines.close()
        self.socket.close()

    def say(self, text: str) -> None:
        """Send a line."""
        self.socket.sendall(text.encode() + b"\r\n")

    def answer(self, word: bytes, rest: bytes) -> str:
        """Return the answer to a line."""
        match word:
            case b"EHLO":
                return f"250-here\r\n250 {'AUTH PLAIN' if self.secure else 'STARTTLS'}"
            case b"STARTTLS":
                return "220 go on"
            case b"QUIT":
                return self.server.farewell
            case b"AUTH":
                self.server.logins.append(base64.b64decode(rest.split()[-1]))
                return "235 welcome"
            case b"DATA":
                self.say("354 go on")
                self.read_mail()
            case b"MAIL" if self.server.refuses:
                return "550 no"
        return "250 yes"

    def read_mail(self) -> None:
        """Keep the mail that follows."""
        lines = iter(self.lines.readline, b".\r\n")
        text = b"".join(line.removeprefix(b".") for line in lines).replace(b"\r\n", b"\n")
        mail = message_from_bytes(text, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.server.mails.append(mail)


def make_certificate(folder: Path) -> Path:
    """Make a certificate for localhost, with its key in the same file."""
    path = folder / "localhost.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", path,
         "-out", f"{path}.crt", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path
