"""The satisfaction KPIs against plain Python on random canonical data: every KPI, every choice."""

from __future__ import annotations

import kpid_satisfaction
import pytest

from tests.kpis.agreement import choices, compare, compared
from tests.kpis.satisfaction import naive

KPIS = {kpi.id: kpi for kpi in kpid_satisfaction.kpid_kpis()}


@pytest.mark.parametrize("seed", range(3))
def test_engine_agrees_with_plain_python(seed, tmp_path):
    compare(naive.KPIS, KPIS, tmp_path, seed)


def test_every_kpi_and_every_choice_is_compared():
    assert compared(naive.KPIS, KPIS) >= choices(KPIS)
    assert {name for name, _ in naive.KPIS} == set(KPIS)
