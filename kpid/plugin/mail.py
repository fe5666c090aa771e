"""A message as a mail: one MIME tree, headers that no text can break out of, the same bytes for every attempt.

The headers are written here line by line, not by :mod:`email`: Python before 3.11.10 and 3.12.5 lets an encoded word in a subject
(``=?utf-8?q?x=0d=0aBcc:...?=``) become a header of its own. Only the MIME parts below them come from the library.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from email.header import Header
from email.message import EmailMessage, MIMEPart
from email.policy import SMTP
from email.utils import format_datetime
from html import escape

from kpid.plugin.notifier import Image, Message

MAX_SUBJECT = 200
MAX_REFERENCES = 20
MAX_BYTES = 8_000_000
"""Most relays take 10 MB and more; over this the pictures stay at home."""
_NO_PAGE = "This is the plain text alone: with its page the mail would have been too large."
_CUT = "The rest was left out: the mail would have been too large."
_LEAST_TEXT = 500

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\s]+")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ADDRESS = re.compile(r"[^\s@<>\"(),:;\\\[\]\x00-\x1f\x7f]+@[^\s@<>\"(),:;\\\[\]\x00-\x1f\x7f]+")
_CID = re.compile(r"cid:([\w.-]+)")
_IMG = re.compile(r"<img\b[^>]*?\bsrc\s*=\s*[\"']cid:([\w.-]+)[\"'][^>]*>", re.IGNORECASE)
_UNFOLDED = SMTP.clone(max_line_length=900)
"""For the headers of parts: some mail programs do not find a Content-ID on a line of its own."""
_HEADER_NAMES = (
    "Date", "From", "To", "Subject", "Message-ID", "In-Reply-To", "References", "List-Id", "Auto-Submitted",
    "X-Auto-Response-Suppress", "X-KPID-Key", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
)  # fmt: skip


def mime_message(
    message: Message, *, sender: str, recipient: str, domain: str | None = None, max_bytes: int = MAX_BYTES
) -> bytes:
    """The mail as it goes over the wire, CRLF at line ends; equal messages give equal bytes.

    Args:
        message: what to say; ``cid:<name>`` in its HTML refers to its images.
        sender: ``kpid@example.com`` or ``KPI reports <kpid@example.com>``.
        recipient: one address; empty = nobody in particular (a mail that is only filed).
        domain: of Message-ID and List-Id; default: the sender's.
        max_bytes: over this, encoded, the pictures are left out, then the page, then the end of the text; the mail says so.

    Raises:
        ValueError: sender or recipient is no mail address.
    """
    home = domain or address(sender).rpartition("@")[2]
    head = "".join(f"{name}: {value}\r\n" for name, value in _headers(message, sender, recipient, home).items()).encode("utf-8")
    body = _fitting_body(message, home, max_bytes - len(head))
    _check_headers(head + body)
    return head + body


def message_id(key: str, domain: str) -> str:
    """The Message-ID that belongs to a key: the same for every attempt, so that a mail program can see a repeat."""
    return f"<kpid.{key_id(key)}@{domain}>"


def key_id(key: str) -> str:
    """A message's key where only letters and digits may stand; kpid's own keys are that already."""
    return key if re.fullmatch(r"[0-9a-f]{32,64}", key) else hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def address(text: str) -> str:
    """The bare address of ``Name <a@b>``; a domain outside ASCII is given as it goes over the wire.

    Raises:
        ValueError: there is none, or it holds what would break a header.
    """
    bare = _name_and_address(text)[1]
    local, _, host = bare.rpartition("@")
    wrong = ValueError(f"{one_line(text, 80)!r} is no mail address; write name@example.com or Name <name@example.com>")
    if not _ADDRESS.fullmatch(bare) or (_CONTROL.search(bare)):
        raise wrong
    try:
        return f"{local}@{host if host.isascii() else host.encode('idna').decode('ascii')}"
    except UnicodeError:
        raise wrong from None


def one_line(text: str, limit: int = MAX_SUBJECT) -> str:
    """Hostile text as one harmless line: no control or direction characters, no encoded word, not longer than ``limit``."""
    line = _CONTROL.sub(" ", text).replace("=?", "= ?").replace("?=", "? =").strip()
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def slug(text: str, limit: int = 48) -> str:
    """Letters, digits and hyphens of a text, for file names and ids; never empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:limit].strip("-") or "message"


def _headers(message: Message, sender: str, recipient: str, home: str) -> Mapping[str, str]:
    headers = {
        "Date": format_datetime(message.created_at),
        "From": _mailbox(sender),
        "To": _mailbox(recipient) if recipient else "undisclosed-recipients:;",
        "Subject": _encoded(one_line(message.title) or "(no subject)", "Subject"),
        "Message-ID": message_id(message.key, home),
    }
    if message.follows:
        earlier = [message_id(key, home) for key in _references(message.follows)]
        headers["In-Reply-To"] = earlier[-1]
        headers["References"] = "\r\n ".join(earlier)
    if message.list_id:
        headers["List-Id"] = f"<{slug(message.list_id)}.kpid.{home}>"
    headers["Auto-Submitted"] = "auto-generated"
    headers["X-Auto-Response-Suppress"] = "OOF, AutoReply"
    headers["X-KPID-Key"] = key_id(message.key)
    return headers


def _references(follows: Sequence[str]) -> Sequence[str]:
    if len(follows) <= MAX_REFERENCES:
        return follows
    return (follows[0], *follows[1 - MAX_REFERENCES :])


def _mailbox(text: str) -> str:
    bare = address(text)
    name = one_line(_name_and_address(text)[0], 80)
    if not name:
        return bare
    if name.isascii():
        return '"{}" <{}>'.format(re.sub(r'["\\]', "", name), bare)
    return f"{_encoded(name, 'From')}\r\n <{bare}>"


def _name_and_address(text: str) -> tuple[str, str]:
    """Parts of ``Name <a@b>``, where the name may be in quotes; ("", text) where there is no name."""
    found = re.fullmatch(r"\s*\"?([^<>]*?)\"?\s*<([^<>]*)>\s*", text)
    return (found[1], found[2]) if found else ("", text.strip())


def _encoded(text: str, header: str) -> str:
    charset = "us-ascii" if text.isascii() else "utf-8"
    return Header(text, charset, header_name=header, maxlinelen=76).encode(linesep="\r\n")


def _body(message: Message, home: str, images: Sequence[Image]) -> bytes:
    """The MIME tree: alternative(plain, related(html, png ...)), plain text alone where there is no HTML."""
    mail = EmailMessage(policy=SMTP)
    mail.set_content(_NOT_TEXT.sub("", message.text), cte="quoted-printable")
    if message.html is not None:
        mark = key_id(message.key)[:32]
        ids = {image.name: f"{slug(image.name, 32)}.{number}.{mark}@{home}" for number, image in enumerate(images)}
        html = _CID.sub(lambda found: f"cid:{ids.get(found[1], found[1])}", _NOT_TEXT.sub("", message.html))
        mail.add_alternative(html, subtype="html", cte="quoted-printable")
        page = mail.get_payload()[1]  # type: ignore[index]
        assert isinstance(page, MIMEPart)  # noqa: S101  for the type checker: add_alternative has just made it
        for image in images:
            name = f"{slug(image.name)}.png"
            page.add_related(image.png, "image", "png", cid=f"<{ids[image.name]}>", filename=name, disposition="inline")
    for number, part in enumerate(part for part in mail.walk() if part.is_multipart()):
        part.set_boundary(f"=_{key_id(message.key)[:40]}_{number}")  # "=_" cannot occur in quoted-printable or base64
    return mail.as_bytes(policy=_UNFOLDED)


def _fitting_body(message: Message, home: str, room: int) -> bytes:
    """The MIME tree of at most ``room`` bytes, as they go over the wire: what is least needed is left out first."""
    body = _body(message, home, message.images)
    if message.images and len(body) > room:
        message = _without_pictures(message)
        body = _body(message, home, ())
    if len(body) > room and message.html is not None:
        message = _of_text(message, f"{message.text.rstrip()}\n\n{_NO_PAGE}\n")
        body = _body(message, home, ())
    length = len(message.text)
    while len(body) > room and length > _LEAST_TEXT:
        length //= 2
        body = _body(_of_text(message, f"{message.text[:length].rstrip()}...\n\n{_CUT}\n"), home, ())
    return body


def _of_text(message: Message, text: str) -> Message:
    return Message(key=message.key, kind=message.kind, title=message.title, text=text, created_at=message.created_at)


def _without_pictures(message: Message) -> Message:
    alts = {image.name: image.alt for image in message.images}
    note = "The pictures were left out: the mail would have been too large."
    html = _IMG.sub(lambda found: f"<em>[{escape(alts.get(found[1], found[1]))}]</em>", message.html or "")
    end = html.lower().rfind("</body>")
    html = f"{html[:end]}<p>{note}</p>{html[end:]}" if end >= 0 else f"{html}<p>{note}</p>"
    return Message(
        key=message.key, kind=message.kind, title=message.title, text=f"{message.text.rstrip()}\n\n{note}\n",
        html=html if message.html is not None else None, created_at=message.created_at,
    )  # fmt: skip


def _check_headers(mail: bytes) -> None:
    """The last lock: whatever happened above, only the headers that we know leave, each once."""
    head = mail.partition(b"\r\n\r\n")[0].decode("utf-8")
    names = [line.partition(":")[0] for line in head.split("\r\n") if not line.startswith((" ", "\t"))]
    if "\r" in head.replace("\r\n", "") or "\n" in head.replace("\r\n", "") or len(set(names)) != len(names):
        raise ValueError("a mail header came out broken; the mail was not sent")
    strange = set(names) - set(_HEADER_NAMES)
    if strange:
        raise ValueError(f"a mail header came out that kpid does not write: {one_line(', '.join(sorted(strange)), 80)}")
