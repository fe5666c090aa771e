"""What is allowed where people are named: what is refused is in ``bad_config``."""

from __future__ import annotations

from typing import Any

from kpid.config.model import Config
from kpid.config.routing import routing_errors

RECEIVERS = {"mail": {"notifier": "email"}, "chat": {"notifier": "slack"}}
RULE = {"name": "low", "kpi": "win_rate", "period": "week", "by": ["owner"], "warn": "< 50%", "labels": {"team": "sales"}}


def mistakes(**given: Any) -> list[str]:
    config = Config.model_validate({"timezone": "Europe/Berlin", "receivers": RECEIVERS, "rules": [RULE], **given})
    return [error.what for error in routing_errors(config, lambda *path: ".".join(map(str, path)))]


def test_people_and_single_addresses_are_recipients() -> None:
    rules = [{**RULE, "to": ["owner", "manager", "mail:cro@example.com", "chat"]}]
    assert mistakes(rules=rules, owners={"via": "mail", "else": "chat"}) == []


def test_rule_without_recipients_needs_a_route_that_can_match_it() -> None:
    assert mistakes() == ["rule low: nobody is told"]
    assert mistakes(routes=[{"to": ["mail"]}]) == []
    assert mistakes(routes=[{"match": {"team": "s*", "severity": "critical"}, "to": ["mail"]}]) == []
    assert mistakes(routes=[{"match": {"team": "!sales"}, "to": ["mail"]}]) == ["rule low: nobody is told"]
    assert mistakes(routes=[{"match": {"rule": "LOW"}, "to": ["mail"]}]) == []


def test_route_after_one_that_continues_can_be_reached() -> None:
    routes: list[dict[str, Any]] = [{"to": ["mail"], "continue": True}, {"match": {"team": "sales"}, "to": ["chat"]}]
    assert mistakes(routes=routes) == []
    routes[0].pop("continue")
    assert mistakes(routes=routes) == ["no alert ever gets to this route"]


def test_window_may_be_a_calendar() -> None:
    windows = {"office": {"calendar": "berlin", "outside": "defer"}, "always": {"outside": "drop"}}
    rules = [{**RULE, "to": ["mail"]}]
    assert mistakes(rules=rules, windows=windows, calendars={"berlin": {"hours": {"mon-fri": "08:00-18:00"}}}) == []
