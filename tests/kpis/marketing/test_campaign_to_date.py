"""``campaign_to_date``: each campaign from its own start on, against plain Python; and what it does not go with."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from kpid.errors import KpidError
from kpid.metrics.campaigns import CAMPAIGN_TO_DATE, campaign_figures, starts_of
from kpid.metrics.measure import MetricsSetup
from kpid.model import Period, SeriesNeed
from kpid.testing.kpis import open_warehouse
from tests.kpis import population
from tests.kpis.marketing.test_naive_marketing import CALENDAR, KPIS, agree, naive

END = CALENDAR.midnight(date(2018, 1, 2))
CAMPAIGNS = [
    {"id": "c1", "name": "Spring", "starts_on": date(2017, 10, 20)},
    {"id": "c2", "name": None, "created_at": datetime(2017, 11, 5, 23, 30, tzinfo=UTC)},  # after midnight in Berlin
    {"id": "c3", "name": "Fair", "starts_on": date(2017, 12, 10)},
    {"id": "c4", "name": "Fair", "starts_on": date(2017, 12, 1)},
    {"id": "c5", "name": "Summer", "starts_on": date(2018, 1, 2)},
    {"id": "c6", "name": "Nobody knows when"},
    {"id": "c7", "name": "Deleted", "starts_on": date(2017, 11, 1), "deleted_at": naive.NOW - timedelta(days=1)},
]
PLAIN = {"deleted_at": None, "merged_into_id": None, "is_test": False, "channel": None, "owner_id": None}
STARTS = {"Spring": date(2017, 10, 20), "crm:c2": date(2017, 11, 6), "Fair": date(2017, 12, 1), "Summer": date(2018, 1, 2)}
ROI = (("attribution", "campaign_field"), ("form", "net"), ("margin", "0.4"), ("missing_fx", "exclude"), ("revenue", "deals"))
ASKED = [
    ("campaign_roi", ROI),
    ("campaign_conversion_rate", (("window_days", "30"),)),
    ("cost_per_lead", (("missing_fx", "exclude"),)),
    ("leads_converted", (("to", "customer"),)),
]


@pytest.fixture
def asked(tmp_path):
    rows = naive.random_rows(4) | {"campaigns": [{**PLAIN, **one} for one in CAMPAIGNS]}
    warehouse = open_warehouse(tmp_path, rows, now=naive.NOW)
    yield MetricsSetup(warehouse, KPIS, CALENDAR, "EUR"), population.counted(rows)
    warehouse.close()


def test_each_campaign_counts_from_its_own_start_on(asked):
    setup, rows = asked
    assert starts_of(setup, naive.NOW) == STARTS
    compared = 0
    for name, params in ASKED:
        facts_of, value_of, _ = naive.KPIS[name, params]
        made = campaign_figures(SeriesNeed(name, CAMPAIGN_TO_DATE, ("campaign",), params), setup, end=END, now=naive.NOW)
        found = {one.dims[0].id: one for one in made}
        assert "Summer" not in found, "it has not begun"
        for campaign, first in STARTS.items():
            period = Period(CAMPAIGN_TO_DATE, CALENDAR.midnight(first), END, f"since {first} to 2018-01-01")
            facts = [fact for fact in facts_of(rows, period) if naive.segment_of(fact, "campaign", rows) == campaign]
            measured = found.pop(campaign, None)
            if measured is None:
                assert not facts or not value_of(facts), (name, campaign)
                continue
            compared += 1
            assert measured.period == period
            assert agree(measured.value, value_of(facts)), (name, campaign, value_of(facts), measured)
        assert not found, "a campaign that nobody knows has no start"
    assert compared >= 8


def test_it_can_be_cut_further_and_restricted(asked):
    setup, _ = asked
    need = SeriesNeed("leads_created", CAMPAIGN_TO_DATE, ("campaign", "owner"), where=(("campaign", ("Spring",)),))
    found = campaign_figures(need, setup, end=END, now=naive.NOW)
    assert found
    assert {part.id for one in found for part in one.dims if part.dimension == "campaign"} == {"Spring"}
    earlier = campaign_figures(need, setup, end=CALENDAR.midnight(date(2017, 11, 1)), now=naive.NOW)
    assert sum(one.value for one in earlier) < sum(one.value for one in found)
    assert campaign_figures(need, setup, end=CALENDAR.midnight(date(2017, 10, 20)), now=naive.NOW) == []
    with pytest.raises(KpidError, match="a period of its own"):
        campaign_figures(SeriesNeed("leads_converted", CAMPAIGN_TO_DATE), setup, end=END, now=naive.NOW)
