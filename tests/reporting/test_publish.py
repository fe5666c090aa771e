from __future__ import annotations

import email
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email import policy
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from kpid.config.model import KpiSettings, ReportJob
from kpid.errors import ConfigError, KpidError
from kpid.model import SeriesNeed
from kpid.plugin.kpi import Definition, quantile
from kpid.reporting.context import context_from_json
from kpid.reporting.publish import Published, ReportingSetup, needs_of, publish_report, render_files
from kpid.store import history
from kpid.store.alerts import SeriesRow, save_series
from kpid.store.engine import Store
from kpid.store.outbox import list_outbox
from kpid.store.reports import list_report_runs
from kpid.store.tables import contents, outbox
from kpid.warehouse import Watermark
from tests.reporting.weeks import CALENDAR, KPIS, NOW, REPORT, WEEK, WEEKS, found, renderer, run_of

DUE = "2026-11-16T07:30:00"
MARKS = [Watermark("crm", "deals", None, NOW - timedelta(minutes=10), NOW)]
JOB = ReportJob(report="weekly_sales", every="mon 07:30", to=("team", "chat"))
SETUP = ReportingSetup(
    jobs={"weekly": JOB, "strict": JOB.model_copy(update={"when_stale": "hold"})},
    reports={"weekly_sales": REPORT},
    kpis=KPIS,
    settings={"win_rate": KpiSettings(target=Decimal("0.25"))},
    calendar=CALENDAR,
    recipients={"team": ("a@example.com", "b@example.com"), "chat": ("",), "others": ("c@example.com",)},
    renderer=renderer(),
    currency="EUR",
    company="Example GmbH",
    max_ages={"crm": timedelta(hours=2)},
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path}/kpid.db")
    store.create()
    with store.write() as conn:
        _remember(conn, SeriesNeed("win_rate", "week"), run_of("win_rate", ["0.27", "0.249", "0.24", "0.228"]))
        _remember(conn, SeriesNeed("won_deals", "week"), run_of("won_deals", ["30", "31", "33"]))
        _remember(
            conn,
            SeriesNeed("won_deals", "week", by=("owner",)),
            [
                found("won_deals", value, period, owner=owner, n=int(value))
                for owner, values in {"Ada": ("20", "25"), "Bruno": ("11", "8")}.items()
                for value, period in zip(values, WEEKS[-2:], strict=True)
            ],
        )
    yield store
    store.close()


def _remember(conn: Any, need: SeriesNeed, measurements: list[Any]) -> None:
    periods = {one.period.label: one.period for one in measurements}.values()
    history.append(conn, need, measurements, periods=periods, definition="d", now=NOW)


def _publish(store: Store, **changes: Any) -> Published:
    given: dict[str, Any] = {"store": store, "watermarks": MARKS, "due": DUE, "now": NOW}
    return publish_report(given.pop("name", changes.pop("name", "weekly")), changes.pop("setup", SETUP), **{**given, **changes})


def test_every_recipient_gets_a_row_of_his_own(store: Store) -> None:
    done = _publish(store)
    assert (done.messages, done.period) == (3, WEEK)
    with store.read() as conn:
        rows = conn.execute(select(outbox).order_by(outbox.c.id)).all()
        assert [(row.receiver, row.recipient) for row in rows] == [
            ("team", "a@example.com"),
            ("team", "b@example.com"),
            ("chat", ""),
        ]
        assert len({row.key for row in rows}) == 3
        assert {row.thread for row in rows} == {None}, "reports stand alone"
        assert "Win rate fell to 22.8%" in list_outbox(conn)[0].title
        assert len(conn.execute(select(contents)).all()) >= 2, "pictures are kept once"


def test_the_context_is_frozen_with_the_messages(store: Store) -> None:
    done = _publish(store)
    with store.read() as conn:
        (run,) = list_report_runs(conn, "weekly")
    assert (run.id, run.due, run.period_start) == (done.run, DUE, WEEK.start)
    context = context_from_json(json.dumps(run.context))
    assert context.headline == "Win rate fell to 22.8%, the third week below the 25% target"
    assert [line.id for line in context.kpis] == ["win_rate", "won_deals"]
    assert context.freshness[0].source == "crm"


def test_publishing_again_does_nothing(store: Store) -> None:
    first = _publish(store)
    again = _publish(store, now=NOW + timedelta(minutes=5))
    assert (again.messages, again.run) == (0, first.run)
    with store.read() as conn:
        assert len(conn.execute(select(outbox)).all()) == 3


def test_next_week_is_another_report(store: Store) -> None:
    _publish(store)
    assert _publish(store, due="2026-11-23T07:30:00", now=NOW + timedelta(days=7)).messages == 3


def test_late_run_reports_the_week_it_was_due_for(store: Store) -> None:
    done = _publish(store, now=NOW + timedelta(days=8), late_note="This report is 8 days late.")
    assert done.period == WEEK
    with store.read() as conn:
        assert "8 days late" in conn.scalars(select(outbox.c.message)).all()[0]["text"]


def test_run_by_hand_reports_the_last_complete_week(store: Store) -> None:
    done = _publish(store, due="by hand 2026-11-18T12:00:00", now=datetime(2026, 11, 18, 11, tzinfo=UTC))
    assert done.period == WEEK
    assert _publish(store, due="by hand 2", period=WEEKS[-2]).period == WEEKS[-2]


def test_drivers_come_from_the_owners(store: Store) -> None:
    _publish(store, setup=replace(SETUP, settings={"won_deals": KpiSettings(target=Decimal(40))}, kpis=_monthly_free()))
    with store.read() as conn:
        context = context_from_json(json.dumps(list_report_runs(conn)[0].context))
    assert context.drivers is not None
    assert [(row.segment, row.effect) for row in context.drivers.rows] == [("Ada", 5), ("Bruno", -3)]


def _monthly_free() -> dict[str, Any]:
    return {"won_deals": replace(KPIS["won_deals"], period="week")}


def test_stale_source_holds_a_strict_report_back(store: Store) -> None:
    old = [Watermark("crm", "deals", None, NOW - timedelta(hours=3), NOW)]
    with pytest.raises(KpidError, match="held back: the data of crm"):
        _publish(store, name="strict", watermarks=old)
    with store.read() as conn:
        assert conn.execute(select(outbox)).all() == []
        assert list_report_runs(conn) == []
    assert _publish(store, name="strict").messages == 3
    assert _publish(store, name="strict", watermarks=old, due="by hand 1").messages == 3
    assert _publish(store, watermarks=old).messages == 3, "others go out and say so"


def test_faulty_template_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    (tmp_path / "weekly_sales.txt.j2").write_text("{{ no.such.name }}")
    with pytest.raises(KpidError, match=r"weekly_sales\.txt\.j2:1"):
        _publish(store, setup=replace(SETUP, renderer=renderer(tmp_path)))
    with store.read() as conn:
        assert conn.execute(select(outbox)).all() == []
        assert list_report_runs(conn) == []


@pytest.mark.parametrize(
    ("label", "since"),
    [("2026-10", "2026-10"), ("QTD 2026-11-13", "13 Nov 2026"), ("90d to 2026-11-13", "13 Nov 2026"), ("ever", "ever")],
)
def test_open_alerts_are_named(store: Store, label: str, since: str) -> None:
    row = SeriesRow(
        "win-rate-low", "k" * 64, '{"owner":"crm:1"}', {"owner": "Bruno"}, "m", "firing", "critical", "fresh", 1, NOW,
        {"since": label, "last": {"reason": "31.3% is < 40%"}}, NOW,
    )  # fmt: skip
    with store.write() as conn:
        save_series(conn, [row])
    _publish(store)
    with store.read() as conn:
        context = context_from_json(json.dumps(list_report_runs(conn)[0].context))
    told = f"▼ Bruno: 31.3% is < 40% since {since} (win-rate-low, critical)"
    assert (context.alerts_open, context.alerts) == (1, (told,))


def test_unknown_reports_are_refused(store: Store) -> None:
    with pytest.raises(ConfigError, match="no report is called 'nothing'"):
        _publish(store, name="nothing")
    with pytest.raises(ConfigError, match="unknown kind"):
        _publish(store, setup=replace(SETUP, reports={}))


def test_needs_are_totals_and_the_cut_by_owner() -> None:
    needs = needs_of(JOB, REPORT, KPIS)
    assert SeriesNeed("win_rate", "week", periods=13) in needs
    assert SeriesNeed("win_rate", "week", by=("owner",), periods=13) in needs
    assert {need.period for need in needs_of(JOB.model_copy(update={"period": "month"}), REPORT, KPIS)} == {"month"}
    assert needs_of(JOB, replace(REPORT, kpis=("unknown",)), KPIS) == []
    assert not any(need.by for need in needs_of(JOB, replace(REPORT, drivers=("planet",)), KPIS))


def test_kpi_that_cannot_be_split_needs_no_cut() -> None:
    closed = KPIS["win_rate"].definition({}).measures["closed"]
    middle = replace(closed, agg=quantile(0.5, closed.entity.c.amount))
    median = replace(KPIS["win_rate"], define=Definition({"m": middle}, lambda m: m.m))
    assert not any(need.by for need in needs_of(JOB, replace(REPORT, kpis=("win_rate",)), {"win_rate": median}))


def test_render_files_writes_every_form_and_remembers_nothing(store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    files = render_files("weekly", SETUP, store=store, watermarks=MARKS, period=WEEK, now=NOW, out=out)
    assert {path.suffix for path in files} == {".html", ".txt", ".eml", ".json", ".png"}
    assert set(files) == set(out.iterdir())
    page = (out / "weekly-2026-W46.html").read_text(encoding="utf-8")
    assert "cid:" not in page
    assert "data:image/png;base64," in page
    assert "Win rate fell to 22.8%" in (out / "weekly-2026-W46.txt").read_text(encoding="utf-8")
    mail = email.message_from_bytes((out / "weekly-2026-W46.eml").read_bytes(), policy=policy.default)
    assert "Win rate fell to 22.8%" in str(mail["Subject"])
    body = mail.get_body(("html",))
    assert body is not None
    assert "22.8%" in body.get_content()
    context = context_from_json((out / "weekly-2026-W46.json").read_text(encoding="utf-8"))
    assert context.period == WEEK
    with store.read() as conn:
        assert list_report_runs(conn) == []
        assert conn.execute(select(outbox)).all() == []
