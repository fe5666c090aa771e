from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from kpid.alerting.matchers import labels_of, matchers_text, matches
from kpid.model import Level, Notice, NoticeItem

NOW = datetime(2026, 1, 12, tzinfo=UTC)
ITEM = NoticeItem(
    "fired",
    "k",
    "Ana, EMEA",
    Level.CRITICAL,
    1,
    None,
    0,
    "",
    None,
    None,
    "",
    "",
    "",
    dims=(("owner", "crm:1"), ("region", "emea")),
)
NOTICE = Notice(
    "Calls low", "calls", "", "", None, "up", "", (), "week", (), NOW, None, NOW, labels=(("team", "sales"),), uid="calls-low"
)
LABELS = labels_of(NOTICE, ITEM, ("crm", "phone"), {"owner": "Ana [Example]", "region": "EMEA"})


def test_alert_is_known_by_ids_and_names() -> None:
    assert {
        "team": {"sales"},
        "rule": {"Calls low", "calls-low"},
        "kpi": {"calls"},
        "severity": {"critical"},
        "kind": {"alert"},
        "source": {"crm", "phone"},
        "owner": {"crm:1", "Ana [Example]"},
        "region": {"emea", "EMEA"},
    } == LABELS


def test_health_has_the_sources_of_its_rule() -> None:
    about = replace(NOTICE, kind="health", labels=(("kind", "health"), ("source", "a"), ("source", "b")))
    assert labels_of(about, ITEM)["source"] == {"a", "b"}
    assert labels_of(about, ITEM)["kind"] == {"health"}


@pytest.mark.parametrize(
    ("matchers", "fits"),
    [
        ({}, True),
        ({"severity": ["critical"]}, True),
        ({"severity": ["warn"]}, False),
        ({"severity": ["warn", "critical"], "team": ["sales"]}, True),
        ({"severity": ["critical"], "team": ["service"]}, False),
        ({"rule": ["calls-*"]}, True),
        ({"rule": ["CALLS low"]}, True),
        ({"rule": ["calls"]}, False),
        ({"rule": ["calls?low"]}, True),
        ({"owner": ["ana [example]"]}, True),
        ({"owner": ["crm:1"]}, True),
        ({"team": ["!sales"]}, False),
        ({"team": ["!service"]}, True),
        ({"team": ["*", "!sa*"]}, False),
        ({"stage": ["!won"]}, True),
        ({"stage": ["won"]}, False),
        ({"stage": ["*"]}, False),
        ({"source": ["phone"]}, True),
        ({"source": ["!phone"]}, False),
    ],
)
def test_matching(matchers: dict[str, list[str]], fits: bool) -> None:
    assert matches(matchers, LABELS) is fits


def test_matchers_are_said_in_words() -> None:
    assert matchers_text({"severity": ["critical"], "team": ["!sales", "ops"]}) == "severity=critical, team=!sales|ops"
    assert matchers_text({}) == "everything"
