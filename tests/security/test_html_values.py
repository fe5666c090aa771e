"""No text from a CRM becomes part of a page's structure, breaks a message's limits or its JSON, whatever it holds."""

from __future__ import annotations

import email
import email.policy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kpid_slack.payload import payload, short_payload
from kpid_webhook import MAX_BODY, body_of

from kpid.model import Notice, NoticeItem
from kpid.plugin import Message
from kpid.plugin.mail import mime_message
from kpid.reporting.context import Freshness, ReportContext
from kpid.reporting.render import MAX_HTML
from kpid.reporting.samples import sample_contexts, sample_item, sample_notices
from kpid.store import outbox, sending
from kpid.store.engine import Store, open_store
from tests.plugins.slack_server import CHANNEL, wrong_with
from tests.reporting.weeks import CALENDAR, NOW, renderer
from tests.security.hostile import HTML, SLACK, Shape, any_text

RENDERER = renderer()
NOTICES = sample_notices(CALENDAR)
CONTEXTS = sample_contexts("weekly_sales", CALENDAR)
KEY = "a1" * 32
MOST_MAIL = 2_000_000
UNSOUND = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _benign() -> set[tuple[str, tuple[str, ...]]]:
    """Every tag, with the names of its attributes, that our templates make of harmless text."""
    messages = [RENDERER.alert(notice) for notice in _with_all_kinds(NOTICES[0], "Ada Example")]
    pages = [message.html or "" for message in messages]
    pages += [RENDERER.report(context).html for context in (*CONTEXTS[:2], _spoilt(CONTEXTS[0], "Ada Example"))]
    return set().union(*(Shape(page).tags for page in pages))


def _with_all_kinds(notice: Notice, text: str) -> list[Notice]:
    """A notice with one series and one with several, alert and health, with ``text`` wherever a text may stand."""
    kinds = ("fired", "escalated", "eased", "resolved", "expired", "restated", "healthy", "unhealthy", text)
    items = tuple(_spoilt_item(sample_item(text, "0.313", kind), text) for kind in kinds)
    hostile = replace(
        notice, rule=text, kpi_name=text, definition=text, summary=text, runbook=text, labels=((text, text),), by=(text,),
        currency=text, period_label=text, sample=text, found_late=True,
    )  # fmt: skip
    one, linked = replace(hostile, items=items[:1]), replace(hostile, items=items, runbook="https://wiki.example.com/a?b=1&c=2")
    return [one, linked, replace(one, unit="currency"), replace(one, kind="health", items=items[-2:-1])]


def _spoilt_item(item: NoticeItem, text: str) -> NoticeItem:
    return replace(item, threshold=text, previous_label=text, since=text, reason=text, warnings=(text, text))


def _spoilt(context: ReportContext, text: str) -> ReportContext:
    """A report with ``text`` wherever a text from a CRM, a configuration or a plugin may stand."""
    assert context.drivers is not None
    lines = tuple(
        replace(line, name=text, definition=text, reason=text, warnings=(text,), sample=text,
                currency=text if line.unit == "currency" else None,
                series=tuple(replace(point, label=text) for point in line.series))
        for line in context.kpis
    )  # fmt: skip
    rows = tuple(replace(row, segment=text) for row in context.drivers.rows)
    return replace(
        context, title=text, company=text, headline=text, lead=(text, text), kpis=lines, missing=(text,),
        drivers=replace(context.drivers, rows=rows, dimension=text), alerts=(text,), alerts_open=1, late_note=text,
        freshness=(Freshness(text, NOW, stale=True), Freshness(text, None, stale=True)),
    )  # fmt: skip


BENIGN = _benign()


def _check_page(html: str) -> None:
    shape = Shape(html)
    assert shape.tags <= BENIGN, shape.tags - BENIGN
    assert not shape.open
    assert all(re.match(r"(cid:[\w.-]+|https?://\S+|mailto:\S+)$", link) for link in shape.links), shape.links
    assert len(html.encode()) <= MAX_HTML
    assert not UNSOUND.search(html)


def _check_message(message: Message) -> None:
    """It is sound for a mail, for Slack and for a webhook, and within their limits."""
    content = mime_message(message, sender="kpid@example.com", recipient="ada@example.com")
    parsed = email.message_from_bytes(content, policy=email.policy.default)
    assert len(content) < MOST_MAIL
    assert not parsed.defects
    assert parsed["To"] == "ada@example.com"
    assert parsed["Bcc"] is None
    assert len(str(parsed["Subject"])) <= 200
    assert "\n" not in str(parsed["Subject"])
    for made in (payload(message), short_payload(message)):
        json.dumps(made, ensure_ascii=False).encode("utf-8")
        assert not UNSOUND.search(json.dumps(made, ensure_ascii=False))
        assert wrong_with({"channel": CHANNEL, "blocks": made.get("blocks", [])}) is None
        assert not re.search(r"<[!@#]", made["text"])
        assert 0 < len(made["text"]) <= 3000
    body = body_of(message)
    assert len(body) <= MAX_BODY
    assert not re.search("[\ud800-\udfff]", json.dumps(json.loads(body.decode("utf-8")), ensure_ascii=False))
    assert json.loads(body)["key"] == message.key


def _check_everything(text: str) -> None:
    for notice in _with_all_kinds(NOTICES[0], text):
        message = replace(RENDERER.alert(notice), key=KEY, recipient="ada@example.com")
        _check_page(message.html or "")
        _check_message(message)


def _check_report(text: str) -> None:
    rendered = RENDERER.report(_spoilt(CONTEXTS[0], text))
    _check_page(rendered.html)
    _check_message(
        Message(recipient="ada@example.com",
            key=KEY, kind="report", title=rendered.subject, text=rendered.text, html=rendered.html, created_at=NOW,
            sections=rendered.sections, facts=rendered.facts, images=rendered.images[:1], list_id=text,
        )
    )  # fmt: skip


@pytest.mark.parametrize("text", [*HTML.values(), *SLACK.values()], ids=[*HTML, *(f"slack-{name}" for name in SLACK)])
def test_text_of_an_alert_stays_text_everywhere(text: str) -> None:
    _check_everything(text)


@pytest.mark.parametrize("name", ["script", "attribute", "style-end", "template", "direction", "long", "surrogate", "control"])
def test_text_of_a_report_stays_text_everywhere(name: str) -> None:
    _check_report(HTML[name])


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=any_text)
def test_any_text_in_an_alert_gives_sound_messages(text: str) -> None:
    _check_everything(text)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=any_text)
def test_any_text_in_a_report_gives_sound_messages(text: str) -> None:
    _check_report(text)


@settings(max_examples=25, deadline=None)
@given(
    value=st.decimals(allow_nan=False, allow_infinity=False, places=6) | st.none(),
    previous=st.decimals(allow_nan=False, allow_infinity=False, places=2) | st.none(),
    limit=st.decimals(allow_nan=False, allow_infinity=False, places=3) | st.none(),
    unit=st.sampled_from(["count", "ratio", "currency", "days", "seconds", "score"]),
)
def test_any_number_gives_a_sound_message(
    value: Decimal | None, previous: Decimal | None, limit: Decimal | None, unit: str
) -> None:
    item = replace(sample_item("Ada Example", "0"), value=value, previous=previous, limit=limit)
    for items in ((item,), (item, replace(item, segment="Bob Example"))):
        message = replace(RENDERER.alert(replace(NOTICES[0], items=items, unit=unit, currency="EUR")), key=KEY)
        _check_page(message.html or "")
        _check_message(message)


def test_template_in_a_value_is_not_run() -> None:
    message = RENDERER.alert(replace(NOTICES[0], items=(sample_item("{{ 7 * 7 }}{% raw %}", "0.3"),)))
    words = " ".join(Shape(message.html or "").words)
    assert "{{ 7 * 7 }}{% raw %}" in words
    assert "49" not in words
    assert "{{ 7 * 7 }}{% raw %}" in message.text.replace("\n", " ")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    yield store
    store.close()


@pytest.mark.parametrize("name", HTML)
def test_message_of_any_text_goes_through_the_outbox(store: Store, name: str) -> None:
    notice = _with_all_kinds(NOTICES[0], HTML[name])[1]
    message = replace(RENDERER.alert(notice), key=KEY, recipient="ada@example.com")
    with store.write() as conn:
        assert outbox.enqueue(conn, message, receiver="team", origin="rule", now=NOW)
    with store.write() as conn:
        claimed = sending.claim(conn, "me", NOW, NOW - NOW.replace(minute=0), 1, ["team"])
    assert claimed[0].message.title == message.title
    _check_message(claimed[0].message)
