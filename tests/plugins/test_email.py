"""The e-mail receiver against a real SMTP server that fails in every way."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kpid_email import MAILS_PER_CONNECTION, Email, EmailSettings
from pydantic import ValidationError

from kpid.plugin import DeliveryError, Image, Message, NotifierContext
from kpid.testing import FakeClock
from tests.plugins.smtp_server import SmtpServer, make_certificate, running

NOW = datetime(2026, 11, 2, 6, 30, tzinfo=UTC)
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine to make a certificate")


@pytest.fixture
def server() -> Iterator[SmtpServer]:
    with running(SmtpServer()) as started:
        yield started


def message(number: int = 1, **changes: object) -> Message:
    one = Message(key=f"{number:064x}", kind="alert", title=f"Title {number}", text="Body.\n.hidden dot\n", created_at=NOW)
    return replace(one, **{"recipient": "ada@example.com", **changes})


def notifier(server: SmtpServer, folder: Path = Path(), **options: object) -> Email:
    options = {
        "host": "127.0.0.1", "port": server.port, "tls": "none", "from": "kpid@example.com", "to": ["ada@example.com"],
        "timeout": 5, "data_timeout": 5, **options,
    }  # fmt: skip
    return Email(EmailSettings.model_validate(options), NotifierContext("team", folder, FakeClock(NOW)))


@pytest.fixture
def email(server: SmtpServer) -> Iterator[Email]:
    made = notifier(server)
    yield made
    made.close()


def refused(email: Email, one: Message | None = None) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        email.send(one or message())
    return caught.value


def flags(error: DeliveryError) -> tuple[bool, bool]:
    return error.permanent, error.unknown


def test_mail_arrives_whole(server: SmtpServer, email: Email) -> None:
    receipt = email.send(message())
    ((recipient, content),) = server.mails
    assert recipient == "ada@example.com"
    assert b"\r\n.hidden dot\r\n" in content
    assert f"Message-ID: <kpid.{1:064x}@example.com>".encode() in content
    assert receipt.provider_id == f"<kpid.{1:064x}@example.com>"
    assert receipt.detail == "250 2.0.0 Ok: queued as 1"


def test_connection_is_kept_and_renewed(server: SmtpServer, email: Email) -> None:
    for number in range(MAILS_PER_CONNECTION + 1):
        email.send(message(number))
    assert len(server.mails) == MAILS_PER_CONNECTION + 1
    assert server.connections == 2


def test_relay_that_has_had_enough_of_a_connection_gets_a_new_one() -> None:
    with running(SmtpServer(most=3)) as server:
        email = notifier(server)
        for number in range(8):
            email.send(message(number))
        email.close()
        assert len(server.mails) == 8
        assert server.connections == 3


def test_connection_that_went_stale_is_replaced(server: SmtpServer, email: Email) -> None:
    email.send(message(1))
    server.script["MAIL"] = ["drop"]
    email.send(message(2))
    assert [len(server.mails), server.connections] == [2, 2]


@pytest.mark.parametrize(
    ("command", "answer", "permanent"),
    [
        ("MAIL", "451 4.3.0 try later", False),
        ("MAIL", "421 4.3.2 shutting down", False),
        ("MAIL", "550 5.7.1 sender refused", True),
        ("RCPT", "450 4.2.1 mailbox busy", False),
        ("RCPT", "550 5.1.1 no such user", True),
        ("DATA", "451 4.7.1 greylisted", False),
        ("DATA", "552 5.3.4 too large", True),
        ("DATA", "554 5.7.1 looks like spam", True),
    ],
)
def test_refusal_says_whether_to_try_again(server: SmtpServer, email: Email, command: str, answer: str, permanent: bool) -> None:
    server.script[command] = [answer]
    error = refused(email)
    assert flags(error) == (permanent, False)
    assert answer in error.what
    assert email.send(message(2)).detail.startswith("250")
    assert len(server.mails) == 1


@pytest.mark.parametrize("command", ["MAIL", "RCPT"])
@pytest.mark.parametrize("fault", ["drop", "hang"])
def test_connection_lost_before_the_mail_is_tried_again(command: str, fault: str) -> None:
    with running(SmtpServer()) as server:
        email = notifier(server, timeout=0.3)
        server.script[command] = [fault]
        assert flags(refused(email)) == (False, False)
        email.send(message())
        email.close()
        assert len(server.mails) == 1


@pytest.mark.parametrize(("fault", "arrived"), [("drop", 0), ("hang", 0), ("250 lost", 1)])
def test_answer_lost_after_the_mail_is_unknown(fault: str, arrived: int) -> None:
    with running(SmtpServer()) as server:
        email = notifier(server, data_timeout=0.3)
        server.script["DATA"] = [fault]
        error = refused(email)
        assert flags(error) == (False, True)
        assert "may have arrived" in error.what
        assert len(server.mails) == arrived
        email.send(message())
        assert len({content for _, content in server.mails}) == 1, "a repeat is the same mail, byte by byte"
        email.close()


def test_goodbye_that_fails_changes_nothing(server: SmtpServer, email: Email) -> None:
    server.script["DATA"] = ["250 drop"]
    email.send(message(1))
    email.close()
    email.send(message(2))
    assert len(server.mails) == 2


def test_server_that_is_not_there_is_tried_again() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        gone = SmtpServer()
        gone.port = probe.getsockname()[1]
    error = refused(notifier(gone))
    assert flags(error) == (False, False)
    assert "no connection" in error.what


def test_server_that_never_greets_is_tried_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mute = SmtpServer()
        mute.port = silent.getsockname()[1]
        error = refused(notifier(mute, timeout=0.2))
    assert flags(error) == (False, False)
    assert "no answer" in str(error)


def test_hostile_title_reaches_the_server_as_one_header(server: SmtpServer, email: Email) -> None:
    email.send(
        message(title="=?utf-8?q?x=0d=0aBcc:evil@example.com?=\r\nBcc: evil@example.com", text="\r\n.\r\nMAIL FROM:<evil>\r\n")
    )
    ((recipient, content),) = server.mails
    assert recipient == "ada@example.com"
    assert b"\r\nBcc:" not in content


def test_server_that_takes_little_gets_no_pictures() -> None:
    with running(SmtpServer(), data_size_limit=60_000) as server:
        email = notifier(server)
        picture = Image("trend", b"\x89PNG" * 50_000, "trend", 6, 2)
        email.send(message(html="<p><img src='cid:trend'></p>", images=(picture,)))
        email.close()
        assert b"pictures were left out" in server.mails[0][1]


@pytest.mark.parametrize(
    ("most", "said"), [(200_000, b"pictures were left out"), (60_000, b"plain text alone"), (12_000, b"rest was left out")]
)
def test_mail_is_no_larger_than_allowed_as_it_goes_over_the_wire(server: SmtpServer, most: int, said: bytes) -> None:
    email = notifier(server, max_bytes=most)
    picture = Image("trend", b"\x89PNG" * 50_000, "trend", 6, 2)
    html = f"<p><img src='cid:trend'></p>{'<p>ü</p>' * 10_000}"
    email.send(message(text="Win rate fell.\n" * 2_000, html=html, images=(picture,)))
    email.close()
    [(_, content)] = [mail[:2] for mail in server.mails]
    assert len(content) <= most
    assert said in content.replace(b"=\r\n", b"")
    assert b"Win rate fell." in content


def test_address_outside_ascii_needs_a_server_that_can() -> None:
    with running(SmtpServer(), enable_SMTPUTF8=False) as unable:
        email = notifier(unable)
        assert refused(email, message(recipient="jürgen@example.com")).permanent
        email.close()
    with running(SmtpServer(), enable_SMTPUTF8=True) as able:
        email = notifier(able)
        email.send(message(recipient="jürgen@example.com"))
        email.close()
        assert able.mails[0][0] == "jürgen@example.com"


# -- TLS and log-in


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def tls_context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@needs_openssl
def test_starttls_and_log_in(certificate: tuple[Path, Path]) -> None:
    server = SmtpServer()
    with running(
        server, tls_context=tls_context(certificate), require_starttls=True, authenticator=server.authenticate, auth_required=True
    ):
        email = notifier(server, certificate[0].parent, tls="starttls", ca_file="server.pem", user="kpid", password="pass-1234")
        assert [finding.ok for finding in email.check()] == [True]
        email.send(message())
        email.close()
    assert len(server.mails) == 1


@needs_openssl
def test_certificate_that_nobody_vouches_for_is_refused(certificate: tuple[Path, Path]) -> None:
    server = SmtpServer()
    with running(server, tls_context=tls_context(certificate)):
        error = refused(notifier(server, tls="starttls"))
    assert "certificate" in error.what
    assert "ca_file" in (error.hint or "")
    assert not error.permanent
    assert server.mails == []


def test_server_without_starttls_gets_no_mail_in_the_clear(server: SmtpServer) -> None:
    error = refused(notifier(server, tls="starttls"))
    assert "STARTTLS" in error.what
    assert server.mails == []


@pytest.mark.parametrize(
    ("answer", "cure"),
    [
        ("535 5.7.8 Authentication credentials invalid", "`user` and `password`"),
        ("550 5.7.30 Basic authentication is not supported for Client Submission", "no longer takes passwords"),
    ],
)
def test_refused_log_in_is_final_and_names_the_cure(answer: str, cure: str) -> None:
    server = SmtpServer(log_in_answer=answer)
    with running(server, authenticator=server.authenticate, auth_require_tls=False):
        email = notifier(server, user="kpid", password="wrong-secret-1")
        error = refused(email)
        (finding,) = email.check()
    assert error.permanent
    assert cure in (error.hint or "")
    assert (finding.ok, cure in finding.hint) == (False, True)
    assert "wrong-secret-1" not in f"{error}{finding}{email.settings!r}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"host": "mail.example.com", "tls": "none"}, "in the clear"),
        ({"user": "kpid"}, "belong together"),
        ({"to": []}, "at least 1"),
        ({"to": ["nobody"]}, "no mail address"),
        ({"from": "a\r\nBcc: b@example.com"}, "no mail address"),
        ({"port": 0}, "greater than"),
        ({"hots": "x"}, "not permitted"),
    ],
)
def test_settings_that_cannot_work_are_refused(server: SmtpServer, options: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        notifier(server, **options)


def test_ports_follow_the_kind_of_encryption() -> None:
    context = NotifierContext("team", Path(), FakeClock(NOW))
    for tls, port in (("starttls", 587), ("tls", 465)):
        settings = EmailSettings.model_validate(
            {"host": "mail.example.com", "tls": tls, "from": "a@example.com", "to": ["b@example.com"]}
        )
        assert Email(settings, context).port == port


def test_recipients_are_those_of_the_settings_once_each(server: SmtpServer) -> None:
    made = notifier(server, to=["a@example.com", "A <a@example.com>", "b@example.com"])
    assert list(made.recipients()) == ["a@example.com", "b@example.com"]
