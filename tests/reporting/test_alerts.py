"""Alert messages: one series, twenty and a thousand, beginning and end. Their text is kept in ``tests/golden/alerts``.

After a wanted change: ``KPID_WRITE_GOLDEN=1 python -m pytest tests/reporting/test_alerts.py``, and read the difference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from kpid.config.model import Rule
from kpid.model import Level, Notice, NoticeItem
from kpid.reporting.alert_view import Plainly
from kpid.reporting.samples import HOSTILE, sample_item, sample_notices
from tests.reporting.test_render import Page
from tests.reporting.weeks import CALENDAR, renderer

GOLDEN = Path(__file__).parents[1] / "golden" / "alerts"
NOTICE = sample_notices(CALENDAR)[0]
RENDERER = renderer()


def _many(count: int) -> list[NoticeItem]:
    return [sample_item(f"Seller {number:04d} Example", str(Decimal("0.39") - Decimal(number) / 3000)) for number in range(count)]


def _notice(items: Sequence[NoticeItem], **changes: object) -> Notice:
    return replace(NOTICE, items=tuple(items), **changes)  # type: ignore[arg-type]


def _ended(kind: str, value: str = "0.553") -> NoticeItem:
    return replace(sample_item("Bruno Example", value, kind), level=Level.NONE)


EASED = replace(sample_item("Bruno Example", "0.45", "eased"), level=Level.WARN, threshold="< 50%", limit=Decimal("0.5"))
CARLA = replace(_ended("resolved"), segment="Carla Example")
CASES = {
    "one": _notice(_many(1)),
    "twenty": _notice(_many(20)),
    "thousand": _notice(_many(1000)),
    "resolved": _notice([_ended("resolved")]),
    "escalated": _notice([sample_item("Bruno Example", "0.1", "escalated")]),
    "eased": _notice([EASED]),
    "two_levels": _notice([*_many(2), replace(EASED, kind="fired", segment="Dora Example")]),
    "expired": _notice([replace(_ended("expired"), value=None, n=0, previous=None, reason="not reported for 3 periods")]),
    "restated": _notice([_ended("restated", "0.41")]),
    "mixed": _notice([*_many(2), CARLA, sample_item("Dora Example", "0.2", "escalated")]),
    "total": _notice([replace(sample_item("all", "61"), threshold="> 50", limit=Decimal(50), previous=Decimal(48), n=0)],
                     kpi_name="Ticket backlog", unit="count", better="down", by=(), runbook=None, labels=()),
    "drop": _notice([replace(sample_item("EMEA", "70000"), threshold="drop > 15% vs previous", limit=Decimal(85000),
                             previous=Decimal(100000))], kpi_name="Won amount", unit="currency", currency="EUR", by=("region",)),
    "found_late": _notice(_many(1), found_late=True),
    "health": sample_notices(CALENDAR)[-1],
    "healthy": replace(sample_notices(CALENDAR)[-1], items=(replace(sample_notices(CALENDAR)[-1].items[0], kind="healthy"),)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_alert_reads_as_agreed(name: str) -> None:
    message = RENDERER.alert(CASES[name])
    text = f"{message.title}\n\n{message.text}"
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("KPID_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_page_says_what_the_text_says(name: str) -> None:
    message = RENDERER.alert(CASES[name])
    page = Page(message.html or "").text
    headline = message.sections[0].text.split(": ", 1)[1]
    assert headline in page
    assert headline in " ".join(message.text.split())
    assert message.key == ""
    assert message.recipient == ""
    assert len((message.html or "").encode()) < 40_000


def test_headline_has_number_segment_period_and_threshold() -> None:
    message = RENDERER.alert(_notice([sample_item("Bruno Example", "0.313")]))
    assert "Win rate of Bruno Example fell to 31.3% in October 2026, below 40%" in message.sections[0].text
    assert message.title == "Critical: Win rate of Bruno Example (win-rate-low)"
    assert message.status == "firing"


def test_end_shares_the_subject_of_its_beginning_after_the_state_word() -> None:
    begin, end = RENDERER.alert(CASES["one"]), RENDERER.alert(_notice([replace(_many(1)[0], kind="resolved")]))
    assert begin.title.partition(": ")[2] == end.title.partition(": ")[2]
    assert end.title.startswith("Resolved: ")
    assert end.status == "resolved"


@pytest.mark.parametrize("name", ["expired", "restated"])
def test_what_ended_without_recovering_does_not_say_so(name: str) -> None:
    message = RENDERER.alert(CASES[name])
    assert "resolved" not in message.title.lower()
    assert "back at" not in message.text
    assert message.status == "resolved", "nothing is open any more"


def test_new_level_is_said_to_be_one_and_why() -> None:
    reason = "new level: what it has been since 2026-09-21 counts as usual now; the same as the average of 8 weeks"
    message = RENDERER.alert(_notice([replace(_ended("new_level"), reason=reason)]))
    assert message.title.startswith("New level: ")
    text = " ".join(message.text.split())
    assert "is at a new level, which counts as usual now: 55.3%" in text
    assert "what it has been since 2026-09-21 counts as usual now" in text
    assert message.status == "resolved", "nothing is open any more"


def test_mixed_notice_is_still_firing() -> None:
    message = RENDERER.alert(CASES["mixed"])
    assert message.status == "firing"
    assert "2 new, 1 now critical, 1 resolved" in message.sections[0].text


def test_headline_of_two_levels_says_how_many_are_worse() -> None:
    headline = RENDERER.alert(CASES["two_levels"]).sections[0].text
    assert "below 50% for 3 owners in October 2026 (2 below 40%), lowest Seller 0001" in headline


def test_value_close_to_its_limit_shows_enough_digits() -> None:
    message = RENDERER.alert(_notice([sample_item("Bruno Example", "0.39996")]))
    assert "39.996%" in message.text


def test_table_is_capped_and_says_how_many_more() -> None:
    message = RENDERER.alert(CASES["thousand"])
    assert "and 980 more" in message.text
    assert "and 980 more" in Page(message.html or "").text
    rows = [section for section in message.sections if section.kind == "rows"]
    assert len(rows[0].pairs) == 20
    assert "Seller 0999" in message.text, "the worst are the ones shown"


def test_facts_hold_every_series_exactly() -> None:
    facts = json.loads(json.dumps(RENDERER.alert(CASES["thousand"]).facts))
    assert facts["total"] == len(facts["items"]) == 1000
    assert facts["items"][0]["segment"] == "Seller 0999 Example"
    assert Decimal(facts["items"][0]["value"]) == Decimal("0.39") - Decimal(999) / 3000
    assert facts["period"] == {"kind": "month", "name": "October 2026"}
    assert facts["data_through"] == (NOTICE.now - timedelta(minutes=20)).isoformat()


def test_hostile_text_stays_text_and_links_stay_safe() -> None:
    nasty = replace(sample_item(HOSTILE, "0.2"), reason=HOSTILE, threshold=HOSTILE, since=HOSTILE, warnings=(HOSTILE,))
    notice = _notice(
        [nasty],
        kpi_name=HOSTILE,
        summary=HOSTILE,
        definition=HOSTILE,
        runbook="javascript:alert(1)",
        labels=((HOSTILE, HOSTILE),),
    )
    message = RENDERER.alert(notice)
    page = Page(message.html or "")
    assert not {tag for tag, _ in page.tags} & {"script", "img", "a"}
    assert message.links == ()
    assert "\n" not in message.title
    assert "\u202e" not in message.text + (message.html or "")


def test_page_stays_short_whatever_happens_at_once() -> None:
    kinds = ["fired", "escalated", "eased", "resolved", "restated", "expired", "rule_changed", "paused"]
    items = [replace(item, kind=kind, segment=HOSTILE) for kind in kinds for item in _many(50)]
    message = RENDERER.alert(_notice(items))
    assert len((message.html or "").encode()) < 80_000
    assert "and 30 more" in message.text


@pytest.mark.parametrize("address", ["https://wiki.example.com/x", "http://intranet/x?a=1&b=2", "mailto:ops@example.com"])
def test_runbook_becomes_a_link(address: str) -> None:
    message = RENDERER.alert(replace(NOTICE, runbook=address))
    assert [link.url for link in message.links] == [address]
    assert address in [attrs.get("href") for tag, attrs in Page(message.html or "").tags if tag == "a"]


def test_period_comes_from_the_label_where_the_slot_has_a_wait_for_late_data() -> None:
    notice = replace(NOTICE, period_label="2026-09", slot=NOTICE.slot + timedelta(days=40))
    assert "in September 2026" in RENDERER.alert(notice).text


def test_rolling_periods_are_named() -> None:
    notice = replace(NOTICE, period="rolling_90d", period_label="")
    assert "in 90 days to 31 Oct 2026" in " ".join(RENDERER.alert(notice).text.split())


SENTENCE = "{{ segment }} is at {{ value | value(unit) }} on {{ n }} deals, {{ total }} in all"


def test_sentence_of_a_rule_is_filled_in_with_the_worst_series() -> None:
    message = RENDERER.alert(replace(CASES["twenty"], summary=SENTENCE))
    said = "Seller 0019 Example is at 38.4% on 32 deals, 20 in all"
    assert said in message.text
    assert said in Page(message.html or "").text
    assert said in [section.text for section in message.sections]


@pytest.mark.parametrize(
    "sentence", ["{{ nobody }}", "{{ 1 / 0 }}", "{% if %}", "{{ value.__class__.__mro__ }}", "{{ n + segment }}"]
)
def test_faulty_sentence_keeps_no_alert_back_and_is_found_before(sentence: str) -> None:
    message = RENDERER.alert(replace(NOTICE, summary=sentence))
    assert replace(message, facts={}) == replace(RENDERER.alert(NOTICE), facts={})
    rule = Rule.model_validate(
        {"name": "win-rate-low", "kpi": "win_rate", "period": "month", "warn": "< 40%", "summary": sentence}
    )
    [finding] = RENDERER.check_rule(rule, None, "rules.yml:7")
    assert not finding.ok
    assert finding.where == "rules.yml:7"
    assert "segment" in finding.hint


def test_sentence_of_hostile_text_stays_one_harmless_line() -> None:
    item = replace(sample_item(HOSTILE, "0.2"), reason=HOSTILE)
    message = RENDERER.alert(_notice([item], summary="{{ segment }} and {{ reason }}"))
    assert not {tag for tag, _ in Page(message.html or "").tags} & {"script", "img"}
    assert not [section for section in message.sections if section.kind == "text" and "49" in section.text]


def test_rules_without_a_sentence_to_fill_in_have_nothing_to_check() -> None:
    plain = {"name": "x", "kpi": "win_rate", "period": "month", "warn": "< 40%"}
    for summary in (None, "Call them {today}"):
        assert RENDERER.check_rule(Rule.model_validate({**plain, "summary": summary}), None) == []
    assert RENDERER.check_rule(Rule.model_validate({**plain, "summary": SENTENCE}), None)[0].ok


def test_held_back_is_said_before_the_figures() -> None:
    message = RENDERER.bundle([CASES["one"]], Plainly(held="held back by window office until Mon 16 Nov, 08:00 CET"))
    assert message.text.index("Held back by window office") < message.text.index("Value")


def test_reminder_tells_as_still_firing_what_still_fires_and_nothing_else() -> None:
    message = RENDERER.bundle([CASES["mixed"]], Plainly(kind="reminder"))
    assert "3 still firing, 1 resolved" in message.sections[0].text
    assert message.title.startswith("Still critical: ")


def test_rules_of_one_message_share_its_rows_and_keep_their_counts() -> None:
    several = [replace(CASES["thousand"], rule=f"rule-{number}", kpi_name=f"KPI {number}") for number in range(30)]
    message = RENDERER.bundle(several, Plainly())
    assert "30 rules: 30,000 new (30,000 critical)" in message.sections[0].text
    assert "1,000 new, rule rule-1" in " ".join(message.text.split())
    assert "and 10 more rules with 10,000 alerts: 10,000 new" in message.text
    rows = [section for section in message.sections if section.kind == "rows"]
    assert len(rows) == 20
    assert sum(len(section.pairs) for section in rows) == 40
    assert message.facts["left_out"] == 29_000


def test_data_problems_of_one_source_are_one_line_per_rule() -> None:
    problem = replace(CASES["health"], labels=(("source", "crm"),))
    message = RENDERER.bundle([replace(problem, rule=f"rule-{number}") for number in range(3)], Plainly())
    assert message.title == "Data problem: crm (3 rules)"
    assert message.kind == "health"
    assert "crm: 3 rules cannot be judged, crm has had no data since 1 Nov" in message.sections[0].text
    [rows] = [section for section in message.sections if section.kind == "rows"]
    assert len(rows.pairs) == 3


def test_rule_that_is_told_of_with_two_periods_is_one_rule() -> None:
    first, second = (replace(CASES["one"], period_label=label) for label in ("2026-09", "2026-10"))
    message = RENDERER.bundle([first, second], Plainly())
    assert "(1 rule)" in message.title
    assert message.sections[0].text.split(": ", 1)[1].startswith("1 rule: 2 new")
