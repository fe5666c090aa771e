"""Where kpid may be led by an address: nowhere but to the configured host, and never with its credentials elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from kpid_slack import SlackSettings
from kpid_webhook import Webhook, WebhookSettings
from pydantic import SecretStr, ValidationError

from kpid.errors import ConfigError, KpidError
from kpid.plugin import DeliveryError, HeaderAuth, HttpClient, Message, NotifierContext
from kpid.reporting.cleaning import safe_url
from kpid.testing import Answer, FakeApi, FakeClock
from tests.reporting.weeks import NOW

TOKEN = "canary-token-1234"
INNER = [
    "https://169.254.169.254/latest/meta-data/",
    "https://[fe80::1]/x",
    "https://[::1]:1/x",
    "https://127.0.0.1:1/x",
    "https://0x7f000001:1/x",
    "https://2130706433:1/x",
    "https://127.1:1/x",
    "https://0:1/x",
    "https://[::ffff:127.0.0.1]:1/x",
    "https://10.0.0.1:1/x",
]
"""Addresses of this machine and of cloud metadata, in many spellings."""


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        yield api


def _client(base: str, **more: object) -> HttpClient:
    auth = HeaderAuth("X-Token", SecretStr(TOKEN))
    return HttpClient(base, name="crm", clock=FakeClock(NOW), auth=auth, timeout=(1, 1), max_tries=1, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd", "gopher://127.0.0.1:70/x", "ftp://127.0.0.1/x", "//evil.example.com/x", "https://evil.example.com/x",
        "http://169.254.169.254/latest/meta-data/", "http://[::1]:9/", "http://0x7f000001:9/", "http://u:p@127.0.0.1:9/x",  "http://127.0.0.1:9@evil.example.com/",
    ],
)  # fmt: skip
def test_redirect_and_next_link_lead_nowhere_else(api: FakeApi, target: str) -> None:
    api.route("GET", "/start", lambda _: Answer(302, None, {"Location": target}))
    client = _client(api.url, allow_private=True)
    with pytest.raises(KpidError) as caught:
        client.get("/start")
    with pytest.raises(KpidError):
        client.get(target if ":" in target else f"https:{target}")
    client.close()
    assert [request.path for request in api.requests] == ["/start"]
    assert TOKEN not in str(caught.value)


def test_redirect_with_the_own_name_as_user_is_refused(api: FakeApi) -> None:
    api.route("GET", "/start", lambda _: Answer(302, None, {"Location": api.url.replace("http://", "http://u:p@") + "/next"}))
    client = _client(api.url, allow_private=True)
    with pytest.raises(KpidError, match="another host"):
        client.get("/start")
    client.close()
    assert len(api.requests) == 1


@pytest.mark.parametrize("path", ["/x\r\nX-Evil: 1", "/x\nX", "/x y", "/x\x00", "/\\evil.example.com", "/x\t"])
def test_path_cannot_hold_a_header(api: FakeApi, path: str) -> None:
    client = _client(api.url, allow_private=True)
    with pytest.raises(KpidError, match=r"refused|another host"):
        client.get(path)
    client.close()
    assert api.requests == []


@pytest.mark.parametrize("address", INNER)
def test_inner_address_is_refused_without_leave(address: str) -> None:
    client = _client(address.rpartition("/")[0])
    with pytest.raises(KpidError, match="private address") as caught:
        client.get("/x")
    client.close()
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "address",
    ["http://crm.example.com", "file:///etc/passwd", "ftp://crm.example.com", "crm.example.com", "https://u:p@x.example"],
)
def test_base_that_would_leak_is_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        _client(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/x",
        "file:///etc/passwd",
        "https://u:p@hooks.example.com/x",
        "gopher://x.example/1",
        "hooks.example.com/x",
        "",
        "https://",
    ],
)
def test_receiver_that_would_leak_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        WebhookSettings.model_validate({"url": url})
    with pytest.raises(ValidationError):
        SlackSettings.model_validate({"webhook_url": url})


def test_webhook_follows_no_redirect_with_its_signature(api: FakeApi) -> None:
    api.route("POST", "/hook", lambda _: Answer(307, None, {"Location": f"{api.url}/other"}))
    api.route("POST", "/other", lambda _: Answer(200))
    settings = WebhookSettings.model_validate({"url": f"{api.url}/hook", "secret": TOKEN, "headers": {"Authorization": TOKEN}})
    webhook = Webhook(settings, NotifierContext("hook", Path(), FakeClock(NOW)))
    with pytest.raises(DeliveryError) as caught:
        webhook.send(Message(key="ab" * 32, kind="test", title="t", text="t", created_at=NOW))
    webhook.close()
    assert caught.value.permanent
    assert [request.path for request in api.requests] == ["/hook"]


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)", "JaVaScRiPt:alert(1)", " java\nscript:alert(1)", "data:text/html,x", "vbscript:x", "file:///etc/passwd",
        "//evil.example.com", "https://x.example/\"onclick=\"alert(1)", "https://x.example/<script>", "https://x.example/ y", "",
    ],
)  # fmt: skip
def test_link_that_is_no_plain_web_address_is_left_out(url: str) -> None:
    assert safe_url(url) == ""
