"""The in-tree KPIs, by id."""

from __future__ import annotations

import kpid_activity
import kpid_marketing
import kpid_pipeline
import kpid_quality
import kpid_sales
import kpid_satisfaction
import kpid_support
import pytest

MODULES = (kpid_sales, kpid_pipeline, kpid_activity, kpid_marketing, kpid_support, kpid_satisfaction, kpid_quality)


@pytest.fixture(scope="session")
def kpis():
    return {kpi.id: kpi for module in MODULES for kpi in module.kpid_kpis()}
