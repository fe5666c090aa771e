"""Every kind and size of alert in every form, kept in ``tests/golden/alerts``; and what holds for all of them.

After a wanted change: ``KPID_WRITE_GOLDEN=1 python -m pytest tests/reporting/test_alert_forms.py``, and read the difference.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from email import message_from_bytes
from email.policy import default
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from kpid_slack.payload import payload as slack_payload
from kpid_webhook import MAX_BODY, body_of

from kpid.model import Cause, Level, Notice, NoticeItem, Rows
from kpid.plugin import mail
from kpid.plugin.mail import mime_message
from kpid.plugin.notifier import Action, Message
from kpid.reporting.alert_message import MAX_HTML
from kpid.reporting.alert_rows import lists_of
from kpid.reporting.alert_view import Plainly
from tests.plugins.slack_server import CHANNEL, wrong_with
from tests.reporting.alert_cases import ALERT, Case, alert, all_cases, golden_text, item_of
from tests.reporting.test_render import Page
from tests.reporting.weeks import renderer

GOLDEN = Path(__file__).parents[1] / "golden" / "alerts"
CASES: dict[str, Case] = dict(all_cases())
RENDERER = renderer()
MAX_TEXT = 60_000
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
"""Without shrinking: these examples are large, and it would take minutes."""


@cache
def told(name: str) -> Message:
    return replace(RENDERER.bundle(*CASES[name]), key="ab" * 32)


@pytest.mark.parametrize("name", CASES)
def test_alert_of_every_kind_and_size_reads_as_agreed(name: str) -> None:
    path = GOLDEN / f"{name}.golden"
    text = golden_text(told(name))
    if os.environ.get("KPID_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.golden")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_one_headline_and_one_set_of_counts_in_every_form(name: str) -> None:
    message = told(name)
    headline = message.sections[0].text
    words = headline.split(": ", 1)[1]
    assert words == message.facts["headline"]
    assert words in Page(message.html or "").text
    assert headline in " ".join(message.text.split())
    [header] = [block["text"]["text"] for block in slack_payload(message)["blocks"] if block["type"] == "header"]
    assert headline[:100] in header
    series = sum(len(notice.items) for notice in CASES[name].notices)
    assert message.facts["total"] == sum(message.facts["counts"].values()) == series
    shown = sum(len(part.get("items", ())) for part in (message.facts, *message.facts.get("notices", ())))
    assert shown + message.facts["left_out"] == series
    assert message.title.split(":")[0] == headline.split(" ", 1)[1].split(":")[0], "the state word begins both"


@pytest.mark.parametrize("name", CASES)
def test_every_form_keeps_to_its_limits(name: str) -> None:
    check_limits(told(name))


def check_limits(message: Message) -> None:
    """What no input may break, in any form."""
    for buttons in (False, True):
        made = slack_payload(message, buttons=buttons)
        assert wrong_with({"channel": CHANNEL, **made}) is None
    assert len((message.html or "").encode()) <= MAX_HTML
    assert len(message.text) <= MAX_TEXT
    for most in (12_000, 100_000):
        sent = mime_message(message, sender="kpid@example.com", recipient="ada@example.com", max_bytes=most)
        assert len(sent) <= most
        read = message_from_bytes(sent, policy=default)
        assert not message.title.isascii() or read["Subject"].split() == mail.one_line(message.title).split()
    assert "\n" not in message.title
    assert not set(message.title) & {"[", "]", "\r"}
    assert len(message.title) <= 200
    body = body_of(message)
    assert len(body) <= MAX_BODY
    json.loads(body, parse_constant=_refuse)
    page = Page(message.html or "")
    assert not {tag for tag, _ in page.tags} & {"script", "svg", "form", "iframe", "object", "link", "button", "input"}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert {attrs["src"] for tag, attrs in page.tags if tag == "img"} == {f"cid:{image.name}" for image in message.images}
    links = [str(attrs["href"]) for tag, attrs in page.tags if tag == "a"]
    assert all(link.startswith(("https://", "http://", "mailto:")) for link in links)


def _refuse(constant: str) -> float:
    raise AssertionError(f"{constant} is no JSON")


# ---- nothing that anybody can write into a CRM breaks a message
texts = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ['<script>alert(1)</script>"><img src=x onerror=1>', "{{ 7 * 7 }}{% raw %}", "=?utf-8?q?x=0d=0aBcc:a@b?=", "[A] x",
         "<!channel> <@U1> *b*", "\u202egnp.exe\r\nBcc: a@example.com", "\U0001f600" * 200, "W" * 5000, "a b " * 900,
         "&amp;" * 99, "half \ud83d"],
    ),
)  # fmt: skip
numbers = st.none() | st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**15), max_value=10**15, places=4)
floats = st.none() | st.floats()
causes = st.builds(
    Cause, texts, texts, *[numbers.filter(lambda value: value is not None)] * 3, numbers, numbers,
    st.integers(0, 10**9), st.integers(0, 10**9), st.floats(),
)  # fmt: skip
columns = st.lists(texts, min_size=1, max_size=8).map(tuple)
rows = st.builds(
    lambda names, count, total: Rows(names, tuple(names for _ in range(count)), total),
    columns,
    st.integers(0, 60),
    st.integers(0, 10**6),
)
kinds = st.sampled_from(
    [
        "fired",
        "escalated",
        "eased",
        "resolved",
        "expired",
        "restated",
        "rule_changed",
        "rule_removed",
        "paused",
        "unhealthy",
        "healthy",
        "reminder",
        "escalation",
        "flapping",
        "steady",
        "digest",
        "config",
        "something_new",
    ]
)
items = st.builds(
    NoticeItem,
    kind=kinds,
    series_key=texts,
    segment=texts,
    level=st.sampled_from(Level),
    episode=st.integers(0, 99),
    value=numbers,
    n=st.integers(0, 10**9),
    limit=numbers,
    previous=numbers,
    threshold=texts | st.sampled_from(["< 40%", "drop > 15% vs previous", "outside 20%..40%"]),
    previous_label=texts | st.just("2026-09"),
    since=texts | st.just("2026-10"),
    reason=texts,
    warnings=st.lists(texts, max_size=5).map(tuple),
    low=numbers,
    high=numbers,
    causes=st.lists(causes, max_size=4).map(tuple),
    event_id=st.integers(0, 10**9),
    p=floats,
    baseline=numbers,
    baseline_label=texts,
    effect=numbers,
    compared=texts,
    held=texts,
    handling=texts,
    trail=st.lists(st.tuples(texts, numbers), max_size=16).map(tuple),
    rows=st.none() | rows,
)
notices = st.builds(
    replace,
    st.just(ALERT),
    rule=texts,
    kpi=texts,
    kpi_name=texts,
    unit=st.sampled_from(["count", "ratio", "currency", "days", "seconds", "score"]),
    currency=st.none() | texts,
    better=st.sampled_from(["up", "down", "none"]),
    definition=texts,
    by=st.lists(texts, max_size=3).map(tuple),
    items=st.tuples(st.lists(items, min_size=1, max_size=3), st.integers(1, 12)).map(lambda pair: tuple(pair[0] * pair[1])),
    summary=st.none() | texts,
    runbook=st.none() | texts | st.just("https://wiki.example.com"),
    sample=texts,
    period_label=texts,
    labels=st.lists(st.tuples(texts, texts), max_size=12).map(tuple),
    found_late=st.booleans(),
    kind=st.sampled_from(["alert", "health"]),
)
actions = st.builds(
    Action,
    st.sampled_from(["ack", "snooze", "silence", "open"]),
    texts,
    texts,
    st.none() | texts | st.just("https://kpid.example.com/a/x"),
)
tellings = st.builds(
    Plainly,
    st.sampled_from(["fired", "reminder", "escalation", "digest", "flapping", "config"]),
    st.lists(actions, max_size=7).map(tuple),
    texts,
    texts,
)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), phases=PHASES)
@given(several=st.lists(notices, min_size=1, max_size=4), times=st.sampled_from([1, 1, 1, 15]), telling=tellings)
def test_no_notice_makes_a_message_that_anybody_refuses(several: list[Notice], times: int, telling: Plainly) -> None:
    message = replace(RENDERER.bundle(several * times, telling), key="cd" * 32)
    check_limits(message)
    assert len(message.facts["headline"]) < 1_000


def test_a_list_whose_first_column_has_no_name_has_a_title_all_the_same() -> None:
    one = replace(item_of(0, "fired"), rows=Rows(("",), (("Deal 1",),), 0))
    (found,) = lists_of(replace(ALERT, items=(one,)), 5)
    assert (found["title"], found["rows"]) == ("", [["Deal 1"]])


# ---- programs that show mails
class Sanitised(Page):
    """A page as Word's engine sees it: no style sheet, no classes, no rounded corners, no positions; tables and widths stay."""

    KEPT = re.compile(r"(padding|font|color|background|line-height|border|text-align|white-space|width|height)\b[^;]*$")

    def __init__(self, html: str) -> None:
        self.depth, self.cells, self.deepest = 0, [], 0
        html = re.sub(r"<!--\[if mso\]>(.*?)<!\[endif\]-->", r"\1", html, flags=re.DOTALL)
        super().__init__(re.sub(r"<style.*?</style>", "", html, flags=re.DOTALL))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        kept = [(name, value) for name, value in attrs if name not in {"class", "style"}]
        super().handle_starttag(tag, kept)
        self.depth += tag == "table"
        self.deepest = max(self.deepest, self.depth)

    def handle_endtag(self, tag: str) -> None:
        super().handle_endtag(tag)
        self.depth -= tag == "table"


@pytest.mark.parametrize("name", CASES)
def test_tables_survive_a_word_like_sanitiser(name: str) -> None:
    html = told(name).html or ""
    plain, seen = Page(html), Sanitised(html)
    assert seen.text == plain.text, "no words hang on a style sheet"
    assert seen.depth == 0, "every table is closed"
    tables = [attrs for tag, attrs in seen.tags if tag == "table"]
    assert {"600"} <= {attrs.get("width") for attrs in tables}, "Word gets the width that others get from a style"
    assert all(attrs.get("cellpadding") == attrs.get("cellspacing") == "0" for attrs in tables)
    assert not {tag for tag, _ in seen.tags} & {"div", "section", "flex"} - {"div"}
    assert [tag for tag, _ in seen.tags].count("div") == 1, "nothing but the hidden first line is laid out by a div"
    images = [attrs for tag, attrs in seen.tags if tag == "img"]
    assert all((attrs.get("width") or "").isdigit() and (attrs.get("height") or "").isdigit() for attrs in images)


def test_digest_of_nothing_is_no_message() -> None:
    with pytest.raises(ValueError, match="at least one series"):
        RENDERER.bundle([replace(alert(1, "flapping"), items=())], Plainly(kind="digest"))
