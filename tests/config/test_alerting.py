from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from kpid.config.alerting import Absence, Flapping, Heartbeat, Route, Rule, Web, Window
from kpid.config.load import load_config

MAIN = """\
timezone: Europe/Berlin
receivers:
  mail: {notifier: mailbox, folder: var/mail}
  team: {notifier: mailbox, folder: var/team}
owners: {via: mail, else: team}
rules:
  - {name: low, kpi: win_rate, period: month, warn: "< 50%", significance: 5%, min_effect: 10%, disjoint: true}
  - {name: odd, kpi: win_rate, period: week, warn: {anomaly: down, method: xmr, history: 2y}, to: [team]}
  - {name: silent, absence: {source: all}, critical_after: 24h, to: team}
routes:
  - match: {severity: critical, rule: ["low", "odd"], team: "!sales"}
    to: [owner, "mail:cro@example.com"]
    group_by: []
    repeat: off
    hours: office
    escalate: [{after: 4h, to: [team]}]
    continue: true
inhibit: [{if: {rule: silent}, mute: {source: crm}, equal: [source]}]
windows:
  office: {days: mon-fri, times: "08:00-18:00", holidays: DE-BE, outside: defer}
flapping: {changes: 3}
web: {url: "https://kpid.example.com/", secret: "${env:WEB_SECRET}"}
heartbeat: {url: "https://beat.example.com/x0x0", alive: "mon 08:00"}
"""
INCLUDED = """\
routes:
  - {to: [team]}
inhibit:
  - {if: {rule: low}, mute: {rule: odd}}
windows:
  always: {outside: drop}
"""


def rule(**given: object) -> Rule:
    return Rule.model_validate({"name": "low", "kpi": "win_rate", "period": "month", "warn": "< 50%", **given})


def test_everything_about_who_hears_of_alerts_is_read(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "kpid.yml").write_text(MAIN, encoding="utf-8")
    (tmp_path / "rules" / "more.yml").write_text(INCLUDED, encoding="utf-8")
    loaded = load_config(tmp_path / "kpid.yml", environ={"WEB_SECRET": "0123456789abcdef"})
    config = loaded.config
    low, odd, silent = config.rules
    assert (low.significance, low.min_effect, low.correct, low.baseline) == (Decimal("0.05"), Decimal("0.1"), "bh", 8)
    assert odd.warn == {"anomaly": "down", "method": "xmr", "history": "2y"}
    assert silent.absence == Absence(source=("all",))
    first, second = config.routes
    assert first.match == {"severity": ("critical",), "rule": ("low", "odd"), "team": ("!sales",)}
    assert (first.group_by, first.repeat, first.continue_, first.escalate[0].after) == ((), "off", True, "4h")
    assert (second.group_by, second.group_wait, second.group_interval, second.repeat) == (("rule",), "30s", "5m", "1d")
    assert [one.mute for one in config.inhibit] == [{"source": ("crm",)}, {"rule": ("odd",)}]
    assert {name: window.outside for name, window in config.windows.items()} == {"office": "defer", "always": "drop"}
    assert config.owners is not None
    assert config.owners.else_ == "team"
    assert config.flapping == Flapping.model_validate({"changes": 3, "slots": 10, "quiet": 5, "digest": "08:00"})
    assert config.web is not None
    assert config.web.url == "https://kpid.example.com"
    assert config.heartbeat is not None
    assert config.heartbeat.every == timedelta(minutes=5)
    assert loaded.place("routes", 1, "to") == f"{tmp_path / 'rules' / 'more.yml'}:2"
    assert loaded.secrets == {"0123456789abcdef", "https://beat.example.com/x0x0"}
    assert "0123456789abcdef" not in repr(config)
    assert "x0x0" not in repr(config)


def test_a_rule_kept_as_json_comes_back() -> None:
    whole = rule(
        critical={"any": ["< 40%", {"kpi": "deals", "is": "< 3"}]},
        significance="5%",
        rows={"show": ["name"], "sort": "-amount"},
        labels={"team": "sales"},
        **{"for": "2x"},
    )
    assert Rule.model_validate(whole.model_dump(mode="json", by_alias=True)) == whole


def test_a_rule_kept_by_an_earlier_version_comes_back() -> None:
    earlier = rule(to=["team"]).model_dump(mode="json", by_alias=True)
    for key in set(Rule.model_fields) - {"name", "id", "kpi", "period", "warn", "to", "no_data"}:
        earlier.pop(Rule.model_fields[key].alias or key)
    assert Rule.model_validate(earlier) == rule(to=["team"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"warn": ""}, "is empty"),
        ({"warn": True}, "write a condition such as"),
        ({"warn": {"all": [], "any": []}}, "beside 'all' a condition may have nothing else, but not 'any'"),
        ({"significance": "60%"}, "no small probability"),
        ({"significance": 0}, "no small probability"),
        ({"min_effect": 0}, "is no part"),
        ({"baseline": 3}, "greater than or equal to 4"),
        ({"correct": "yes"}, "'bh' or 'none'"),
        ({"start_after": "120%"}, "is no share of a period"),
        ({"rows": {"show": []}}, "at least 1 item"),
        ({"absence": {"source": "all"}}, "looks at no KPI: take kpi: out"),
        ({"kpi": "", "period": ""}, "a rule needs kpi: and period:"),
        ({"critical_after": "1h"}, "belongs to absence:"),
    ],
)
def test_rule_that_makes_no_sense_is_refused(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        rule(**given)


@pytest.mark.parametrize("url", ["http://kpid.example.com", "kpid.example.com", "https://", "ftp://kpid.example.com"])
def test_links_that_others_could_read_are_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="capabilities"):
        Web.model_validate({"url": url, "secret": "0123456789abcdef"})


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8470", "http://localhost:8470/", "http://[::1]:8470", "https://k.example.com/a/"]
)
def test_links_to_this_machine_or_by_tls_are_taken(url: str) -> None:
    assert Web.model_validate({"url": url, "secret": "0123456789abcdef"}).url == url.rstrip("/")


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (Window, {}),
        (Window, {"outside": "delay"}),
        (Window, {"outside": "drop", "times": "25:00-26:00"}),
        (Window, {"outside": "drop", "days": "mon-funday"}),
        (Window, {"outside": "drop", "calendar": "office", "times": "08:00-09:00"}),
        (Route, {}),
        (Route, {"to": ["team"], "group_wait": "soon"}),
        (Route, {"to": ["team"], "repeat_max": "off"}),
        (Flapping, {"changes": 5, "slots": 4}),
        (Flapping, {"digest": "24:00"}),
        (Heartbeat, {"url": "mailto:ada@example.com"}),
        (Absence, {}),
        (Absence, {"source": "crm", "after": "soon"}),
    ],
)
def test_parts_that_make_no_sense_are_refused(model: type, given: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        model.model_validate(given)  # type: ignore[attr-defined]
