"""Writes mails as ``.eml`` files into a folder: the receiver that needs no server. Any mail program opens them.

A file is complete or absent, and its name is made from the message, so that a repeat overwrites instead of doubling.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC
from pathlib import Path

from pydantic import Field, field_validator

from kpid.plugin import DeliveryError, Finding, Message, Notifier, NotifierContext, Receipt, Settings, hookimpl, mail


class MailboxSettings(Settings):
    """Settings of a mailbox receiver."""

    folder: Path = Field(Path("var/mail"), description="Where the mails go; relative to the configuration's folder.")
    from_: str = Field("kpid@localhost", alias="from", description="Sender, as in `KPI reports <kpid@example.com>`.")
    to: tuple[str, ...] = Field(
        (), description="Recipients; each gets a mail of its own. Empty: one mail to nobody in particular."
    )

    @field_validator("from_")
    @classmethod
    def _check_sender(cls, value: str) -> str:
        mail.address(value)
        return value

    @field_validator("to")
    @classmethod
    def _check_recipients(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(mail.address(one) for one in value)


def file_name(message: Message) -> str:
    """``20261102T063000Z-win-rate-is-41-0c1d2e3f.eml``: sorts by time, and is the same for every attempt."""
    written_at = message.created_at.astimezone(UTC)
    return f"{written_at:%Y%m%dT%H%M%SZ}-{mail.slug(message.title)}-{mail.key_id(message.key)[:8]}.eml"


class Mailbox(Notifier[MailboxSettings]):
    """A folder of mails."""

    name = "mailbox"
    Settings = MailboxSettings

    def __init__(self, settings: MailboxSettings, context: NotifierContext) -> None:
        super().__init__(settings, context)
        self.folder = context.folder / settings.folder

    def recipients(self) -> Sequence[str]:
        """The addresses of ``to``."""
        return self.settings.to or ("",)

    def send(self, message: Message) -> Receipt:
        """Write the file, durably."""
        target = self.folder / file_name(message)
        content = mail.mime_message(message, sender=self.settings.from_, recipient=message.recipient)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(target, content)
        except OSError as error:
            raise DeliveryError(
                f"the mail could not be written: {error.strerror or type(error).__name__}",
                where=str(target),
                hint="Make room or give kpid the right to write there; it tries again by itself",
            ) from error
        return Receipt(provider_id=target.name, detail=f"written to {target}")

    def find(self, message: Message) -> Receipt | None:
        """A file of this name is this message."""
        target = self.folder / file_name(message)
        return Receipt(provider_id=target.name, detail=f"found at {target}") if target.exists() else None

    def check(self) -> Sequence[Finding]:
        """Whether the folder can be written to."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            return [Finding(str(self.folder), False, f"the folder cannot be made: {error.strerror}", "Choose another `folder`")]
        if not os.access(self.folder, os.W_OK | os.X_OK):
            return [
                Finding(str(self.folder), False, "the folder cannot be written to", "Give kpid the right to, or choose another")
            ]
        return [Finding(str(self.folder), True, "mails can be written here")]


def _write(target: Path, content: bytes) -> None:
    draft = target.with_name(f".{target.name}.tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@hookimpl
def kpid_notifiers() -> Sequence[type[Mailbox]]:
    """The mailbox."""
    return (Mailbox,)
