"""The mailbox receiver, and mails as such: hostile text, pictures, threads."""

from __future__ import annotations

import email
import email.policy
import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kpid_mailbox import Mailbox, MailboxSettings, file_name
from pydantic import ValidationError

from kpid.plugin import DeliveryError, Image, Message, NotifierContext, mail
from kpid.testing import FakeClock

NOW = datetime(2026, 11, 2, 6, 30, tzinfo=UTC)
KEY = "0123456789abcdef" * 4
HOSTILE = [
    "a\r\nBcc: evil@example.com",
    "a\nBcc: evil@example.com\n\nbody",
    "=?utf-8?q?x=0d=0aBcc:evil@example.com?=",
    "=?utf-8?b?eA0KQmNjOiBldmlsQGV4YW1wbGUuY29t?=",
    "a\u2028Bcc: evil@example.com",
    "a\x00b\x1b[31m\x85c",
    "\u202egpj.exe",
    "<script>alert(1)</script>",
    "x" * 5000,
    "wörter " * 100,
    "\ud800 lonely",
    "",
    "   ",
    ".",
    "From: a",
]


def message(**changes: object) -> Message:
    return replace(Message(key=KEY, kind="alert", title="Win rate is 41 %", text="Down.", created_at=NOW), **changes)


def mailbox(tmp_path: Path, **options: object) -> Mailbox:
    return Mailbox(MailboxSettings.model_validate(options), NotifierContext("team", tmp_path, FakeClock(NOW)))


def parsed(content: bytes) -> EmailMessage:
    found = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    assert found.defects == []
    return found


def made(one: Message, sender: str = "KPI reports <kpid@example.com>", **options: object) -> EmailMessage:
    return parsed(mail.mime_message(one, sender=sender, recipient="ada@example.com", **options))


def test_mail_has_the_headers_that_it_needs() -> None:
    head = made(message(list_id="win-rate low"))
    assert dict(head.items()) == {
        "Date": "Mon, 02 Nov 2026 06:30:00 +0000",
        "From": "KPI reports <kpid@example.com>",
        "To": "ada@example.com",
        "Subject": "Win rate is 41 %",
        "Message-ID": f"<kpid.{KEY}@example.com>",
        "List-Id": "<win-rate-low.kpid.example.com>",
        "Auto-Submitted": "auto-generated",
        "X-Auto-Response-Suppress": "OOF, AutoReply",
        "X-KPID-Key": KEY,
        "MIME-Version": "1.0",
        "Content-Type": head["Content-Type"],
        "Content-Transfer-Encoding": "quoted-printable",
    }


def test_every_attempt_gives_the_same_bytes() -> None:
    one = message(html="<p>41 %</p><img src='cid:t'>", images=(Image("t", b"\x89PNG", "trend", 6, 2),))
    assert mail.mime_message(one, sender="a@example.com", recipient="") == mail.mime_message(
        one, sender="a@example.com", recipient=""
    )


def test_tree_is_alternative_of_plain_and_related() -> None:
    picture = Image("trend", b"\x89PNG" * 100, "a falling line", 600, 200)
    tree = made(message(html='<html><body><img src="cid:trend"></body></html>', images=(picture,)))
    assert [part.get_content_type() for part in tree.walk()] == [
        "multipart/alternative", "text/plain", "multipart/related", "text/html", "image/png",
    ]  # fmt: skip
    html, png = [part for part in tree.walk() if part.get_content_type() in {"text/html", "image/png"}]
    cid = png["Content-ID"].strip("<>")
    assert f'src="cid:{cid}"' in html.get_content()
    assert KEY[:32] in cid, "two mails on one phone must not show each other's pictures"
    assert png.get_content() == picture.png
    assert png.get_content_disposition() == "inline"


def test_every_picture_is_found_under_the_name_that_the_page_uses() -> None:
    names = ["a.b", "a-b", "a_b", "x" * 90, "spark-pipeline-open-amount"]
    page = "".join(f'<img src="cid:{name}">' for name in names)
    content = mail.mime_message(
        message(html=page, images=tuple(Image(name, b"png" + name.encode(), "alt", 1, 1) for name in names)),
        sender="kpid@reports.a-company-with-a-long-name.example.com",
        recipient="",
    )
    tree = parsed(content)
    pictures = {part["Content-ID"]: part.get_content() for part in tree.walk() if part.get_content_type() == "image/png"}
    wanted = re.findall(r'cid:([^"]+)"', tree.get_body(("html",)).get_content())
    assert [pictures[f"<{one}>"] for one in wanted] == [b"png" + name.encode() for name in names]
    assert b"Content-ID: <" in content
    assert max(len(line) for line in content.split(b"\r\n\r\n")[-1].split(b"\r\n")) <= 78


def test_reply_refers_to_the_mails_before_it() -> None:
    one, two = "1" * 64, "2" * 64
    head = made(message(follows=(one, two)))
    assert head["In-Reply-To"] == f"<kpid.{two}@example.com>"
    assert head["References"].split() == [f"<kpid.{one}@example.com>", f"<kpid.{two}@example.com>"]


def test_long_thread_keeps_its_first_and_its_newest_mails() -> None:
    keys = tuple(f"{number:064x}" for number in range(100))
    found = made(message(follows=keys))["References"].split()
    assert len(found) == mail.MAX_REFERENCES
    assert (found[0], found[-1]) == (f"<kpid.{keys[0]}@example.com>", f"<kpid.{keys[-1]}@example.com>")


def test_mail_that_is_too_large_leaves_its_pictures_at_home() -> None:
    pictures = tuple(Image(f"c{number}", os.urandom(50_000), f"chart {number} <b>", 6, 2) for number in range(4))
    page = "<html><body>" + "".join(f'<img alt="x" src="cid:c{number}">' for number in range(4)) + "</body></html>"
    tree = made(message(html=page, images=pictures), max_bytes=100_000)
    assert [part.get_content_type() for part in tree.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    html = tree.get_body(("html",)).get_content()
    assert "cid:" not in html
    assert "[chart 3 &lt;b&gt;]" in html
    assert "too large" in html
    assert "too large" in tree.get_body(("plain",)).get_content()


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_adds_no_header(text: str) -> None:
    one = message(title=text, text=text, html=f"<p>{text}</p>", list_id=text, images=(Image(text, b"png", text, 1, 1),))
    content = mail.mime_message(one, sender="kpid@example.com", recipient="ada@example.com")
    assert b"\n" not in content.replace(b"\r\n", b"")
    head = parsed(content)
    assert len(head.keys()) == len(set(head.keys()))
    assert not {"bcc", "cc"} & {name.lower() for name in head.keys()}  # noqa: SIM118
    assert len(head["Subject"]) <= mail.MAX_SUBJECT
    assert [part.get_content_type() for part in head.walk()][-1] == "image/png"


@settings(max_examples=150, deadline=None)
@given(title=st.text(max_size=300), text=st.text(max_size=300), name=st.text(max_size=30))
def test_any_text_gives_a_sound_mail(title: str, text: str, name: str) -> None:
    sender = f"{name} <kpid@example.com>"
    try:
        mail.address(sender)
    except ValueError:
        sender = "kpid@example.com"
    content = mail.mime_message(message(title=title, text=text, html=text), sender=sender, recipient="ada@example.com")
    head = content.partition(b"\r\n\r\n")[0]
    assert head.isascii()
    assert all(len(line) < 998 for line in content.split(b"\r\n"))
    tree = parsed(content)
    assert tree["To"] == "ada@example.com"
    assert tree["Message-ID"] == f"<kpid.{KEY}@example.com>"
    got = tree.get_body(("plain",)).get_content()
    assert [one for one in got if one.isalnum()] == [one for one in text if one.isalnum()]


@pytest.mark.parametrize("text", ["", "ada", "a@b@c", "a b@example.com", "ada@example.com\r\nBcc: x@y", "a@b,c@d", "<>", "a@<b>"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no mail address"):
        mail.address(text)


def test_domain_outside_ascii_is_written_as_on_the_wire() -> None:
    assert mail.address("Ada <ada@bücher.example>") == "ada@xn--bcher-kva.example"


def test_mailbox_writes_a_file_that_opens(tmp_path: Path) -> None:
    box = mailbox(tmp_path, **{"from": "kpid@example.com", "to": ["ada@example.com"]})
    receipt = box.send(message(recipient="ada@example.com", title="Win rate: 41 %! <b>/../x"))
    (file,) = (tmp_path / "var/mail").iterdir()
    assert file.name == "20261102T063000Z-win-rate-41-b-x-01234567.eml" == receipt.provider_id
    assert parsed(file.read_bytes())["To"] == "ada@example.com"


def test_mailbox_overwrites_instead_of_doubling(tmp_path: Path) -> None:
    box = mailbox(tmp_path, folder="mails")
    assert box.find(message()) is None
    box.send(message())
    box.send(message())
    box.send(message(key="f" * 64))
    assert len(list((tmp_path / "mails").iterdir())) == 2
    assert box.find(message()) is not None


def test_mailbox_has_one_recipient_per_address_or_nobody(tmp_path: Path) -> None:
    assert list(mailbox(tmp_path).recipients()) == [""]
    assert list(mailbox(tmp_path, to=["a@example.com", "B <b@example.com>"]).recipients()) == ["a@example.com", "b@example.com"]
    with pytest.raises(ValidationError, match="no mail address"):
        mailbox(tmp_path, to=["nobody"])


def test_mailbox_that_cannot_write_says_so_and_may_try_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    box = mailbox(tmp_path, folder="file/mails")
    with pytest.raises(DeliveryError, match="could not be written") as caught:
        box.send(message())
    assert not caught.value.permanent
    assert [finding.ok for finding in box.check()] == [False]


def test_mailbox_check_sends_nothing(tmp_path: Path) -> None:
    assert [finding.ok for finding in mailbox(tmp_path).check()] == [True]
    assert list((tmp_path / "var/mail").iterdir()) == []


def test_file_name_is_harmless() -> None:
    assert file_name(message(title="../../etc/passwd\x00")) == "20261102T063000Z-etc-passwd-01234567.eml"
    assert file_name(message(title="数字", key="report:x")).startswith("20261102T063000Z-message-")
