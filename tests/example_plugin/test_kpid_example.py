"""Tests of the example plugin. They use what every plugin author has: ``kpid.plugin`` and ``kpid.testing``."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from kpid_example import (
    LARGE_WIN_SHARE,
    InlineConnector,
    InlineDeal,
    InlineSettings,
    LogfileNotifier,
    LogfileSettings,
    dots,
    kpid_connectors,
    kpid_kpis,
    kpid_notifiers,
    kpid_reports,
    kpid_template_filters,
    line_from_message,
    row_from_deal,
)

from kpid.plugin import DeliveryError, Message, NotifierContext, SourceContext, entities
from kpid.testing import FakeClock
from kpid.testing.kpis import check_kpi, measure_rows

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
WON = {"id": "7", "name": "Example Ltd", "owner": "ada", "state": "won", "amount": "12000.50", "created": "2026-01-05"}


@pytest.fixture
def connector(tmp_path: Path) -> InlineConnector:
    settings = InlineSettings.model_validate(
        {"deals": [{**WON, "closed": "2026-02-10"}, {"id": "8", "name": "x", "created": "2026-02-01"}]}
    )
    return InlineConnector(settings, SourceContext("crm", BERLIN, tmp_path, FakeClock(NOON), "EUR"))


@pytest.fixture
def notifier(tmp_path: Path) -> LogfileNotifier:
    return LogfileNotifier(LogfileSettings(), NotifierContext("log", tmp_path, FakeClock(NOON)))


def message(key: str = "k1", title: str = "Win rate is 41%") -> Message:
    return Message(key=key, kind="alert", title=title, text=title, created_at=NOON, status="firing")


def test_deal_becomes_a_canonical_row() -> None:
    deal = InlineDeal(
        id="7", name="Example Ltd", state="won", amount=Decimal(5), created=date(2026, 1, 5), closed=date(2026, 7, 1)
    )
    row = row_from_deal(deal, BERLIN, "EUR")
    assert row["created_at"].astimezone(UTC) == datetime(2026, 1, 4, 23, tzinfo=UTC)
    assert row["closed_at"].astimezone(UTC) == datetime(2026, 6, 30, 22, tzinfo=UTC)
    assert set(row) - {"native_id"} <= set(entities.deals.columns.keys())


def test_connector_declares_what_it_yields(connector: InlineConnector) -> None:
    declared = {reads.entity for reads in connector.reads()}
    for entity in declared:
        pages = list(connector.pages(entity, None, NOON))
        assert {name for page in pages for name in page.rows} <= declared
        assert [row["native_id"] for page in pages for row in page.rows[entity]] == ["7", "8"]
        assert pages[-1].through == NOON


def test_connector_check_contacts_nobody_and_is_well(connector: InlineConnector) -> None:
    assert [finding.ok for finding in connector.check()] == [True]


@pytest.mark.parametrize("wrong", [{"state": "maybe"}, {"amount": "a lot"}, {"created": "soon"}, {"colour": "red"}])
def test_settings_refuse_what_makes_no_sense(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        InlineSettings.model_validate({"deals": [{**WON, **wrong}]})


def test_kpi_keeps_the_contract(tmp_path: Path) -> None:
    check_kpi(LARGE_WIN_SHARE, tmp_path)


def test_kpi_gives_the_worked_value(tmp_path: Path) -> None:
    closed = datetime(2017, 12, 14, tzinfo=UTC)
    amounts = [Decimal(amount) for amount in (9_999, 10_000, 50_000, 100)]
    won = [{"id": str(amount), "state": "won", "amount": amount, "closed_at": closed} for amount in amounts]
    lost = {"id": "lost", "state": "lost", "amount": Decimal(70_000), "closed_at": closed}
    [december] = measure_rows(LARGE_WIN_SHARE, {"deals": [*won, lost]}, "2017-12", folder=tmp_path)
    assert december.value == Decimal("0.5")
    assert december.n == 4


def test_notifier_appends_one_line_per_message(notifier: LogfileNotifier, tmp_path: Path) -> None:
    receipts = [notifier.send(message("k1")), notifier.send(message("k2", 'Deal "x"\nwith a line break'))]
    lines = (tmp_path / "var" / "messages.log").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["k1", "k2"] == [receipt.provider_id for receipt in receipts]


def test_notifier_finds_what_it_has_written(notifier: LogfileNotifier) -> None:
    assert notifier.find(message("k1")) is None
    notifier.send(message("k1"))
    assert notifier.find(message("k1")) is not None
    assert notifier.find(message("k")) is None


def test_notifier_says_that_trying_again_may_help(notifier: LogfileNotifier, tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where the folder should be")
    with pytest.raises(DeliveryError) as caught:
        notifier.send(message())
    assert not caught.value.permanent
    assert [finding.ok for finding in notifier.check()] == [False]


def test_line_is_one_line_whatever_the_title() -> None:
    assert "\n" not in line_from_message(message(title="a\nb"))


@pytest.mark.parametrize(("share", "text"), [(0, "○○○○○"), (0.6, "●●●○○"), (1, "●●●●●"), (7, "●●●●●"), (-1, "○○○○○")])
def test_dots_show_a_share(share: float, text: str) -> None:
    assert dots(share) == text


def test_hooks_bring_one_of_each() -> None:
    assert [info.connector for info in kpid_connectors()] == [InlineConnector]
    assert kpid_kpis() == [LARGE_WIN_SHARE]
    assert kpid_notifiers() == [LogfileNotifier]
    assert [report.id for report in kpid_reports()] == ["large_wins"]
    assert kpid_template_filters() == {"dots": dots}
