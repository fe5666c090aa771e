"""The webhook receiver against a server on this machine."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from kpid_webhook import MAX_BODY, Webhook, WebhookSettings, body_of, payload, signature
from pydantic import ValidationError

from kpid.plugin import Action, DeliveryError, Link, Message, NotifierContext, Section
from kpid.testing import Answer, FakeApi, FakeClock, NotifierBench, NotifierContract, Request, faults

NOW = datetime(2026, 11, 2, 6, 30, tzinfo=UTC)
MESSAGE = Message(
    key="ab" * 32,
    kind="alert",
    title="Win rate is 41 %",
    text='Down. <!channel> "quoted" \u2028 \ud800',
    created_at=NOW,
    sections=(Section("facts", pairs=(("n", "21"),)), Section("image", image="trend")),
    facts={"value": "0.41"},
    links=(Link("CRM", "https://crm.example.com"),),
    thread="t",
    follows=("cd" * 32,),
    status="firing",
)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        api.route("POST", "/hook/T0P-S3CRET-PATH", lambda request: Answer(202, {"ok": True}))
        yield api


def notifier(api: FakeApi, **options: object) -> Webhook:
    settings = WebhookSettings.model_validate({"url": f"{api.url}/hook/T0P-S3CRET-PATH", "timeout": 2, **options})
    return Webhook(settings, NotifierContext("ops", Path(), FakeClock(NOW)))


def refused(webhook: Webhook) -> DeliveryError:
    with pytest.raises(DeliveryError) as caught:
        webhook.send(MESSAGE)
    webhook.close()
    assert "S3CRET" not in f"{caught.value}{caught.value.__cause__}{webhook.settings!r}"
    return caught.value


def test_message_is_posted_signed(api: FakeApi) -> None:
    webhook = notifier(api, secret="signing-key-1", headers={"Authorization": "Bearer outer-token"})
    assert webhook.send(MESSAGE).detail == "answered 202"
    (request,) = api.requests
    stamp = request.headers["X-KPID-Timestamp"]
    wanted = hmac.new(b"signing-key-1", stamp.encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert request.headers["X-KPID-Signature"] == f"sha256={wanted}" == signature("signing-key-1", stamp, request.body)
    assert stamp == str(int(NOW.timestamp()))
    assert request.headers["Idempotency-Key"] == MESSAGE.key
    assert request.headers["Authorization"] == "Bearer outer-token"
    assert request.headers["Content-Type"] == "application/json"
    webhook.close()


def test_body_holds_the_message(api: FakeApi) -> None:
    webhook = notifier(api)
    webhook.send(MESSAGE)
    webhook.close()
    assert "X-KPID-Signature" not in api.requests[0].headers
    body = api.requests[0].json()
    assert body == json.loads(json.dumps(payload(MESSAGE)).replace("\\ud800", "?"))  # half a character is no JSON for many
    assert (body["key"], body["facts"], body["thread"], body["follows"]) == (MESSAGE.key, {"value": "0.41"}, "t", ["cd" * 32])
    assert body["sections"] == [{"kind": "facts", "text": "", "pairs": [["n", "21"]]}]
    assert "<!channel>" in body["text"]


def test_message_without_end_is_cut_and_says_so(api: FakeApi) -> None:
    webhook = notifier(api)
    long = "x" * 2_000_000
    webhook.send(replace(MESSAGE, text=long, sections=(Section("text", long),), facts={"rows": long}))
    webhook.close()
    body = api.requests[0].json()
    assert (body["shortened"], len(body["text"]), body["sections"], body["facts"]) == (True, 50_000, [], {})
    assert body["key"] == MESSAGE.key


def test_many_series_are_cut_to_what_fits_and_counted() -> None:
    entries = [{"segment": f"Owner {number}", "warnings": ["w" * 100] * 3} for number in range(9_000)]
    body = json.loads(body_of(replace(MESSAGE, facts={"total": 9_000, "items": entries})))
    assert body["shortened"]
    assert body["facts"]["total"] == 9_000
    assert len(body["facts"]["items"]) + body["facts"]["items_not_shown"] == 9_000
    assert body["facts"]["items"][0]["segment"] == "Owner 0"
    assert len(body_of(replace(MESSAGE, facts={"items": entries}))) <= MAX_BODY


def test_actions_are_pages_and_no_tokens() -> None:
    page = Action("ack", "Acknowledge", "t0k3n", "https://kpid.example.com/a/x")
    made = payload(replace(MESSAGE, actions=(page, Action("snooze", "Snooze", "t0k3n"))))
    assert made["actions"] == [{"kind": "ack", "label": "Acknowledge", "url": "https://kpid.example.com/a/x"}]
    assert "t0k3n" not in json.dumps(made) + repr(page)


@pytest.mark.parametrize("status", range(200, 207))
def test_every_2xx_is_a_yes(api: FakeApi, status: int) -> None:
    api.fail(lambda request, answer: Answer(status))
    webhook = notifier(api)
    assert str(status) in webhook.send(MESSAGE).detail
    webhook.close()


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_passing_trouble_is_tried_again(api: FakeApi, status: int) -> None:
    api.fail(faults.status(status))
    error = refused(notifier(api))
    assert (error.permanent, error.unknown) == (False, False)
    assert str(status) in error.what


@pytest.mark.parametrize("status", [301, 307, 400, 401, 403, 404, 405, 409, 410, 413, 415, 422])
def test_every_other_answer_is_final(api: FakeApi, status: int) -> None:
    api.fail(faults.status(status, headers={"Location": "https://elsewhere.example.com/"}))
    assert refused(notifier(api)).permanent
    assert len(api.requests) == 1


def test_retry_after_is_passed_on(api: FakeApi) -> None:
    api.fail(faults.limited("17"))
    assert refused(notifier(api)).retry_after == timedelta(seconds=17)


@pytest.mark.parametrize("fault", [faults.reset(), faults.silence(), faults.cut()], ids=["reset", "silence", "cut"])
def test_lost_answer_is_unknown(api: FakeApi, fault: object) -> None:
    api.fail(fault)
    error = refused(notifier(api, timeout=0.3))
    assert (error.permanent, error.unknown) == (False, True)


def test_server_that_is_not_there_did_not_get_it() -> None:
    with FakeApi() as gone:
        webhook = notifier(gone)
    error = refused(webhook)
    assert (error.permanent, error.unknown) == (False, False)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://hooks.example.com/x", "https://"),
        ("ftp://hooks.example.com/x", "https://"),
        ("https://user:pass@hooks.example.com/x", "without user"),
        ("hooks.example.com", "https://host/path"),
    ],
)
def test_address_that_would_leak_is_refused(api: FakeApi, url: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said) as caught:
        notifier(api, url=url)
    assert "pass@" not in str(caught.value)


class HookBench(NotifierBench):
    """A webhook and its server."""

    secrets = ("S3CRET-PATH", "signing-key-1")
    statuses: ClassVar = {201: "sent", 301: "refused", 400: "refused", 404: "refused", 408: "retry", 500: "retry", 503: "retry"}

    def __init__(self, api: FakeApi) -> None:
        self.api = api

    def notifier(self, *, reachable: bool = True) -> Webhook:
        url = self.api.url if reachable else "http://127.0.0.1:9"
        return notifier(self.api, url=f"{url}/hook/T0P-S3CRET-PATH", secret="signing-key-1", timeout=0.3)

    def texts(self, request: Request) -> str:
        return str(request.json()["title"])


class TestContract(NotifierContract):
    @pytest.fixture
    def bench(self, api: FakeApi) -> NotifierBench:
        return HookBench(api)


def test_check_sends_no_message(api: FakeApi) -> None:
    webhook = notifier(api)
    assert [finding.ok for finding in webhook.check()] == [True]
    webhook.close()
    assert all(request.method != "POST" for request in api.requests)
    with FakeApi() as gone:
        webhook = notifier(gone)
    (finding,) = webhook.check()
    webhook.close()
    assert (finding.ok, "S3CRET" in finding.text) == (False, False)


def test_address_keeps_its_path_and_query(api: FakeApi) -> None:
    api.route("POST", "/", lambda request: Answer(200))
    webhook = notifier(api, url=f"{api.url}?workflow=7&sig=abc")
    webhook.send(replace(MESSAGE, key="x"))
    webhook.close()
    assert (api.requests[0].path, api.requests[0].arg("workflow"), api.requests[0].arg("sig")) == ("/", "7", "abc")
