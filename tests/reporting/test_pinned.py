"""A report can be pinned to what was reported at an earlier time, as a whole or by KPI; it says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from kpid.config.model import ReportJob
from kpid.model import MeasurementState, SeriesNeed
from kpid.reporting.context import ReportContext, context_from_json, context_to_json
from kpid.reporting.gather import gather_context
from kpid.store import history
from kpid.store.engine import Store
from tests.reporting.test_publish import SETUP
from tests.reporting.weeks import NOW, REPORT, WEEK, WEEKS, found, renderer, run_of

LATER = NOW + timedelta(days=10)
TWO = replace(REPORT, kpis=("won_deals", "nps"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Won deals of the week: 33 when it was over, 28 ten days later; Ada's part 25, then 20. NPS: unsettled at first, then 40."""
    store = Store(f"sqlite:///{tmp_path}/kpid.db")
    store.create()
    unsettled = found("nps", "35", state=MeasurementState.INCOMPLETE, data_through=NOW)
    told = {
        NOW: [run_of("won_deals", ["30", "31", "33"]), [unsettled], owners("25", "8")],
        LATER: [run_of("won_deals", ["30", "31", "28"]), [found("nps", "40")], owners("20", "8")],
    }
    for at, families in told.items():
        with store.write() as conn:
            for one in families:
                by = tuple(part.dimension for part in one[0].dims)
                need = SeriesNeed(one[0].kpi, "week", by=by)
                history.append(conn, need, one, periods=[each.period for each in one], definition="d", now=at)
    yield store
    store.close()


def owners(ada: str, bruno: str):
    before = [found("won_deals", value, WEEKS[-2], owner=owner) for owner, value in {"Ada": "20", "Bruno": "11"}.items()]
    return before + [found("won_deals", value, owner=owner) for owner, value in {"Ada": ada, "Bruno": bruno}.items()]


def context_of(store: Store, **pins: object) -> ReportContext:
    job = ReportJob.model_validate({"report": "weekly_sales", "every": "mon 07:30", "to": "team", **pins})
    setup = replace(SETUP, jobs={"board": job}, reports={"weekly_sales": TWO})
    with store.read() as conn:
        return gather_context("board", setup, conn, period=WEEK, watermarks=(), now=LATER + timedelta(days=1))


def lines(context: ReportContext) -> dict[str, tuple[object, ...]]:
    return {line.id: (line.value, line.previous, *line.warnings) for line in context.kpis}


def test_without_a_pin_figures_are_of_today(store):
    context = context_of(store)
    assert lines(context)["won_deals"][:2] == (28, 31)
    assert context.pinned == ""


def test_first_is_what_was_told_as_settled_and_says_what_is_otherwise_by_now(store):
    context = context_of(store, as_reported="first")
    told = "as reported on Mon 16 Nov, 07:30 CET; 2026-W46 is 28 by the data of today"
    assert lines(context) == {"won_deals": (33, 31, told), "nps": (40, None, "as reported on Thu 26 Nov, 07:30 CET")}
    assert context.pinned == "Figures are as first reported, not as known now."
    assert context.drivers is not None
    assert {row.segment: row.effect for row in context.drivers.rows} == {"Ada": 5, "Bruno": -3}, "pinned as well"
    assert context_from_json(context_to_json(context)) == context


def test_day_is_what_was_known_at_its_end(store):
    context = context_of(store, as_reported=date(2026, 11, 16))
    assert lines(context)["won_deals"][:2] == (33, 31)
    assert {line.id: line.state for line in context.kpis} == {"won_deals": "ok", "nps": "incomplete"}
    assert context.pinned == "Figures are as reported by 16 Nov 2026, not as known now."
    assert lines(context_of(store, as_reported="2026-11-26"))["won_deals"][0] == 28
    nothing = context_of(store, as_reported="2026-11-15")
    assert nothing.missing == tuple(
        f"{name} (nothing was reported by 15 Nov 2026 for this period)" for name in ("Won deals", "NPS")
    )


def test_some_kpis_can_be_pinned_and_the_reader_is_told_which(store):
    context = context_of(store, as_reported={"won_deals": "first"})
    assert lines(context) == {
        "won_deals": (33, 31, "as reported on Mon 16 Nov, 07:30 CET; 2026-W46 is 28 by the data of today"),
        "nps": (40, None),
    }
    assert context.pinned == "Won deals as first reported, not as known now."
    message = renderer().report(context)
    assert context.pinned in message.text
    assert context.pinned in (message.html or "")
    assert any(context.pinned in section.text for section in message.sections)
    assert message.facts["as_reported"] == context.pinned
