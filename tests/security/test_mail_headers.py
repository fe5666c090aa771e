"""One message, one set of headers, one recipient: whatever title, sender and address hold."""

from __future__ import annotations

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from kpid_email import EmailSettings
from kpid_mailbox import Mailbox, MailboxSettings
from pydantic import ValidationError

from kpid.plugin import Message, NotifierContext
from kpid.plugin.mail import address, mime_message
from kpid.testing import FakeClock

NOW = datetime(2026, 11, 2, 6, 30, tzinfo=UTC)
SENDER = "KPI reports <kpid@example.com>"
NAMES = {
    "Date", "From", "To", "Subject", "Message-ID", "Auto-Submitted", "X-Auto-Response-Suppress", "X-KPID-Key", "MIME-Version",
    "Content-Type", "Content-Transfer-Encoding", "List-Id", "In-Reply-To", "References",
}  # fmt: skip
HEADERS = {
    "crlf": "Win rate\r\nBcc: evil@example.com",
    "lf": "Win rate\nBcc: evil@example.com",
    "cr": "Win rate\rBcc: evil@example.com",
    "folded": "Win rate\r\n Bcc: evil@example.com",
    "body": "Win rate\r\n\r\n<h1>gone</h1>",
    "separator": "Win rate\u2028Bcc: evil@example.com\u2029x",
    "next-line": "Win rate\x85Bcc: evil@example.com\x0bx\x0cy",
    "nul": "Win\x00rate",
    "encoded-q": "=?utf-8?q?x=0d=0aBcc:evil@example.com?=",
    "encoded-b": "=?utf-8?b?eA0KQmNjOiBldmlsQGV4YW1wbGUuY29t?=",
    "encoded-split": "=?utf-8?q?x=0d?= =?utf-8?q?=0aBcc:_evil@example.com?=",
    "encoded-nested": "==?utf-8?q?=?=utf-8?q?x=0d=0aBcc:e@example.com?=?=",
    "long": "Wörter " * 400,
    "direction": "\u202eelif.exe",
}
ADDRESSES_REFUSED = {
    "two": "ada@example.com, evil@example.com",
    "comment": "ada@example.com (evil@example.com)",
    "quoted-local": '"a b"@example.com',
    "crlf": "ada@example.com\r\nBcc: evil@example.com",
    "crlf-name": "Ada\r\nBcc: evil@example.com <ada@example.com",
    "angle-in-angle": "Ada <ada@example.com> <evil@example.com>",
    "group": "team: ada@example.com;",
    "route": "<@relay.example.com:ada@example.com>",
    "nul": "ada@example.com\x00.evil.example.com",
    "blank": "ada @example.com",
    "percent-and-no-domain": "ada%example.com",
    "two-ats": "ada@example.com@evil.example.com",
    "empty-label": "ada@münchen..example",
    "direction": "ada@example\u202e.com",
    "surrogate": "ada@ex\ud800ample.com",
}


def _made(title: str = "Win rate", sender: str = SENDER, recipient: str = "ada@example.com", **more: str) -> EmailMessage:
    message = Message(key="ab" * 32, kind="alert", title=title, text="t", html="<p>t</p>", created_at=NOW, **more)  # type: ignore[arg-type]
    parsed = email.message_from_bytes(mime_message(message, sender=sender, recipient=recipient), policy=email.policy.default)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    assert len(parsed.keys()) == len(set(parsed.keys()))
    assert set(parsed.keys()) <= NAMES
    return parsed


@pytest.mark.parametrize("name", HEADERS)
def test_title_is_one_header(name: str) -> None:
    subject = str(_made(HEADERS[name])["Subject"])
    assert len(subject) <= 200
    assert subject.isprintable()


@pytest.mark.parametrize("name", HEADERS)
def test_name_of_a_list_is_one_header(name: str) -> None:
    assert str(_made(list_id=HEADERS[name])["List-Id"]).endswith(".kpid.example.com>")


@pytest.mark.parametrize("name", HEADERS)
def test_key_from_elsewhere_is_one_header(name: str) -> None:
    message = Message(key=HEADERS[name], kind="alert", title="t", text="t", created_at=NOW, follows=(HEADERS[name], "x"))
    parsed = email.message_from_bytes(
        mime_message(message, sender=SENDER, recipient="a@example.com"), policy=email.policy.default
    )
    assert set(parsed.keys()) <= NAMES
    assert not parsed.defects


@pytest.mark.parametrize("name", HEADERS)
def test_display_name_reaches_nobody_else(name: str) -> None:
    shown = HEADERS[name].replace("<", "").replace(">", "")
    made = _made(recipient=f"{shown} <ada@example.com>", sender=f"{shown} <kpid@example.com>")
    for header in ("To", "From"):
        [found] = made[header].addresses
        assert found.addr_spec in {"ada@example.com", "kpid@example.com"}
        assert len(found.display_name) <= 90


@pytest.mark.parametrize(
    "spoof", ["ceo@bank.example.com", "Ada, evil@example.com", "evil@example.com;", 'a" <evil@x.example', "(x)"]
)
def test_display_name_that_looks_like_an_address_stays_a_name(spoof: str) -> None:
    if "<" in spoof:
        with pytest.raises(ValueError, match="no mail address"):
            _made(recipient=f"{spoof} <ada@example.com>")
        return
    [found] = _made(recipient=f"{spoof} <ada@example.com>")["To"].addresses
    assert found.addr_spec == "ada@example.com"


@pytest.mark.parametrize("name", ADDRESSES_REFUSED)
def test_what_is_not_one_plain_address_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="no mail address"):
        address(ADDRESSES_REFUSED[name])
    for settings, more in ((EmailSettings, {"host": "127.0.0.1", "tls": "none"}), (MailboxSettings, {})):
        for given in (
            {"to": [ADDRESSES_REFUSED[name]], "from": "k@example.com"},
            {"to": ["a@example.com"], "from": ADDRESSES_REFUSED[name]},
        ):
            with pytest.raises(ValidationError, match=r"no mail address|surrogates|unicode"):
                settings.model_validate(given | more)


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("ada@münchen.example", "ada@xn--mnchen-3ya.example"),
        ("Ada <ada@例え.example>", "ada@xn--r8jz45g.example"),
        ("ada+kpi@sub.example.com", "ada+kpi@sub.example.com"),
        ("o'hara@example.com", "o'hara@example.com"),
    ],
)
def test_address_is_written_as_on_the_wire(text: str, wire: str) -> None:
    assert address(text) == wire


def test_thousand_recipients_get_a_mail_each_and_see_nobody_else(tmp_path: Path) -> None:
    everybody = [f"user{number:04}@example.com" for number in range(1000)]
    mailbox = Mailbox(MailboxSettings.model_validate({"to": everybody}), NotifierContext("team", tmp_path, FakeClock(NOW)))
    assert list(mailbox.recipients()) == everybody
    for number in (0, 999):
        made = _made(recipient=everybody[number])
        assert made["To"] == everybody[number]
        assert made["Cc"] is made["Bcc"] is None


def test_path_in_a_title_stays_in_the_folder(tmp_path: Path) -> None:
    mailbox = Mailbox(MailboxSettings.model_validate({"folder": "mail"}), NotifierContext("team", tmp_path, FakeClock(NOW)))
    for title in ("../../etc/passwd", "/etc/passwd", "..\\..\\x", "a\x00b", "." * 500, "CON"):
        mailbox.send(Message(key="ab" * 32, kind="alert", title=title, text="t", created_at=NOW))
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.parent for path in found} == {tmp_path / "mail"}
    assert all(len(path.name) < 120 for path in found)
