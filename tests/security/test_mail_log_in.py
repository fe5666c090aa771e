"""A password outside ASCII is sent as UTF-8, and a server that repeats it does not get it into an error."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from kpid_email import Email, EmailSettings

from kpid.plugin import DeliveryError, Message, NotifierContext
from kpid.testing import FakeClock
from tests.reporting.weeks import NOW
from tests.security.echo_servers import EchoSmtp, running


@pytest.mark.parametrize("password", ["pässwörd-4711", "password-4711"])
def test_refused_password_is_sent_whole_and_told_to_nobody(password: str) -> None:
    with running(EchoSmtp) as port:
        options = {"host": "127.0.0.1", "port": port, "tls": "none", "user": "kpid", "password": password}
        settings = EmailSettings.model_validate({**options, "from": "k@example.com", "to": ["a@example.com"]})
        email = Email(settings, NotifierContext("team", Path(), FakeClock(NOW)))
        with pytest.raises(DeliveryError) as caught:
            email.send(Message(key="ab" * 32, kind="test", title="t", text="t", created_at=NOW, recipient="a@example.com"))
        findings = email.check()
        email.close()
    said = f"{caught.value} {findings}"
    assert "535 5.7.8 no such log-in:" in said
    assert "4711" not in said
    assert base64.b64encode(f"\0kpid\0{password}".encode()).decode() not in said
