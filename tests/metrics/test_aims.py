from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from kpid.analysis.periods import Calendar, period_from_label
from kpid.analysis.workdays import WorkCalendar
from kpid.config.model import KpiSettings
from kpid.metrics.aims import Aims, aim_of
from kpid.metrics.measure import MetricsSetup
from kpid.metrics.targets import TargetRow, Targets
from kpid.model import Dims, Segment, SeriesNeed
from kpid.plugin.entities import deals
from kpid.plugin.kpi import At, Definition, Kpi, Measure, Target, count
from kpid.warehouse.duckdb import open_duckdb

CALENDAR = Calendar("Europe/Berlin")
WORK = WorkCalendar("Europe/Berlin")
NOW = datetime(2026, 11, 23, tzinfo=UTC)
_WON = Measure(deals, At(deals.c.closed_at), count(where=deals.c.state == "won"))
_CLOSED = Measure(deals, At(deals.c.closed_at), count())
WON = Kpi("won", "Won", "sales", "count", "up", Definition({"won": _WON}, lambda m: m.won), dimensions=("owner",))
RATE = Kpi("rate", "Rate", "sales", "ratio", "up", Definition({"won": _WON, "closed": _CLOSED}, lambda m: m.won / m.closed))
ADA: Dims = (Segment("owner", "crm:ada", "Ada Example"),)


def row(kind: str, first: str, value: int, owner: str = "", since: datetime | None = None) -> TargetRow:
    return TargetRow("won", {"owner": owner} if owner else {}, kind, date.fromisoformat(first), Decimal(value), None, since)


def targets(*rows: TargetRow) -> Targets:
    return Targets(rows, {}, {"won": WON}, CALENDAR, "EUR", WORK)


def aim(known: Targets, label: str, dims: Dims = (), now: datetime = NOW, work: WorkCalendar | None = WORK) -> Decimal | None:
    return aim_of(known, Target("won", {}), period_from_label(None, label, CALENDAR), dims, now, work=work).value


def test_own_target_goes_before_a_part_of_a_longer_one() -> None:
    known = targets(row("month", "2026-11-01", 42), row("quarter", "2026-10-01", 650))
    assert aim(known, "2026-11") == 42
    assert aim(known, "2026-Q4") == 650
    october = aim(known, "2026-10")
    assert october == Decimal(650) * 22 / 66  # 22 of the 66 weekdays of the quarter
    assert aim(known, "2026-10", work=None) is None


def test_segment_has_its_own_target_only() -> None:
    known = targets(row("month", "2026-11-01", 42), row("month", "2026-11-01", 7, "Ada Example"))
    assert aim(known, "2026-11", ADA) == 7
    assert aim(known, "2026-11", (Segment("owner", "crm:bob", "Bob Example"),)) is None


def test_target_that_is_set_later_is_not_known_yet() -> None:
    since = datetime(2026, 11, 10, tzinfo=UTC)
    known = targets(row("month", "2026-11-01", 42), row("month", "2026-11-01", 50, since=since))
    assert aim(known, "2026-11", now=since) == 50
    assert aim(known, "2026-11", now=datetime(2026, 11, 9, tzinfo=UTC)) == 42


@pytest.fixture
def aims(tmp_path: Path):
    settings = {
        "won": KpiSettings.model_validate(
            {
                "target": 10,
                "target_period": "month",
                "targets": [{"period": "2026-11", "value": 3, "where": {"owner": "crm:ada"}}],
            }
        ),
        "rate": KpiSettings.model_validate({"target": "40%", "target_period": "month"}),
    }
    warehouse = open_duckdb(tmp_path / "facts.duckdb")
    setup = MetricsSetup(warehouse, {"won": WON, "rate": RATE}, CALENDAR, "EUR", settings, calendars={"": WORK})
    yield Aims(setup, NOW)
    warehouse.close()


def test_rules_ask_by_their_need(aims: Aims) -> None:
    november, week = (period_from_label(None, label, CALENDAR) for label in ("2026-11", "2026-W46"))
    need = SeriesNeed("won", "month", ("owner",))
    assert aims.target_of(need, november, (), NOW) == 10
    assert aims.target_of(need, november, ADA, NOW) == 3
    assert aims.target_of(SeriesNeed("won", "week"), week, (), NOW) == Decimal(10) * 5 / 21
    assert aims.target_of(SeriesNeed("rate", "month"), november, (), NOW) == Decimal("0.4")
    assert aims.target_of(SeriesNeed("rate", "week"), week, (), NOW) is None  # a rate is not divided up
    assert aims.target_of(SeriesNeed("other", "month"), november, (), NOW) is None


def test_family_of_one_segment_has_that_ones_target(aims: Aims) -> None:
    november = period_from_label(None, "2026-11", CALENDAR)
    one = SeriesNeed("won", "month", where=(("owner", ("crm:ada",)),))
    two = SeriesNeed("won", "month", where=(("owner", ("crm:ada", "crm:bob")),))
    assert aims.target_of(one, november, (), NOW) == 3
    assert aims.target_of(two, november, (), NOW) is None
