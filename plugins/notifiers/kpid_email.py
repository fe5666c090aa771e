"""Sends mails over SMTP: one message per recipient, so that each has a fate of its own.

RFC 5321 (SMTP), 3207 (STARTTLS), 4954 (AUTH), 6531 (SMTPUTF8). Certificates are always verified; mail in the clear is only for
a relay on this machine. One connection is kept for up to 50 mails: relays answer 421 or 452 after some 100, which means "connect
anew" here.
The server's 250 after the body is the receipt. If it is lost, the mail may have arrived: a repeat carries the same Message-ID.

Microsoft 365 switches passwords for SMTP off (refusal 5.7.30): use a relay, or an app that allows them, until OAuth is there.
"""

from __future__ import annotations

import base64
import re
import smtplib
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from kpid.plugin import (
    DeliveryError,
    Finding,
    Message,
    Notifier,
    NotifierContext,
    Receipt,
    Secret,
    Settings,
    hookimpl,
    hosts,
    mail,
    redact,
)

MAILS_PER_CONNECTION = 50
PORTS = {"starttls": 587, "tls": 465, "none": 25}
NEW_CONNECTION = {421, 452}
CURES = {
    "5.7.30": "The provider no longer takes passwords for SMTP: use an internal relay, or allow it for this mailbox",
    "535": "Check `user` and `password`; Google wants an app password, Microsoft 365 wants SMTP AUTH enabled for the mailbox",
    "534": "The provider wants an app password or a stronger method",
    "530": "The server wants a user and a password: set `user` and `password`",
}


class EmailSettings(Settings):
    """Settings of an e-mail receiver."""

    host: str = Field(description="SMTP server or relay.")
    port: int | None = Field(None, ge=1, le=65535, description="Default: 587 for starttls, 465 for tls, 25 for none.")
    tls: Literal["starttls", "tls", "none"] = Field("starttls", description="`none` is only for a relay on this machine.")
    user: str | None = Field(None, description="User name, if the server wants one.")
    password: Secret | None = Field(None, description="Password of `user`; write ${env:NAME} or ${file:PATH}.")
    from_: str = Field(alias="from", description="Sender, as in `KPI reports <kpid@example.com>`.")
    to: tuple[str, ...] = Field(min_length=1, description="Recipients; each gets a mail of its own.")
    ca_file: Path | None = Field(
        None, description="Certificate authority of your own server; relative to the configuration's folder."
    )
    timeout: float = Field(60.0, gt=0, description="Seconds to wait for the connection and for each answer.")
    data_timeout: float = Field(
        600.0, gt=0, description="Seconds to wait for the answer to the mail itself (RFC 5321: 10 minutes)."
    )
    max_bytes: int = Field(mail.MAX_BYTES, ge=10_000, description="A larger mail goes out without its pictures.")

    @field_validator("from_")
    @classmethod
    def _check_sender(cls, value: str) -> str:
        mail.address(value)
        return value

    @field_validator("to")
    @classmethod
    def _check_recipients(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(mail.address(one) for one in value))

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.tls == "none" and not hosts.is_loopback(self.host):
            raise ValueError(
                "tls: none would send mails in the clear; it is only for a relay on this machine. Use starttls or tls"
            )
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password belong together")
        return self


class _StaleConnectionError(Exception):
    """A kept connection is of no use any more, and nothing was sent on it."""


class Email(Notifier[EmailSettings]):
    """An SMTP server, and who gets mail through it."""

    name = "email"
    Settings = EmailSettings

    def __init__(self, settings: EmailSettings, context: NotifierContext) -> None:
        super().__init__(settings, context)
        self.port = settings.port or PORTS[settings.tls]
        self._smtp: smtplib.SMTP | None = None
        self._mails = 0

    def recipients(self) -> Sequence[str]:
        """The addresses of ``to``."""
        return self.settings.to

    def send(self, message: Message) -> Receipt:
        """Hand the mail to the server; a kept connection that has gone stale is replaced once."""
        if self._smtp is not None and self._mails < MAILS_PER_CONNECTION:
            try:
                return self._transaction(self._smtp, message, kept=True)
            except _StaleConnectionError:
                pass
        self._connect()
        assert self._smtp is not None  # noqa: S101  for the type checker
        return self._transaction(self._smtp, message, kept=False)

    def check(self) -> Sequence[Finding]:
        """Connect, encrypt and log in; no mail."""
        where = f"{self.settings.host}:{self.port}"
        try:
            self._connect()
        except DeliveryError as error:
            return [Finding(self.context.receiver_id, False, error.what, error.hint or "", where)]
        finally:
            self.close()
        how = "logged in" if self.settings.user else "connected"
        return [Finding(self.context.receiver_id, True, f"{how}, {len(self.settings.to)} recipients", where=where)]

    def close(self) -> None:
        """Say goodbye; a failure to do so changes nothing that was accepted."""
        smtp, self._smtp, self._mails = self._smtp, None, 0
        if smtp is None:
            return
        try:
            if smtp.sock is not None:
                smtp.sock.settimeout(2.0)
            smtp.quit()
        except (smtplib.SMTPException, OSError):
            smtp.close()

    # -- connection ------------------------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self.close()
        try:
            self._smtp = self._opened()
        except (smtplib.SMTPException, OSError) as error:
            self.close()
            raise self._connection_error(error) from error

    def _opened(self) -> smtplib.SMTP:
        settings = self.settings
        name = socket.gethostname() if "." in socket.gethostname() else "[127.0.0.1]"
        context = ssl.create_default_context(cafile=self.context.folder / settings.ca_file if settings.ca_file else None)
        smtp: smtplib.SMTP
        if settings.tls == "tls":
            smtp = smtplib.SMTP_SSL(settings.host, self.port, local_hostname=name, timeout=settings.timeout, context=context)
        else:
            smtp = smtplib.SMTP(settings.host, self.port, local_hostname=name, timeout=settings.timeout)
        try:
            smtp.ehlo_or_helo_if_needed()
            if settings.tls == "starttls":
                smtp.starttls(context=context)
                smtp.ehlo_or_helo_if_needed()
            if settings.user is not None and settings.password is not None:
                _log_in(smtp, settings.user, settings.password.get_secret_value())
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _connection_error(self, error: Exception) -> DeliveryError:
        where = f"{self.settings.host}:{self.port}"
        if isinstance(error, smtplib.SMTPResponseException):
            refused = isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code >= 500
            return self._refused(
                "the log-in" if refused else "the connection", error.smtp_code, error.smtp_error, permanent=refused
            )
        if isinstance(error, ssl.SSLCertVerificationError):
            text, hint = f"its certificate is not trusted: {error.verify_message}", "Set `ca_file` to your certificate authority"
        elif isinstance(error, smtplib.SMTPNotSupportedError):
            text, hint = "it does not offer what is needed (STARTTLS or AUTH)", "Check `port` and `tls`"
        elif isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
            text, hint = f"no answer within {self.settings.timeout:g} s", "Check `host`, `port` and the firewall"
        else:
            said = error.strerror if isinstance(error, OSError) and error.strerror else type(error).__name__
            text, hint = f"no connection: {said}", "Check `host`, `port` and `tls`"
        return DeliveryError(text, where=where, hint=hint)

    # -- one mail --------------------------------------------------------------------------------------------------------------

    def _transaction(self, smtp: smtplib.SMTP, message: Message, *, kept: bool) -> Receipt:
        try:
            content, options = self._content(smtp, message)
            self._envelope(smtp, message.recipient, options, kept=kept)
            receipt = self._data(smtp, content, message)
        except DeliveryError:
            self._reset()
            raise
        except (smtplib.SMTPException, OSError) as error:
            self.close()
            text = "the connection was lost before the mail had been handed over"
            raise DeliveryError(text, where=f"{self.settings.host}:{self.port}") from error
        self._mails += 1
        return receipt

    def _content(self, smtp: smtplib.SMTP, message: Message) -> tuple[bytes, list[str]]:
        settings, limit = self.settings, smtp.esmtp_features.get("size", "")
        most = min(settings.max_bytes, int(limit)) if limit.isdigit() and int(limit) > 0 else settings.max_bytes
        content = mail.mime_message(message, sender=settings.from_, recipient=message.recipient, max_bytes=most)
        if (mail.address(settings.from_) + message.recipient).isascii():
            return content, []
        if not smtp.has_extn("smtputf8"):
            raise DeliveryError(
                f"the server cannot handle the address {message.recipient}", permanent=True, hint="Use an address in ASCII"
            )
        return content, ["SMTPUTF8", "BODY=8BITMIME"]

    def _envelope(self, smtp: smtplib.SMTP, recipient: str, options: list[str], *, kept: bool) -> None:
        if smtp.sock is not None:
            smtp.sock.settimeout(self.settings.timeout)
        smtp.command_encoding = "utf-8" if options else "ascii"
        try:
            code, reply = smtp.mail(mail.address(self.settings.from_), options)
        except (smtplib.SMTPException, OSError) as error:
            if kept:
                raise _StaleConnectionError from error
            raise
        if code in NEW_CONNECTION and kept:
            raise _StaleConnectionError
        if code != 250:
            raise self._refused("the sender", code, reply, permanent=code >= 500)
        code, reply = smtp.rcpt(recipient)
        if code not in {250, 251}:
            raise self._refused(f"the recipient {recipient}", code, reply, permanent=code >= 500)

    def _data(self, smtp: smtplib.SMTP, content: bytes, message: Message) -> Receipt:
        code, reply = smtp.docmd("DATA")
        if code != 354:
            raise self._refused("the mail", code, reply, permanent=code >= 500)
        stuffed = re.sub(rb"(?m)^\.", b"..", content)
        if smtp.sock is not None:
            smtp.sock.settimeout(self.settings.data_timeout)
        smtp.send(stuffed + b".\r\n")  # if this fails the end has not gone out, and nothing was taken
        try:
            code, reply = smtp.getreply()
        except (smtplib.SMTPException, OSError) as error:
            self.close()
            text = "the answer to the mail was lost; it may have arrived"
            raise DeliveryError(text, unknown=True, where=f"{self.settings.host}:{self.port}") from error
        if code != 250:
            raise self._refused("the mail", code, reply, permanent=code >= 500)
        home = mail.address(self.settings.from_).rpartition("@")[2]
        return Receipt(mail.message_id(message.key, home), detail=f"{code} {self._shown(reply)}")

    def _reset(self) -> None:
        """After a refusal: the connection can be used again, or is dropped."""
        if self._smtp is None:
            return
        try:
            code, _ = self._smtp.rset()
        except (smtplib.SMTPException, OSError):
            code = 421
        if code != 250:
            self.close()

    def _refused(self, what: str, code: int, reply: bytes | str, *, permanent: bool) -> DeliveryError:
        said = self._shown(reply)
        cure = next((text for mark, text in CURES.items() if mark in f"{code} {said}"), None)
        where = f"{self.settings.host}:{self.port}"
        return DeliveryError(f"the server refused {what}: {code} {said}", permanent=permanent, where=where, hint=cure)

    def _shown(self, reply: bytes | str) -> str:
        text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
        user, password = self.settings.user or "", self.settings.password
        secrets = [f"\0{user}\0{password.get_secret_value()}", password.get_secret_value()] if password else []
        return mail.one_line(redact(text, secrets))


def _log_in(smtp: smtplib.SMTP, user: str, password: str) -> None:
    """Log in; smtplib itself stops at passwords outside ASCII, which RFC 4616 sends as UTF-8."""
    if (user + password).isascii():
        smtp.login(user, password)
        return
    if "PLAIN" not in smtp.esmtp_features.get("auth", "").upper().split():
        raise smtplib.SMTPNotSupportedError("no AUTH PLAIN")
    blob = base64.b64encode("\0".join(("", user, password)).encode()).decode()
    code, reply = smtp.docmd("AUTH", f"PLAIN {blob}")
    if code not in {235, 503}:
        raise smtplib.SMTPAuthenticationError(code, reply)


@hookimpl
def kpid_notifiers() -> Sequence[type[Email]]:
    """Mail over SMTP."""
    return (Email,)
