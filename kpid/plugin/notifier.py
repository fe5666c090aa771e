"""The contract of notifiers: plugins that hand one message to one recipient.

A message is complete and final when a notifier gets it: rendered once, stored in the outbox, sent until it is accepted or dead.
Chat-like notifiers build their payload from ``sections``, mail from ``html`` and ``text``, machines from ``facts``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

from kpid.clock import Clock
from kpid.model import Finding
from kpid.plugin.settings import Settings

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a message in plain text; the notifier escapes it.

    ``kind``: ``headline`` (one line, bold), ``text`` (a paragraph), ``facts`` (``pairs`` of label and value), ``rows`` (a short
    table in ``pairs``: what, value), ``image`` (``image`` names one of the message's images), ``note`` (small print).
    """

    kind: Literal["headline", "text", "facts", "rows", "image", "note"]
    text: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    image: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """A PNG that belongs to a message. ``name`` is the target of ``cid:<name>`` in the HTML."""

    name: str
    png: bytes = field(repr=False)
    alt: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Link:
    """A labelled https address."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class Action:
    """Something that a reader may do about a message: a button where there are buttons, a link where there are links.

    ``token`` is what a button hands back in a :class:`Press`; it is signed, and a secret of those who got the message. ``url`` is
    a page that does the same; None where kpid serves none. ``open`` only leads somewhere.
    """

    kind: Literal["ack", "snooze", "silence", "open"]
    label: str
    token: str = field(repr=False)
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Press:
    """What somebody did with an action: who, in words of the provider, and perhaps until when (``1d``, ``3d``, ``next``)."""

    kind: str
    token: str = field(repr=False)
    actor: str
    comment: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What one recipient gets.

    Args:
        key: idempotency key: the same for every attempt, different for every message. Mail derives its Message-ID from it.
        kind: what it is about.
        title: subject or first line; one line of plain text.
        text: the whole message as plain text.
        html: the whole message as an HTML page for mail; images are referred to as ``cid:<name>``.
        sections: the message in parts, for chats.
        facts: the message as data (JSON-able), for machines.
        images: pictures that the HTML or the sections name.
        links: where to go on reading.
        recipient: who gets it, in the notifier's own terms (an address; empty where the receiver itself is the recipient).
        thread: groups messages of one story (an alert and its resolution); None = stands alone.
        follows: keys of the earlier messages of the thread for this recipient, oldest first; empty = this one opens the thread.
        thread_ref: what the notifier returned as ``Receipt.thread_ref`` for the message that opened the thread.
        created_at: when kpid wrote it.
        status: ``firing``, ``resolved``, ``info``: for colours and icons, never the only carrier of meaning.
        list_id: name of the report or rule: mail puts it into List-Id.
        actions: what the reader may do about it.
        closes_thread: with it all that was told in its thread is over.
        replaces: key of the earlier message of the thread that is to be changed into this one; empty = it is one of its own. Only
            for notifiers that can do that: see :attr:`Notifier.updates`.
        replaces_ref: ``Receipt.provider_id`` of that message; None = it never arrived.
    """

    key: str
    kind: Literal["alert", "report", "health", "test"]
    title: str
    text: str
    created_at: datetime
    html: str | None = None
    sections: tuple[Section, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    images: tuple[Image, ...] = ()
    links: tuple[Link, ...] = ()
    recipient: str = ""
    thread: str | None = None
    follows: tuple[str, ...] = ()
    thread_ref: str | None = None
    status: Literal["firing", "resolved", "info"] = "info"
    list_id: str = ""
    actions: tuple[Action, ...] = ()
    closes_thread: bool = False
    replaces: str = ""
    replaces_ref: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """The provider's yes.

    Args:
        provider_id: the provider's id of the message (Slack ``channel:ts``, Message-ID, file name).
        thread_ref: what a later message of the same thread needs to join it.
        detail: a line for people (``250 2.0.0 Ok: queued``).
    """

    provider_id: str = ""
    thread_ref: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class NotifierContext:
    """What a notifier is given of its surroundings: the receiver's name, the configuration's folder, a clock for waiting."""

    receiver_id: str
    folder: Path
    clock: Clock


class Notifier(ABC, Generic[S]):
    """A kind of receiver. One instance per configured receiver; ``send`` is called by one thread at a time."""

    name: ClassVar[str]
    """As used in YAML: ``notifier: <name>``."""
    Settings: ClassVar[type[Settings]]
    tells_repeats: ClassVar[bool] = False
    """Messages carry their key, and whoever gets them is told to drop what comes twice: such messages need not be on the disk
    one by one before the next goes out. A killed process repeats one message at most all the same; a power cut, some."""

    shows_pages: ClassVar[bool] = True
    """Whether ``Message.html`` and its pictures are of use; otherwise alerts come without: they take the most time to write."""

    def __init__(self, settings: S, context: NotifierContext) -> None:
        self.settings = settings
        self.context = context

    def recipients(self) -> Sequence[str]:
        """The recipients behind this receiver: each gets a message, an outbox row and a fate of its own. Contacts nobody."""
        return ("",)

    def resolves(self, recipient: str) -> bool:
        """Whether messages can go to this recipient although :meth:`recipients` does not list it. Contacts nobody."""
        return recipient in self.recipients()

    @property
    def updates(self) -> bool:
        """Whether what was sent can be changed: then messages that ``replaces`` another come to :meth:`send`, too."""
        return False

    @property
    def listens(self) -> bool:
        """Whether its readers' answers come back by :meth:`listen`."""
        return False

    def listen(self, handle: Callable[[Press], str], stop: Callable[[], bool]) -> None:
        """Wait for readers' answers until ``stop()``; called in a thread of its own, only if :attr:`listens`.

        It is called again whenever it returns; after a while, and later each time, if it raises a KpidError. ``handle`` does what
        was pressed and gives the sentence to show to whoever pressed it; it raises nothing.
        """

    @abstractmethod
    def send(self, message: Message) -> Receipt:
        """Hand the message over, once.

        Raises:
            DeliveryError: not accepted; its flags say whether to try again.
        """

    def find(self, message: Message) -> Receipt | None:
        """Look whether an earlier attempt of this very message arrived after all (only asked when its outcome is unknown)."""
        return None

    @abstractmethod
    def check(self) -> Sequence[Finding]:
        """Contact the provider and say what works, without sending anything to people."""

    def close(self) -> None:
        """Let go of connections; the default has none."""
