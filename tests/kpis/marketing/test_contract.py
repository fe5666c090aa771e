"""Every marketing KPI keeps the contract, and is where the catalogue says."""

from __future__ import annotations

import kpid_marketing
import pytest

from kpid.testing.kpis import check_kpi

KPIS = {kpi.id: kpi for kpi in kpid_marketing.kpid_kpis()}
NUMBERS = {
    "prospect_conversion_rate": 3, "lead_conversion_rate": 4, "lead_response_time": 23, "website_conversion_rate": 39,
    "campaign_conversion_rate": 40, "campaign_roi": 41, "cost_per_lead": 42, "email_delivery_rate": 43, "email_open_rate": 44,
    "email_click_rate": 45, "email_click_to_open_rate": 46, "email_unsubscribe_rate": 47, "list_growth_rate": 48,
    "avg_visit_duration": 49,
}  # fmt: skip


@pytest.mark.parametrize("name", KPIS)
def test_kpi_keeps_the_contract(name, tmp_path):
    check_kpi(KPIS[name], tmp_path)


def test_numbers_of_the_catalogue():
    assert {kpi.id: kpi.number for kpi in KPIS.values() if kpi.number} == NUMBERS
